"""Read, write, list and delete single files on remote storage, by URL, through pyarrow."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

P = ParamSpec("P")
T = TypeVar("T")

MAX_RETRY_SECONDS = 600.0
"""`call_with_retries` raises once storage has been unreachable for this long."""

_PAUSE_SECONDS = 2.0


def call_with_retries(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of an action; repeat the action while storage is unreachable.

    Raises:
        OSError: If storage is unreachable for longer than `MAX_RETRY_SECONDS`.
    """
    deadline = time.monotonic() + MAX_RETRY_SECONDS
    while True:
        try:
            return action(*args, **kwargs)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


@functools.cache
def _file_system(root: str) -> tuple[Any, str]:
    """Return the file system of a server's or bucket's URL, and the path of this URL on it."""
    from pyarrow import fs  # late: most sweeps are stored on this machine

    filesystem, path = fs.FileSystem.from_uri(root)
    return filesystem, path


def _file_system_and_path(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL's path on it."""
    parts = urlsplit(url)
    filesystem, root = _file_system(f"{parts.scheme}://{parts.netloc}/")
    return filesystem, root.rstrip("/") + parts.path


def exists(url: str) -> bool:
    """Return whether a file or folder exists.

    Raises:
        OSError: If storage is unreachable or denies access.
    """
    from pyarrow import fs

    filesystem, path = _file_system_and_path(url)
    return bool(filesystem.get_file_info(path).type != fs.FileType.NotFound)


def names_below(url: str) -> list[str]:
    """Return the paths of all files below a folder, relative to the folder; none if the folder is missing.

    Raises:
        OSError: If storage is unreachable or denies access.
    """
    from pyarrow import fs

    filesystem, path = _file_system_and_path(url)
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return sorted(info.path[len(path) + 1 :] for info in infos if info.is_file)


def read(url: str) -> bytes | None:
    """Return the content of a file; None if the file is missing.

    Raises:
        OSError: If storage is unreachable or denies access.
    """
    filesystem, path = _file_system_and_path(url)
    try:
        with filesystem.open_input_stream(path) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def write(url: str, content: bytes) -> None:
    """Write a file atomically: readers find the whole content or no file.

    Raises:
        OSError: If storage is unreachable or denies access.
    """
    filesystem, path = _file_system_and_path(url)
    is_s3 = filesystem.type_name == "s3"  # S3 has no folders, and shows a file only once it is closed
    temporary_path = path if is_s3 else f"{path}.part-{uuid.uuid4()}"
    if not is_s3:
        filesystem.create_dir(path.rpartition("/")[0])
    with filesystem.open_output_stream(temporary_path) as file:
        file.write(content)
    if not is_s3:
        filesystem.move(temporary_path, path)


def delete(url: str) -> None:
    """Delete a file if it exists.

    Raises:
        OSError: If storage is unreachable or denies access.
    """
    filesystem, path = _file_system_and_path(url)
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        return
