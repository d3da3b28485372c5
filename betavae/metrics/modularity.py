"""Modularity: whether each latent informs on one factor alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_by_latent, check_detail_number, check_matrix
from betavae.metrics.mutual_information import binned_information, check_bins, factor_values
from betavae.metrics.paired import checked_pair, score_of, shuffled_rows, varying_sample


@dataclass(frozen=True)
class Modularity:
    """A modularity and the quantities behind it.

    Attributes:
        score: The mean of `modularities`, in which a latent that informs on no factor counts as 0.
        score_of_informative: The mean over the latents that inform on a factor; 0 if none does.
        modularities: 1 - (sum of squares - m) / (m (k - 1)) of the squared mutual information of each latent with k
            factors, where m is the largest square; 0 where m is 0.
        mutual_information: I(z_j; v_k), in nats.
    """

    score: float
    score_of_informative: float
    modularities: Float[np.ndarray, " latents"]
    mutual_information: Float[np.ndarray, "latents factors"]


def modularity(codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20) -> Modularity:
    """Compute modularity from the mutual information of equal-width bins of each latent with each factor.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers. Scaling or shifting a
            latent changes nothing.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Only which values are equal matters.
        num_bins: Bins per latent.

    Returns:
        The score, in [0, 1], with the quantities behind it. With one factor, a latent that informs on it scores 1.

    Error:
        Noise does not score 0: its mutual information is the estimator's bias, which differs between factors of few
        and of many values; 0.68 on dSprites. Constant latents count as 0, and lower the score: see
        `score_of_informative`.

    Raises:
        ValueError: If a factor takes one value, num_bins < 2, or for the reasons of `checked_pair`.

    Source:
        Ridgeway and Mozer 2018, arXiv:1802.05312. Bins, and latents that count as 0: Locatello et al. 2019,
        arXiv:1811.12359.
    """
    codes, numbers = checked_pair(codes, factors)
    check_bins(num_bins, "width")
    information = binned_information(codes, factor_values(numbers), num_bins=num_bins, binning="width")
    modularities = _modularities(information)
    informative = modularities[information.max(axis=1) > 0]
    return Modularity(
        score=float(modularities.mean()),
        score_of_informative=float(informative.mean()) if informative.size else 0.0,
        modularities=modularities,
        mutual_information=information,
    )


def _modularities(information: Float[np.ndarray, "latents factors"]) -> Float[np.ndarray, " latents"]:
    largest = information.max(axis=1)
    shares = (information / np.where(largest > 0, largest, 1)[:, None]) ** 2  # divided first: a square can vanish
    others = shares.sum(axis=1) - shares.max(axis=1)
    modularities: Float[np.ndarray, " latents"] = 1 - others / max(information.shape[1] - 1, 1)
    return np.where(largest > 0, modularities, 0.0)


@dataclass(frozen=True, kw_only=True)
class ModularityMetric(Metric):
    """Whether each latent informs on one factor alone, by 20 equal-width bins; high on noise."""

    name = "modularity"
    label = "modularity"
    is_live = False
    seconds = 0.03

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean over the latents.

        Its chance level is that of the same codes with the rows of factors shuffled, its ceiling that of the factors'
        values as codes.
        """
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        result = modularity(sample.mean, sample.factors)
        return score_of(
            sample,
            value=result.score,
            details={
                "score_of_informative": result.score_of_informative,
                "modularity_by_latent": result.modularities.tolist(),
                "mutual_information_nats": result.mutual_information.tolist(),
            },
            estimator=f"20 equal-width bins of the posterior mean; latents without information count as 0{left_out}",
            ceiling=modularity(sample.factors, sample.factors).score,
            chance=modularity(sample.mean, shuffled_rows(sample.factors, generator)).score,
        )

    def check_details(self, score: Score) -> None:
        """Check the score of the informative latents, the parts of the score and the matrix."""
        check_detail_number(score, "score_of_informative")
        num_latents = check_by_latent(score, "modularity_by_latent")
        check_matrix(score, "mutual_information_nats", num_rows=num_latents)
