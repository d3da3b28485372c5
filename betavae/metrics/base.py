"""What every metric is given and returns: a sample of encoded images in, a score out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Integer

from betavae.data import FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.parts import Part

NUM_ROWS = 10_000
"""Images that live scores are taken of, where a metric asks for no others."""

ROWS_SEED = 0
"""Seed of their draw: the same images in every trial."""


@dataclass(frozen=True)
class Rows:
    """Which images a score is taken of.

    Attributes:
        indices: Image numbers.
        description: Which images these are, in words.
        seed: Seed of the draw; None if they were not drawn.
    """

    indices: Integer[np.ndarray, " rows"]
    description: str
    seed: int | None = None


@dataclass(frozen=True)
class EncodedSample:
    """Some images of a data set, encoded: all that a metric may use.

    Attributes:
        mean: Posterior means: the codes.
        logvar: Natural logarithms of the posterior variances.
        factors: Factor indices of the same images.
        space: What the columns of `factors` are.
        rows: Which images these are.
    """

    mean: Float[np.ndarray, "rows latents"]
    logvar: Float[np.ndarray, "rows latents"]
    factors: Integer[np.ndarray, "rows factors"]
    space: FactorSpace
    rows: Rows

    def generator(self) -> np.random.Generator:
        """Return the source of a metric's random numbers: the same ones every time."""
        return np.random.default_rng(self.rows.seed or 0)

    def kl_per_latent(self) -> Float[np.ndarray, " latents"]:
        """Return the KL from the prior in nats, averaged over the rows; finite only if all means and variances are."""
        mean, logvar = self.mean.astype(np.float64), self.logvar.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # of a model that has diverged
            kl: np.ndarray = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
        return kl


@dataclass(frozen=True)
class Score:
    """One score of one model, with how it was taken.

    Attributes:
        value: The score.
        by_factor: The score of each factor, by name; empty if the metric has none.
        details: What it was made of, as plain values of JSON.
        estimator: How it was taken, in words.
        num_rows: How many images it was taken of.
        rows: Which images those were, in words.
        rows_seed: Seed of their draw; None if they were not drawn.
        ceiling: The score of a perfect code of the same images; None where that is not known.
        chance: The score of codes that know nothing of the factors; None where that is not known.

    Raises:
        InputError: If a value is of another kind, or a number is not finite; the message names it.
    """

    value: float
    estimator: str
    num_rows: int
    rows: str
    by_factor: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    rows_seed: int | None = None
    ceiling: float | None = None
    chance: float | None = None

    def __post_init__(self) -> None:
        """Check every value, so that a score that no record can hold fails where it was taken."""
        _check_values(vars(self))

    def numbers(self, name: str) -> dict[str, float]:
        """Return the numbers that a trial reports of this, under TensorBoard's names."""
        return {name: self.value} | {f"{name}/{factor}": value for factor, value in self.by_factor.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Score:
        """Read what `to_dict` gives.

        Raises:
            InputError: If a value is missing or of another kind; the message names it.
        """
        if not isinstance(values, dict) or values.keys() != {item.name for item in fields(cls)}:
            raise InputError(f"a score must hold {', '.join(item.name for item in fields(cls))}")
        _check_values(values)
        return cls(**values)


def _check_values(values: Mapping[str, Any]) -> None:
    """Check the kinds of a score's values, and that its numbers are finite."""
    check_number("value", values["value"])
    for name in ("estimator", "rows"):
        require(isinstance(values[name], str), name, "text", values[name])
    for name in ("num_rows", "rows_seed"):
        is_missing = name == "rows_seed" and values[name] is None
        require(is_missing or type(values[name]) is int, name, "a whole number", values[name])
    for name in ("ceiling", "chance"):
        if values[name] is not None:
            check_number(name, values[name])
    for name in ("by_factor", "details"):
        require(isinstance(values[name], Mapping), name, "an object", values[name])
    for factor, value in values["by_factor"].items():
        check_number(f"by_factor.{factor}", value)


@dataclass(frozen=True, kw_only=True)
class Metric(Part):
    """A score of disentanglement: a function of an encoded sample.

    Attributes:
        label: What tables and figures call it.
        is_live: Whether it is taken at every evaluation of a trial; else on request.
        higher_is_better: Whether a higher score is a better one; None if neither is.
        ignores_scale: Whether scaling and shifting a latent changes nothing: False for a metric that compares
            posteriors with the prior.
        is_always_taken: Whether `rows` gives images of every trial.
        format: How its value is written.
        symbol: Its name at the head of a column; its name if empty.
    """

    label: ClassVar[str]
    is_live: ClassVar[bool] = True
    higher_is_better: ClassVar[bool | None] = True
    ignores_scale: ClassVar[bool] = True
    is_always_taken: ClassVar[bool] = True
    format: ClassVar[str] = ".4f"
    symbol: ClassVar[str] = ""

    @classmethod
    def can_rank(cls) -> bool:
        """Whether trials can be ranked by it while they run: every report has it, and a higher value is better."""
        return cls.is_live and cls.is_always_taken and bool(cls.higher_is_better)

    def rows(self, data: FactorImages, num_training: int) -> Rows | None:
        """Return the images that it is taken of; None where it says nothing.

        Args:
            data: The whole set.
            num_training: How many images the model was trained on, the first in index order.
        """
        return drawn_rows(data)

    @abstractmethod
    def score(self, sample: EncodedSample) -> Score:
        """Score a sample of the images that `rows` asks for."""

    def check_details(self, score: Score) -> None:
        """See that a score that was read holds the details that reports show.

        Raises:
            InputError: If one is missing or wrong; the message names it.
        """
        return


def drawn_rows(data: FactorImages) -> Rows:
    """Return NUM_ROWS images drawn without replacement, ascending: the same ones in every trial."""
    drawn = np.random.default_rng(ROWS_SEED).choice(len(data), min(NUM_ROWS, len(data)), replace=False)
    return live_rows(np.sort(drawn))


def live_rows(indices: Integer[np.ndarray, " rows"]) -> Rows:
    """Return the rows that `drawn_rows` drew, with what is known of their draw."""
    return Rows(indices, "whole set, without replacement", ROWS_SEED)


def check_number(name: str, value: Any) -> None:
    """See that a value is a finite number.

    Raises:
        InputError: If it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and math.isfinite(value), name, "a finite number", value)


def require(holds: bool, name: str, what: str, value: object) -> None:
    """Refuse a value that was read.

    Raises:
        InputError: If `holds` is false; the message says what the value must be.
    """
    if not holds:
        raise InputError(f"{name} must be {what} and is {repr(value)[:40]}")
