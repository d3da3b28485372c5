"""Parts of a trial, chosen by name, and the parameters that each part owns."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import math
import numbers
import sys
import textwrap
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from betavae.errors import InputError, ParameterError, UnknownNameError
from betavae.schedules import EXAMPLE, Schedule, Weight, recorded_value

_METADATA = "parameter"
_NAME_OF_KIND = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def field_of_part(part: str, parameter: str) -> str:
    """Return the name of the parameter of one part: `factor-vae.gamma`."""
    return f"{part}.{parameter}"


def split_field(name: str) -> tuple[str, str]:
    """Return the part and the parameter of a field's name; of `gamma`, the part is empty."""
    part, _, parameter = name.rpartition(".")
    return part, parameter


@dataclass(frozen=True)
class Limits:
    """The range of a parameter, its names, and the scale on which it is searched.

    Attributes:
        least: The smallest value; None for no limit.
        most: The largest value; None for no limit.
        positive: Whether a value must be above 0.
        log: Whether a search draws values, and a figure shows them, on a logarithmic scale.
        label: The name in words; the field's name with spaces if empty.
        symbol: The name at the head of a column; the label if empty.
        letter: The short option on the command line; none if empty.
        is_tried: Whether the parameter is part of what a trial tries; False if it only says how the trial runs.
        is_shown: Whether tables show it even where all trials share a value, as they do an objective's parameters.
        is_shown_if_set: The same, where a trial has another value than the default.
    """

    least: float | None = None
    most: float | None = None
    positive: bool = False
    log: bool = False
    label: str = ""
    symbol: str = ""
    letter: str = ""
    is_tried: bool = True
    is_shown: bool = False
    is_shown_if_set: bool = False


def parameter(default: Any, **limits: Any) -> Any:
    """Return a dataclass field for a parameter.

    Args:
        default: The value of a trial that gives none.
        limits: Attributes of `Limits`.
    """
    return field(default=default, metadata={_METADATA: Limits(**limits)})


@dataclass(frozen=True)
class Parameter:
    """A parameter of a trial or of one of its parts.

    Attributes:
        name: The field's name.
        kind: float, int, bool or str.
        default: The value of a trial that gives none.
        choices: The values of a `Literal`; empty for any other type.
        limits: The range, names and scale.
        help: The docstring below the field, on one line.
        is_weight: Whether a value may be a `Schedule`, which changes over training, as of a field of type `Weight`.
    """

    name: str
    kind: type
    default: Any
    choices: tuple[str, ...]
    limits: Limits
    help: str
    is_weight: bool = False

    @property
    def label(self) -> str:
        """The name in words."""
        return self.limits.label or self.name.replace("_", " ")

    @property
    def symbol(self) -> str:
        """The name at the head of a column."""
        return self.limits.symbol or self.label

    def checked(self, value: Any) -> Any:
        """Return a value in this parameter's kind: 4 as 4.0 for a float, and a number of NumPy as one of Python.

        For a weight, the text of a schedule gives a `Schedule`.

        Raises:
            ParameterError: If the value is of another kind or outside the limits.
        """
        if self.is_weight and isinstance(value, str | Schedule):
            return self._checked_schedule(value)
        value = self._converted(value)
        if type(value) is not self.kind:
            points = f" or points such as {EXAMPLE}" if self.is_weight else ""
            raise ParameterError(self.name, f"must be {_NAME_OF_KIND[self.kind]}{points}, but got {value!r}.")
        if requirement := self._violated(value):
            raise ParameterError(self.name, f"must be {requirement}, but got {value!r}.")
        return value

    def _checked_schedule(self, value: str | Schedule) -> Schedule:
        """Return a schedule whose points are all within the limits."""
        try:
            schedule = Schedule.parse(value) if isinstance(value, str) else value
        except ParameterError as error:
            raise ParameterError(self.name, error.requirement) from error
        for _, point in schedule.points:
            if requirement := self._violated(point):
                raise ParameterError(self.name, f"must be {requirement} at every point, but got {str(schedule)!r}.")
        return schedule

    def _converted(self, value: Any) -> Any:
        """Return a number in this parameter's kind, if that loses nothing; any other value as it is."""
        if isinstance(value, bool):
            return value
        if self.kind is int and isinstance(value, numbers.Integral):
            return int(value)
        if self.kind is float and isinstance(value, numbers.Real):
            is_too_large = isinstance(value, int) and abs(value) > sys.float_info.max
            return value if is_too_large else float(value)
        return value

    def _violated(self, value: Any) -> str:
        """Return what a value must be and is not; an empty text if it is within the limits."""
        if self.choices and value not in self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in (int, float):
            return ""
        limits = self.limits
        if self.kind is float and not math.isfinite(value) or limits.positive and value <= 0:
            return "positive and finite" if limits.positive else "finite"
        if limits.least is not None and limits.most is not None:
            return "" if limits.least <= value <= limits.most else f"in {limits.least} .. {limits.most}"
        if limits.least is not None and value < limits.least:
            return f"at least {limits.least}"
        return f"at most {limits.most}" if limits.most is not None and value > limits.most else ""


def parameters_of(owner: type) -> Mapping[str, Parameter]:
    """Return the parameters of a dataclass by name, in order.

    Args:
        owner: A part, or `TrialConfig`, whose other fields hold parts.

    Raises:
        TypeError: If a field of a part cannot be a parameter.
    """
    key: Any = owner
    return _read_parameters(key)


def normalize_parameters(owned: Any) -> None:
    """Check every parameter of a frozen dataclass, and convert it to the kind of its field.

    Raises:
        ParameterError: If a value is impossible.
    """
    for name, each in parameters_of(type(owned)).items():
        object.__setattr__(owned, name, each.checked(getattr(owned, name)))


def schedules_of(owned: Any) -> dict[str, Schedule]:
    """Return the parameters of a dataclass that change over training, by name."""
    values = {name: getattr(owned, name) for name, each in parameters_of(type(owned)).items() if each.is_weight}
    return {name: value for name, value in values.items() if isinstance(value, Schedule)}


@functools.cache
def _read_parameters(owner: Any) -> Mapping[str, Parameter]:
    types, helps = get_type_hints(owner), field_helps(owner)
    known: dict[str, Parameter] = {}
    for item in fields(owner):
        found = _parameter(item, types[item.name], helps.get(item.name, ""))
        if found is not None:
            known[item.name] = found
        elif issubclass(owner, Part):  # no record would hold its value
            raise TypeError(
                f"A field of a part must be a number, true or false, text or a Literal, and have a default, but "
                f"{owner.__name__}.{item.name} is none of these."
            )
    return known


def _parameter(item: Field[Any], annotation: Any, help_text: str) -> Parameter | None:
    choices = tuple(get_args(annotation)) if get_origin(annotation) is Literal else ()
    is_weight = annotation == Weight and annotation is not float
    kind = str if choices else float if is_weight else annotation
    if kind not in _NAME_OF_KIND or item.default is MISSING:
        return None
    limits = item.metadata.get(_METADATA, Limits())
    return Parameter(item.name, kind, item.default, choices, limits, help_text, is_weight)


def field_helps(owner: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass and of its base classes."""
    helps: dict[str, str] = {}
    for kind in reversed(owner.__mro__[:-1]):
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        except (OSError, TypeError):  # a class without source code, such as one made by exec
            continue
        assert isinstance(definition, ast.ClassDef)
        for item, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(below, ast.Expr):
                helps[item.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return helps


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """One of several choices, with its own parameters as fields.

    Attributes:
        name: The name on the command line and in records.

    Raises:
        ParameterError: If a parameter's value is impossible.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Check every parameter."""
        normalize_parameters(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Build a part from values by name; a parameter without a value has its default.

        Raises:
            InputError: If the part has no parameter of some name, or a value is impossible.
        """
        known = parameters_of(cls)
        for name in values:
            if name not in known:
                owned = ", ".join(known) or "no parameters"
                raise InputError(f"{cls.name} has no {name}; it has {owned}.")
        return cls(**{name: known[name].checked(value) for name, value in values.items()})

    def values(self) -> dict[str, Any]:
        """Return the parameters by name, as records hold them: a schedule as its text."""
        return {name: recorded_value(getattr(self, name)) for name in parameters_of(type(self))}

    def shown_values(self) -> dict[str, Any]:
        """Return the parameters by name, as `values`, without those that a table shows only if they are set."""
        known = parameters_of(type(self))
        return {
            name: value
            for name, value in self.values().items()
            if not known[name].limits.is_shown_if_set or value != known[name].default
        }

    def schedules(self) -> dict[str, Schedule]:
        """Return the parameters that change over training, by name."""
        return schedules_of(self)

    def at(self, step: int) -> Self:
        """Return this part with the numbers that its schedules have at a step; itself if it has no schedule."""
        return self.with_schedules(lambda schedule: schedule(step))

    def with_schedules(self, value_of: Callable[[Callable[[int], float]], Any]) -> Self:
        """Return this part with a value in place of each schedule; itself if it has no schedule.

        Args:
            value_of: Return the value in place of a schedule, which is given as a function of the step: its number at
                some step, or a tensor that is to hold it.
        """
        schedules = self.schedules()
        if not schedules:
            return self
        changed = copy.copy(self)  # not `replace`, which would refuse a tensor
        for name, schedule in schedules.items():
            object.__setattr__(changed, name, value_of(schedule.at))
        return changed


P = TypeVar("P")


class Table(Mapping[str, type[P]], Generic[P]):
    """The classes of one kind by name, in order.

    Args:
        kind: The kind: `objective`.
        parts: Classes with a `name`.
    """

    def __init__(self, kind: str, *parts: type[P]) -> None:
        self.kind = kind
        self._parts: dict[str, type[P]] = {}
        for part in parts:
            self.add(part)

    def add(self, part: type[P]) -> type[P]:
        """Add a class and return it, so that this can be a decorator. A class that is defined anew replaces itself.

        Raises:
            TypeError: If the class is a `Part` but no dataclass: its fields would not be parameters.
            ValueError: If another class has its name.
        """
        name: str = part.name  # type: ignore[attr-defined]
        known = self._parts.get(name, part)
        if issubclass(part, Part) and "__dataclass_fields__" not in vars(part):
            fix = "write @dataclass(frozen=True, kw_only=True) above it"
            raise TypeError(f"{part.__name__} must be a dataclass, or its fields are no parameters: {fix}.")
        if (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise ValueError(f"Each {self.kind} must have a name of its own, but two are called {name}.")
        self._parts[name] = part
        return part

    def find(self, name: object) -> type[P]:
        """Return the class of a name.

        Raises:
            UnknownNameError: If the table has no such name; the message lists the names that it has.
        """
        if not isinstance(name, str) or name not in self._parts:
            raise UnknownNameError(self.kind, f"must be one of {', '.join(self._parts)}, but got {name!r}.")
        return self._parts[name]

    def __getitem__(self, name: str) -> type[P]:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
