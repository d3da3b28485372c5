"""The BetaVAE score: the accuracy of a linear classifier that tells which factor two batches agree in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_detail_number
from betavae.metrics.fixed_factors import RowsByValue, blocks_by_factor, check_counts
from betavae.metrics.mutual_information import factor_values
from betavae.metrics.paired import (
    by_name,
    canonical_order,
    checked_pair,
    random_state,
    reproducible_fits,
    score_of,
    shuffled_rows,
    varying_sample,
)


@dataclass(frozen=True)
class BetaVAEScore:
    """A BetaVAE score and the quantities behind it.

    Attributes:
        score: The accuracy on the test points.
        train_accuracy: The accuracy on the training points.
        accuracies: The accuracy on the test points that fix each factor; 0 for a factor that none fixes.
    """

    score: float
    train_accuracy: float
    accuracies: Float[np.ndarray, " factors"]


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    generator: np.random.Generator,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
) -> BetaVAEScore:
    """Compute the BetaVAE score: how well a linear classifier tells which factor was fixed.

    A point fixes a factor k, drawn at random, and draws two batches of rows that agree pairwise in factor k; its
    features are the absolute differences of the codes, averaged over the batch. Scikit-learn's default
    `LogisticRegression` predicts k from the features.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Only which values are equal matters.
        generator: Where rows and factors are drawn.
        num_train: Points that the classifier is trained on.
        num_test: Points that it is tested on.
        batch_size: Pairs of rows of a point.

    Returns:
        The accuracy on test points, in [0, 1]; 1 if there is one factor, since nothing is to be told apart.

    Error:
        The standard error of the accuracy a is sqrt(a (1 - a) / num_test), at most 0.007, for codes of a scale near 1.
        The classifier's penalty depends on that scale: codes of a standard deviation of 0.003 to 0.01 scored 0.67 to 1
        over eight seeds. The score is 1 although one factor is not encoded at all, if the others are.

    Raises:
        ValueError: If a factor takes one value, a number is too small, or for the reasons of `checked_pair`.

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl. Settings: Locatello et al. 2019, arXiv:1811.12359.
    """
    codes, numbers = checked_pair(codes, factors)
    check_counts(num_train=num_train, num_test=num_test, batch_size=batch_size, least_batch=1)
    values, num_factors = factor_values(numbers), numbers.shape[1]
    fixed = generator.integers(num_factors, size=num_train + num_test)
    features = _features(codes, values, fixed, batch_size=batch_size, generator=generator)
    is_right = _is_right(features, fixed, num_train=num_train, seed=random_state(generator))
    test = is_right[num_train:]
    counts = np.bincount(fixed[num_train:], minlength=num_factors)
    right = np.bincount(fixed[num_train:], weights=test, minlength=num_factors)
    return BetaVAEScore(float(test.mean()), float(is_right[:num_train].mean()), right / np.maximum(counts, 1))


def _features(
    codes: Float[np.ndarray, "rows latents"],
    values: Int[np.ndarray, "rows factors"],
    fixed: Int[np.ndarray, " points"],
    *,
    batch_size: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "points latents"]:
    """Return the mean absolute difference of codes between the two batches of each point."""
    groups = [RowsByValue.of(column) for column in values.T]
    features = np.empty((len(fixed), codes.shape[1]))
    blocks = blocks_by_factor(fixed, num_factors=len(groups), numbers_per_point=2 * batch_size * codes.shape[1])
    for factor, points in blocks:
        first = generator.integers(len(codes), size=(len(points), batch_size))
        second = groups[factor].draw(values[first, factor], generator)
        features[points] = np.abs(codes[first] - codes[second]).mean(axis=1)
    return features


def _is_right(
    features: Float[np.ndarray, "points latents"], fixed: Int[np.ndarray, " points"], *, num_train: int, seed: int
) -> Float[np.ndarray, " points"]:
    """Return 1 for each point whose factor the classifier of the training points tells, else 0."""
    from sklearn.linear_model import LogisticRegression

    if (fixed[:num_train] == fixed[0]).all():  # one factor, which scikit-learn refuses to learn
        return np.where(fixed == fixed[0], 1.0, 0.0)
    ordered = features[:, canonical_order(features)]  # else rounding would depend on the order of latents
    with reproducible_fits():
        classifier = LogisticRegression(random_state=seed).fit(ordered[:num_train], fixed[:num_train])
    return np.where(classifier.predict(ordered) == fixed, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class BetaVAEMetric(Metric):
    """How well a linear classifier tells which factor two batches of images agree in: 1 even if one is not encoded."""

    name = "beta_vae_score"
    label = "BetaVAE score"
    is_live = False
    seconds = 0.4
    ignores_scale = False

    def score(self, sample: EncodedSample) -> Score:
        """Return the accuracy. Its chance level is that of the same codes with the rows of factors shuffled."""
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        result = beta_vae_score(sample.mean, sample.factors, generator=generator)
        chance = beta_vae_score(sample.mean, shuffled_rows(sample.factors, generator), generator=generator)
        return score_of(
            sample,
            value=result.score,
            by_factor=by_name(sample.space.names, result.accuracies),
            details={"train_accuracy": result.train_accuracy},
            estimator="logistic regression on 10,000 points of 64 pairs of rows, tested on 5,000" + left_out,
            ceiling=1.0,
            chance=chance.score,
        )

    def check_details(self, score: Score) -> None:
        """Check the training accuracy."""
        check_detail_number(score, "train_accuracy")
