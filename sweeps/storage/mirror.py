"""Where results are kept: a folder, or one on `s3://` and whatever else pyarrow reaches.

What is on other storage is worked on in a local copy, a `Mirror`: files are written there and pushed, so that the code
that reads and writes a sweep knows folders only. The remote files are the truth; a copy may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from betavae.records.checkpoint import MANIFEST_FILE
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE
from sweeps.storage import remote_files
from sweeps.storage.remote_files import patiently

_NUM_THREADS = 16

_LIKE_URL = re.compile(r"(--?[\w-]+=)?\s*[A-Za-z][\w+.-]+:[/\\]|.*://", re.DOTALL)
"""A word that is a URL, or meant as one; a drive of Windows has one letter."""

_PLAIN_URL = re.compile(r"[A-Za-z][\w+.-]*://([\w.-]*|\[[\da-fA-F:.]+\])(:\d+)?(/[^@?#\\]*)?", re.ASCII)
"""A URL with no place for a key or an option: scheme, host and port, path."""

_CLEAR_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*://)([^/@?#\\%]*@)?(?P<place>[\w.-]+(:\d+)?(/[^@?#\\%]*)?)([?#][^@?#\\%]*)?", re.ASCII
)
"""A URL whose key and options, if it has any, are surely in their places. A secret may hold slashes and more."""

Wants = Callable[[str], bool]
"""Which files to copy, by their paths below a folder."""


def is_remote(location: str) -> bool:
    """Whether a location is a URL, and no path of this machine."""
    return "://" in location


def resolved(location: str) -> str:
    """A location in full: an absolute path, or a URL without a slash at its end.

    Raises:
        ValueError: As `check_no_secrets`.
    """
    check_no_secrets([location])
    if not is_remote(location):
        return str(Path(location).expanduser().resolve())
    return location.rstrip("/")


def check_no_secrets(words: Sequence[str]) -> None:
    """See that no word is a URL that could hold a key or an option, which would be written down with it.

    To be called before any other message shows the words: this one never shows a secret.

    Raises:
        ValueError: If one is, or is meant as a URL and is none.
    """
    for word in filter(_LIKE_URL.match, words):
        url = re.sub(r"^--?[\w-]+=", "", word)
        if not (_PLAIN_URL.fullmatch(url) and _PLAIN_URL.fullmatch(_decoded(url))):
            raise ValueError(
                f"{_without_secrets(url)} must be given without keys and options, since it is written down, and as "
                "SCHEME://HOST/PATH; put keys in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_ENDPOINT_URL_S3)."
            )


def check_location(location: str) -> None:
    """Refuse what cannot hold results, as far as that is known without reaching storage.

    Raises:
        ValueError: As `resolved`; for a URL, also if this user's folder for copies is not safe.
    """
    if is_remote(resolved(location)):
        _check_private(_copies_folder())


def joined(location: str, name: str) -> str:
    """The location of what is called `name` in it."""
    return f"{location}/{name}"


def is_sweep_file(name: str) -> bool:
    """Whether a file below a sweep's folder is its record, or the copy of that."""
    return name in (SWEEP_FILE, SWEEP_COPY_FILE)


def is_record(name: str) -> bool:
    """Whether a file below a sweep's folder tells how it went: all but weights, pictures, curves and the report."""
    return name.endswith((".json", ".txt")) and not name.startswith("report/")


@dataclass(frozen=True)
class Mirror:
    """A folder of this machine, and the remote one it is a copy of, if it is.

    Without a remote one, nothing here does anything. Storage that is away is waited for.

    Attributes:
        local: Where files are read and written.
        url: Where they are kept; None if that is `local` itself.
    """

    local: Path
    url: str | None = None

    @classmethod
    def at(cls, location: str, *, make: bool = True) -> Mirror:
        """The folder itself if it is one of this machine; else a place for a copy, the same in every process of a user.

        Args:
            location: A path, or a URL.
            make: Whether to make the folder that holds a user's copies.

        Raises:
            ValueError: If this user's folder for copies is not safe.
        """
        if not is_remote(location):
            return cls(Path(location))
        name = hashlib.sha256(location.encode()).hexdigest()[:16]
        copies = _copies_folder()
        if make:
            _make_private(copies)
        return cls(copies / name, location)

    @property
    def location(self) -> str:
        """Where the files are kept, for people."""
        return self.url or str(self.local)

    @property
    def lock_file(self) -> Path:
        """A file to lock, for what this machine's processes must not do at once; its folder is made."""
        path = self.local / ".lock" if self.url is None else self.local.with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def child(self, name: str) -> Mirror:
        """The same, of a folder below."""
        return Mirror(self.local / name, None if self.url is None else joined(self.url, name))

    def clear(self) -> None:
        """Delete the copy, never the original."""
        if self.url is not None:
            shutil.rmtree(self.local, ignore_errors=True)

    def push(self, name: str) -> None:
        """Copy a file, or a folder whose manifest comes last: without one it does not count.

        Raises:
            OSError: If storage stays away.
        """
        if self.url is None:
            return
        path = self.local / name
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file.name == MANIFEST_FILE):
            self._write(str(file.relative_to(self.local)), file.read_bytes())

    def drop(self, name: str) -> None:
        """Delete a folder of the remote one; its manifest first.

        Raises:
            OSError: If storage stays away.
        """
        if self.url is None:
            return
        folder = joined(self.url, name)
        for known in sorted(patiently(remote_files.names_below, folder), key=lambda known: known != MANIFEST_FILE):
            patiently(remote_files.delete, joined(folder, known))

    def pull(self, wants: Wants = lambda name: True) -> None:
        """Copy the remote files; half a checkpoint is left out.

        Raises:
            OSError: If storage stays away.
        """
        if self.url is None:
            return
        names = patiently(remote_files.names_below, self.url)
        whole = {name.rpartition("/")[0] for name in names if name.endswith(MANIFEST_FILE)}
        wanted = [
            name for name in names if wants(name) and ("checkpoint_" not in name or name.rpartition("/")[0] in whole)
        ]
        with ThreadPoolExecutor(_NUM_THREADS) as threads:
            list(threads.map(self._fetch, wanted))

    def exists(self) -> bool:
        """Whether anything is kept there. Storage that is away is an error at once.

        Raises:
            ValueError: If a URL's storage cannot be read.
        """
        if self.url is None:
            return self.local.exists()
        try:
            return remote_files.exists(self.url)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.url} must be on storage that can be reached, but: {error}") from error

    def check_writable(self) -> None:
        """Write to a URL's storage, and delete it again. Storage that is away is an error at once.

        Raises:
            ValueError: If that cannot be done.
        """
        if self.url is None:
            return
        try:
            probe = joined(self.url, f".probe-{uuid.uuid4()}")
            remote_files.write(probe, b"")
            remote_files.delete(probe)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.url} must be on storage that can be written, but: {error}") from error

    def read_text(self, name: str) -> str | None:
        """A file as it is kept now; None if there is none.

        Raises:
            OSError: If storage stays away.
        """
        if self.url is None:
            path = self.local / name
            return path.read_text() if path.exists() else None
        content = patiently(remote_files.read, joined(self.url, name))
        return None if content is None else content.decode()

    def write_text(self, name: str, text: str) -> None:
        """Write a file where it is kept, without a copy.

        Raises:
            OSError: If it cannot be written.
        """
        if self.url is None:
            (self.local / name).write_text(text)
        else:
            self._write(name, text.encode())

    def delete(self, name: str) -> None:
        """Delete a file, here and where it is kept, if there is one.

        Raises:
            OSError: If that cannot be done.
        """
        (self.local / name).unlink(missing_ok=True)
        if self.url is not None:
            patiently(remote_files.delete, joined(self.url, name))

    @property
    def _url(self) -> str:
        assert self.url is not None
        return self.url

    def _fetch(self, name: str) -> None:
        content = patiently(remote_files.read, joined(self._url, name))
        if content is not None:  # deleted meanwhile
            path = self.local / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _write(self, name: str, content: bytes) -> None:
        patiently(remote_files.write, joined(self._url, name), content)


@contextmanager
def fetched(location: str, wants: Wants = lambda name: True) -> Iterator[Mirror]:
    """A folder to read: itself if it is one of this machine, else a passing copy.

    Raises:
        ValueError: If a URL's storage cannot be reached, or nothing is kept there.
    """
    location = resolved(location)
    if not is_remote(location):
        yield Mirror(Path(location))
        return
    with tempfile.TemporaryDirectory(prefix="betavae-lab-copy-") as folder:
        mirror = Mirror(Path(folder, location.rpartition("/")[2]), location)
        if not mirror.exists():
            raise ValueError(f"{location} must be a sweep's folder, but nothing is there.")
        mirror.pull(wants)
        yield mirror


def _decoded(url: str) -> str:
    """Return a URL without percent-encoding, however often it was encoded."""
    while (decoded := unquote(url)) != url:
        url = decoded
    return url


def _without_secrets(url: str) -> str:
    """Return what is surely no secret of a URL that may hold one: its scheme, and the rest where there is no doubt."""
    if clear := _CLEAR_URL.fullmatch(url):
        return clear["scheme"] + clear["place"]
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", url)
    return f"{scheme[0]}://..." if scheme else "A URL"


def _copies_folder() -> Path:
    """Return this user's folder for copies and locks; Windows has a temporary folder per user anyway."""
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir(), f"betavae-lab{user}")


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, or see that it is one; several processes may do so at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _check_private(folder)


def _check_private(folder: Path) -> None:
    """Refuse a folder in which others could read, or plant links; one that is not there yet is made as it must be."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        problem, fix = "is a link or a file", f"remove it ('rm {shlex.quote(str(folder))}')"
    elif not hasattr(os, "getuid"):
        return
    elif status.st_uid != os.getuid():
        problem, fix = f"belongs to user {status.st_uid}", "have it removed"
    elif status.st_mode & 0o077:
        problem = f"has mode {stat.S_IMODE(status.st_mode):03o}"
        fix = f"if nobody else has put anything there, 'chmod 700 {shlex.quote(str(folder))}'"
    else:
        return
    raise ValueError(f"{folder} must be a folder that only you can enter, but it {problem}; {fix}, or set TMPDIR.")
