"""The hyper-parameters that are searched, and what each may be: some values, or a range."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tyro.constructors import PrimitiveConstructorSpec


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, drawn log-uniformly."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{_shortest(self.low)}..{_shortest(self.high)}"


AXES = ("beta", "latent_size", "lr")
"""The hyper-parameters that are searched."""

Axis = tuple[float, ...] | Range
"""What one hyper-parameter may be: some values, or a range."""


def axis_argument(number: Callable[[str], float]) -> Any:
    """How an axis is written on the command line: `1 4 10` or `1..32`."""

    def parse(words: list[str]) -> Axis:
        if not words:
            raise ValueError("it needs values (1 4 10) or a range (1..32)")
        bounds = re.fullmatch(r"(.+?)\.\.(.+)", words[0]) if len(words) == 1 else None
        if bounds is None:
            return tuple(number(word) for word in words)
        return Range(number(bounds[1]), number(bounds[2]))

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="V [V ...]|LOW..HIGH",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, (tuple, Range)),
        str_from_instance=lambda value: [str(value)] if isinstance(value, Range) else [_shortest(v) for v in value],
    )


def ends(axis: Axis) -> tuple[float, float]:
    """The smallest and the largest value."""
    return (axis.low, axis.high) if isinstance(axis, Range) else (min(axis), max(axis))


def written(value: object) -> str:
    """An option's value as the command line has it, several of an axis too."""
    return " ".join(map(_shortest, value)) if isinstance(value, tuple) else str(value)


def read_axis(value: Any) -> Any:
    """An axis as JSON has it; any other value is left as it is."""
    if isinstance(value, list):
        return tuple(value)
    bounds = re.fullmatch(r"(.+)\.\.(.+)", value) if isinstance(value, str) else None
    return value if bounds is None else Range(float(bounds[1]), float(bounds[2]))


def check_axis(flag: str, axis: Axis) -> None:
    """Refuse an impossible one.

    Raises:
        ValueError: Naming the option, what must hold, and what came.
    """
    if isinstance(axis, Range) and not 0 < axis.low < axis.high < math.inf:
        raise ValueError(f"{flag} must be a range LOW..HIGH with 0 < LOW < HIGH, but got {axis}.")
    if not isinstance(axis, Range) and len(set(axis)) < len(axis):
        raise ValueError(f"{flag} must name each value once, but got {written(axis)}.")


def _shortest(number: float) -> str:
    """A number in as few digits as give it back."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)
