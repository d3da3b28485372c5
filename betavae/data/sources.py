"""Files that were published elsewhere: where they lie, whether they are the published ones, and their conversion."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
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
            f"{came}. Get {self.size} from {self.address} and put it there; nothing is downloaded by itself."
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
        sha256: SHA-256.
        md5: MD5.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    md5: str


def digests_of(path: Path, *, folder: Path) -> Digests:
    """Return the hashes of a file; a file of the same path, size and time as before is not read again.

    Args:
        path: The file.
        folder: The cache folder, which keeps the hashes.

    Raises:
        OSError: If the file cannot be read.
    """
    path = path.absolute()
    record = folder / f"source-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    status = path.stat()
    known = _read_digests(record)
    if known is not None and (known.path, known.size, known.mtime_ns) == (
        str(path),
        status.st_size,
        status.st_mtime_ns,
    ):
        return known
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for content in _content(path, status.st_size):
        sha256.update(content)
        md5.update(content)
    found = Digests(str(path), status.st_size, status.st_mtime_ns, sha256.hexdigest(), md5.hexdigest())
    with contextlib.suppress(OSError):  # a cache that cannot be written: the next open reads the file again
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(found))
    return found


def _content(path: Path, size: int) -> Iterable[bytes]:
    """Yield the bytes of a file; show a bar, or write a line, if they take long."""
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(_BLOCK_BYTES), b"")
        yield from blocks if size < _LARGE else with_progress(blocks, f"Hashing {path.name}", num_rows=size)


def _read_digests(record: Path) -> Digests | None:
    try:
        return Digests(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # missing or damaged: the file is read
        return None


def converted(
    name: str,
    paths: Sequence[Path],
    blocks: Callable[[], Iterable[Pixels]],
    *,
    shape: tuple[int, int, int, int],
    factors: FactorSpace,
    labels: Int[np.ndarray, "images factors"] | None = None,
    md5: dict[Path, str] | None = None,
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
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If a file is not the published one.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    folder = cache_folder() if cache is None else cache
    digests = [digests_of(path, folder=folder) for path in paths]
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
        lambda: with_progress(blocks(), f"Converting {name}", num_rows=shape[0]),
        shape=shape,
        source="file",
    )
    return ArrayImages(load_cached(path), factors, source="file", fingerprint=record.sha256, labels=labels, path=path)
