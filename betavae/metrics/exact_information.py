"""Mutual information between a latent's full posterior and each factor, by quadrature: no sampling, no bins.

The aggregate posterior of one latent, q(z_j) = mean_n N(mu_nj, sigma_nj^2), and that of the images with one factor
value, q(z_j | v_k = v), are one-dimensional mixtures of Gaussians. Their densities on a grid give
I = H(q(z_j)) - mean_v H(q(z_j | v_k = v)). A mixture of 737,280 Gaussians is summed by rounding each component to a
few neighbouring means and variances that keep its moments, and by blurring one histogram per variance in Fourier space.
Where all posteriors are narrow, that grid is so long that it takes less time to add Gaussian by Gaussian
(`direct_quadrature`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from betavae.arrays import ArrayLike, as_floats
from betavae.data.factors import FactorSpace
from betavae.metrics.direct_quadrature import TAIL, direct_informations, direct_seconds
from betavae.metrics.mutual_information import check_finite, factor_values

POINTS_PER_SIGMA = 8  # at least; the error of the two-point rounding of a mean falls with its cube
LONG_GRID = 2**15  # points; a longer grid costs more than sorting the components to look for gaps
MAX_POINTS = 2**21
NODES_PER_OCTAVE = 8  # variances per doubling of sigma
STENCIL = 4  # neighbouring variances that share a component: its variance and the next two powers are kept
RATIO = 2.0 ** (2 / NODES_PER_OCTAVE)  # of neighbouring variances
BLOCK_CELLS = 2**20  # histogram cells held at once (8 MiB), unless one factor value alone needs more
_CELL_SECONDS = 20e-9  # of the transforms: an order of size
LARGEST_EXPONENT = 256  # of 2, of a mean: larger ones, whose squares would overflow, are scaled down with their sigmas
MAX_LOGVAR = 300.0  # squared ratios of sigmas between exp(-150) and exp(150) still fit in float64


def exact_mutual_information(
    mean: ArrayLike, logvar: ArrayLike, factors: FactorSpace | ArrayLike
) -> Float[np.ndarray, "latents factors"]:
    r"""Compute I(z_j; v_k) for z_j drawn from the posterior q(z_j | x), with x uniform over the images.

    Args:
        mean: Posterior means, (images, latents): an array, a tensor or lists of real numbers.
        logvar: Logarithms of the posterior variances, of the same shape.
        factors: The full factorial grid of images, for rows that are the whole grid in its index order; or the factor
            values of any images, (images, factors), as for `factor_values`.

    Returns:
        Entry [j, k] in nats, in [0, log V_k]. Scaling or shifting a latent changes nothing.

    Error:
        Below 1e-4 nats (the largest seen is 2e-5, with two images) if the narrowest posterior of a latent is at least
        4e-6 of the length that its posteriors cover, without empty stretches. If one is narrower, the latent is first
        blurred by 4e-6 of that length, which can only lower the result. Of images drawn from a larger set, the result
        is far above that of the set: the few posteriors of a factor value do not cover what all of them cover.

    Time:
        0.4 s per latent, and 0.5 GB in all, for the 737,280 images of dSprites on one core; 2 s if the narrowest sigma
        is 1e-6 of that length and most are ten times as wide, and 130 s and 1.7 GB if they spread evenly over four
        decades.

    Raises:
        ValueError: If the shapes differ, the rows are not the whole grid that is given, a value is no finite real
            number, or a logvar is outside [-300, 300]; or for the reasons of `factor_values`.

    Source:
        The quantity: Chen et al. 2018, arXiv:1802.04942, who estimate it by sampling.
    """
    mean, logvar = as_floats("mean", mean), as_floats("logvar", logvar)
    _check_posterior(mean, logvar)
    factors = _checked_factors(factors, len(mean))
    posteriors = zip(mean.T, logvar.T, strict=True)
    return np.array([_informations(*_place(*posterior), factors) for posterior in posteriors])


def _checked_factors(
    factors: FactorSpace | ArrayLike, num_images: int
) -> FactorSpace | Int[np.ndarray, "images factors"]:
    if isinstance(factors, FactorSpace):
        if num_images != factors.size:
            raise ValueError(
                f"mean must have one row for each of the {factors.size} images, in index order, but got {num_images} "
                "rows: a subset gives another number, so encode every image or use the binned estimator."
            )
        return factors
    values = factor_values(factors)
    if len(values) != num_images:
        raise ValueError(f"factors must have a row for each of the {num_images} rows of mean, but got {len(values)}.")
    return values


@dataclass(frozen=True)
class _Grid:
    """A periodic grid from 0 to `length`, whose spacing doubles with each octave of sigma above the narrowest."""

    length: float
    num_points: int  # at the finest level; a power of two
    narrowest: float  # the smallest variance


@dataclass(frozen=True)
class _Mixture:
    """The components of one latent, each shared among cells of a histogram.

    The histogram is a row of blocks, one for each variance in use; the cells of a block are means, at the spacing of
    its variance's octave.
    """

    cells: Int[np.ndarray, "stencil images"]
    weights: Float[np.ndarray, "stencil images"]  # of the variances; they sum to 1, and some are negative
    right: Float[np.ndarray, " images"]  # the share that belongs to the next cell, its mean one spacing up
    num_cells: int
    levels: tuple[tuple[slice, Float[np.ndarray, "_nodes _frequencies"]], ...]  # cells, Fourier transforms of Gaussians
    num_points: int


def _place(
    mean: Float[np.ndarray, " images"], logvar: Float[np.ndarray, " images"]
) -> tuple[_Grid, Float[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """Return a grid that holds all components, their means relative to its start, and their variances."""
    mean = mean.astype(np.float64)
    shift = max(int(np.frexp(np.abs(mean).max())[1]) - LARGEST_EXPONENT, 0)
    mean = np.ldexp(mean, -shift)
    mean = mean - mean.min()
    # The floor is the resolution of means in float64. It prevents 0 / 0, and is too small to change a result.
    variance = np.ldexp(np.exp(logvar.astype(np.float64)), -2 * shift) + (mean.max() * 2.0**-46) ** 2
    if _num_points(mean, variance) > LONG_GRID:
        mean = _close_gaps(mean, variance)
    excess = _num_points(mean, variance) / MAX_POINTS
    if excess > 1:  # blur all components alike: a channel after the code, which can only lower I
        variance = variance + excess**2 * variance.min()
    num_points = 2 ** int(np.ceil(np.log2(min(_num_points(mean, variance), MAX_POINTS))))
    starts, ends = _supports(mean, variance)
    grid = _Grid(float(ends.max() - starts.min()), num_points, float(variance.min()))
    return grid, mean - starts.min(), variance


def _supports(
    mean: Float[np.ndarray, " images"], variance: Float[np.ndarray, " images"]
) -> tuple[Float[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    reach = TAIL * np.sqrt(variance)
    return mean - reach, mean + reach


def _num_points(mean: Float[np.ndarray, " images"], variance: Float[np.ndarray, " images"]) -> float:
    starts, ends = _supports(mean, variance)
    return float(POINTS_PER_SIGMA * (ends.max() - starts.min()) / np.sqrt(variance.min()))


def _close_gaps(
    mean: Float[np.ndarray, " images"], variance: Float[np.ndarray, " images"]
) -> Float[np.ndarray, " images"]:
    """Return means with the clusters of components moved together over gaps, which leaves I as it was."""
    starts, ends = _supports(mean, variance)
    order = np.argsort(starts)
    gaps = np.maximum(starts[order][1:] - np.maximum.accumulate(ends[order])[:-1], 0)
    closed = mean.copy()
    closed[order[1:]] -= np.cumsum(gaps)
    return closed


def _round_components(
    grid: _Grid, mean: Float[np.ndarray, " images"], variance: Float[np.ndarray, " images"]
) -> _Mixture:
    """Share each component between two means and `STENCIL` variances that keep its mean and variance."""
    node, level, first = _nodes(grid, variance)
    spacings = grid.length / grid.num_points * 2.0 ** np.arange(level.max() + 1)
    variances = grid.narrowest * RATIO ** np.arange(node.max() + 1)
    position = mean / spacings[level]
    left = position.astype(np.int64)
    right = position - left  # the share of the grid point on the right
    # Sharing between two points adds right (1 - right) spacing^2 of variance: take it from this component's own.
    remaining = variance - right * (1 - right) * spacings[level] ** 2
    weights = _stencil_weights(remaining / variances[node])
    offsets, num_cells = _node_offsets(level, first, grid.num_points)
    return _Mixture(
        cells=np.stack([offsets[level, first + i] + left for i in range(STENCIL)]),
        weights=weights,
        right=right,
        num_cells=num_cells,
        levels=tuple(_levels(offsets, grid)),
        num_points=grid.num_points,
    )


def _nodes(grid: _Grid, variance: Float[np.ndarray, " images"]) -> tuple[Int[np.ndarray, " images"], ...]:
    """Return the node below each variance, its octave, and its number there."""
    node = (np.log(variance / grid.narrowest) / np.log(RATIO)).astype(np.int64)
    return (node, *np.divmod(node, NODES_PER_OCTAVE))


def _stencil_weights(ratio: Float[np.ndarray, " images"]) -> Float[np.ndarray, "stencil images"]:
    """Return Lagrange's weights of the variances 1/RATIO, 1, RATIO, RATIO^2 for a variance in [1, RATIO]."""
    nodes = RATIO ** np.arange(-1, STENCIL - 1)
    weights = np.ones((STENCIL, ratio.size))
    for i, j in np.argwhere(~np.eye(STENCIL, dtype=bool)):
        weights[i] *= (ratio - nodes[j]) / (nodes[i] - nodes[j])
    return weights


def _node_offsets(
    level: Int[np.ndarray, " images"], first: Int[np.ndarray, " images"], num_points: int
) -> tuple[Int[np.ndarray, "levels nodes"], int]:
    """Return the first cell of the block of each variance (-1 for an unused variance), and the number of cells."""
    used = np.zeros((int(level.max()) + 1, NODES_PER_OCTAVE + STENCIL - 1), dtype=bool)
    for i in range(STENCIL):
        used[level, first + i] = True
    lengths = np.where(used, num_points >> np.arange(len(used))[:, None], 0)
    ends = lengths.cumsum().reshape(used.shape)
    return np.where(used, ends - lengths, -1), int(lengths.sum())


def _levels(
    offsets: Int[np.ndarray, "levels nodes"], grid: _Grid
) -> Iterator[tuple[slice, Float[np.ndarray, "_nodes _frequencies"]]]:
    """Yield the cells of each octave of sigma, and the Fourier transforms of its nodes' Gaussians."""
    for level in range(len(offsets)):
        nodes = np.flatnonzero(offsets[level] >= 0)
        if nodes.size:
            num_points = grid.num_points >> level
            start = int(offsets[level, nodes[0]])
            variances = grid.narrowest * RATIO ** (NODES_PER_OCTAVE * level + nodes - 1)
            # Beyond a quarter of the sampling frequency, a Gaussian of 8 points per sigma is below exp(-66).
            frequencies = 2 * np.pi / grid.length * np.arange(num_points // 4 + 1)
            blur = np.exp(-0.5 * variances[:, None] * frequencies**2)
            yield slice(start, start + nodes.size * num_points), blur


def _informations(
    grid: _Grid,
    mean: Float[np.ndarray, " images"],
    variance: Float[np.ndarray, " images"],
    factors: FactorSpace | Int[np.ndarray, "images factors"],
) -> list[float]:
    if grid.num_points > LONG_GRID:
        values = factors.indices_to_factors(np.arange(len(mean))) if isinstance(factors, FactorSpace) else factors
        counts = [np.bincount(column) for column in values.T]
        num_values = sum(map(len, counts))
        seconds = direct_seconds(variance, length=grid.length, num_factors=len(counts), num_values=num_values)
        _, level, first = _nodes(grid, variance)
        if seconds < _node_offsets(level, first, grid.num_points)[1] * num_values * _CELL_SECONDS:
            return direct_informations(mean, variance, values, counts)
    mixture = _round_components(grid, mean, variance)
    if isinstance(factors, FactorSpace):
        return [_information_of_axis(mixture, factors.sizes, factor) for factor in range(factors.num_factors)]
    return [_information_of_rows(mixture, values) for values in factors.T]


def _information_of_rows(mixture: _Mixture, values: Int[np.ndarray, " images"]) -> float:
    """Return I(z; v) in nats for a factor whose values are 0 .. V - 1, computed in blocks of its values."""
    order, counts = np.argsort(values, kind="stable"), np.bincount(values)
    ends, shares = counts.cumsum(), counts / len(values)
    step = max(1, BLOCK_CELLS // mixture.num_cells)
    marginal = np.zeros(mixture.num_points // 2)
    conditional_entropy = 0.0
    for start in range(0, len(counts), step):
        block = slice(start, start + step)
        rows = order[ends[start] - counts[start] : ends[block][-1]]
        sums = _sums(
            mixture.cells[:, rows] + mixture.num_cells * (values[rows] - start),
            mixture.weights[:, rows],
            mixture.right[rows],
            num_values=len(counts[block]),
            num_cells=mixture.num_cells,
        )
        densities = _densities(mixture, sums / counts[block, None])
        marginal += shares[block] @ densities
        conditional_entropy += sum(share * _entropy(row) for share, row in zip(shares[block], densities, strict=True))
    return max(_entropy(marginal) - conditional_entropy, 0.0)


def _information_of_axis(mixture: _Mixture, sizes: tuple[int, ...], factor: int) -> float:
    """Return I(z; v) in nats for the factor on one axis of the grid: as `_information_of_rows`, without sorting."""
    num_values = sizes[factor]
    num_after = int(np.prod(sizes[factor + 1 :]))
    shape = (-1, num_values, num_after)  # C order: the axes before, this one, those after
    arrays = (mixture.cells, mixture.weights, mixture.right[None])
    cells, weights, right = (array.reshape(len(array), *shape) for array in arrays)
    step = max(1, BLOCK_CELLS // mixture.num_cells)
    marginal = np.zeros(mixture.num_points // 2)
    conditional_entropy = 0.0
    for start in range(0, num_values, step):
        block = (slice(None), slice(None), slice(start, start + step))
        offsets = mixture.num_cells * np.arange(cells[block].shape[2])[:, None]
        sums = _sums(
            cells[block] + offsets,
            weights[block],
            right[block],
            num_values=offsets.size,
            num_cells=mixture.num_cells,
        )
        densities = _densities(mixture, sums / (cells.shape[1] * num_after))
        marginal += densities.sum(axis=0) / num_values
        conditional_entropy += _entropy(densities) / num_values
    return max(_entropy(marginal) - conditional_entropy, 0.0)  # rounding can leave an unused latent at -1e-15


def _sums(
    cells: Int[np.ndarray, "stencil ..."],
    weights: Float[np.ndarray, "stencil ..."],
    right: Float[np.ndarray, "..."],
    *,
    num_values: int,
    num_cells: int,
) -> Float[np.ndarray, "values cells"]:
    """Return the sum of weights in each cell, for cells that are numbered through the values."""
    cells = cells.ravel()
    upper = np.bincount(cells, (weights * right).ravel(), minlength=num_cells * num_values)
    total = np.bincount(cells, weights.ravel(), minlength=num_cells * num_values)
    total -= upper
    total[1:] += upper[:-1]  # the last cells of a block are out of every component's reach
    return total.reshape(num_values, num_cells)


def _densities(mixture: _Mixture, histograms: Float[np.ndarray, "values cells"]) -> Float[np.ndarray, "values points"]:
    """Return q(z | v) of each value as probabilities, on every second point of the finest grid."""
    # All levels have one length and start, so that their transforms agree in frequency: the wide components are
    # summed on coarse grids, and fill low frequencies only.
    spectra = np.zeros((len(histograms), mixture.num_points // 4 + 1), dtype=np.complex128)
    for spectrum, histogram in zip(spectra, histograms, strict=True):
        for level, blur in mixture.levels:
            nodes = histogram[level].reshape(len(blur), -1)
            used = nodes.any(axis=1)  # as a rule few of the narrowest, which have the longest transforms
            num_frequencies = blur.shape[1]
            spectrum[:num_frequencies] += (np.fft.rfft(nodes[used])[:, :num_frequencies] * blur[used]).sum(axis=0)
    return np.fft.irfft(spectra, n=mixture.num_points // 2)


def _entropy(probabilities: Float[np.ndarray, "*values points"]) -> float:
    positive = np.maximum(probabilities, 1e-300)  # the transform leaves tails at +-1e-17
    return float(-np.sum(positive * np.log(positive)))


def _check_posterior(mean: Num[np.ndarray, "..."], logvar: Num[np.ndarray, "..."]) -> None:
    if mean.ndim != 2 or 0 in mean.shape or mean.shape != logvar.shape:
        raise ValueError(
            "mean and logvar must be matrices of one shape, with a row per image and a column per latent, "
            f"but got shapes {mean.shape} and {logvar.shape}."
        )
    check_finite("mean", mean)
    check_finite("logvar", logvar)
    if np.abs(logvar).max() > MAX_LOGVAR:
        raise ValueError(f"logvar must lie in [-300, 300], but got {logvar.min()} .. {logvar.max()}; clamp it.")
