"""The total correlation of a Gaussian with the covariance of the codes: how far latents are from uncorrelated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_detail_number
from betavae.metrics.paired import Standardiser, checked_codes, score_of, varies

LEAST_EIGENVALUE = 1e-12
"""Smaller eigenvalues of the correlation matrix are rounding errors of 0."""


@dataclass(frozen=True)
class TotalCorrelation:
    """A total correlation and the number of latents behind it.

    Attributes:
        nats: The total correlation, at least 0.
        num_latents: Number of latents that are not constant.
    """

    nats: float
    num_latents: int


def total_correlation(codes: ArrayLike) -> TotalCorrelation:
    """Compute the total correlation of a Gaussian fitted to the codes: -log(det C) / 2 for the correlation matrix C.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers. Scaling or shifting a
            latent changes nothing. Constant latents are left out.

    Returns:
        The total correlation in nats, 0 for uncorrelated latents. It needs no factors.

    Error:
        Biased up by about z (z - 1) / (4 rows) nats for z independent latents. A latent that is a linear function of
        others would make it infinite: eigenvalues of C below 1e-12 count as 1e-12, 13.8 nats each. Dependence without
        correlation is not seen.

    Raises:
        ValueError: For the reasons of `checked_codes`.

    Source:
        Locatello et al. 2019, arXiv:1811.12359, of the posterior means.
    """
    codes = checked_codes("codes", codes)
    codes = codes[:, varies(codes)]
    if codes.shape[1] == 0:
        return TotalCorrelation(0.0, 0)
    standardised = Standardiser.of(codes)(codes)
    eigenvalues = np.linalg.eigvalsh(standardised.T @ standardised / len(codes))
    nats = -0.5 * np.log(np.maximum(eigenvalues, LEAST_EIGENVALUE)).sum()
    return TotalCorrelation(max(float(nats), 0.0), codes.shape[1])


@dataclass(frozen=True, kw_only=True)
class TotalCorrelationMetric(Metric):
    """The total correlation in nats of a Gaussian fitted to the codes, without labels; 0 for uncorrelated latents.

    It has no chance level: shuffled factors would change nothing.
    """

    name = "total_correlation"
    label = "total correlation, nats"
    symbol = "TC"
    higher_is_better = None
    is_live = False
    seconds = 0.01
    needs_factors = False

    def score(self, sample: EncodedSample) -> Score:
        """Return the total correlation of the latents that are not constant."""
        result = total_correlation(sample.mean)
        return score_of(
            sample,
            value=result.nats,
            details={"num_latents": result.num_latents},
            estimator="Gaussian with the correlations of the posterior means, constant latents left out",
        )

    def check_details(self, score: Score) -> None:
        """Check the number of latents."""
        check_detail_number(score, "num_latents")
