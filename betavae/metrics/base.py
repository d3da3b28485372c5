"""The interface of a metric: a sample of encoded images in, a score out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Integer

from betavae.data import NO_FACTORS, FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.parts import Part

NUM_ROWS = 10_000
"""Number of images that a metric scores, unless it selects others."""

ROWS_SEED = 0
"""Seed of the draw of these images, which are the same in every trial."""


@dataclass(frozen=True)
class Rows:
    """The images of a score.

    Attributes:
        indices: Image numbers.
        description: The choice of images, in words.
        seed: Seed of a random choice; None for any other.
    """

    indices: Integer[np.ndarray, " rows"]
    description: str
    seed: int | None = None


@dataclass(frozen=True)
class EncodedSample:
    """Some images, encoded: the input of a metric.

    Attributes:
        mean: Posterior means: the codes.
        logvar: Natural logarithms of the posterior variances; None for an encoder that gives means alone.
        factors: Factor values of the images, as whole numbers.
        space: The factors, in the order of the columns of `factors`.
        rows: The images.
        recon_nats: Negative log likelihood of each image, decoded from a sample of its posterior, in nats; None unless
            the metric needs a decoder.
        test: Images to test on, for a metric that trains a classifier; None to split these images at random.
    """

    mean: Float[np.ndarray, "rows latents"]
    logvar: Float[np.ndarray, "rows latents"] | None
    factors: Integer[np.ndarray, "rows factors"]
    space: FactorSpace
    rows: Rows
    recon_nats: Float[np.ndarray, " rows"] | None = None
    test: EncodedSample | None = None

    def generator(self) -> np.random.Generator:
        """Return a new source of random numbers, with the same numbers every time."""
        return np.random.default_rng(self.rows.seed or 0)

    def kl_per_latent(self) -> Float[np.ndarray, " latents"]:
        """Return the KL from the prior in nats, averaged over the rows; not finite if any mean or variance is not.

        Returns:
            An empty vector if there are no variances.
        """
        return np.empty(0) if self.logvar is None else kl_per_latent(self.mean, self.logvar)


def unlabelled(
    mean: Float[np.ndarray, "rows latents"], logvar: Float[np.ndarray, "rows latents"] | None, rows: Rows
) -> EncodedSample:
    """Return a sample for metrics that need no factors."""
    return EncodedSample(mean, logvar, np.zeros((len(mean), 1), np.int64), NO_FACTORS, rows)


@dataclass(frozen=True)
class Score:
    """A score of a model, and how it was taken.

    Attributes:
        value: The score.
        estimator: The estimator, in words.
        num_rows: Number of images.
        rows: The choice of images, in words.
        by_factor: The score of each factor, by name; empty if the metric has none.
        details: The quantities behind the score, as values that JSON can hold.
        rows_seed: Seed of the random choices: of images, training rows, classifiers; None if the images are all.
        ceiling: The score of a perfect code of the same images; None if unknown.
        chance: The score of codes that are independent of the factors; None if unknown.

    Raises:
        InputError: If a value is of another type, or a number is not finite; the message names the value.
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
        """Check every value, so that a score that no record can hold fails where it is taken."""
        _check_values(vars(self))

    def numbers(self, name: str) -> dict[str, float]:
        """Return the value and the scores of factors, under TensorBoard's names.

        Args:
            name: The metric's name.
        """
        return {name: self.value} | {f"{name}/{factor}": value for factor, value in self.by_factor.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the score as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Score:
        """Build a score from the values of `to_dict`.

        Raises:
            InputError: If a value is missing or of another type; the message names the value.
        """
        if not isinstance(values, dict) or values.keys() != {item.name for item in fields(cls)}:
            raise InputError(f"a score must hold {', '.join(item.name for item in fields(cls))}")
        _check_values(values)
        return cls(**values)


def _check_values(values: Mapping[str, Any]) -> None:
    """Check the types of a score's values, and that its numbers are finite."""
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
    """A function from an encoded sample to a score.

    Attributes:
        label: The name in tables and figures.
        is_live: Whether every evaluation of a trial takes the score; if not, it is taken on request.
        is_cheap: Whether an evaluation may take the score on request: False if it takes minutes.
        seconds: Seconds that a score takes with 10 latents and the factors of dSprites, on one core, after encoding.
        needs_posterior: Whether the score needs variances, which an encoder to means alone does not give.
        needs_factors: Whether the score needs factors: if not, it chooses without labels.
        needs_order: Whether the score needs a factor whose values have an order.
        needs_decoder: Whether the score needs images decoded from codes.
        is_likelihood: Whether the score is a likelihood of pixels, by which models of different likelihoods do not
            compare.
        higher_is_better: True if a higher score is better, False if a lower score is; None if neither is.
        ignores_scale: Whether scaling and shifting a latent leaves the score as it is: False for a metric that compares
            posteriors with the prior, latents with one another, or a latent with a threshold or a penalty.
        num_rows: Number of images that `rows` draws.
        is_always_taken: Whether `rows` selects images for every trial.
        companions: Details that are scores of their own, with their labels: tables show them beside the score. A detail
            `chance_of_NAME` holds the chance level of such a score.
        format: Python's format specification of the value.
        symbol: The name at the head of a column; the metric's name if empty.
    """

    label: ClassVar[str]
    is_live: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True
    seconds: ClassVar[float] = 0.1
    needs_posterior: ClassVar[bool] = False
    needs_factors: ClassVar[bool] = True
    needs_order: ClassVar[bool] = False
    needs_decoder: ClassVar[bool] = False
    is_likelihood: ClassVar[bool] = False
    higher_is_better: ClassVar[bool | None] = True
    ignores_scale: ClassVar[bool] = True
    num_rows: ClassVar[int] = NUM_ROWS
    is_always_taken: ClassVar[bool] = True
    companions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    format: ClassVar[str] = ".4f"
    symbol: ClassVar[str] = ""

    @classmethod
    def can_rank(cls) -> bool:
        """Return whether the score can rank running trials: every report can have it, and a higher value is better."""
        return cls.is_cheap and cls.is_always_taken and bool(cls.higher_is_better)

    def rows(self, data: FactorImages, num_training: int) -> Rows | None:
        """Return the images to score; None if the metric is not defined for the model.

        Args:
            data: The whole set.
            num_training: Number of images that the model was trained on, the first in index order.
        """
        return drawn_rows(data, num_rows=self.num_rows)

    @abstractmethod
    def score(self, sample: EncodedSample) -> Score:
        """Return the score of a sample of the images that `rows` selects."""

    def check_details(self, score: Score) -> None:
        """Check the details of a score that was read from a file.

        Raises:
            InputError: If a detail is missing or wrong; the message names the detail.
        """
        return


def kl_per_latent(
    mean: Float[np.ndarray, "rows latents"], logvar: Float[np.ndarray, "rows latents"]
) -> Float[np.ndarray, " latents"]:
    """Return the KL of posteriors from the prior in nats, averaged over rows; not finite if any number is not."""
    mean, logvar = mean.astype(np.float64), logvar.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # a model may have diverged
        kl: np.ndarray = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    return kl


def drawn_rows(data: FactorImages, *, num_rows: int = NUM_ROWS) -> Rows:
    """Return images that are drawn without replacement and sorted: the same images in every trial.

    Args:
        data: The whole set.
        num_rows: Number of images; all of them if the set has fewer.
    """
    drawn = np.random.default_rng(ROWS_SEED).choice(len(data), min(num_rows, len(data)), replace=False)
    return live_rows(np.sort(drawn))


def live_rows(indices: Integer[np.ndarray, " rows"]) -> Rows:
    """Return the rows of `drawn_rows` from their indices, with the words and the seed of the draw."""
    return Rows(indices, "whole set, without replacement", ROWS_SEED)


def check_number(name: str, value: Any) -> None:
    """Refuse a value that is no finite number.

    Raises:
        InputError: If the value is of another type, infinite or nan; the message begins with `name`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and math.isfinite(value), name, "a finite number", value)


def require(holds: bool, name: str, what: str, value: object) -> None:
    """Refuse a value unless a condition holds.

    Args:
        holds: The condition.
        name: The value's name, for the message.
        what: What the value must be, for the message.
        value: The value, for the message.

    Raises:
        InputError: If the condition does not hold.
    """
    if not holds:
        raise InputError(f"{name} must be {what} and is {repr(value)[:40]}")
