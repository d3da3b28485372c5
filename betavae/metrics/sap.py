"""SAP: how much better the best latent alone predicts a factor than the second best does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_matched_latents, check_matrix
from betavae.metrics.mig import gaps_of
from betavae.metrics.paired import (
    SPLIT_ROWS,
    by_name,
    checked_split,
    random_state,
    reproducible_fits,
    score_of,
    split_sample,
)


@dataclass(frozen=True)
class SAP:
    """A SAP score and the quantities behind it.

    Attributes:
        score: The mean of `gaps`.
        gaps: The difference between the two largest entries of each column of `predictability`.
        predictability: How well each latent alone predicts each factor, in [0, 1].
        matched_latents: The latent with the largest entry for each factor; the first of equals.
    """

    score: float
    gaps: Float[np.ndarray, " factors"]
    predictability: Float[np.ndarray, "latents factors"]
    matched_latents: Int[np.ndarray, " factors"]

    @classmethod
    def of(cls, predictability: Float[np.ndarray, "latents factors"]) -> SAP:
        """Return the score of a matrix. The second best to a single latent is 0."""
        gaps = gaps_of(predictability, np.ones(predictability.shape[1]))
        return cls(float(gaps.mean()), gaps, predictability, predictability.argmax(axis=0))


def sap(
    train_codes: ArrayLike,
    train_factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    generator: np.random.Generator,
) -> SAP:
    """Compute SAP with factors as classes: the gap in accuracy of scikit-learn's `LinearSVC` on one latent.

    The classifiers have C = 0.01 and balanced classes; each separates one value from all others.

    Args:
        train_codes: Posterior means to train on, (rows, latents): an array, a tensor or lists of real numbers.
        train_factors: Factor values, (rows, factors), rows in the order of `train_codes`. Only which values are equal
            matters.
        test_codes: Posterior means to test on.
        test_factors: Factor values, rows in the order of `test_codes`.
        generator: Where the classifiers' seeds are drawn.

    Returns:
        The mean gap in accuracy on the test rows, in [0, 1], with the accuracies behind it.

    Error:
        A perfect code is far below 1, 0.23 to 0.25 on dSprites: a threshold on one number cannot separate a value
        between others from the rest. The classifier's penalty depends on the scale of the codes.

    Raises:
        ValueError: If a factor takes one value in either part, or for the reasons of `checked_split`.

    Source:
        Kumar et al. 2018, arXiv:1711.00848. Settings: Locatello et al. 2019, arXiv:1811.12359.
    """
    split = checked_split(train_codes, train_factors, test_codes, test_factors)
    seed = random_state(generator)
    accuracies = np.empty((split.train_codes.shape[1], split.train_factors.shape[1]))
    with reproducible_fits():
        for latent, factor in np.ndindex(accuracies.shape):
            accuracies[latent, factor] = _accuracy(
                split.train_codes[:, [latent]],
                split.train_factors[:, factor],
                split.test_codes[:, [latent]],
                split.test_factors[:, factor],
                seed=seed,
            )
    return SAP.of(accuracies)


def _accuracy(
    train: Float[np.ndarray, "train 1"],
    train_values: Int[np.ndarray, " train"],
    test: Float[np.ndarray, "test 1"],
    test_values: Int[np.ndarray, " test"],
    *,
    seed: int,
) -> float:
    from sklearn.svm import LinearSVC

    classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=seed).fit(train, train_values)
    return float((classifier.predict(test) == test_values).mean())


@dataclass(frozen=True, kw_only=True)
class SAPMetric(Metric):
    """The gap between the two latents that classify a factor best, on 10,000 training and 5,000 test rows."""

    name = "sap"
    label = "SAP"
    is_live = False
    seconds = 2.0
    ignores_scale = False
    num_rows = SPLIT_ROWS

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean gap. Its chance level is that of the same codes with the rows of factors shuffled."""
        generator = sample.generator()
        split = split_sample(sample, generator=generator)
        result = sap(*split.rows.parts, generator=generator)
        blind = split_sample(sample, generator=generator, shuffled=True)
        chance = sap(*blind.rows.parts, generator=generator).score
        estimator = f"linear classifiers of one latent; {split.description}"
        return gap_score(result, sample, split.names, estimator=estimator, chance=chance)

    def check_details(self, score: Score) -> None:
        """Check that the details are of the same latents and factors."""
        check_gap_details(score)


def gap_score(
    result: SAP,
    sample: EncodedSample,
    names: tuple[str, ...],
    *,
    estimator: str,
    chance: float,
    ceiling: float | None = None,
) -> Score:
    """Return a SAP of a sample's rows as a score."""
    return score_of(
        sample,
        value=result.score,
        by_factor=by_name(names, result.gaps),
        details={
            "matched_latents": dict(zip(names, result.matched_latents.tolist(), strict=True)),
            "predictability": result.predictability.tolist(),
        },
        estimator=estimator,
        ceiling=ceiling,
        chance=chance,
    )


def check_gap_details(score: Score) -> None:
    """Check the details of a SAP that was read from a file.

    Raises:
        InputError: If a detail is missing or wrong; the message names the detail.
    """
    check_matched_latents(score)
    check_matrix(score, "predictability", num_columns=len(score.by_factor))
