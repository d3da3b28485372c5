"""The check of Ray's temporary folder, which holds its sockets, before a sweep's folder is made."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from betavae.errors import InputError

_LONGEST_SOCKET = "session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
"""The longest path that Ray appends to its folder."""

_MAX_BYTES = 103 if sys.platform == "darwin" else 107
"""The longest path of a socket."""


def check_temporary_folder() -> None:
    """Refuse a temporary folder in which Ray cannot make its sockets: $RAY_TMPDIR, or else $TMPDIR, or else /tmp.

    Raises:
        InputError: Naming the variable, if its folder is missing, cannot be written, or has too long a path.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "TMPDIR")
    folder = os.environ.get(name, "/tmp")
    problem = _problem(Path(folder))
    if problem is not None:
        raise InputError(
            f"{name} must be the absolute path of a folder in which Ray can put its sockets, but got {folder!r}: "
            f"{problem}. Set RAY_TMPDIR to a short path, such as /tmp."
        )


def _problem(folder: Path) -> str | None:
    ray_folder = folder / "ray"
    if not folder.is_absolute():
        return "it is not absolute"
    try:
        with tempfile.TemporaryDirectory(dir=ray_folder if ray_folder.exists() else folder):
            pass
    except OSError as error:
        return f"it cannot be written ({error.strerror})"
    if len(os.fsencode(ray_folder / _LONGEST_SOCKET)) > _MAX_BYTES:
        return f"a socket's path would be longer than {_MAX_BYTES} bytes"
    return None
