"""Mutual information between a latent and each factor where posteriors are narrow: Gaussian by Gaussian.

Each Gaussian is added to the points of a grid that it reaches. The work is that of all reaches together, however fine
the grid is, while transforms of the whole grid (`exact_information`) take the longer the narrower a posterior is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

POINTS_PER_SIGMA = 4  # of the narrowest: a sum over such a grid has the entropy of a smooth density to rounding
TAIL = 7.0  # standard deviations on each side; the mass beyond is 3e-12
_CELLS = 2**21  # points of all factor values whose densities are held at once (16 MiB)
_LEAST_WINDOW = 64  # points
_PAIRS = 2**20  # Gaussians at points that are held at once

_PAIR_SECONDS, _SUM_SECONDS, _POINT_SECONDS, _IMAGE_SECONDS = 25e-9, 5e-9, 10e-9, 10e-9
"""Of a Gaussian at a point, its sum for a factor, the entropy at a point for a factor value, and an image at the search
for those that reach a window: orders of size."""


def direct_seconds(
    variance: Float[np.ndarray, " images"], *, length: float, num_factors: int, num_values: int
) -> float:
    """Return about how long `direct_informations` takes.

    Args:
        variance: Those of the posteriors.
        length: That of the stretch that they cover.
        num_factors: Number of factors.
        num_values: Number of values of all factors together.
    """
    sigma = np.sqrt(variance)
    spacing = float(sigma.min()) / POINTS_PER_SIGMA
    pairs, num_points = 2 * TAIL * float(sigma.sum()) / spacing, length / spacing
    return (
        pairs * (_PAIR_SECONDS + num_factors * _SUM_SECONDS)
        + num_points * num_values * _POINT_SECONDS
        + num_points / _window(num_values) * len(sigma) * _IMAGE_SECONDS
    )


def direct_informations(
    mean: Float[np.ndarray, " images"],
    variance: Float[np.ndarray, " images"],
    values: Int[np.ndarray, "images factors"],
    counts: list[Int[np.ndarray, " _values"]],
) -> list[float]:
    """Return the information of one latent about each factor, in nats.

    Args:
        mean: Posterior means, at least `TAIL` standard deviations above 0.
        variance: Posterior variances, none of them 0.
        values: Factor values, 0 .. V - 1.
        counts: Of each factor, how many images have each value.
    """
    order = np.argsort(mean)
    mean, sigma, values = mean[order], np.sqrt(variance)[order], values[order]
    spacing = float(sigma.min()) / POINTS_PER_SIGMA
    first = np.ceil((mean - TAIL * sigma) / spacing).astype(np.int64)  # the points that each Gaussian reaches
    end = np.floor((mean + TAIL * sigma) / spacing).astype(np.int64) + 1
    widest = int((end - first).max())
    shares = np.concatenate(counts) / len(mean)
    starts = np.cumsum([0, *map(len, counts)])[:-1]  # of the values of each factor among those of all
    size = _window(len(shares))
    of_all, of_values = 0.0, np.zeros(len(shares))
    for window in range(int(first.min()), int(end.max()), size):
        near = slice(*np.searchsorted(mean, [(window - widest) * spacing, (window + size + widest) * spacing]))
        low, high = np.maximum(first[near], window), np.minimum(end[near], window + size)
        sums = np.zeros((len(shares), size))
        for part in _parts(np.maximum(high - low, 0)):
            images, points = _pairs(low[part], high[part])
            images += near.start + part.start
            scaled = (points * spacing - mean[images]) / sigma[images]
            masses = np.exp(-0.5 * scaled**2) / sigma[images] * (spacing / np.sqrt(2 * np.pi))
            for factor, (begin, each) in enumerate(zip(starts, counts, strict=True)):
                cells = values[images, factor] * size + (points - window)
                sums[begin : begin + len(each)] += np.bincount(cells, masses, minlength=len(each) * size).reshape(
                    len(each), size
                )
        sums /= len(mean)
        of_all += _entropy(sums[: len(counts[0])].sum(axis=0))
        of_values += [share * _entropy(row / share) for row, share in zip(sums, shares, strict=True)]
    informations: list[float] = np.maximum(of_all - np.add.reduceat(of_values, starts), 0.0).tolist()
    return informations


def _window(num_values: int) -> int:
    """Return the number of points whose densities are held at once."""
    return max(_LEAST_WINDOW, _CELLS // num_values)


def _parts(lengths: Int[np.ndarray, " images"]) -> Iterator[slice]:
    """Yield slices of images that have at most `_PAIRS` points together, or one image."""
    ends = lengths.cumsum()
    start = 0
    while start < len(lengths):
        before = ends[start] - lengths[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        yield slice(start, stop)
        start = stop


def _pairs(
    low: Int[np.ndarray, " images"], high: Int[np.ndarray, " images"]
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Return the image and the point of each pair: the points of an image are low .. high - 1."""
    lengths = np.maximum(high - low, 0)
    images = np.repeat(np.arange(len(lengths)), lengths)
    return images, np.arange(len(images)) - np.repeat(lengths.cumsum() - lengths, lengths) + low[images]


def _entropy(probabilities: Float[np.ndarray, " points"]) -> float:
    positive = probabilities[probabilities > 0]
    return float(-np.sum(positive * np.log(positive)))
