"""The FactorVAE score: the accuracy of a majority vote by the latent that varies least while a factor is fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_detail_number, check_flags, check_matrix
from betavae.metrics.fixed_factors import RowsByValue, blocks_by_factor, check_counts
from betavae.metrics.mutual_information import factor_values
from betavae.metrics.paired import by_name, checked_pair, score_of, shuffled_rows, varies, varying_sample

PRUNED_BELOW = 0.05
"""Latents of a smaller standard deviation are pruned."""


@dataclass(frozen=True)
class FactorVAEScore:
    """A FactorVAE score and the quantities behind it.

    Attributes:
        score: The accuracy of the vote on the test points; 0 if every latent is pruned.
        train_accuracy: The accuracy on the training points.
        accuracies: The accuracy on the test points that fix each factor; 0 for a factor that none fixes.
        kept_latents: Whether each latent is kept, not pruned.
        votes: Training points by the latent that varied least and the factor that was fixed.
    """

    score: float
    train_accuracy: float
    accuracies: Float[np.ndarray, " factors"]
    kept_latents: Bool[np.ndarray, " latents"]
    votes: Int[np.ndarray, "latents factors"]


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    generator: np.random.Generator,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
    pruned_below: float = PRUNED_BELOW,
) -> FactorVAEScore:
    """Compute the FactorVAE score: how well the latent that varies least tells which factor was fixed.

    A point fixes a factor k, drawn at random, at the value of a row drawn at random, and draws a batch of rows of that
    value. Its vote is the latent whose variance over the batch, divided by its variance over all rows, is the least;
    the first of equals. A latent stands for the factor that most of its training votes come from.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Only which values are equal matters.
        generator: Where rows and factors are drawn.
        num_train: Points that make the table of latents and factors.
        num_test: Points that the table is tested on.
        batch_size: Rows of a point.
        pruned_below: Latents of a smaller standard deviation have no vote: 0.05 in the studies of Locatello et al.,
            0 by their code's default. A constant latent never has one, where 0/0 would be nan.

    Returns:
        The accuracy on test points, in [0, 1], with the table behind it.

    Error:
        The standard error of the accuracy a is sqrt(a (1 - a) / num_test), at most 0.007. Pruning decides: 0.641 with
        a threshold of 0.05 and 0.735 with 0 were measured on one model.

    Raises:
        ValueError: If a factor takes one value, a number is too small, the threshold is negative, or for the reasons of
            `checked_pair`.

    Source:
        Kim and Mnih 2018, arXiv:1802.05983. Settings: Locatello et al. 2019, arXiv:1811.12359.
    """
    codes, numbers = checked_pair(codes, factors)
    check_counts(num_train=num_train, num_test=num_test, batch_size=batch_size, least_batch=2)
    if not pruned_below >= 0:
        raise ValueError(f"pruned_below must be at least 0, but got {pruned_below}.")
    variances = codes.var(axis=0, ddof=1)
    kept = (np.sqrt(variances) >= pruned_below) & varies(codes)  # rounding gives a constant latent a variance
    if not kept.any():
        num_factors = numbers.shape[1]
        return FactorVAEScore(0.0, 0.0, np.zeros(num_factors), kept, np.zeros((len(kept), num_factors), np.int64))
    values, scaled = factor_values(numbers), codes[:, kept] / np.sqrt(variances[kept])
    tables = [_votes(scaled, values, num_points, batch_size, generator) for num_points in (num_train, num_test)]
    train, test = (_among_all(table, kept) for table in tables)
    return _score_of_votes(train, test, kept)


def _votes(
    codes: Float[np.ndarray, "rows latents"],
    values: Int[np.ndarray, "rows factors"],
    num_points: int,
    batch_size: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, "latents factors"]:
    """Return the number of points by their vote and by the factor that they fix."""
    groups = [RowsByValue.of(column) for column in values.T]
    votes = np.zeros((codes.shape[1], len(groups)), np.int64)
    fixed = generator.integers(len(groups), size=num_points)
    blocks = blocks_by_factor(fixed, num_factors=len(groups), numbers_per_point=batch_size * codes.shape[1])
    for factor, points in blocks:
        given = values[generator.integers(len(codes), size=len(points)), factor]
        rows = groups[factor].draw(np.repeat(given[:, None], batch_size, axis=1), generator)
        least = codes[rows].var(axis=1, ddof=1).argmin(axis=1)
        votes[:, factor] += np.bincount(least, minlength=len(votes))
    return votes


def _among_all(
    votes: Int[np.ndarray, "kept factors"], kept: Bool[np.ndarray, " latents"]
) -> Int[np.ndarray, "latents factors"]:
    table = np.zeros((len(kept), votes.shape[1]), np.int64)
    table[kept] = votes
    return table


def _score_of_votes(
    train: Int[np.ndarray, "latents factors"],
    test: Int[np.ndarray, "latents factors"],
    kept: Bool[np.ndarray, " latents"],
) -> FactorVAEScore:
    is_majority = np.zeros(train.shape, bool)
    is_majority[np.arange(len(train)), train.argmax(axis=1)] = True
    right = np.where(is_majority, test, 0).sum(axis=0)
    return FactorVAEScore(
        score=float(right.sum() / test.sum()),
        train_accuracy=float(train.max(axis=1).sum() / train.sum()),
        accuracies=right / np.maximum(test.sum(axis=0), 1),
        kept_latents=kept,
        votes=train,
    )


@dataclass(frozen=True, kw_only=True)
class FactorVAEMetric(Metric):
    """How well the latent that varies least tells which factor is fixed, without latents of a deviation below 0.05."""

    name = "factor_vae_score"
    label = "FactorVAE score"
    is_live = False
    seconds = 0.2
    ignores_scale = False

    def score(self, sample: EncodedSample) -> Score:
        """Return the accuracy. Its chance level is that of the same codes with the rows of factors shuffled."""
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        result = factor_vae_score(sample.mean, sample.factors, generator=generator)
        chance = factor_vae_score(sample.mean, shuffled_rows(sample.factors, generator), generator=generator)
        return score_of(
            sample,
            value=result.score,
            by_factor=by_name(sample.space.names, result.accuracies),
            details={
                "train_accuracy": result.train_accuracy,
                "kept_latents": result.kept_latents.tolist(),
                "votes": result.votes.tolist(),
            },
            estimator=(
                "majority vote of 10,000 points of 64 rows, tested on 5,000; latents with a standard deviation below "
                f"{PRUNED_BELOW:g} pruned{left_out}"
            ),
            ceiling=1.0,
            chance=chance.score,
        )

    def check_details(self, score: Score) -> None:
        """Check the training accuracy, the kept latents and the votes."""
        check_detail_number(score, "train_accuracy")
        num_latents = check_flags(score, "kept_latents")
        check_matrix(score, "votes", num_rows=num_latents, num_columns=len(score.by_factor))
