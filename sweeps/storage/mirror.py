"""A folder of results: on this machine, or a local copy of one on `s3://` or other storage that pyarrow supports.

Code that reads and writes a sweep works on local folders only. A `Mirror` copies files from and to remote storage. The
remote files are authoritative; a local copy may be deleted at any time.
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
from pathlib import Path, PurePosixPath

from betavae.errors import InputError
from betavae.records.checkpoint import MANIFEST_FILE
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE
from sweeps.storage import remote_files
from sweeps.storage.locations import child_location, full_location, is_remote
from sweeps.storage.private_folder import copies_folder, make_private
from sweeps.storage.remote_files import call_with_retries

_NUM_THREADS = 16

FileFilter = Callable[[str], bool]
"""Returns whether to copy a file, given its path relative to the folder."""


def is_sweep_file(name: str) -> bool:
    """Return whether a file of a sweep's folder is the sweep's record or the copy of the record."""
    return name in (SWEEP_FILE, SWEEP_COPY_FILE)


def is_record(name: str) -> bool:
    """Return whether a file of a sweep's folder records its course: not weights, pictures, curves or the report."""
    return name.endswith((".json", ".txt")) and not name.startswith("report/")


@dataclass(frozen=True)
class Mirror:
    """A local folder, and the remote folder that it is a copy of, if any.

    Without a remote folder, `clear`, `push`, `drop`, `pull` and `check_writable` do nothing. If remote storage is
    unreachable, methods retry for ten minutes, except where noted.

    Attributes:
        local: The folder to read and write.
        url: The remote folder; None if `local` holds the results itself.
    """

    local: Path
    url: str | None = None

    @classmethod
    def at(cls, location: str, *, make: bool = True) -> Mirror:
        """Return the mirror of a location. All processes of a user share the local copy of a URL.

        Args:
            location: A path or a URL.
            make: Whether to make the folder that holds the user's copies.

        Raises:
            InputError: If the user's folder for copies is not private.
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
        """The URL, or else the local path; for messages."""
        return self.url or str(self.local)

    @property
    def lock_file(self) -> Path:
        """The file to lock against other processes of this machine. Its folder is made."""
        path = self.local / ".lock" if self.url is None else self.local.with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def child(self, name: str) -> Mirror:
        """Return the mirror of a subfolder."""
        return Mirror(self.local / name, None if self.url is None else child_location(self.url, name))

    def clear(self) -> None:
        """Delete the local copy, never the results themselves."""
        if self.url is not None:
            shutil.rmtree(self.local, ignore_errors=True)

    def push(self, name: str) -> None:
        """Copy a file or folder to remote storage; a manifest last, since a checkpoint without one is ignored.

        Raises:
            OSError: If storage stays unreachable.
        """
        if self.url is None:
            return
        path = self.local / name
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file.name == MANIFEST_FILE):
            self._write(str(file.relative_to(self.local)), file.read_bytes())

    def drop(self, name: str) -> None:
        """Delete a subfolder from remote storage, its manifest first.

        Raises:
            OSError: If storage stays unreachable.
        """
        if self.url is None:
            return
        folder = child_location(self.url, name)
        files = call_with_retries(remote_files.names_below, folder)
        for file in sorted(files, key=lambda file: file != MANIFEST_FILE):
            call_with_retries(remote_files.delete, child_location(folder, file))

    def pull(self, file_filter: FileFilter = lambda name: True) -> None:
        """Copy the remote files here, except those of checkpoints without a manifest, which are incomplete.

        Raises:
            OSError: If storage stays unreachable.
        """
        if self.url is None:
            return
        names = call_with_retries(remote_files.names_below, self.url)
        complete_folders = {name.rpartition("/")[0] for name in names if name.endswith(MANIFEST_FILE)}
        selected_names = [
            name
            for name in names
            if file_filter(name)
            and _is_below(name)
            and ("checkpoint_" not in name or name.rpartition("/")[0] in complete_folders)
        ]
        with ThreadPoolExecutor(_NUM_THREADS) as threads:
            list(threads.map(self._fetch, selected_names))

    def exists(self) -> bool:
        """Return whether the folder exists, with any content. Does not retry.

        Raises:
            InputError: If remote storage cannot be read.
        """
        if self.url is None:
            return self.local.exists()
        try:
            return remote_files.exists(self.url)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.url} must be on storage that can be reached, but: {error}") from error

    def check_writable(self) -> None:
        """Write a file to remote storage, and delete it. Does not retry.

        Raises:
            InputError: If the file cannot be written or deleted.
        """
        if self.url is None:
            return
        try:
            probe = child_location(self.url, f".probe-{uuid.uuid4()}")
            remote_files.write(probe, b"")
            remote_files.delete(probe)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.url} must be on storage that can be written, but: {error}") from error

    def read_text(self, name: str) -> str | None:
        """Return the current content of a file, from remote storage if there is one; None if the file is missing.

        Raises:
            OSError: If storage stays unreachable.
        """
        if self.url is None:
            path = self.local / name
            return path.read_text() if path.exists() else None
        content = call_with_retries(remote_files.read, child_location(self.url, name))
        return None if content is None else content.decode()

    def write_text(self, name: str, text: str) -> None:
        """Write a file to remote storage without a local copy; without remote storage, write it locally.

        Raises:
            OSError: If the file cannot be written.
        """
        if self.url is None:
            (self.local / name).write_text(text)
        else:
            self._write(name, text.encode())

    def delete(self, name: str) -> None:
        """Delete a file locally and from remote storage, if it exists.

        Raises:
            OSError: If the file cannot be deleted.
        """
        (self.local / name).unlink(missing_ok=True)
        if self.url is not None:
            call_with_retries(remote_files.delete, child_location(self.url, name))

    @property
    def _url(self) -> str:
        assert self.url is not None
        return self.url

    def _fetch(self, name: str) -> None:
        content = call_with_retries(remote_files.read, child_location(self._url, name))
        if content is not None:  # None: deleted since it was listed
            path = self.local / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _write(self, name: str, content: bytes) -> None:
        call_with_retries(remote_files.write, child_location(self._url, name), content)


def _is_below(name: str) -> bool:
    """Return whether a file's name, which others may have written, leads to no other folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@contextmanager
def local_copy(location: str, file_filter: FileFilter = lambda name: True) -> Iterator[Mirror]:
    """Give a folder to read: a temporary copy of a URL, or a folder of this machine itself.

    Raises:
        InputError: If a URL's storage is unreachable, or the URL has no content.
    """
    location = full_location(location)
    if not is_remote(location):
        yield Mirror(Path(location))
        return
    with tempfile.TemporaryDirectory(prefix="betavae-lab-copy-") as folder:
        mirror = Mirror(Path(folder, location.rpartition("/")[2]), location)
        if not mirror.exists():
            raise InputError(f"{location} must be a sweep's folder, but nothing is there.")
        mirror.pull(file_filter)
        yield mirror
