"""The user's private folder for copies of remote files and for locks."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import tempfile
from pathlib import Path

from betavae.errors import InputError


def copies_folder() -> Path:
    """Return the path of the user's private folder. Windows has a temporary folder per user, so the name has no ID."""
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir(), f"betavae-lab{user}")


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, unless it exists. Several processes may call this at once.

    Raises:
        InputError: If the folder exists and is not private.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    check_private(folder)


def check_private(folder: Path) -> None:
    """Refuse a folder in which others could read or plant links. Accept a missing folder: `make_private` makes it.

    Raises:
        InputError: Naming the folder, the problem and the fix.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        problem, fix = "is a link or a file", f"remove it ('rm {shlex.quote(str(folder))}')"
    elif not hasattr(os, "getuid"):
        return
    elif status.st_uid != os.getuid():
        problem, fix = f"belongs to user {status.st_uid}", "have it removed"
    elif status.st_mode & 0o077:
        problem = f"has mode {stat.S_IMODE(status.st_mode):03o}"
        fix = f"if nobody else has put anything there, 'chmod 700 {shlex.quote(str(folder))}'"
    else:
        return
    raise InputError(f"{folder} must be a folder that only you can enter, but it {problem}; {fix}, or set TMPDIR.")
