"""The search space: for each parameter of a trial, one value, several values or a range.

A part (a data set, an architecture, a likelihood or an objective) owns parameters; they vary only in trials that use
the part. Parts may own parameters of the same name. An axis `gamma` is that of every part with a `gamma`; an axis
`factor-vae.gamma` is that of one part alone, and comes before it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from betavae.config import PARTS, TrialConfig, default_part, parameters_by_name
from betavae.data import DATASETS, Dataset
from betavae.errors import InputError, ParameterError
from betavae.parts import Parameter, Part, field_of_part, parameters_of, split_field
from betavae.schedules import EXAMPLE, number_text, recorded_value

T = TypeVar("T")

_TOGETHER = ("starts", "start_steps", "steps")
"""Three axes of which no two need exclude one another, though all three do."""

_RANGE = re.compile(r"(.+?)\.\.(.+)")


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{value_text(self.low)}..{value_text(self.high)}"


Values: TypeAlias = tuple[Any, ...]
Axis: TypeAlias = Values | Range
"""The values that a parameter may take: a list, or a range of numbers. A schedule is its text, as in records."""

Point: TypeAlias = dict[str, Any]
"""One configuration: the names of its parts and its parameters in one flat dict, without the seed."""


@dataclass(frozen=True)
class Branch:
    """The subspace of one combination of parts.

    Attributes:
        parts: The name of the part of each kind.
        axes: The axis of each parameter that these parts own or that every trial has. The last one varies fastest.
        axis_names: For each parameter, the name of its axis in the whole space: `gamma`, or `factor-vae.gamma` if
            other parts of the space have another axis.
    """

    parts: Mapping[str, str]
    axes: Mapping[str, Axis]
    axis_names: Mapping[str, str]

    @property
    def varied_axes(self) -> dict[str, Axis]:
        """The axes of more than one value."""
        return {name: axis for name, axis in self.axes.items() if isinstance(axis, Range) or len(axis) > 1}

    def points(self) -> Iterator[Point]:
        """Yield every combination of the values. No axis may be a range."""
        for values in itertools.product(*self.axes.values()):  # type: ignore[arg-type]
            yield {**self.parts, **dict(zip(self.axes, values, strict=True))}


@dataclass(frozen=True)
class Space:
    """The search space of a sweep.

    Attributes:
        axes: Axes by name: a kind of part, a parameter, or PART.PARAMETER for one part alone, which comes before the
            parameter's axis. A parameter without an axis has its default value.
    """

    axes: Mapping[str, Axis] = field(default_factory=dict)

    def names_of(self, kind: str) -> tuple[str, ...]:
        """Return the names of the parts of a kind, such as `objective`."""
        names = self.axes.get(kind, (default_part(kind).name,))
        assert not isinstance(names, Range)
        return names

    def parts_of(self, kind: str) -> list[type[Part]]:
        """Return the parts of a kind.

        Raises:
            ParameterError: If no part has one of the names.
        """
        return [PARTS[kind].find(name) for name in self.names_of(kind)]

    def branches(self) -> list[Branch]:
        """Return a branch for each combination of parts."""
        choices = itertools.product(*(self.parts_of(kind) for kind in PARTS))
        return [self._branch(dict(zip(PARTS, parts, strict=True))) for parts in choices]

    def _branch(self, parts: Mapping[str, type[Part]]) -> Branch:
        owned = [(kind, part, name) for kind, part in parts.items() for name in parameters_of(part)]
        axes = {name: self._axis_of(part, name) for _, part, name in owned}
        axis_names = {name: self._axis_name(kind, part, name) for kind, part, name in owned}
        for parameter in parameters_of(TrialConfig).values():
            if parameter.name not in ("seed", "eval_every") or parameter.name in self.axes:
                axes[parameter.name] = self.axes.get(parameter.name, (parameter.default,))
                axis_names[parameter.name] = parameter.name
        return Branch({kind: part.name for kind, part in parts.items()}, axes, axis_names)

    def _given_name(self, part: type[Part], name: str) -> str:
        """Return the name under which `axes` has a part's parameter, if it does."""
        own_name = field_of_part(part.name, name)
        return own_name if own_name in self.axes else name

    def _axis_of(self, part: type[Part], name: str) -> Axis:
        return self.axes.get(self._given_name(part, name), (parameters_of(part)[name].default,))

    def _axis_name(self, kind: str, part: type[Part], name: str) -> str:
        """Return the name of a part's axis: the parameter's, if all parts with the parameter have the same axis."""
        axes = [self._axis_of(each, name) for each in self.parts_of(kind) if name in parameters_of(each)]
        return name if all(axis == axes[0] for axis in axes) else field_of_part(part.name, name)

    def with_defaults(self) -> Space:
        """Return the same space with every axis, and without axes that no part of it uses.

        An axis has the name of a part only if the axes of parts differ, so that equal spaces have equal axes.
        """
        kinds: dict[str, Axis] = {kind: self.names_of(kind) for kind in PARTS}
        branches = self.branches()
        axes = {branch.axis_names[name]: axis for branch in branches for name, axis in branch.axes.items()}
        return Space({**kinds, **axes})

    def completed(self) -> Space:
        """Return the same space with the values that data sets complete: the size of the images of a file.

        Raises:
            ParameterError: If a data set cannot complete its values, because a file is missing or wrong.
        """
        axes = dict(self.axes)
        for part in self.parts_of("dataset"):
            own_axes = {name: self._axis_of(part, name) for name in parameters_of(part)}
            single = {
                name: axis[0] for name, axis in own_axes.items() if not isinstance(axis, Range) and len(axis) == 1
            }
            if single.keys() == own_axes.keys():
                values = part.from_values(single).values()
                axes |= {
                    self._given_name(part, name): (values[name],) for name in own_axes if values[name] != single[name]
                }
        return Space(axes)

    def given_names(self) -> dict[str, list[str]]:
        """Return, for each axis of a part in `with_defaults`, the names under which `axes` may have its values."""
        names: dict[str, list[str]] = {}
        for kind in PARTS:
            for part in self.parts_of(kind):
                for name in parameters_of(part):
                    names.setdefault(self._axis_name(kind, part, name), []).append(self._given_name(part, name))
        return names

    def axis(self, name: str) -> Axis | None:
        """Return all values of a parameter over all branches; None if no branch has the parameter.

        If an axis is a range, return the range from the smallest to the largest number of all.
        """
        axes = [branch.axes[name] for branch in self.branches() if name in branch.axes]
        if not axes:
            return None
        if any(isinstance(axis, Range) for axis in axes):
            numbers = [value for axis in axes for value in ends(axis) if isinstance(value, int | float)]
            return Range(min(numbers), max(numbers))
        return tuple(dict.fromkeys(value for axis in axes if not isinstance(axis, Range) for value in axis))

    def scheduled_names(self) -> list[str]:
        """Return the names of the parameters that change over the training of some trial."""
        axes = [(name, axis) for branch in self.branches() for name, axis in branch.axes.items()]
        parameters = parameters_by_name()
        scheduled = {name for name, axis in axes if parameters[name].is_weight and not is_of_numbers(axis)}
        return [name for name in parameters if name in scheduled]

    def learnt_names(self) -> list[str]:
        """Return the names of the parameters that the likelihood of some trial learns."""
        configs = (
            TrialConfig.from_dict(with_eval_every(point)) for each in self.branches() for point in _corners(each)
        )
        return list(dict.fromkeys(name for config in configs for name in config.likelihood.learnt_names()))

    @property
    def has_starts(self) -> bool:
        """Whether some trial has several starts."""
        return any(value > 1 for value in ends(self.axis("starts") or (1,)))

    @property
    def num_points(self) -> int | None:
        """Number of different points; None if an axis is a range of numbers that are not whole."""
        branches = [[_num_values(name, axis) for name, axis in branch.axes.items()] for branch in self.branches()]
        if any(None in counts for counts in branches):
            return None
        return sum(math.prod(filter(None, counts)) for counts in branches)

    def check(self) -> None:
        """Refuse a space with a point that no trial can have.

        Raises:
            ParameterError: Naming the parameter, what must hold, and the value.
        """
        for name, axis in self.axes.items():
            _check_axis(name, axis)
        for branch in self.branches():
            for point in _corners(branch):
                TrialConfig.from_dict(with_eval_every(point))
        self.datasets()

    def datasets(self) -> dict[str, Dataset]:
        """Return the data sets of all trials, by name.

        A parameter that only selects images to train on has its default.

        Raises:
            ParameterError: If another parameter of a data set is to take several values.
        """
        return {name: self._dataset(DATASETS.find(name)) for name in self.names_of("dataset")}

    def _dataset(self, part: type[Dataset]) -> Dataset:
        values = {}
        for name in parameters_of(part):
            axis = self._axis_of(part, name)
            if name in part.selections:
                continue
            if isinstance(axis, Range) or len(axis) > 1:
                raise ParameterError(
                    self._given_name(part, name),
                    f"must be one value, since it may change the images, but got {axis_text(axis)}.",
                )
            values[name] = axis[0]
        return part.from_values(values)

    def mismatch(self, config: TrialConfig) -> str:
        """Return the first value by which a config lies outside this space, and what it must be; empty if none."""
        values = config.to_dict()
        branches = [
            branch for branch in self.branches() if all(values[kind] == name for kind, name in branch.parts.items())
        ]
        if not branches:
            kind = next(kind for kind in PARTS if values[kind] not in self.names_of(kind))
            return f"{kind} {values[kind]}, not {axis_text(self.names_of(kind))}"
        for name, axis in branches[0].axes.items():
            if not contains(axis, values[name]):
                return f"{name} {values[name]}, not {axis_text(axis)}"
        other_values = {name: value for name, value in values.items() if name != "eval_every"}
        default = with_eval_every(other_values)["eval_every"]
        if "eval_every" not in branches[0].axes and values["eval_every"] != default:
            return f"eval_every {values['eval_every']}, not {default}"
        return ""


def parameter_of_axis(name: str) -> Parameter:
    """Return the parameter of an axis. That of an axis of one part has the whole name, so that messages give it.

    Raises:
        ParameterError: If no part has the name.
        InputError: If the part has no such parameter.
    """
    part_name, parameter_name = split_field(name)
    if not part_name:
        return parameters_by_name()[parameter_name]
    every_part = [part for table in PARTS.values() for part in table.values()]
    parts = [part for part in every_part if part.name == part_name]
    for part in parts:
        if parameter_name in parameters_of(part):
            return replace(parameters_of(part)[parameter_name], name=name)
    if parts:
        owned = ", ".join(parameters_of(parts[0])) or "no parameters"
        raise InputError(f"{part_name} has no {parameter_name}; it has {owned}.")
    owners = [part.name for part in every_part if parameter_name in parameters_of(part)]
    known = ", ".join(owners or [part.name for part in every_part])
    raise ParameterError(name, f"must begin with the name of a part, one of {known}, but got {part_name}.")


def with_overrides(lower: Mapping[str, T], higher: Mapping[str, T]) -> dict[str, T]:
    """Return values by name, in which `higher` overrides `lower`: a parameter also overrides the axes of its parts."""
    return {name: value for name, value in lower.items() if split_field(name)[1] not in higher} | dict(higher)


def with_eval_every(point: Point) -> Point:
    """Return a point with `eval_every`: by default a quarter of the steps."""
    return point if "eval_every" in point else {**point, "eval_every": math.ceil(point["steps"] / 4)}


def parse_axis(parameter: Parameter, words: Sequence[str]) -> Axis:
    """Parse an axis as written on the command line: `1 4 10`, `4 12@0,4@7000`, or a range of numbers `1..32`.

    Raises:
        ParameterError: If a word is not a value of the parameter.
    """
    if not words:
        raise ParameterError(parameter.name, "must be a value, several values, or a range LOW..HIGH, but got nothing.")
    bounds = _RANGE.fullmatch(words[0]) if len(words) == 1 and parameter.kind in (int, float) else None
    if bounds is None:
        return tuple(_parse_value(parameter, word) for word in words)
    return Range(_parse_number(parameter, bounds[1]), _parse_number(parameter, bounds[2]))


def contains(axis: Axis, value: Any) -> bool:
    """Return whether a value lies on an axis."""
    if isinstance(axis, Range):
        return not isinstance(value, str) and axis.low <= value <= axis.high
    return value in axis


def is_of_numbers(axis: Axis) -> bool:
    """Return whether all values of an axis are numbers."""
    return isinstance(axis, Range) or all(isinstance(value, int | float) for value in axis)


def ends(axis: Axis) -> Values:
    """Return both ends of a range, or all values of a list."""
    return (axis.low, axis.high) if isinstance(axis, Range) else axis


def axis_text(value: object) -> str:
    """Return an axis, or one value, as written on the command line."""
    return " ".join(map(value_text, value)) if isinstance(value, tuple) else value_text(value)


def value_text(value: object) -> str:
    """Return a value as text: a float in the fewest digits that parse to the same float."""
    if isinstance(value, bool):
        return str(value).lower()
    return number_text(value) if isinstance(value, float) else str(value)


def draw(parameter: Parameter, axis: Axis, generator: np.random.Generator) -> Any:
    """Draw a value: one of a list with equal probability, or from a range uniformly on the parameter's scale."""
    if not isinstance(axis, Range):
        return axis[generator.integers(len(axis))]
    is_whole, is_log = parameter.kind is int, parameter.limits.log
    low, high = axis.low, axis.high + is_whole  # so that the interval of `high`, too, has its share of the scale
    if is_log:
        low, high = math.log(low), math.log(high)
    value = float(generator.uniform(low, high))
    value = min(math.exp(value) if is_log else value, axis.high)
    return max(int(value), int(axis.low)) if is_whole else max(value, axis.low)


def draw_point(space: Space, generator: np.random.Generator) -> Point:
    """Draw a combination of parts, then a value of each of their parameters."""
    branches = space.branches()
    branch = branches[generator.integers(len(branches))]
    parameters = parameters_by_name()
    return {**branch.parts, **{name: draw(parameters[name], axis, generator) for name, axis in branch.axes.items()}}


def _corners(branch: Branch) -> Iterator[Point]:
    """Yield the points that differ from the first in two axes, or in `_TOGETHER`: some values exclude one another.

    They have the ends of axes, and the second whole number of a range: `rotate_until` may be 0, but not 1.
    """
    first = {**branch.parts, **{name: ends(axis)[0] for name, axis in branch.axes.items()}}
    yield first
    axes = [[(name, value) for value in _extremes(name, axis)] for name, axis in branch.axes.items()]
    for one_axis, other_axis in itertools.combinations(axes, 2):
        for pair in itertools.product(one_axis, other_axis):
            yield {**first, **dict(pair)}
    together = [axis for axis in axes if axis[0][0] in _TOGETHER]
    for point in itertools.product(*together):
        yield {**first, **dict(point)}


def _num_values(name: str, axis: Axis) -> int | None:
    """Return the number of values of an axis; None if it is a range of numbers that are not whole."""
    if not isinstance(axis, Range):
        return len(axis)
    return int(axis.high) - int(axis.low) + 1 if parameter_of_axis(name).kind is int else None


def _extremes(name: str, axis: Axis) -> Values:
    values = ends(axis)
    if isinstance(axis, Range) and parameter_of_axis(name).kind is int:
        return tuple(sorted({axis.low, min(axis.low + 1, axis.high), axis.high}))
    return values


def _parse_value(parameter: Parameter, word: str) -> Any:
    if parameter.kind is bool:
        if word not in ("true", "false"):
            raise ParameterError(parameter.name, f"must be true or false, but got {word!r}.")
        return word == "true"
    if parameter.is_weight and "@" in word:
        return recorded_value(parameter.checked(word))
    return _parse_number(parameter, word)


def _parse_number(parameter: Parameter, word: str) -> Any:
    kind: Any = parameter.kind
    try:
        return kind(word)
    except ValueError:
        numbers = "a whole number, several numbers" if kind is int else "a number, several numbers"
        if parameter.is_weight:
            numbers = f"a number or points such as {EXAMPLE}, several of these"
        raise ParameterError(parameter.name, f"must be {numbers}, or a range LOW..HIGH, but got {word!r}.") from None


def _check_axis(name: str, axis: Axis) -> None:
    if name in PARTS:
        for value in ends(axis):
            PARTS[name].find(value)
    else:
        parameter = parameter_of_axis(name)
        for value in ends(axis):
            parameter.checked(value)
        if isinstance(axis, Range) and not axis.low < axis.high:
            raise ParameterError(name, f"must be a range LOW..HIGH with LOW below HIGH, but got {axis}.")
        if isinstance(axis, Range) and parameter.limits.log and axis.low <= 0:
            raise ParameterError(name, f"must be a range LOW..HIGH with LOW above 0, but got {axis}.")
    if not isinstance(axis, Range) and len(set(axis)) < len(axis):
        raise ParameterError(name, f"must name each value once, but got {axis_text(axis)}.")
