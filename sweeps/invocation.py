"""How this process was started: by an installed command or a script of a checkout. Messages print commands alike."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

Command = Literal["betavae-sweep", "betavae-analyze"]

_SCRIPTS: Mapping[Command, str] = {"betavae-sweep": "sweeps/run.py", "betavae-analyze": "sweeps/analyze.py"}
"""By installed command, the script of a checkout that does the same."""


def words_of_command(command: Command) -> list[str]:
    """Return the words that start a command: `betavae-sweep`, or `python sweeps/run.py` where a script was started."""
    return [command] if _is_installed() else ["python", _SCRIPTS[command]]


def words_to_type(command: Command) -> list[str]:
    """Return the words that start a command in a shell: with its path, if the name alone would not find it."""
    words = words_of_command(command)
    if not _is_installed():
        return words
    path = Path(sys.argv[0]).with_name(command)
    found = shutil.which(command)
    return words if found is not None and Path(found).resolve() == path.resolve() else [str(path.absolute())]


def _is_installed() -> bool:
    return Path(sys.argv[0]).name in _SCRIPTS
