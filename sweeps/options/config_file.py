"""Options from a file: TOML, or the record of an earlier sweep."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from betavae.config import PARTS, parameters_by_name
from betavae.errors import InputError
from betavae.parts import field_of_part, split_field
from betavae.records.record import READ_FORMATS, SWEEP_FILE, formats_read
from sweeps.options.fields import Option, flag, options_of
from sweeps.options.options import GROUPS
from sweeps.options.recorded import recorded_options
from sweeps.options.studies import study_file, study_names
from sweeps.search.space import value_text

_SPACE = "space"


def words_of(path: Path, *, given: Collection[str] = ()) -> list[str]:
    """Return a file's options as command-line words, so that the same parser checks them.

    Args:
        path: A file; or the name of a study of this package, if no file has the name.
        given: Names of options that override the file's. What a recorded sweep took from them is left out: the grace
            for its steps and batch size, and the size of the images in its file.

    Raises:
        InputError: If the file cannot be read, or holds a name that is not an option, or one twice.
    """
    if (not path.exists() or path.is_dir()) and (study := study_file(str(path))) is not None:
        path = study
    try:
        content = _read(path, given)
    except (OSError, ValueError) as error:
        studies = f" or one of the studies {', '.join(study_names())}" if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"--config must be a TOML file or a {SWEEP_FILE}{studies}, but {path}: {error}") from error
    options = list(_flatten(path, content))
    name, count = Counter(name for name, _ in options).most_common(1)[0] if options else ("", 0)
    if count > 1:
        raise InputError(f"{path} must give {name} once, with all of its values, but gives it {count} times.")
    return [word for name, value in options for word in _words(path, name, value)]


def _read(path: Path, given: Collection[str]) -> dict[str, Any]:
    text = path.expanduser().read_text()
    if path.suffix != ".json":
        return tomllib.loads(text)
    record = json.loads(text)
    if isinstance(record, dict) and record.get("format") not in READ_FORMATS:
        raise ValueError(f"it must be of format {formats_read()}, but is of {record.get('format')!r}.")
    options = {}
    if isinstance(record, dict):
        keeps_grace = {"steps", "batch_size"}.isdisjoint(given)
        options = recorded_options(record if keeps_grace else {**record, "decided": {}})
    if not isinstance(options.get("sweep"), dict):
        raise ValueError("the file does not hold the options of a sweep.")
    options["sweep"].pop("name", None)  # the folder of this name exists already
    if isinstance(space := options.get(_SPACE), dict) and {"data_file", "file.data_file"} & set(given):
        options[_SPACE] = {name: axis for name, axis in space.items() if split_field(name)[1] != "image_size"}
    return options


def _options_by_name() -> dict[str, Option | None]:
    """Return all options by name; None in place of a trial's parts and parameters."""
    fixed_options = {name: option for kind in GROUPS.values() for name, option in options_of(kind).items()}
    return {**dict.fromkeys([*PARTS, *parameters_by_name()]), **fixed_options}


def _flatten(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the options in a file, with or without tables; a table may be that of a part."""
    options, parts = _options_by_name(), [part for table in PARTS.values() for part in table]
    for name, value in content.items():
        option_name = name.replace("-", "_")
        if name in (*GROUPS, _SPACE) and isinstance(value, dict):
            yield from _flatten(path, value)
        elif name in parts and isinstance(value, dict):  # TOML's `factor-vae.gamma = 10` is a table, too
            yield from ((field_of_part(name, own_name.replace("-", "_")), axis) for own_name, axis in value.items())
        elif split_field(name)[0]:
            part, own_name = split_field(name)
            yield field_of_part(part, own_name.replace("-", "_")), value
        elif option_name in options:
            yield option_name, value
        else:
            similar_names = difflib.get_close_matches(option_name, [*options, *GROUPS, *parts], n=1)
            hint = f"; did you mean {similar_names[0]}?" if similar_names else "."
            raise InputError(f"{path} must hold options of run.py, but got {name}{hint}")


def _words(path: Path, name: str, value: Any) -> list[str]:
    if value is None:
        return []
    option = _options_by_name().get(name)  # none for the axis of a part
    if option is not None and option.kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{name} in {path} must be true or false, but got {value!r}.")
        if value:
            return [flag(name)]
        return [f"--no-{name}"] if option.default else []
    if value == [] and option is not None and option.is_list:
        return [flag(name)]
    if value == [] or name == "config":
        raise InputError(f"{name} in {path} must be a value that the file can give, but got {value!r}.")
    values = value if isinstance(value, list) else [value]
    return [flag(name), *map(value_text, values)]
