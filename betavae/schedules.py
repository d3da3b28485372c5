"""Values that change over training, as straight lines between points."""

from __future__ import annotations

import bisect
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from betavae.errors import ParameterError

EXAMPLE = "1@0,16@2000"
"""A schedule as it is written: in messages and in `--help`."""

_POINT = re.compile(r"\s*(\S+)@([0-9]{1,18})\s*")

T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
    """A value for every step: straight lines between points, the first value before them and the last after them.

    Attributes:
        points: Each step at which a value is given, with that value, in the order of the steps. Two or more.

    Raises:
        ParameterError: If there are fewer points, the first step is negative, or the steps do not rise.
    """

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        """Check the points, and convert them to numbers of Python."""
        object.__setattr__(self, "points", tuple((int(step), float(value)) for step, value in self.points))
        if len(self.points) < 2:
            fix = f"; for one value throughout, write {number_text(self.points[0][1])}" if self.points else ""
            raise _impossible(f"must have two points or more, but got {str(self)!r}{fix}.")
        steps = [step for step, _ in self.points]
        if steps[0] < 0 or any(later <= earlier for earlier, later in zip(steps, steps[1:], strict=False)):
            raise _impossible(f"must have points whose steps rise from 0 or above, but got {str(self)!r}.")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Return the schedule of a text such as `1@0,16@2000,4@8000`: values, each with its step.

        Raises:
            ParameterError: If the text is not of this form, or its points are impossible.
        """
        return cls(tuple(_parse_point(point, text) for point in text.split(",")))

    def __str__(self) -> str:
        return ",".join(f"{number_text(value)}@{step}" for step, value in self.points)

    def __format__(self, specification: str) -> str:
        """Return the text, where a format of numbers is given, too: code may format a `Weight` as `{lr:g}`."""
        return str(self)

    @property
    def start(self) -> float:
        """The value at step 0."""
        return self.points[0][1]

    @property
    def end(self) -> float:
        """The value at the last point and after it."""
        return self.points[-1][1]

    @property
    def last_step(self) -> int:
        """The step of the last point."""
        return self.points[-1][0]

    def at(self, step: int) -> float:
        """Return the value at a step. It depends on the step alone, so that a resume needs no state."""
        place = bisect.bisect_right(self.points, step, key=lambda point: point[0])
        if place == 0:
            return self.start
        if place == len(self.points):
            return self.end
        (first, low), (last, high) = self.points[place - 1], self.points[place]
        return low + (high - low) * ((step - first) / (last - first))


if TYPE_CHECKING:
    Weight: TypeAlias = float
else:
    Weight = float | Schedule
"""The type of an objective's parameter that may change over training, and of `lr`: a number, or a schedule instead.

To type checkers it is a number, since code that computes with parameters, such as a loss, takes them of `Part.at`,
which has replaced every schedule.
"""


def value_at(value: T | Schedule, step: int) -> T | float:
    """Return the value of a schedule at a step; any other value as it is."""
    return value.at(step) if isinstance(value, Schedule) else value


def recorded_value(value: object) -> object:
    """Return a schedule as its text, as records hold it; any other value as it is."""
    return str(value) if isinstance(value, Schedule) else value


def number_text(value: float) -> str:
    """Return the fewest digits that parse to the same float."""
    short_text = f"{value:g}"
    return short_text if float(short_text) == value or not math.isfinite(value) else repr(value)


def _parse_point(point: str, text: str) -> tuple[int, float]:
    match = _POINT.fullmatch(point)
    try:
        if match is not None:
            return int(match[2]), float(match[1])
    except ValueError:
        pass
    raise _impossible(f"must be a number or points such as {EXAMPLE}, but got {text!r}.")


def _impossible(requirement: str) -> ParameterError:
    return ParameterError("schedule", requirement)
