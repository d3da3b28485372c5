"""Options as dataclass fields: flag, type, limits, and whether a resume may change the value."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from betavae.errors import InputError, ParameterError
from betavae.parts import field_helps

Resume = Literal["free", "fixed", "raise"]
"""What a resume may do with an option: `free`, change the value; `fixed`, nothing: the study depends on the value;
`raise`, only increase the value."""

_METADATA = "option"


@dataclass(frozen=True)
class Rules:
    """The rules of an option.

    Attributes:
        letter: The letter of the short flag; empty for none.
        least: The smallest value; None for no limit.
        most: The largest value; None for no limit.
        resume: What a resume may do with the value.
        is_recorded: Whether a sweep's record holds the value.
        metavar: The placeholder of the value in `--help`; if empty, it follows from the type.
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
        default: The default value.
        rules: The attributes of `Rules`.
    """
    return field(default=default, metadata={_METADATA: Rules(**rules)})


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: The name of the field.
        kind: The type of a value: bool, int, float, str or Path.
        is_list: Whether the option takes several values.
        choices: The allowed values; empty for any.
        words: Words that may stand in place of a number.
        default: The default value.
        rules: The rules; see `Rules`.
        help: The docstring of the field.
    """

    name: str
    kind: type
    is_list: bool
    choices: tuple[str, ...]
    words: tuple[str, ...]
    default: Any
    rules: Rules
    help: str

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return flag(self.name)

    def parse(self, words: list[str]) -> Any:
        """Return the value that command-line words give.

        Raises:
            InputError: If a word is not a value of this option.
        """
        values = tuple(map(self._parse_word, words))
        return values if self.is_list else values[0]

    def _parse_word(self, word: str) -> Any:
        if self.choices and word not in self.choices:
            raise InputError(f"{self.flag} must be one of {', '.join(self.choices)}, but got {word!r}.")
        if word in self.words:
            return word
        try:
            return self.kind(word)
        except ValueError:
            allowed = " or ".join(("a number" if self.kind is float else "a whole number", *self.words))
            raise InputError(f"{self.flag} must be {allowed}, but got {word!r}.") from None

    def check(self, value: Any) -> None:
        """Refuse a value outside the limits.

        Raises:
            InputError: Naming the option, its limits and the value.
        """
        least, most = self.rules.least, self.rules.most
        if value is None or value in self.words or least is None:
            return
        if least <= value and (most is None or value <= most):
            return
        limits = f"at least {least}" if most is None else f"in {least} .. {most}"
        raise InputError(f"{self.flag} must be {limits}, but got {value}.")


def flag(name: str) -> str:
    """Return the name of an option on the command line; the name of a part before a dot stays as it is."""
    part, dot, own_name = name.rpartition(".")
    return f"--{part}{dot}{own_name.replace('_', '-')}"


@contextmanager
def errors_naming_flags() -> Iterator[None]:
    """Raise the errors of a block that name a parameter as errors that name its option on the command line.

    Raises:
        InputError: In place of a `ParameterError`.
    """
    try:
        yield
    except ParameterError as error:
        raise InputError(f"{flag(error.name)} {error.requirement}") from error


def options_of(owner: type) -> Mapping[str, Option]:
    """Return the options of a dataclass by name, in order. Fields that are not made by `option` are left out."""
    key: Any = owner
    return _read_options(key)


@functools.cache
def _read_options(owner: Any) -> Mapping[str, Option]:
    hints, helps = get_type_hints(owner), field_helps(owner)
    options = {}
    for item in fields(owner):
        if _METADATA in item.metadata:
            annotation, words = _split_words(hints[item.name])
            kind, is_list, choices = _kind_of(annotation)
            rules = item.metadata[_METADATA]
            options[item.name] = Option(item.name, kind, is_list, choices, words, item.default, rules, helps[item.name])
    return options


def _split_words(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the number and the words of an annotation such as `int | Literal["auto"]`; of any other, no words."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    words = [part for part in parts if get_origin(part) is Literal]
    if int not in parts or not words:
        return annotation, ()
    return int, get_args(words[0])


def _kind_of(annotation: Any) -> tuple[type, bool, tuple[str, ...]]:
    """Return kind, is_list and choices of an annotation such as `int | None`, `tuple[str, ...]` or a `Literal`."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (argument for argument in get_args(annotation) if argument is not type(None))
    if get_origin(annotation) is tuple:
        kind, _, choices = _kind_of(get_args(annotation)[0])
        return kind, True, choices
    if get_origin(annotation) is Literal:
        return str, False, get_args(annotation)
    assert annotation in (bool, int, float, str, Path), annotation
    return annotation, False, ()
