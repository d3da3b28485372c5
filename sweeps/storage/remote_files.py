"""Files on other storage, by URL: one at a time, through pyarrow."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = 600.0
"""How long storage may be away before it counts as an error."""

_PAUSE_SECONDS = 2.0


def patiently(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it, again and again while storage is away.

    Raises:
        OSError: If it stays away.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action(*args, **kwargs)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


@functools.cache
def _reach(root: str) -> tuple[Any, str]:
    """The file system of a URL's server or bucket, and that one's path on it."""
    from pyarrow import fs  # late: most sweeps are on this machine

    filesystem, path = fs.FileSystem.from_uri(root)
    return filesystem, path


def _place(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path on it."""
    parts = urlsplit(url)
    filesystem, root = _reach(f"{parts.scheme}://{parts.netloc}/")
    return filesystem, root.rstrip("/") + parts.path


def exists(url: str) -> bool:
    """Whether there is such a file or folder.

    Raises:
        OSError: If storage is away, or lets nobody in.
    """
    from pyarrow import fs

    filesystem, path = _place(url)
    return bool(filesystem.get_file_info(path).type != fs.FileType.NotFound)


def names_below(url: str) -> list[str]:
    """Paths of all files of a folder, from there; none where there is no such folder.

    Raises:
        OSError: If storage is away, or lets nobody in.
    """
    from pyarrow import fs

    filesystem, path = _place(url)
    found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return sorted(info.path[len(path) + 1 :] for info in found if info.is_file)


def read(url: str) -> bytes | None:
    """A file's content; None if there is no such file.

    Raises:
        OSError: If storage is away, or lets nobody in.
    """
    filesystem, path = _place(url)
    try:
        with filesystem.open_input_stream(path) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def write(url: str, content: bytes) -> None:
    """Write a file that is there in full or not at all.

    Raises:
        OSError: If storage is away, or lets nobody in.
    """
    filesystem, path = _place(url)
    is_s3 = filesystem.type_name == "s3"  # has no folders, and shows a file when it is closed
    place = path if is_s3 else f"{path}.part-{uuid.uuid4()}"
    if not is_s3:
        filesystem.create_dir(path.rpartition("/")[0])
    with filesystem.open_output_stream(place) as file:
        file.write(content)
    if not is_s3:
        filesystem.move(place, path)


def delete(url: str) -> None:
    """Delete a file, if there is one.

    Raises:
        OSError: If storage is away, or lets nobody in.
    """
    filesystem, path = _place(url)
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        return
