"""The mutual information of latents and factors, as the scores of a checkpoint hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.errors import InputError
from betavae.metrics import Scores
from betavae.metrics.information_gaps import Mig


@dataclass(frozen=True)
class Information:
    """What each latent knows of each factor, estimated with the bins of `mig`.

    Attributes:
        factors: Names of the factors, in the order of their data set.
        nats: I(z_j; v_k).
        entropies_nats: H(v_k).
        gaps: The gap of each factor.
        matched: The latent that knows each factor best.
    """

    factors: tuple[str, ...]
    nats: Float[np.ndarray, "latents factors"]
    entropies_nats: Float[np.ndarray, " factors"]
    gaps: tuple[float, ...]
    matched: tuple[int, ...]

    @property
    def shares(self) -> Float[np.ndarray, "latents factors"]:
        """The information as a share of the factor's entropy."""
        shares: np.ndarray = self.nats / self.entropies_nats
        return shares


def has_information(scores: Scores) -> bool:
    """Return whether scores hold what latents know of factors: not those of a sweep that looks at no factor."""
    return Mig.name in scores


def information_of(scores: Scores) -> Information:
    """Read the mutual information from the scores of a checkpoint.

    Raises:
        InputError: If they do not hold `mig`.
    """
    if not has_information(scores):
        raise InputError(f"The scores must hold {Mig.name}, but hold {', '.join(scores.by_name) or 'none'}.")
    score = scores[Mig.name]
    names = tuple(score.by_factor)
    entropies, matched = score.details["entropies_nats"], score.details["matched_latents"]
    return Information(
        factors=names,
        nats=np.array(score.details["mutual_information_nats"], float),
        entropies_nats=np.array([entropies[name] for name in names], float),
        gaps=tuple(score.by_factor[name] for name in names),
        matched=tuple(matched[name] for name in names),
    )
