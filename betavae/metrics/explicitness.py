"""Explicitness: how well a linear classifier ranks the rows of a factor's value before those of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_detail_number
from betavae.metrics.paired import (
    SPLIT_ROWS,
    Standardiser,
    by_name,
    canonical_order,
    checked_split,
    reproducible_fits,
    score_of,
    split_sample,
)


@dataclass(frozen=True)
class Explicitness:
    """An explicitness and its parts.

    Attributes:
        score: The mean of `areas`.
        train_score: The same on the training rows.
        areas: The area under the ROC curve of each factor on the test rows: the mean over its values.
    """

    score: float
    train_score: float
    areas: Float[np.ndarray, " factors"]


def explicitness(
    train_codes: ArrayLike, train_factors: ArrayLike, test_codes: ArrayLike, test_factors: ArrayLike
) -> Explicitness:
    """Compute explicitness with scikit-learn's default `LogisticRegression` of the standardised codes.

    The classifier of a factor gives each row a probability of each value. The area under the ROC curve of a value is
    the share of pairs, of a row of this value and a row of another, in which the first has the higher probability.

    Args:
        train_codes: Posterior means to train on, (rows, latents): an array, a tensor or lists of real numbers. Scaling
            or shifting a latent changes nothing. A latent that is constant on these rows is ignored.
        train_factors: Factor values, (rows, factors), rows in the order of `train_codes`. Only which values are equal
            matters.
        test_codes: Posterior means to test on, standardised by the training rows.
        test_factors: Factor values, rows in the order of `test_codes`. The area of a value is taken if both parts have
            rows of it.

    Returns:
        The mean area over factors, in [0, 1]: 0.5 for codes that know nothing, 1 if every value can be told.

    Error:
        The standard error of the area of a value with m test rows is about 0.3 / sqrt(m) for codes that know nothing.
        The default `LogisticRegression` of scikit-learn before 0.22, with which older numbers were taken, separates
        each value from the rest; scores differ by up to 0.03.

    Raises:
        ValueError: If a factor takes one value in either part, if both parts have rows of no value of it in common,
            or for the reasons of `checked_split`.

    Source:
        Ridgeway and Mozer 2018, arXiv:1802.05312. Settings: Locatello et al. 2019, arXiv:1811.12359.
    """
    split = checked_split(train_codes, train_factors, test_codes, test_factors)
    standardise = Standardiser.of(split.train_codes)
    train, test = standardise(split.train_codes), standardise(split.test_codes)
    order = canonical_order(train)  # else rounding would depend on the order of latents
    train, test = train[:, order], test[:, order]
    pairs = zip(split.train_factors.T, split.test_factors.T, strict=True)
    areas = np.array([_areas(train, train_values, test, test_values) for train_values, test_values in pairs])
    return Explicitness(float(areas[:, 1].mean()), float(areas[:, 0].mean()), areas[:, 1])


def _areas(
    train: Float[np.ndarray, "train latents"],
    train_values: Int[np.ndarray, " train"],
    test: Float[np.ndarray, "test latents"],
    test_values: Int[np.ndarray, " test"],
) -> tuple[float, float]:
    """Return the area of one factor on the training rows and on the test rows."""
    from sklearn.linear_model import LogisticRegression

    if not np.isin(test_values, train_values).any():
        raise ValueError("Each factor must have a value in both parts, but those of the test rows are all new.")
    with reproducible_fits():
        classifier = LogisticRegression().fit(train, train_values)
    return _area(classifier, train, train_values), _area(classifier, test, test_values)


def _area(classifier: Any, codes: Float[np.ndarray, "rows latents"], values: Int[np.ndarray, " rows"]) -> float:
    from sklearn.metrics import roc_auc_score

    probabilities = classifier.predict_proba(codes)
    known = [(column, value) for column, value in enumerate(classifier.classes_) if (values == value).any()]
    return float(np.mean([roc_auc_score(values == value, probabilities[:, column]) for column, value in known]))


@dataclass(frozen=True, kw_only=True)
class ExplicitnessMetric(Metric):
    """How well a linear classifier ranks the rows of a value first, on 10,000 training and 5,000 test rows."""

    name = "explicitness"
    label = "explicitness"
    is_live = False
    seconds = 4.0
    num_rows = SPLIT_ROWS

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean area.

        Its chance level is that of the same codes with the rows of factors shuffled, its ceiling that of the factors'
        values as codes.
        """
        generator = sample.generator()
        split = split_sample(sample, generator=generator)
        result = explicitness(*split.rows.parts)
        blind = split_sample(sample, generator=generator, shuffled=True)
        return score_of(
            sample,
            value=result.score,
            by_factor=by_name(split.names, result.areas),
            details={"train_score": result.train_score},
            estimator=f"area under the ROC curve of logistic regression; {split.description}",
            ceiling=explicitness(*split.perfect.parts).score,
            chance=explicitness(*blind.rows.parts).score,
        )

    def check_details(self, score: Score) -> None:
        """Check the score on the training rows."""
        check_detail_number(score, "train_score")
