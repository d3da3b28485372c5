"""The search space: what each parameter of a trial may be, for the parts that own it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from betavae.config import PARTS, TrialConfig, default_part, parameters_by_name
from betavae.errors import InputError, ParameterError
from betavae.parts import Parameter, Part, parameters_of

_RANGE = re.compile(r"(.+?)\.\.(.+)")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{shortest(self.low)}..{shortest(self.high)}"


Values: TypeAlias = tuple[Any, ...]
Axis: TypeAlias = Values | Range
"""What one parameter may be: some values, or a range."""

Point: TypeAlias = dict[str, Any]
"""Parameters of a trial by name, flat, without its seed."""


@dataclass(frozen=True)
class Branch:
    """The part of a space that one choice of parts spans.

    Attributes:
        parts: The name of the part of each kind.
        axes: What each parameter of these parts, and of every trial, may be; the last one varies fastest.
    """

    parts: Mapping[str, str]
    axes: Mapping[str, Axis]

    @property
    def tried(self) -> dict[str, Axis]:
        """The axes of more than one value."""
        return {name: axis for name, axis in self.axes.items() if isinstance(axis, Range) or len(axis) > 1}

    def points(self) -> Iterator[Point]:
        """Give every combination of the values; no axis may be a range."""
        for values in itertools.product(*self.axes.values()):  # type: ignore[arg-type]
            yield {**self.parts, **dict(zip(self.axes, values, strict=True))}


@dataclass(frozen=True)
class Space:
    """What the trials of a sweep may be.

    Attributes:
        axes: By parameter, or by kind of part, what it may be; all others have their default.
    """

    axes: Mapping[str, Axis] = field(default_factory=dict)

    def names_of(self, kind: str) -> tuple[str, ...]:
        """Return the names of the parts of a kind: `dataset`, `architecture`, `objective`."""
        named = self.axes.get(kind, (default_part(kind).name,))
        assert not isinstance(named, Range)
        return named

    def parts_of(self, kind: str) -> list[type[Part]]:
        """Return the parts of a kind.

        Raises:
            ParameterError: If there is no part of a name.
        """
        return [PARTS[kind].find(name) for name in self.names_of(kind)]

    def branches(self) -> list[Branch]:
        """Return a branch for each combination of parts."""
        choices = itertools.product(*(self.parts_of(kind) for kind in PARTS))
        return [self._branch(dict(zip(PARTS, parts, strict=True))) for parts in choices]

    def _branch(self, parts: Mapping[str, type[Part]]) -> Branch:
        owned = [each for part in parts.values() for each in parameters_of(part).values()]
        owned += [each for each in parameters_of(TrialConfig).values() if each.name not in ("seed", "eval_every")]
        axes: dict[str, Axis] = {each.name: self.axes.get(each.name, (each.default,)) for each in owned}
        if "eval_every" in self.axes:
            axes["eval_every"] = self.axes["eval_every"]
        return Branch({kind: part.name for kind, part in parts.items()}, axes)

    def resolved(self) -> Space:
        """Return the same space with every axis written out, and without those that no part of it owns."""
        kinds: dict[str, Axis] = {kind: self.names_of(kind) for kind in PARTS}
        owned = {name: axis for branch in self.branches() for name, axis in branch.axes.items() if name in self.axes}
        others = {name: axis for branch in self.branches() for name, axis in branch.axes.items() if _agree(self, name)}
        return Space({**kinds, **others, **owned})

    def axis(self, name: str) -> Axis | None:
        """Return what a parameter may be in any branch; None if no branch has it."""
        found = [branch.axes[name] for branch in self.branches() if name in branch.axes]
        if not found:
            return None
        if any(isinstance(axis, Range) for axis in found):
            return found[0]
        return tuple(dict.fromkeys(value for axis in found if not isinstance(axis, Range) for value in axis))

    def check(self) -> None:
        """Refuse an impossible space.

        Raises:
            ParameterError: Naming the parameter, what must hold, and what came.
        """
        for name, axis in self.axes.items():
            _check_axis(name, axis)
        for branch in self.branches():
            for name, axis in branch.axes.items():
                for value in ends(axis):
                    self._check_corner({**branch.parts, **_corner(branch), name: value})

    def _check_corner(self, point: Point) -> None:
        TrialConfig.from_dict(complete(point))

    def unlike(self, config: TrialConfig) -> str:
        """Say in which value a config does not lie in this space; return nothing if it does."""
        flat = config.to_dict()
        branches = [
            branch for branch in self.branches() if all(flat[kind] == name for kind, name in branch.parts.items())
        ]
        if not branches:
            kind = next(kind for kind in PARTS if flat[kind] not in self.names_of(kind))
            return f"{kind} {flat[kind]}, not {written(self.names_of(kind))}"
        for name, axis in branches[0].axes.items():
            if not contains(axis, flat[name]):
                return f"{name} {flat[name]}, not {written(axis)}"
        expected = complete({name: value for name, value in flat.items() if name != "eval_every"})["eval_every"]
        if "eval_every" not in branches[0].axes and flat["eval_every"] != expected:
            return f"eval_every {flat['eval_every']}, not {expected}"
        return ""


def complete(point: Point) -> Point:
    """Return a point with its `eval_every`: a quarter of the steps where it has none."""
    return point if "eval_every" in point else {**point, "eval_every": math.ceil(point["steps"] / 4)}


def parse_axis(parameter: Parameter, words: Sequence[str]) -> Axis:
    """Read an axis as it is written on the command line: `1 4 10`, or a range `1..32`.

    Raises:
        ParameterError: If a word is no value of the parameter.
    """
    if not words:
        raise ParameterError(parameter.name, "must be a value, several values, or a range LOW..HIGH, but got nothing.")
    bounds = _RANGE.fullmatch(words[0]) if len(words) == 1 and parameter.kind in (int, float) else None
    if bounds is None:
        return tuple(_parse_value(parameter, word) for word in words)
    return Range(_parse_value(parameter, bounds[1]), _parse_value(parameter, bounds[2]))


def contains(axis: Axis, value: Any) -> bool:
    """Whether a value lies on an axis."""
    return axis.low <= value <= axis.high if isinstance(axis, Range) else value in axis


def ends(axis: Axis) -> Values:
    """Return the values between which all others lie: both ends of a range, else all."""
    return (axis.low, axis.high) if isinstance(axis, Range) else axis


def written(value: object) -> str:
    """Return a value, or an axis, as it is written on the command line."""
    return " ".join(map(shortest, value)) if isinstance(value, tuple) else shortest(value)


def shortest(value: object) -> str:
    """Return a number in as few digits as give it back; any other value as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def draw(parameter: Parameter, axis: Axis, generator: np.random.Generator) -> Any:
    """Draw a value: each of several with the same probability, a range uniformly on the scale of its parameter."""
    if not isinstance(axis, Range):
        return axis[generator.integers(len(axis))]
    is_whole, is_log = parameter.kind is int, parameter.limits.log
    low, high = axis.low, axis.high + is_whole  # each whole number has its share of the scale
    if is_log:
        low, high = math.log(low), math.log(high)
    value = float(generator.uniform(low, high))
    value = min(math.exp(value) if is_log else value, axis.high)
    return max(int(value), int(axis.low)) if is_whole else max(value, axis.low)


def draw_point(space: Space, generator: np.random.Generator) -> Point:
    """Draw the parts, then a value of each of their parameters."""
    branches = space.branches()
    branch = branches[generator.integers(len(branches))]
    known = parameters_by_name()
    return {**branch.parts, **{name: draw(known[name], axis, generator) for name, axis in branch.axes.items()}}


def _agree(space: Space, name: str) -> bool:
    """Whether all branches that have a parameter give it the same axis."""
    axes = [branch.axes[name] for branch in space.branches() if name in branch.axes]
    return all(axis == axes[0] for axis in axes)


def _corner(branch: Branch) -> Point:
    """Return the smallest value of each axis, and the largest number of steps, which every `eval_every` must allow."""
    return {name: ends(axis)[-1] if name == "steps" else ends(axis)[0] for name, axis in branch.axes.items()}


def _parse_value(parameter: Parameter, word: str) -> Any:
    kind: Any = parameter.kind
    if kind is bool:
        if word not in ("true", "false"):
            raise ParameterError(parameter.name, f"must be true or false, but got {word!r}.")
        return word == "true"
    try:
        return kind(word)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ParameterError(
            parameter.name, f"must be {what}, several, or a range LOW..HIGH, but got {word!r}."
        ) from None


def _check_axis(name: str, axis: Axis) -> None:
    if name in PARTS:
        for value in ends(axis):
            PARTS[name].find(value)
    else:
        parameter = parameters_by_name()[name]
        for value in ends(axis):
            parameter.checked(value)
        if isinstance(axis, Range) and not axis.low < axis.high:
            raise ParameterError(name, f"must be a range LOW..HIGH with LOW below HIGH, but got {axis}.")
        if isinstance(axis, Range) and parameter.limits.log and axis.low <= 0:
            raise ParameterError(name, f"must be a range LOW..HIGH with LOW above 0, but got {axis}.")
    if not isinstance(axis, Range) and len(set(axis)) < len(axis):
        raise ParameterError(name, f"must name each value once, but got {written(axis)}.")


def check_owned(space: Space, name: str) -> None:
    """Refuse a parameter that was asked for and that no chosen part has.

    Raises:
        InputError: Naming the parts that have it.
    """
    if name in PARTS or space.axis(name) is not None:
        return
    kind, owners = next(
        (kind, [part.name for part in table.values() if name in parameters_of(part)])
        for kind, table in PARTS.items()
        if any(name in parameters_of(part) for part in table.values())
    )
    flag = "--" + name.replace("_", "-")
    raise InputError(
        f"{flag} needs --{kind} {' or '.join(owners)}, which has it, but got {written(space.names_of(kind))}; leave "
        f"{flag} out, or choose such {'an' if kind[0] in 'ao' else 'a'} {kind}."
    )
