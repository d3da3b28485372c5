"""Pixels in a per-user cache: written once, checked by SHA-256, memory-mapped by every process.

Beside the pixels, `<name>.npy`, lies a small record, `<name>.json`, written after them: their size, modification time
and SHA-256. While size and time agree with the record, a later open trusts it and takes milliseconds. Otherwise the
pixels are hashed in full, and made again if they are wrong. Damage that changes neither size nor time is not noticed.
"""

import contextlib
import hashlib
import io
import json
import math
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8

from betavae.bars import tracked_blocks
from betavae.errors import InputError, ParameterError
from betavae.files import sync_folder

S = TypeVar("S", bound=Sized)

Pixels: TypeAlias = UInt8[np.ndarray, "..."]
"""Pixels of some images, in the form that the cache holds."""

CACHE_VARIABLE = "BETAVAE_CACHE"
DATA_VARIABLE = "DISENTANGLEMENT_LIB_DATA"


@dataclass(frozen=True)
class CacheRecord:
    """The state of a cache file when it was last hashed.

    Attributes:
        size: Bytes.
        mtime_ns: Modification time, in nanoseconds since 1970.
        sha256: SHA-256 of the pixels, in hexadecimal.
        source: The origin of the pixels.
    """

    size: int
    mtime_ns: int
    sha256: str
    source: str


def cache_folder() -> Path:
    """Return $BETAVAE_CACHE, or else `betavae` in the platform's folder for a user's caches; an absolute path.

    Raises:
        OSError: If the variable is not set and the user has no home folder.
    """
    if chosen := folder_from_environment(CACHE_VARIABLE):
        return chosen
    try:
        return _platform_folder().absolute()
    except RuntimeError as error:  # no $HOME, and a user id without an account, as in `docker run --user`
        raise OSError(
            "The cache must have a folder, but this user has no home folder to keep it in: set $BETAVAE_CACHE to a "
            "folder that can be written (or set $HOME)."
        ) from error


def folder_from_environment(variable: str) -> Path | None:
    """Return the absolute path that an environment variable names, `~` expanded; None if it is unset or empty.

    Raises:
        InputError: If the path begins with the home folder of a user who has none.
    """
    named = os.environ.get(variable)
    if not named:
        return None
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"${variable} must name a folder, but the home folder in {named} is not known: set it to an absolute path."
        ) from error


def absolute_path(name: str, path: str) -> Path:
    """Return the absolute path of a parameter's value, `~` expanded.

    Args:
        name: The parameter, for the message.
        path: The value.

    Raises:
        ParameterError: If the value is empty, or begins with the home folder of a user who has none.
    """
    if not path:
        raise ParameterError(name, "must be a path, but is empty.")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ParameterError(
            name, f"must be a path, but the home folder in {path} is not known; give an absolute path."
        ) from error


def use_data_root(folder: str) -> None:
    """Set the folder below which this process looks for files of data sets, in place of $DISENTANGLEMENT_LIB_DATA.

    Raises:
        ParameterError: If there is no such folder.
    """
    root = absolute_path("data_root", folder)
    if not root.is_dir():
        raise ParameterError("data_root", f"must be a folder that holds data sets, but there is no folder {root}.")
    os.environ[DATA_VARIABLE] = str(root)


def data_environment() -> dict[str, str]:
    """Return the environment variables that say where the data is, as absolute paths, if they are set.

    A process that starts others in other folders first puts them into `os.environ`, so that all open the same data.

    Raises:
        InputError: For the reasons of `folder_from_environment`.
    """
    folders = {variable: folder_from_environment(variable) for variable in (CACHE_VARIABLE, DATA_VARIABLE)}
    return {variable: str(folder) for variable, folder in folders.items() if folder is not None}


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "betavae" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "betavae"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG specification has a relative path ignored
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "betavae"


def ensure_cached(
    path: Path,
    blocks: Callable[[], Iterable[Pixels]],
    *,
    shape: tuple[int, ...],
    source: str,
    fingerprint: str | None = None,
) -> CacheRecord:
    """Return the record of a cache file, after writing the file if it is missing or wrong.

    Processes that call this at once wait for the first, which does the work under a lock beside the file.

    Args:
        path: The cache file, ending in ".npy".
        blocks: Returns the pixels, in index order; called only if they must be written.
        shape: The shape of all blocks together, images first.
        source: The origin of the pixels, for the record.
        fingerprint: The SHA-256 that the pixels must have; any if None.

    Raises:
        OSError: If the folder is a file, or must be written and cannot be.
        InputError: If the pixels have another SHA-256 than `fingerprint`.
    """
    _check_folder(path.parent)
    with _clear_errors(path.parent, math.prod(shape)):
        if record := _trusted_record(path, fingerprint):
            return record  # before the lock, so that a filled cache may be read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            record = _trusted_record(path, fingerprint) or _verified_record(path, shape, source, fingerprint)
            return record or _written(path, blocks(), shape=shape, source=source, fingerprint=fingerprint)


def load_cached(path: Path) -> Pixels:
    """Map a cache file into memory, read-only; all processes of a machine share its pages."""
    mapped: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def check_mapped(packed: Pixels, path: Path | None) -> None:
    """Refuse pixels whose file has been truncated since it was mapped: reading them would kill the process (SIGBUS).

    The check takes a microsecond. A file that has been replaced does no harm: the map keeps the old file.

    Raises:
        OSError: If the file is shorter than the map.
    """
    mapping = packed.base
    if isinstance(mapping, mmap.mmap) and mapping.size() < len(mapping):
        raise OSError(
            f"The cache file {path} must stay as it is while it is in use, but has been cut from {len(mapping)} to "
            f"{mapping.size()} bytes. Delete it and open the data again: it is then made again."
        )


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_progress(blocks: Iterable[S], doing: str, *, num_rows: int) -> Iterable[S]:
    """Return blocks that are made or read once per machine; show a bar on a terminal, else write one line.

    Args:
        blocks: The work, some rows at a time.
        doing: What is done, in words.
        num_rows: Number of rows of all blocks: images, or bytes.
    """
    description = f"{doing}, once per machine"
    if not sys.stderr.isatty():
        say(f"{description} ...")
    return tracked_blocks(blocks, description, num_rows=num_rows)


def say(message: str) -> None:
    """Write one line to stderr; stdout is for results."""
    print(message, file=sys.stderr, flush=True)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"The cache folder must be a folder, but {folder} is a file. Set $BETAVAE_CACHE to a folder."
        )


@contextlib.contextmanager
def _clear_errors(folder: Path, num_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"The cache folder {folder} must be writable and have {_size(num_bytes)} free, but: {error}. "
        raise OSError(message + "Set $BETAVAE_CACHE to a folder that is.") from error


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{math.ceil(num_bytes / 1e8)}00 MB"


def _trusted_record(path: Path, fingerprint: str | None) -> CacheRecord | None:
    """Return the record of a file if size, time and fingerprint agree with it, else None."""
    record = _read_record(path)
    if record is None or not path.is_file() or fingerprint not in (None, record.sha256):
        return None
    return record if record == _record_of(path, record.sha256, record.source) else None


def _verified_record(path: Path, shape: tuple[int, ...], source: str, fingerprint: str | None) -> CacheRecord | None:
    """Hash the whole file and record it again if it is intact; return None if it must be written."""
    if not path.is_file():
        return None
    record = _read_record(path)
    expected = record.sha256 if record and fingerprint is None else fingerprint
    actual = _fingerprint_of_file(path, shape)
    if actual is not None and actual == expected:
        return _recorded(path, _record_of(path, actual, source))
    say(f"{path} is damaged or unrecorded; it is made again.")
    return None


def _written(
    path: Path, blocks: Iterable[Pixels], *, shape: tuple[int, ...], source: str, fingerprint: str | None
) -> CacheRecord:
    """Write the pixels to a temporary file, and rename it once it is synced and its fingerprint is right."""
    temporary = path.with_suffix(".tmp")  # one writer holds the lock, and overwrites what a killed one left
    try:
        sha256 = _write_blocks(temporary, blocks, shape)
        if fingerprint not in (None, sha256):
            raise InputError(
                f"The pixels must have SHA-256 {fingerprint}, but got {sha256}: please report this platform."
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return _recorded(path, _record_of(path, sha256, source))


def _write_blocks(path: Path, blocks: Iterable[Pixels], shape: tuple[int, ...]) -> str:
    """Write block by block, and return the SHA-256 of the pixels.

    Raises:
        InputError: If there are more or fewer pixels than the shape says.
    """
    digest, num_bytes = hashlib.sha256(), 0
    with path.open("wb") as file:  # not a writable map: a full disk would kill the process instead of raising an error
        file.write(_npy_header(shape))
        for block in blocks:
            file.write(block.data)
            digest.update(block.data)
            num_bytes += block.nbytes
        file.flush()
        os.fsync(file.fileno())
    if num_bytes != math.prod(shape):
        raise InputError(
            f"The images must take {math.prod(shape):,} bytes, but {num_bytes:,} came: their file has changed; start "
            "again."
        )
    return digest.hexdigest()


def _fingerprint_of_file(path: Path, shape: tuple[int, ...]) -> str | None:
    """Return the SHA-256 of the pixels; None if the file has another header than `_write_blocks` gives it."""
    header = _npy_header(shape)
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def _record_of(path: Path, sha256: str, source: str) -> CacheRecord:
    status = path.stat()
    return CacheRecord(size=status.st_size, mtime_ns=status.st_mtime_ns, sha256=sha256, source=source)


def _read_record(path: Path) -> CacheRecord | None:
    try:
        return CacheRecord(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # missing, not JSON, or another record: the pixels are hashed
        return None


def _recorded(path: Path, record: CacheRecord) -> CacheRecord:
    temporary = path.with_suffix(".json.tmp")  # not synced: a record that a power cut damages is not trusted
    temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
    os.replace(temporary, path.with_suffix(".json"))
    return record
