"""Mutual information between codes and factors, estimated from paired samples by binning each latent."""

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from betavae.arrays import ArrayLike, as_array, as_floats

BINNINGS = ("width", "mass")

_LARGEST_TABLE = 2**24
"""Cells of a table of bins and values, above which only those that are not empty are kept: 128 MiB as float64."""


def mutual_information(
    codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20, binning: str = "width"
) -> Float[np.ndarray, "latents factors"]:
    r"""Estimate I(z_j; v_k) from paired samples, by binning each latent.

    Equal-width bins divide the range from the smallest to the largest code of a latent; the last bin is closed.
    Equal-mass bins are cut at the quantiles i / num_bins; a code on a cut belongs to the bin above.

    Args:
        codes: Posterior means, (samples, latents): an array, a tensor or lists of real numbers, binned in float64.
            Scaling or shifting a latent changes nothing.
        factors: Factor values, (samples, factors), rows in the order of `codes`; as for `factor_values`.
        num_bins: Bins per latent, B.
        binning: "width" for equal-width bins, "mass" for equal-mass bins.

    Returns:
        Entry [j, k] in nats, in [0, log min(B, V_k)] for a factor of V_k values. A constant latent gives 0.

    Error:
        Biased up by about (B-1)(V_k-1)/2N nats for independent pairs (0.037 at B=20, V=40, N=10_000).

    Raises:
        ValueError: If the row counts differ, there are no rows, latents or factors, a code is not finite,
            num_bins < 2, or the binning is unknown; if the codes are no real numbers; or for the reasons of
            `factor_values`.

    Source:
        Chen et al. 2018, arXiv:1802.04942. Equal-width bins: Locatello et al. 2019, arXiv:1811.12359.
    """
    codes, values = paired_samples(codes, factors)
    check_bins(num_bins, binning)
    return binned_information(codes, values, num_bins=num_bins, binning=binning)


def factor_entropies(factors: ArrayLike) -> Float[np.ndarray, " factors"]:
    """Return the empirical entropy of each factor over the given rows.

    Args:
        factors: Factor values, (samples, factors); as for `factor_values`.

    Returns:
        Entropies in nats: log n for n equally frequent values, less for others, 0 for a factor with one value.

    Raises:
        ValueError: For the reasons of `factor_values`.
    """
    return entropies_of_values(factor_values(factors))


def factor_values(factors: ArrayLike) -> Int[np.ndarray, "samples factors"]:
    """Return the values of each factor renumbered 0 .. V_k - 1, in order, without values that no row has.

    Args:
        factors: A matrix, one row per image: an array, a tensor or lists of numbers or strings that have an order. Only
            which values are equal matters. Values are compared exactly and never rounded: 1 is 1.0 and -0.0 is 0.0, but
            0.3 and 0.1 + 0.2 are two values.

    Raises:
        ValueError: If there are no rows or factors, a value is NaN, or the values of a factor have no order.
    """
    matrix = _factor_matrix(factors)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            f"factors must be a matrix with at least one row and one column, but got shape {matrix.shape}."
        )
    return np.stack([_ranks(matrix[:, k], k) for k in range(matrix.shape[1])], axis=1)


def paired_samples(
    codes: ArrayLike, factors: ArrayLike
) -> tuple[Float[np.ndarray, "samples latents"], Int[np.ndarray, "samples factors"]]:
    """Return checked codes as floats, and the factors as renumbered by `factor_values`."""
    codes, factors = as_floats("codes", codes), _factor_matrix(factors)
    _check_samples(codes, factors)
    return codes, factor_values(factors)


def binned_information(
    codes: Float[np.ndarray, "samples latents"],
    values: Int[np.ndarray, "samples factors"],
    *,
    num_bins: int,
    binning: str,
) -> Float[np.ndarray, "latents factors"]:
    """Return the result of `mutual_information` for samples from `paired_samples`."""
    values = np.ascontiguousarray(values.T)
    sizes = values.max(axis=1) + 1
    starts = np.cumsum(sizes) - sizes
    columns = values + starts[:, None]  # of one table per latent that joins the tables of all factors
    latents = codes.T.astype(np.float64, order="C")
    return np.array([_information(_bin_indices(z, num_bins, binning), columns, starts) for z in latents])


def entropies_of_values(values: Int[np.ndarray, "samples factors"]) -> Float[np.ndarray, " factors"]:
    """Return the result of `factor_entropies` for values from `factor_values`."""
    counts = [np.bincount(column) for column in values.T]
    return np.array([count @ np.log(len(values) / count) / len(values) for count in counts])


def _factor_matrix(factors: ArrayLike) -> Shaped[np.ndarray, "..."]:
    matrix = as_array("factors", factors)
    if matrix.dtype.kind in "US" and isinstance(factors, list | tuple):
        return as_array("factors", factors, dtype=object)  # else numbers and NaN beside strings would become strings
    return matrix


def _ranks(column: Shaped[np.ndarray, " samples"], k: int) -> Int[np.ndarray, " samples"]:
    return _ranks_of_integers(column) if column.dtype.kind in "biu" else _ranks_by_sorting(column, k)


def _ranks_by_sorting(column: Shaped[np.ndarray, " samples"], k: int) -> Int[np.ndarray, " samples"]:
    try:
        is_nan = column != column
        ranks = np.unique(column, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"The values of a factor must have an order, as numbers or as strings do, but column {k} has none: {error}."
        ) from error
    if is_nan.any():
        raise ValueError(
            f"factors must not hold NaN, but column {k} does, first in row {is_nan.argmax()}: drop such rows, or give "
            "them a value of their own."
        )
    return ranks.astype(np.int64)


def _ranks_of_integers(column: Shaped[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
    low, high = int(column.min()), int(column.max())
    if high - low > 4 * column.size:  # sorting is faster than a table of every value between
        return np.unique(column, return_inverse=True)[1].astype(np.int64)
    # Differences modulo 2**64: right for narrow types, which would overflow, and for uint64, which int64 cannot hold.
    offsets = column.astype(np.int64) - np.array(low, dtype=column.dtype).astype(np.int64)
    ranks: Int[np.ndarray, " values"] = np.cumsum(np.bincount(offsets) > 0) - 1
    return ranks[offsets]


def _bin_indices(latent: Float[np.ndarray, " samples"], num_bins: int, binning: str) -> Int[np.ndarray, " samples"]:
    if latent.max() / 2 - latent.min() / 2 > np.finfo(np.float64).max / 2:
        latent = latent / 2  # so that its range fits in float64
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
    if (int(bins.max()) + 1) * num_columns > _LARGEST_TABLE:
        return _information_of_cells(cells, num_columns, starts)
    counts = np.bincount(cells.ravel(), minlength=(int(bins.max()) + 1) * num_columns)
    table = counts.reshape(-1, num_columns).astype(np.float64)
    chance = np.outer(np.bincount(bins), table.sum(axis=0))  # n_b n_v; whole numbers, so that independence gives log 1
    ratios = np.divide(table * bins.size, chance, out=np.ones_like(table), where=table > 0)
    information = np.add.reduceat((table * np.log(ratios)).sum(axis=0), starts) / bins.size
    return np.maximum(information, 0.0)  # by rounding, almost independent pairs can have -1e-17


def _information_of_cells(
    cells: Int[np.ndarray, "factors samples"], num_columns: int, starts: Int[np.ndarray, " factors"]
) -> Float[np.ndarray, " factors"]:
    """Return the same from the cells of the table that are not empty, at most one for each sample and factor."""
    num_samples = cells.shape[1]
    filled, counts = np.unique(cells, return_counts=True)
    rows, columns = np.divmod(filled, num_columns)
    num_in_row = np.bincount(rows, weights=counts)[rows] / len(cells)  # each sample is in a cell of every factor
    num_in_column = np.bincount(columns, weights=counts)[columns]
    terms = counts * np.log(counts * num_samples / (num_in_row * num_in_column))
    factors = np.searchsorted(starts, columns, side="right") - 1
    sums = np.bincount(factors, weights=terms, minlength=len(starts))
    information: Float[np.ndarray, " factors"] = np.maximum(sums / num_samples, 0.0)
    return information


def _check_samples(codes: Num[np.ndarray, "..."], factors: Shaped[np.ndarray, "..."]) -> None:
    if 0 in codes.shape + factors.shape:
        raise ValueError(
            "codes and factors must have at least one row, one latent and one factor, "
            f"but got shapes {codes.shape} and {factors.shape}."
        )
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            "codes and factors must be matrices with one row per image, in the same order, "
            f"but got shapes {codes.shape} and {factors.shape}."
        )
    check_finite("codes", codes)


def check_bins(num_bins: int, binning: str) -> None:
    """Refuse fewer than two bins and unknown binnings.

    Raises:
        ValueError: If num_bins < 2 or the binning is unknown.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, but got {num_bins}.")
    if binning not in BINNINGS:
        raise ValueError(f"binning must be one of {', '.join(map(repr, BINNINGS))}, but got {binning!r}.")


def _what_is_not_finite(array: Num[np.ndarray, "..."]) -> str:
    kinds = {"NaN": np.isnan(array), "infinity": np.isinf(array)}
    return " and ".join(
        f"{kind} (first in row {np.argwhere(where)[0, 0]})" for kind, where in kinds.items() if where.any()
    )


def check_finite(name: str, array: Num[np.ndarray, "..."]) -> None:
    """Refuse a matrix, (rows, latents), that is not finite.

    Raises:
        ValueError: If an entry is infinite or nan; the message names the latents.
    """
    bad = ~np.isfinite(array).all(axis=0)
    if bad.any():
        raise ValueError(
            f"{name} must be finite, but latents {np.flatnonzero(bad).tolist()} hold {_what_is_not_finite(array)}, as "
            "those of a model that has diverged do: drop such rows, or take the codes of an earlier checkpoint."
        )
