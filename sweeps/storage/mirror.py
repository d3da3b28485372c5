"""Where results are kept: a folder, or one on `s3://` and whatever else pyarrow reaches.

What is on other storage is worked on in a local copy, a `Mirror`: files are written there and pushed, so that the code
that reads and writes a sweep knows folders only. The remote files are the truth; a copy may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from betavae.errors import InputError
from betavae.records.checkpoint import MANIFEST_FILE
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE
from sweeps.storage import remote_files
from sweeps.storage.locations import is_remote, joined, resolved
from sweeps.storage.private_folder import copies_folder, make_private
from sweeps.storage.remote_files import patiently

_NUM_THREADS = 16

Wants = Callable[[str], bool]
"""Which files to copy, by their paths below a folder."""


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
            InputError: If this user's folder for copies is not safe.
        """
        if not is_remote(location):
            return cls(Path(location))
        name = hashlib.sha256(location.encode()).hexdigest()[:16]
        copies = copies_folder()
        if make:
            make_private(copies)
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
            InputError: If a URL's storage cannot be read.
        """
        if self.url is None:
            return self.local.exists()
        try:
            return remote_files.exists(self.url)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.url} must be on storage that can be reached, but: {error}") from error

    def check_writable(self) -> None:
        """Write to a URL's storage, and delete it again. Storage that is away is an error at once.

        Raises:
            InputError: If that cannot be done.
        """
        if self.url is None:
            return
        try:
            probe = joined(self.url, f".probe-{uuid.uuid4()}")
            remote_files.write(probe, b"")
            remote_files.delete(probe)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.url} must be on storage that can be written, but: {error}") from error

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
        InputError: If a URL's storage cannot be reached, or nothing is kept there.
    """
    location = resolved(location)
    if not is_remote(location):
        yield Mirror(Path(location))
        return
    with tempfile.TemporaryDirectory(prefix="betavae-lab-copy-") as folder:
        mirror = Mirror(Path(folder, location.rpartition("/")[2]), location)
        if not mirror.exists():
            raise InputError(f"{location} must be a sweep's folder, but nothing is there.")
        mirror.pull(wants)
        yield mirror
