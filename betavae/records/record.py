"""A sweep's record, `sweep.json`: its options, command, versions, data, times and outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from betavae.errors import InputError
from betavae.files import read_json

SWEEP_FILE = "sweep.json"
"""The record of a sweep; the outcome is added at the end."""

FORMAT = 2
"""Number of the format of a sweep's folder. Raise it with every change that an older version cannot read."""

READ_FORMATS = (1, FORMAT)
"""The formats that this version reads. In format 1, the weights of checkpoints are `model.pt`; a resume raises the
format to this version's, since it adds checkpoints."""

SWEEP_COPY_FILE = "sweep.copy.json"
"""A copy of the record, read if the record is damaged."""


class FormatError(InputError):
    """A sweep's folder in a format that this version does not read."""


def formats_read() -> str:
    """Return the formats that this version reads, as text for a message."""
    return " or ".join(map(str, READ_FORMATS))


def read_record(folder: Path) -> dict[str, Any]:
    """Read a sweep's record, or its copy if the record is damaged.

    Raises:
        InputError: If the folder is no sweep's, record and copy are damaged, or the record is of another format.
    """
    return read_record_and_problems(folder)[0]


def read_record_and_problems(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a sweep's record, or its copy, with a sentence for each problem.

    Raises:
        InputError: As `read_record`.
    """
    path, copy = folder / SWEEP_FILE, folder / SWEEP_COPY_FILE
    if not path.is_file() and not copy.is_file():
        raise InputError(f"{folder} must be a sweep's folder, but has no {SWEEP_FILE}; give one that run.py made.")
    try:
        return _read_checked_record(path), []
    except FormatError:  # its copy would be of the same format, or older
        raise
    except (InputError, OSError) as error:
        try:
            return _read_checked_record(copy), [f"{error}; its copy {SWEEP_COPY_FILE} is used instead."]
        except (InputError, OSError):
            raise InputError(f"{error}; its copy {SWEEP_COPY_FILE} cannot be read either.") from error


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _is_data(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_texts, value.values()))


def _is_git_state(value: object) -> bool:
    return value is None or (isinstance(value, dict) and {"commit", "modified"} <= value.keys())


def _is_groups(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(group, dict) for group in value.values())


_RECORD_SHAPES: Mapping[str, Callable[[object], bool]] = {
    "options": _is_groups,
    "git": _is_git_state,
    "versions": _is_texts,
    "data": _is_data,
    **dict.fromkeys(("decided", "resources", "outcome", "sharing"), _is_mapping),
    **dict.fromkeys(("command", "start", "end"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("resumed", "chosen"), lambda value: isinstance(value, list) and all(map(_is_mapping, value))),
    "extensions": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
}


def _read_checked_record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path} must hold a sweep's record, but holds {_shown(record)}")
    if record.get("format") not in READ_FORMATS:
        came = f"is of format {_shown(record['format'])}" if "format" in record else "has no format number"
        raise FormatError(
            f"{path} must be of format {formats_read()}, which this version reads, but {came}; use the version that "
            "wrote it."
        )
    for name, is_right in _RECORD_SHAPES.items():
        if name in record and not is_right(record[name]):
            raise InputError(f"{path} must hold a sweep's record, but its {name} is {_shown(record[name])}")
    return record


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
