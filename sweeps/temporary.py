"""The folder in which Ray puts its sockets, checked before a sweep's folder is made."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from betavae.errors import InputError

_LONGEST_SOCKET = "session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
"""What Ray adds to its own folder, at most."""

_MAX_BYTES = 103 if sys.platform == "darwin" else 107
"""A socket's path can have so many."""


def check_temporary_folder() -> None:
    """See that a Ray of our own can make its sockets: below $RAY_TMPDIR, or else $TMPDIR, or else /tmp.

    Raises:
        InputError: Naming the variable, if its folder is not there, cannot be written or has too long a path.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "TMPDIR")
    folder = os.environ.get(name, "/tmp")
    problem = _problem(Path(folder))
    if problem is not None:
        raise InputError(
            f"{name} must be the absolute path of a folder in which Ray can put its sockets, but got {folder!r}: "
            f"{problem}. Set RAY_TMPDIR to a short one, such as /tmp."
        )


def _problem(folder: Path) -> str | None:
    own = folder / "ray"
    if not folder.is_absolute():
        return "it is not absolute"
    try:
        with tempfile.TemporaryDirectory(dir=own if own.exists() else folder):
            pass
    except OSError as error:
        return f"it cannot be written ({error.strerror})"
    if len(os.fsencode(own / _LONGEST_SOCKET)) > _MAX_BYTES:
        return f"a socket's path would be longer than {_MAX_BYTES} bytes"
    return None
