"""Writing small files and folders; what replaces an earlier one is written whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from betavae.errors import InputError

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""Errors of a sync that mean lost data; the others mean that the file system cannot sync this."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If it is not JSON, which has no NaN and no infinity; the message names the file.
        OSError: If it cannot be read.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} must be JSON, but is damaged: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        InputError: If it is not JSON, or holds NaN or an infinity.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InputError("it is nested too deeply") from error


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write readable JSON; a number that is not finite is an error, since JSON has none."""
    path.write_text(_json(values))


def replace_json(path: Path, values: Mapping[str, Any]) -> None:
    """The same, all or nothing, whenever the process ends.

    Raises:
        OSError: If the folder cannot be written.
    """
    replace_text(path, _json(values))


def replace_text(path: Path, text: str) -> None:
    """Write a file under another name, sync it, and give it its own.

    Raises:
        OSError: If the folder cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("x") as file:  # unlike mkstemp's, a file whose mode follows the umask
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a hidden name in the folder of `path` that no file has yet."""
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the file system can.

    Raises:
        OSError: If the disk is full or fails.
    """
    if os.name == "nt":  # Windows cannot, and does not need to
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _LOST:
            raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which takes the place of `folder` when that is done without an error."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        filled = temporary / "new"
        filled.mkdir()
        yield filled
        if folder.exists():
            folder.rename(temporary / "old")
        filled.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written for lack of room, on the disk or in a quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _refuse_constant(name: str) -> None:
    raise InputError(f"{name} is no number of JSON")


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"
