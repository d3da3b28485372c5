"""Parts of a trial that are chosen by name, and the parameters that each of them owns."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import numbers
import sys
import textwrap
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from betavae.errors import InputError, ParameterError, UnknownNameError

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
        """Return a value of this parameter's kind: 4 becomes 4.0 where it is a float, and NumPy's numbers Python's.

        Raises:
            ParameterError: If the value is of another kind, or outside the limits.
        """
        value = self._converted(value)
        if type(value) is not self.kind:
            raise ParameterError(self.name, f"must be {_NAME_OF_KIND[self.kind]}, but got {value!r}.")
        if requirement := self._violated(value):
            raise ParameterError(self.name, f"must be {requirement}, but got {value!r}.")
        return value

    def _converted(self, value: Any) -> Any:
        """Return a number as this parameter's kind where that loses nothing; any other value as it is."""
        if isinstance(value, bool):
            return value
        if self.kind is int and isinstance(value, numbers.Integral):
            return int(value)
        if self.kind is float and isinstance(value, numbers.Real):
            is_too_large = isinstance(value, int) and abs(value) > sys.float_info.max
            return value if is_too_large else float(value)
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
    """Return the parameters of a dataclass by name, in order.

    Args:
        owner: A part, or a class whose fields are parameters and parts.

    Raises:
        TypeError: If a field of a part cannot be a parameter.
    """
    key: Any = owner
    return _read_parameters(key)


def normalize_parameters(owned: Any) -> None:
    """Check every parameter of a frozen dataclass, and give each the kind of its field.

    Raises:
        ParameterError: If a value is impossible.
    """
    for name, each in parameters_of(type(owned)).items():
        object.__setattr__(owned, name, each.checked(getattr(owned, name)))


@functools.cache
def _read_parameters(owner: Any) -> Mapping[str, Parameter]:
    types, helps = get_type_hints(owner), field_helps(owner)
    known: dict[str, Parameter] = {}
    for item in fields(owner):
        found = _parameter(item, types[item.name], helps.get(item.name, ""))
        if found is not None:
            known[item.name] = found
        elif issubclass(owner, Part):  # else its value would be lost in the records
            raise TypeError(
                f"A field of a part must be a number, true or false, text or a Literal, and have a default, but "
                f"{owner.__name__}.{item.name} is none of these."
            )
    return known


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
class Part(ABC):
    """One choice among several, with its own parameters as fields.

    Attributes:
        name: How the command line and the records call it.

    Raises:
        ParameterError: If a parameter's value is impossible.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Check every parameter."""
        normalize_parameters(self)

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
        """Add a part and return it, so that this is a decorator too. The same class, defined anew, replaces itself.

        Raises:
            TypeError: If it is a subclass of `Part` but no dataclass, and so would have no parameters of its own.
            ValueError: If another part has its name.
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
        """Return the part of that name.

        Raises:
            UnknownNameError: If there is none; the message lists those that there are.
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
