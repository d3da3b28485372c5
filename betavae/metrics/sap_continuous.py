"""SAP of factors that are numbers: how much more of a factor's variance the best latent explains than the second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.paired import checked_pair, shuffled_rows, varying_sample
from betavae.metrics.sap import SAP, check_gap_details, gap_score

LEAST_VARIANCE = 1e-12
"""A latent of a smaller variance explains nothing."""


def sap_continuous(codes: ArrayLike, factors: ArrayLike) -> SAP:
    """Compute SAP with factors as numbers: the gap in squared correlation between a factor and one latent.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers. Shifting or scaling a
            latent changes nothing, unless its variance falls below 1e-12: then its correlations count as 0.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Whole numbers are taken as they are; the
            values of any other column are ranked, so that only their order matters.

    Returns:
        The mean gap, in [0, 1], with the squared correlations behind it.

    Error:
        A squared correlation of independent pairs is about 1 / rows instead of 0. Between the values of a category,
        such as a shape, correlation has no meaning.

    Raises:
        ValueError: If a factor takes one value, or for the reasons of `checked_pair`.

    Source:
        Kumar et al. 2018, arXiv:1711.00848. The threshold: Locatello et al. 2019, arXiv:1811.12359.
    """
    return SAP.of(_squared_correlations(*checked_pair(codes, factors)))


def _squared_correlations(
    codes: Float[np.ndarray, "rows latents"], factors: Int[np.ndarray, "rows factors"]
) -> Float[np.ndarray, "latents factors"]:
    z, v = codes - codes.mean(axis=0), factors - factors.mean(axis=0)
    z_norms, v_norms = np.sqrt((z**2).sum(axis=0)), np.sqrt((v**2).sum(axis=0))
    explains = z_norms**2 / (len(codes) - 1) > LEAST_VARIANCE
    squared = np.zeros((codes.shape[1], factors.shape[1]))
    squared[explains] = ((z[:, explains] / z_norms[explains]).T @ (v / v_norms)) ** 2
    return np.minimum(squared, 1)  # rounding gives 1 + 2e-16


@dataclass(frozen=True, kw_only=True)
class SAPContinuousMetric(Metric):
    """The gap between the two latents that correlate best with a factor, by squared correlation."""

    name = "sap_continuous"
    label = "SAP, continuous"
    is_live = False
    seconds = 0.03

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean gap.

        Its chance level is that of the same codes with the rows of factors shuffled, its ceiling that of the factors'
        values as codes.
        """
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        return gap_score(
            sap_continuous(sample.mean, sample.factors),
            sample,
            sample.space.names,
            estimator="squared correlation" + left_out,
            ceiling=sap_continuous(sample.factors, sample.factors).score,
            chance=sap_continuous(sample.mean, shuffled_rows(sample.factors, generator)).score,
        )

    def check_details(self, score: Score) -> None:
        """Check that the details are of the same latents and factors."""
        check_gap_details(score)
