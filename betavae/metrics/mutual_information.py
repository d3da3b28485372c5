"""Mutual information between codes and factors, estimated from paired samples by binning each latent."""

import numpy as np
from jaxtyping import Float, Int, Integer, Num

BINNINGS = ("width", "mass")


def mutual_information(
    codes: Float[np.ndarray, "samples latents"],
    factors: Integer[np.ndarray, "_samples factors"],
    *,
    num_bins: int = 20,
    binning: str = "width",
) -> Float[np.ndarray, "latents factors"]:
    r"""Estimate I(z_j; v_k) from paired samples, by binning each latent.

    Equal-width bins run from the smallest to the largest code of a latent, the last one closed. Equal-mass bins
    are cut at the quantiles i / num_bins, and a code on a cut belongs to the bin above it.

    Args:
        codes: Posterior means, one row per image; binned in float64. Scaling or shifting a latent changes nothing.
        factors: Factor values, rows in the order of `codes`; any integers, since only which rows agree matters.
        num_bins: Bins per latent, B.
        binning: "width" for equal-width bins, "mass" for equal-mass bins.

    Returns:
        Entry [j, k] in nats, in [0, log min(B, V_k)] for a factor of V_k values. A constant latent gives 0.

    Error:
        Biased up by about (B-1)(V_k-1)/2N nats for independent pairs (0.037 at B=20, V=40, N=10_000).

    Raises:
        ValueError: If the row counts differ, there are no rows, latents or factors, a code is not finite,
            num_bins < 2, or the binning is unknown.

    Source:
        Chen et al. 2018, arXiv:1802.04942. Equal-width bins: Locatello et al. 2019, arXiv:1811.12359.
    """
    _check_samples(codes, factors)
    _check_bins(num_bins, binning)
    values = np.ascontiguousarray(factor_values(factors).T)
    sizes = values.max(axis=1) + 1
    starts = np.cumsum(sizes) - sizes
    columns = values + starts[:, None]  # of one table per latent, in which the factors' tables stand side by side
    latents = codes.T.astype(np.float64, order="C")
    return np.array([_information(_bin_indices(z, num_bins, binning), columns, starts) for z in latents])


def factor_entropies(factors: Integer[np.ndarray, "samples factors"]) -> Float[np.ndarray, " factors"]:
    """Return the empirical entropy of each factor over the given rows.

    Args:
        factors: Factor values, one row per image; any integers.

    Returns:
        Entropies in nats; log n only for n equally frequent values, and 0 for a factor with one value.
    """
    counts = [np.bincount(values) for values in factor_values(factors).T]
    return np.array([count @ np.log(len(factors) / count) / len(factors) for count in counts])


def factor_values(factors: Integer[np.ndarray, "samples factors"]) -> Int[np.ndarray, "samples factors"]:
    """Renumber the values of each factor 0 .. V_k - 1, in order, leaving out those that no row takes."""
    return np.stack([_ranks(column) for column in factors.T], axis=1)


def _ranks(column: Integer[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
    low, high = int(column.min()), int(column.max())
    if high - low > 4 * column.size:  # a table of every value between would be longer than sorting takes
        return np.unique(column, return_inverse=True)[1].astype(np.int64)
    # Modulo 2**64, so right for narrow types, which would overflow, and for uint64, which int64 cannot hold.
    offsets = column.astype(np.int64) - np.array(low, dtype=column.dtype).astype(np.int64)
    ranks: Int[np.ndarray, " values"] = np.cumsum(np.bincount(offsets) > 0) - 1
    return ranks[offsets]


def _bin_indices(latent: Float[np.ndarray, " samples"], num_bins: int, binning: str) -> Int[np.ndarray, " samples"]:
    if binning == "mass":
        inner_edges = np.quantile(latent, np.linspace(0, 1, num_bins + 1))[1:-1]
        return np.searchsorted(inner_edges, latent, side="right")
    # numpy.histogram's edges, without its refusal of a range of a few units in the last place. Its widening of an
    # empty range is not needed: then all edges are equal, and every code falls into the last bin.
    edges = np.linspace(latent.min(), latent.max(), num_bins + 1)
    return np.searchsorted(edges[:-1], latent, side="right") - 1


def _information(
    bins: Int[np.ndarray, " samples"], columns: Int[np.ndarray, "factors samples"], starts: Int[np.ndarray, " factors"]
) -> Float[np.ndarray, " factors"]:
    """Return I = sum n_bv log(n_bv N / (n_b n_v)) / N for each factor."""
    num_columns = int(columns[-1].max()) + 1
    cells = bins * num_columns + columns
    counts = np.bincount(cells.ravel(), minlength=(int(bins.max()) + 1) * num_columns)
    table = counts.reshape(-1, num_columns).astype(np.float64)
    chance = np.outer(np.bincount(bins), table.sum(axis=0))  # n_b n_v; whole numbers, so that independence gives log 1
    ratios = np.divide(table * bins.size, chance, out=np.ones_like(table), where=table > 0)
    information = np.add.reduceat((table * np.log(ratios)).sum(axis=0), starts) / bins.size
    return np.maximum(information, 0.0)  # rounding can leave almost independent pairs at -1e-17


def _check_samples(codes: Num[np.ndarray, "..."], factors: Num[np.ndarray, "..."]) -> None:
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            "codes and factors must be matrices with one row per image, in the same order, "
            f"but got shapes {codes.shape} and {factors.shape}."
        )
    if 0 in codes.shape + factors.shape:
        raise ValueError(
            "codes and factors must have at least one row, one latent and one factor, "
            f"but got shapes {codes.shape} and {factors.shape}."
        )
    check_finite("codes", codes)


def _check_bins(num_bins: int, binning: str) -> None:
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, but got {num_bins}.")
    if binning not in BINNINGS:
        raise ValueError(f"binning must be one of {', '.join(map(repr, BINNINGS))}, but got {binning!r}.")


def check_finite(name: str, array: Num[np.ndarray, "..."]) -> None:
    """Raise a ValueError that names the latents in which `array`, (rows, latents), is not finite."""
    bad = ~np.isfinite(array).all(axis=0)
    if bad.any():
        raise ValueError(
            f"{name} must be finite, but latents {np.flatnonzero(bad).tolist()} hold nan or infinity: "
            "the model has diverged; score an earlier checkpoint."
        )
