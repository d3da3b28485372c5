"""IRS: how little a latent moves, at worst, while a factor is fixed and all others vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_by_latent, check_matrix
from betavae.metrics.paired import binned_factors, checked_pair, score_of, shuffled_rows, varies, varying_sample

QUANTILE = 0.99
"""Of the deviations within the rows of a value: instead of the largest one, which a single outlier decides."""


@dataclass(frozen=True)
class IRS:
    """An interventional robustness score and the quantities behind it.

    Attributes:
        score: The mean of `robustnesses`, weighted by `largest_deviations`; 0 if every latent is constant.
        robustnesses: The largest entry of each row of `robustness`.
        robustness: 1 minus the deviation of each latent while a factor is fixed, relative to its largest deviation; 0
            for a constant latent.
        largest_deviations: The largest distance of each latent from its mean.
    """

    score: float
    robustnesses: Float[np.ndarray, " latents"]
    robustness: Float[np.ndarray, "latents factors"]
    largest_deviations: Float[np.ndarray, " latents"]


def irs(codes: ArrayLike, factors: ArrayLike, *, quantile: float = QUANTILE, num_bins: int | None = None) -> IRS:
    """Compute the interventional robustness score.

    The deviation of a latent while a factor is fixed is, for each value of the factor, the quantile of the latent's
    distances from its mean over the rows of that value; then the mean over the values.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers. The score is the same if
            all are multiplied by one number.
        factors: Factor values, (rows, factors), rows in the order of `codes`.
        quantile: The quantile of distances, from 0 to 1; 1 in the paper.
        num_bins: Equal-width bins into which each factor is put first; None to tell all values apart. The code of
            Locatello et al. has 20, which join values of a factor that has more than 20.

    Returns:
        The score, at most 1, with the quantities behind it. A latent that a factor alone decides has robustness 1.

    Error:
        Noise does not score 0: the quantile of its deviations is below the largest. More rows raise the score, since
        the largest deviation grows with their number. Values with one row count as robust.

    Raises:
        ValueError: If a factor takes one value, the quantile is outside [0, 1], num_bins < 2, or for the reasons of
            `checked_pair`.

    Source:
        Suter et al. 2019, arXiv:1811.00007. The quantile: Locatello et al. 2019, arXiv:1811.12359.
    """
    codes, numbers = checked_pair(codes, factors)
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must be in [0, 1], but got {quantile}.")
    if num_bins is not None:
        numbers = binned_factors(numbers, num_bins=num_bins)
    largest = np.where(varies(codes), np.abs(codes - codes.mean(axis=0)).max(axis=0), 0.0)
    moving = largest > 0
    robustness = np.zeros((codes.shape[1], numbers.shape[1]))
    for factor, values in enumerate(numbers.T):
        robustness[moving, factor] = 1 - _deviations(codes[:, moving], values, quantile) / largest[moving]
    robustnesses = robustness.max(axis=1)
    score = float(np.average(robustnesses, weights=largest)) if moving.any() else 0.0
    return IRS(score, robustnesses, robustness, largest)


def _deviations(
    codes: Float[np.ndarray, "rows latents"], values: Int[np.ndarray, " rows"], quantile: float
) -> Float[np.ndarray, " latents"]:
    """Return the quantile of the distances from the mean over the rows of a value: the mean over the values."""
    groups = [codes[values == value] for value in np.unique(values)]
    deviations = [np.quantile(np.abs(group - group.mean(axis=0)), quantile, axis=0) for group in groups]
    mean: Float[np.ndarray, " latents"] = np.mean(deviations, axis=0)
    return mean


@dataclass(frozen=True, kw_only=True)
class IRSMetric(Metric):
    """How little latents move while a factor is fixed, by the 99 % quantile of deviations; above 0 on noise."""

    name = "irs"
    label = "IRS"
    is_live = False
    seconds = 0.06
    ignores_scale = False

    def score(self, sample: EncodedSample) -> Score:
        """Return the score. Its chance level is that of the same codes with the rows of factors shuffled."""
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        result = irs(sample.mean, sample.factors)
        return score_of(
            sample,
            value=result.score,
            details={
                "robustness_by_latent": result.robustnesses.tolist(),
                "largest_deviation_by_latent": result.largest_deviations.tolist(),
                "robustness": result.robustness.tolist(),
            },
            estimator=f"99 % quantile of the deviations in the rows of each factor value{left_out}",
            ceiling=1.0,
            chance=irs(sample.mean, shuffled_rows(sample.factors, generator)).score,
        )

    def check_details(self, score: Score) -> None:
        """Check the parts of the score and the matrix."""
        num_latents = check_by_latent(score, "robustness_by_latent")
        check_by_latent(score, "largest_deviation_by_latent")
        check_matrix(score, "robustness", num_rows=num_latents)
