"""One option: how it is written, what it may be, and whether a resume may change it."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from betavae.errors import InputError
from betavae.parts import field_helps

Resume = Literal["free", "fixed", "raise"]
"""Whether a resume may change an option: `free`; `fixed`, since it makes the study what it is; only `raise` it."""

_METADATA = "option"


@dataclass(frozen=True)
class Rules:
    """What holds for an option.

    Attributes:
        letter: Its short form on the command line; none if empty.
        least: The smallest value; None for no limit.
        most: The largest value; None for no limit.
        resume: Whether a resume may change it.
        is_recorded: Whether a sweep's record keeps it.
        metavar: What the help calls its value; by its kind if empty.
    """

    letter: str = ""
    least: int | None = None
    most: int | None = None
    resume: Resume = "free"
    is_recorded: bool = True
    metavar: str = ""


def option(default: Any, **rules: Any) -> Any:
    """Return a dataclass field for an option.

    Args:
        default: Its value where none is given.
        rules: The attributes of `Rules`.
    """
    return field(default=default, metadata={_METADATA: Rules(**rules)})


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: The field's.
        kind: bool, int, str or Path.
        is_list: Whether it takes several values.
        choices: The values that it may have; empty for any.
        default: Its value where none is given.
        rules: See there.
        help: The docstring of the field.
    """

    name: str
    kind: type
    is_list: bool
    choices: tuple[str, ...]
    default: Any
    rules: Rules
    help: str

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return flag(self.name)

    def parse(self, words: list[str]) -> Any:
        """Read its value.

        Raises:
            InputError: If it must be something else.
        """
        values = tuple(map(self._parse_word, words))
        return values if self.is_list else values[0]

    def _parse_word(self, word: str) -> Any:
        if self.choices and word not in self.choices:
            raise InputError(f"{self.flag} must be one of {', '.join(self.choices)}, but got {word!r}.")
        try:
            return self.kind(word)
        except ValueError:
            raise InputError(f"{self.flag} must be a whole number, but got {word!r}.") from None

    def check(self, value: Any) -> None:
        """Refuse a value outside its limits.

        Raises:
            InputError: Naming the option, what must hold, and what came.
        """
        least, most = self.rules.least, self.rules.most
        if value is None or least is None or (least <= value and (most is None or value <= most)):
            return
        limits = f"at least {least}" if most is None else f"in {least} .. {most}"
        raise InputError(f"{self.flag} must be {limits}, but got {value}.")


def flag(name: str) -> str:
    """Return how an option is written on the command line."""
    return "--" + name.replace("_", "-")


def options_of(owner: type) -> Mapping[str, Option]:
    """Return the options of a dataclass by name, in order; fields of any other type are left out."""
    key: Any = owner
    return _read_options(key)


@functools.cache
def _read_options(owner: Any) -> Mapping[str, Option]:
    hints, helps = get_type_hints(owner), field_helps(owner)
    found = {}
    for item in fields(owner):
        if _METADATA in item.metadata:
            kind, is_list, choices = _kind_of(hints[item.name])
            rules = item.metadata[_METADATA]
            found[item.name] = Option(item.name, kind, is_list, choices, item.default, rules, helps[item.name])
    return found


def _kind_of(annotation: Any) -> tuple[type, bool, tuple[str, ...]]:
    """Return the kind of `int | None`, `tuple[str, ...]`, a `Literal` and the like."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is tuple:
        kind, _, choices = _kind_of(get_args(annotation)[0])
        return kind, True, choices
    if get_origin(annotation) is Literal:
        return str, False, get_args(annotation)
    assert annotation in (bool, int, str, Path), annotation
    return annotation, False, ()
