"""Conversion of options to and from a sweep's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betavae.config import PARTS, parameters_by_name
from betavae.errors import InputError
from betavae.parts import split_field
from betavae.schedules import recorded_value
from sweeps.options.fields import Option, options_of
from sweeps.options.options import GROUPS, Options
from sweeps.search.space import Axis, Range, Space, parameter_of_axis, parse_axis

_SPACE = "space"
_OF_EARLIER: Mapping[str, Mapping[str, Any]] = {"search": {"final_scores": []}}
"""By group, options that records of earlier versions lack, with what these versions did."""


def options_from_dict(groups: Mapping[str, Any]) -> Options:
    """Return the options that `options_to_dict` has converted.

    Raises:
        InputError: If a group is missing, or a name or value is unknown.
    """
    for group in (*GROUPS, _SPACE):
        if not isinstance(groups.get(group), Mapping):
            raise InputError(f"A sweep's record must hold its options, but the group {group!r} is missing.")
    values = {
        group: kind(**_read_group(kind, {**_OF_EARLIER.get(group, {}), **groups[group]}))
        for group, kind in GROUPS.items()
    }
    return Options(**values, space=Space({name: _read_axis(name, value) for name, value in groups[_SPACE].items()}))


def recorded_options(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a sweep's record, by group.

    A grace that nobody asked for is the one that its version decided on: today's default may be another.
    """
    options, decided = record.get("options"), record.get("decided")
    groups = dict(options) if isinstance(options, Mapping) else {}
    search, grace = groups.get("search"), decided.get("grace_steps") if isinstance(decided, Mapping) else None
    if isinstance(search, Mapping) and search.get("scheduler") != "none" and search.get("grace_steps") is None:
        groups["search"] = {**search, "grace_steps": grace}
    return groups


def options_to_dict(options: Options) -> dict[str, dict[str, Any]]:
    """Return the recorded options as JSON values, by group and name. A range is text, as on the command line."""
    groups = {
        group: {
            name: getattr(getattr(options, group), name)
            for name, option in options_of(kind).items()
            if option.rules.is_recorded
        }
        for group, kind in GROUPS.items()
    }
    return {**groups, _SPACE: {name: _json_value(axis) for name, axis in options.space.axes.items()}}


def _read_group(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    options = options_of(kind)
    unknown_names = [name for name in values if name not in options]
    if unknown_names:
        raise InputError(f"A sweep's record must hold options of run.py, but holds {unknown_names[0]}.")
    return {name: _read_value(options[name], value) for name, value in values.items()}


def _read_value(option: Option, value: Any) -> Any:
    """Return an option's value, of the kind that the command line gives."""
    if value is None or value in option.words or option.kind is bool and isinstance(value, bool):
        return value
    if option.is_list != isinstance(value, list) or isinstance(value, (bool, dict)):
        raise InputError(f"{option.flag} of a sweep's record must be {option.kind.__name__}, but is {value!r}.")
    return option.parse([str(each) for each in value] if isinstance(value, list) else [str(value)])


def _read_axis(name: str, value: Any) -> Axis:
    part, own_name = split_field(name)
    if not part and own_name not in (*PARTS, *parameters_by_name()):
        raise InputError(f"A sweep's record must hold options of run.py, but holds {name}.")
    if isinstance(value, list) and value:
        if name in PARTS:
            return tuple(value)
        return tuple(recorded_value(parameter_of_axis(name).checked(each)) for each in value)
    if name in PARTS or not isinstance(value, str):
        raise InputError(f"The axis {name} of a sweep's record must be a list or a range, but is {value!r}.")
    return parse_axis(parameter_of_axis(name), [value])


def _json_value(axis: Axis) -> str | list[Any]:
    return str(axis) if isinstance(axis, Range) else list(axis)
