"""Parts of a trial that are chosen by name, and the parameters that each of them owns."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from betavae.errors import InputError, ParameterError

_METADATA = "parameter"
_NAME_OF_KIND = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Limits:
    """What a parameter is called, where it may lie, and how it is searched.

    Attributes:
        least: The smallest value; None for no limit.
        most: The largest value; None for no limit.
        positive: Whether it must be above 0.
        log: Whether a range of it is drawn, and an axis of it drawn, on a logarithmic scale.
        label: Its name in words; its own name with spaces if empty.
        symbol: Its name at the head of a column; its label if empty.
        letter: Its short option on the command line; none if empty.
        is_tried: Whether it says what a trial tries, and not how it runs.
    """

    least: float | None = None
    most: float | None = None
    positive: bool = False
    log: bool = False
    label: str = ""
    symbol: str = ""
    letter: str = ""
    is_tried: bool = True


def parameter(default: Any, **limits: Any) -> Any:
    """Return a dataclass field for a parameter.

    Args:
        default: Its value where none is given.
        limits: The attributes of `Limits`.
    """
    return field(default=default, metadata={_METADATA: Limits(**limits)})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a trial, or of one of its parts.

    Attributes:
        name: The field's.
        kind: float, int, bool or str.
        default: Its value where none is given.
        choices: The values of a `Literal`; empty for any other.
        limits: See there.
        help: The docstring of the field.
    """

    name: str
    kind: type
    default: Any
    choices: tuple[str, ...]
    limits: Limits
    help: str

    @property
    def label(self) -> str:
        """Its name in words."""
        return self.limits.label or self.name.replace("_", " ")

    @property
    def symbol(self) -> str:
        """Its name at the head of a column."""
        return self.limits.symbol or self.label

    def checked(self, value: Any) -> Any:
        """Return a value of this parameter's kind: 4 becomes 4.0 where it is a float.

        Raises:
            ParameterError: If the value is of another kind, or outside the limits.
        """
        if self.kind is float and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        if type(value) is not self.kind:
            raise ParameterError(self.name, f"must be {_NAME_OF_KIND[self.kind]}, but got {value!r}.")
        if requirement := self._violated(value):
            raise ParameterError(self.name, f"must be {requirement}, but got {value!r}.")
        return value

    def _violated(self, value: Any) -> str:
        """Say what a value must be and is not; return nothing if it is."""
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
    """Return the parameters of a dataclass by name, in order; fields of any other type, such as parts, are left out."""
    key: Any = owner
    return _read_parameters(key)


@functools.cache
def _read_parameters(owner: Any) -> Mapping[str, Parameter]:
    types, helps = get_type_hints(owner), field_helps(owner)
    found = (_parameter(item, types[item.name], helps.get(item.name, "")) for item in fields(owner))
    return {item.name: item for item in found if item is not None}


def _parameter(item: Field[Any], annotation: Any, help_text: str) -> Parameter | None:
    choices = tuple(get_args(annotation)) if get_origin(annotation) is Literal else ()
    kind = str if choices else annotation
    if kind not in _NAME_OF_KIND or item.default is MISSING:
        return None
    return Parameter(item.name, kind, item.default, choices, item.metadata.get(_METADATA, Limits()), help_text)


def field_helps(owner: type) -> dict[str, str]:
    """Read the string below each field of a dataclass, and of those that it inherits from."""
    helps: dict[str, str] = {}
    for kind in reversed(owner.__mro__[:-1]):
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        except (OSError, TypeError):  # a class without a source, as one that was made by exec
            continue
        assert isinstance(definition, ast.ClassDef)
        for item, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(below, ast.Expr):
                helps[item.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return helps


@dataclass(frozen=True, kw_only=True)
class Part:
    """One choice among several, with its own parameters as fields.

    Attributes:
        name: How the command line and the records call it.

    Raises:
        ParameterError: If a parameter's value is impossible.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Check every parameter."""
        for name, each in parameters_of(type(self)).items():
            each.checked(getattr(self, name))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Build a part from some of its parameters by name.

        Raises:
            InputError: If the part has no such parameter, or its value is impossible.
        """
        known = parameters_of(cls)
        for name in values:
            if name not in known:
                owned = ", ".join(known) or "no parameters"
                raise InputError(f"{cls.name} has no {name}; it has {owned}.")
        return cls(**{name: known[name].checked(value) for name, value in values.items()})

    def values(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in parameters_of(type(self))}


P = TypeVar("P")


class Table(Mapping[str, type[P]], Generic[P]):
    """The parts of one kind by name, in order.

    Args:
        kind: What one of them is called: `objective`.
        parts: Classes that have a `name`.
    """

    def __init__(self, kind: str, *parts: type[P]) -> None:
        self.kind = kind
        self._parts: dict[str, type[P]] = {}
        for part in parts:
            self.add(part)

    def add(self, part: type[P]) -> type[P]:
        """Add a part, and return it: usable as a decorator.

        Raises:
            ValueError: If another has its name.
        """
        name: str = part.name  # type: ignore[attr-defined]
        if self._parts.get(name, part) is not part:
            raise ValueError(f"Each {self.kind} must have a name of its own, but two are called {name}.")
        self._parts[name] = part
        return part

    def find(self, name: object) -> type[P]:
        """Return the part of that name.

        Raises:
            ParameterError: If there is none; the message lists those that there are.
        """
        if not isinstance(name, str) or name not in self._parts:
            raise ParameterError(self.kind, f"must be one of {', '.join(self._parts)}, but got {name!r}.")
        return self._parts[name]

    def __getitem__(self, name: str) -> type[P]:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
