"""The Mutual Information Gap as the library dent takes it: factors are binned, too."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.mig import MutualInformationGap, mutual_information_gap
from betavae.metrics.mutual_information import check_bins
from betavae.metrics.paired import checked_pair


def mig_dent(codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20) -> MutualInformationGap:
    """Estimate the MIG by equal-width bins of each latent and of each factor, divided by the binned factor's entropy.

    Latents and factors are scaled to [0, 1] first, as in that library: rounding decides about values on the edge of a
    bin.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Whole numbers are binned as they are; the
            values of any other column are ranked first.
        num_bins: Bins of each latent and of each factor.

    Returns:
        The score and the quantities behind it, with entropies of the binned factors. It is that of
        `mutual_information_gap` if every factor has at most `num_bins` values, with equal steps.

    Error:
        As for `mutual_information_gap`. A perfect code scores 1 on a whole grid, where that of unbinned factors does
        not, because what bins cannot tell apart is not asked for. That library holds factors in float32, which joins
        some neighbouring bins of a factor with 21, 26 or 41 values, among others; here they are float64.

    Raises:
        ValueError: If a factor takes one value, num_bins < 2, or for the reasons of `checked_pair`.

    Source:
        Roth et al. 2023, arXiv:2210.07347 (github.com/facebookresearch/disentangling-correlated-factors).
    """
    codes, numbers = checked_pair(codes, factors)
    check_bins(num_bins, "width")
    bins = _bins(codes, num_bins), _bins(numbers.astype(np.float64), num_bins)
    return mutual_information_gap(*bins, num_bins=num_bins)  # whole numbers from 1 to num_bins keep a bin each


def _bins(columns: Float[np.ndarray, "rows columns"], num_bins: int) -> Int[np.ndarray, "rows columns"]:
    from sklearn.preprocessing import minmax_scale

    bins: Int[np.ndarray, "rows columns"] = np.digitize(minmax_scale(columns), np.linspace(0, 1, num_bins + 1)[:-1])
    return bins
