"""The rotation of two latents against two factors that they share, and the score of the code rotated back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from betavae.metrics import mutual_information, mutual_information_gap
from betavae.metrics.information_gaps import NUM_BINS
from betavae.metrics.mig import gaps_of

_NUM_ANGLES = 90


@dataclass(frozen=True)
class Rotation:
    """The rotation of two latents that raises the gaps of their two factors the most.

    Attributes:
        latents: The two latents that know most of the two factors together.
        degrees: The angle, -45 .. 45, with each latent in units of its own standard deviation.
        score: `mig` of the code as it is.
        rotated_score: `mig` of the rotated code.
    """

    latents: tuple[int, int]
    degrees: int
    score: float
    rotated_score: float


def best_rotation(
    codes: Float[np.ndarray, "rows latents"], factors: Integer[np.ndarray, "rows factors"], *, columns: Sequence[int]
) -> Rotation:
    """Rotate the two latents that know most of two factors by whole degrees, and return the angle of the largest gaps.

    Args:
        codes: Posterior means; at least two latents.
        factors: Values of all factors of the same images.
        columns: The two factors, such as those of a position.

    Error:
        A degree; and no rotation undoes a code whose two latents are scaled otherwise than their factors.

    Raises:
        ValueError: If there are fewer than two latents, or as `mutual_information_gap`.
    """
    if codes.shape[1] < 2:
        raise ValueError(f"codes must have two latents to be rotated, but have {codes.shape[1]}.")
    before = mutual_information_gap(codes, factors, num_bins=NUM_BINS, binning="width")
    first, second = np.argsort(-before.mutual_information[:, list(columns)].sum(1), kind="stable")[:2].tolist()
    pair = codes[:, [first, second]].astype(np.float64)
    pair = (pair - pair.mean(0)) / np.maximum(pair.std(0), np.finfo(np.float64).tiny)
    information = before.mutual_information.copy()
    scores, gaps_of_pair = {}, {}
    for degrees in range(_NUM_ANGLES // 2, -_NUM_ANGLES // 2, -1):
        information[[first, second]] = mutual_information(_rotated(pair, degrees), factors, num_bins=NUM_BINS)
        gaps = gaps_of(information, before.entropies)
        scores[degrees], gaps_of_pair[degrees] = float(gaps.mean()), float(gaps[list(columns)].mean())
    best = max(scores, key=lambda degrees: (gaps_of_pair[degrees], -abs(degrees)))
    return Rotation((first, second), best, before.score, scores[best])


def _rotated(pair: Float[np.ndarray, "rows 2"], degrees: int) -> Float[np.ndarray, "rows 2"]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotated: np.ndarray = pair @ np.array([[cosine, sine], [-sine, cosine]])
    return rotated
