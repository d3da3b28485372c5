"""Files that were published elsewhere: where they lie, whether they are the published ones, and their conversion."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Int

from betavae.data.cache import (
    DATA_VARIABLE,
    Pixels,
    cache_folder,
    ensure_cached,
    folder_from_environment,
    load_cached,
    with_progress,
)
from betavae.data.factors import FactorSpace
from betavae.data.stored import ArrayImages
from betavae.errors import InputError
from betavae.files import write_json

_BLOCK_BYTES = 2**22
_LARGE = 10**9  # bytes; hashing them takes seconds


@dataclass(frozen=True)
class Published:
    """A data set as its authors published it.

    Attributes:
        name: The name in `DATASETS`.
        files: What is needed, in words: the files and their folder.
        address: Where they are published.
        size: Their size, in words.
        md5: By path below the folder of data sets, the published MD5, in hexadecimal.
    """

    name: str
    files: str
    address: str
    size: str
    md5: dict[str, str]

    def missing(self, came: str) -> InputError:
        """Return the error for a file that is not there.

        Args:
            came: What is there instead, in words.
        """
        return InputError(
            f"{self.name} needs {self.files} below $DISENTANGLEMENT_LIB_DATA (or --data-root), but "
            f"{came}. Get {self.size} from {self.address} and put it there; this program downloads nothing."
        )


def data_root(published: Published) -> Path:
    """Return the folder of data sets.

    Raises:
        InputError: If $DISENTANGLEMENT_LIB_DATA is not set, or names no folder.
    """
    root = folder_from_environment(DATA_VARIABLE)
    if root is None:
        raise published.missing("neither is set")
    if not root.is_dir():
        raise published.missing(f"there is no folder {root}")
    return root


@dataclass(frozen=True)
class Digests:
    """Hashes of a file's bytes, in hexadecimal, with the size and the time that the file had then.

    Attributes:
        path: The file's absolute path.
        size: Bytes.
        mtime_ns: Modification time, in nanoseconds since 1970.
        checksums: Checksums that the file itself holds, or an empty text.
        sha256: SHA-256.
        md5: MD5.
    """

    path: str
    size: int
    mtime_ns: int
    checksums: str
    sha256: str
    md5: str

    @property
    def is_of_present_file(self) -> bool:
        """Whether the file still has the size and the time of these hashes."""
        status = Path(self.path).stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


def digests_of(path: Path, *, folder: Path, checksums: str = "") -> Digests:
    """Return the hashes of a file; a file of the same path, size, time and checksums as before is not read again.

    Processes that call this at once wait for the first, which reads the file under a lock.

    Args:
        path: The file.
        folder: The cache folder, which keeps the hashes.
        checksums: Checksums that the file itself holds, if they are at hand.

    Raises:
        OSError: If the file cannot be read.
    """
    path = path.absolute()
    record = folder / f"source-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    if known := _known_digests(record, path, checksums):
        return known
    with _locked(record):
        return _known_digests(record, path, checksums) or _noted(record, _read_digests(path, checksums))


@contextlib.contextmanager
def _locked(record: Path) -> Iterator[None]:
    """Hold the lock of a record; of a cache that cannot be written there is none."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(record.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _known_digests(record: Path, path: Path, checksums: str) -> Digests | None:
    """Return the hashes that a record holds; None if it is missing, damaged, or of another state of the file."""
    try:
        known = Digests(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    is_same = (known.path, known.checksums) == (str(path), checksums) and known.is_of_present_file
    return known if is_same else None


def _read_digests(path: Path, checksums: str) -> Digests:
    status = path.stat()
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for content in _content(path, status.st_size):
        sha256.update(content)
        md5.update(content)
    return Digests(str(path), status.st_size, status.st_mtime_ns, checksums, sha256.hexdigest(), md5.hexdigest())


def _noted(record: Path, digests: Digests) -> Digests:
    with contextlib.suppress(OSError):  # a cache that cannot be written: the next open reads the file again
        write_json(record, asdict(digests))
    return digests


def _content(path: Path, size: int) -> Iterable[bytes]:
    """Yield the bytes of a file; show a bar, or write a line, if they take long."""
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(_BLOCK_BYTES), b"")
        yield from blocks if size < _LARGE else with_progress(blocks, f"Hashing {path.name}", num_rows=size)


def converted(
    name: str,
    paths: Sequence[Path],
    blocks: Callable[[], Iterable[Pixels]],
    *,
    shape: tuple[int, int, int, int],
    factors: FactorSpace,
    labels: Int[np.ndarray, "images factors"] | None = None,
    md5: dict[Path, str] | None = None,
    checksums: str = "",
    cache: Path | None = None,
) -> ArrayImages:
    """Return the images of files, mapped from the cache, which is filled on first use.

    Args:
        name: The name of the cache file, without the hash of the content.
        paths: The files that the pixels come from: others get a cache file of their own.
        blocks: Returns the pixels, (n, height, width, channels) uint8, in index order; called only if they must be
            written.
        shape: The shape of all blocks together.
        factors: As for `ArrayImages`.
        labels: As for `ArrayImages`.
        md5: Published MD5s of files.
        checksums: Checksums that the files themselves hold, if they are at hand.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If a file is not the published one, or changes while it is read.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    folder = cache_folder() if cache is None else cache
    digests = [digests_of(path, folder=folder, checksums=checksums) for path in paths]
    for path, found in zip(paths, digests, strict=True):
        expected = (md5 or {}).get(path, found.md5)
        if found.md5 != expected:
            raise InputError(
                f"{path} must be the published file, with MD5 {expected}, but has {found.md5}: it is damaged or "
                "another version; get it again."
            )
    content = hashlib.sha256("".join(each.sha256 for each in digests).encode()).hexdigest()
    if len(digests) == 1:
        content = digests[0].sha256
    path = folder / f"{name}-{content[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: with_progress(_of_unchanged(digests, blocks()), f"Converting {name}", num_rows=shape[0]),
        shape=shape,
        source="file",
    )
    return ArrayImages(load_cached(path), factors, source="file", pixels_sha256=record.sha256, labels=labels, path=path)


def _of_unchanged(digests: Sequence[Digests], blocks: Iterable[Pixels]) -> Iterator[Pixels]:
    """Yield blocks, and see that the files that they came from are those that were hashed."""
    yield from blocks
    for each in digests:
        if not each.is_of_present_file:
            raise InputError(f"{each.path} must stay as it is while it is read, but has changed; start again.")
