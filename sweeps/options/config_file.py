"""Options from a file: TOML, or the record of an earlier sweep."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from betavae.config import PARTS, parameters_by_name
from betavae.errors import InputError
from betavae.records.record import SWEEP_FILE
from sweeps.options.fields import Option, flag, options_of
from sweeps.options.options import GROUPS, Options
from sweeps.search.space import shortest

_SPACE = "space"


def words_of(path: Path) -> list[str]:
    """Return a file's options as a command line would have them, so that they are checked as such.

    Raises:
        InputError: If the file cannot be read, or holds something that is no option.
    """
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        raise InputError(f"--config must be a TOML file or a {SWEEP_FILE}, but {path}: {error}") from error
    return [word for name, value in _flatten(path, content) for word in _words(path, name, value)]


def _read(path: Path) -> dict[str, Any]:
    text = path.expanduser().read_text()
    if path.suffix != ".json":
        return tomllib.loads(text)
    record = json.loads(text)
    options = record.get("options") if isinstance(record, dict) else None
    if not isinstance(options, dict) or not isinstance(options.get("sweep"), dict):
        raise ValueError("it does not hold the options of a sweep.")
    options["sweep"].pop("name", None)  # its folder is there already
    return options


def _known() -> dict[str, Option | None]:
    """Return all options by name; None for the parameters of trials."""
    options = Options()
    fixed = {name: each for group in GROUPS for name, each in options_of(type(getattr(options, group))).items()}
    return {**dict.fromkeys([*PARTS, *parameters_by_name()]), **fixed}


def _flatten(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    known = _known()
    for name, value in content.items():
        plain = name.replace("-", "_")
        if name in (*GROUPS, _SPACE) and isinstance(value, dict):
            yield from _flatten(path, value)
        elif plain in known:
            yield plain, value
        else:
            near = difflib.get_close_matches(plain, [*known, *GROUPS], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise InputError(f"{path} must hold options of run.py, but got {name}{hint}")


def _words(path: Path, name: str, value: Any) -> list[str]:
    if value is None:
        return []
    option = _known()[name]
    if option is not None and option.kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{name} in {path} must be true or false, but got {value!r}.")
        if value:
            return [flag(name)]
        return [f"--no-{name}"] if option.default else []
    values = value if isinstance(value, list) else [value]
    return [flag(name), *map(shortest, values)]
