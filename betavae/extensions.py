"""Modules of a user's own, which add parts, metrics or loggers to the tables of this package.

Such a module defines a class and adds it: `OBJECTIVES.add(MyObjective)`. Every process that names the module in
$BETAVAE_EXTENSIONS, and calls `load_extensions`, knows the class.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from betavae.errors import InputError

EXTENSIONS_VARIABLE = "BETAVAE_EXTENSIONS"


def extension_names() -> tuple[str, ...]:
    """Return the modules that $BETAVAE_EXTENSIONS names, separated by commas: each once, in order."""
    names = (name.strip() for name in os.environ.get(EXTENSIONS_VARIABLE, "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def extension_environment() -> dict[str, str]:
    """Return the variable for other processes; nothing if it is not set."""
    value = os.environ.get(EXTENSIONS_VARIABLE)
    return {EXTENSIONS_VARIABLE: value} if value else {}


def extension_packages() -> list[ModuleType]:
    """Return the outermost packages of the modules that have been loaded, to be sent to other machines."""
    return [sys.modules[name] for name in dict.fromkeys(name.partition(".")[0] for name in extension_names())]


def check_extensions(record: Mapping[str, Any]) -> None:
    """Refuse a sweep whose extensions this process has not loaded.

    Raises:
        InputError: Naming them.
    """
    needed, loaded = record.get("extensions", []), extension_names()
    missing = [name for name in needed if name not in loaded]
    if missing:
        raise InputError(
            f"The sweep needs the extensions {', '.join(needed)}, but {', '.join(missing)} is not loaded: set "
            f"{EXTENSIONS_VARIABLE}={','.join(needed)}, and $PYTHONPATH to the folders of these modules."
        )


def load_extensions() -> tuple[str, ...]:
    """Import the modules that $BETAVAE_EXTENSIONS names, and return their names; a second call imports nothing anew.

    Raises:
        InputError: If a module is missing, or raises an error when it is imported; the message names both.
    """
    names = extension_names()
    for name in names:
        _load(name)
    return names


def _load(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever code that is not ours can raise
        first_line = str(error).partition("\n")[0]
        raise InputError(
            f"${EXTENSIONS_VARIABLE} must name modules that can be imported, but {name!r} cannot: "
            f"{type(error).__name__}: {first_line} ($PYTHONPATH holds the folders of your modules.)"
        ) from error
