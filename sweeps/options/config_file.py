"""Options from a file: TOML, or the record of an earlier sweep."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from betavae.records.record import SWEEP_FILE
from sweeps.options.options import Options, flag

_DEFAULTS = {name: default for group in vars(Options()).values() for name, default in vars(group).items()}


def words_of(path: Path) -> list[str]:
    """A file's options, as a command line would have them: so they are checked as such, and the later one counts.

    Raises:
        ValueError: If it cannot be read, or holds what is no option.
    """
    return [word for name, value in _options(path) for word in _words(path, name, value)]


def names_in(path: Path) -> set[str]:
    """The options that a file gives.

    Raises:
        ValueError: As `words_of`.
    """
    return {name for name, value in _options(path) if value is not None}


def _options(path: Path) -> list[tuple[str, Any]]:
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--config must be a TOML file or a {SWEEP_FILE}, but {path}: {error}") from error
    return list(_flatten(path, content))


def _read(path: Path) -> dict[str, Any]:
    text = path.expanduser().read_text()
    if path.suffix != ".json":
        return tomllib.loads(text)
    record = json.loads(text)
    options = record.get("options") if isinstance(record, dict) else None
    if not isinstance(options, dict) or not isinstance(options.get("sweep"), dict):
        raise ValueError("it does not hold the options of a sweep.")
    options["sweep"].pop("name", None)  # its folder is there already
    if options.get("confirm", {}).get("confirm") is None:
        options.pop("confirm", None)  # older sweeps have seeds of none
    return options


def _flatten(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if name in vars(Options()) and isinstance(value, dict):
            yield from _flatten(path, value)
        elif name.replace("-", "_") in _DEFAULTS:
            yield name.replace("-", "_"), value
        else:
            near = difflib.get_close_matches(name.replace("-", "_"), [*_DEFAULTS, *vars(Options())], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{path} must hold options of run.py, but got {name}{hint}")


def _words(path: Path, name: str, value: Any) -> list[str]:
    if value is None:
        return []
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} in {path} must be true or false, but got {value!r}.")
        if value:
            return [flag(name)]
        return [f"--no-{name}"] if default else []
    values = value if isinstance(value, list) else [value]
    return [flag(name), *map(str, values)]
