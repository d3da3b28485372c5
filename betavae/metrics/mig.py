"""The Mutual Information Gap: the difference in information on a factor between the best latent and the second best."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.data.factors import FactorSpace
from betavae.metrics.exact_information import exact_mutual_information
from betavae.metrics.mutual_information import (
    binned_information,
    check_bins,
    entropies_of_values,
    factor_values,
    paired_samples,
)


@dataclass(frozen=True)
class MutualInformationGap:
    """A MIG and the quantities behind it.

    Attributes:
        score: The mean of `gaps`.
        gaps: (I_(1)k - I_(2)k) / H(v_k) for the two largest entries of each column of `mutual_information`; in [0, 1].
        mutual_information: I(z_j; v_k), in nats.
        entropies: H(v_k) over the rows used, in nats.
        matched_latents: The latent with the largest entry for each factor; the first of equals.
        ceiling: The binned score of a perfect code on the same rows, to print beside `score`: it is below 1 if a factor
            has more values than there are bins. None for the exact estimator, whose ceiling is 1.
    """

    score: float
    gaps: Float[np.ndarray, " factors"]
    mutual_information: Float[np.ndarray, "latents factors"]
    entropies: Float[np.ndarray, " factors"]
    matched_latents: Int[np.ndarray, " factors"]
    ceiling: float | None


def mutual_information_gap(
    codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20, binning: str = "width"
) -> MutualInformationGap:
    """Estimate the MIG from paired samples, by binning each latent.

    The ceiling is the score of a code with one latent per factor that holds the index of the factor's value. It is no
    bound: a code with other spaces between the values can score a little more. A code that spreads over each value
    scores less, because bin edges cut through values: with a spread of half a step on the whole of dSprites, 0.889 by
    width and 0.848 by mass, instead of 0.902420 by either.

    Args:
        codes: Posterior means, (samples, latents): an array, a tensor or lists of real numbers.
        factors: Factor values, (samples, factors), rows in the order of `codes`: numbers, whole or not, or strings.
            Only which values are equal matters. Values are compared exactly and never rounded: 1 is 1.0 and -0.0 is
            0.0, but 0.3 and 0.1 + 0.2 are two values.
        num_bins: Bins per latent.
        binning: "width" for equal-width bins (comparable with most of the literature), "mass" for equal-mass bins.

    Returns:
        The score and the quantities behind it, with a ceiling.

    Error:
        Below 1 for a perfect code of a factor with more values than `num_bins`; see `ceiling`. Mutual information is
        biased up (see `mutual_information`), most if it is small, so gaps are biased down.

    Raises:
        ValueError: If a factor has only one value, or for the reasons of `mutual_information`.

    Source:
        Chen et al. 2018, arXiv:1802.04942; with equal-width bins of the means, Locatello et al. 2019, arXiv:1811.12359.
    """
    codes, values = paired_samples(codes, factors)
    check_bins(num_bins, binning)
    _check_varying(tuple((values.max(axis=0) + 1).tolist()))
    information = binned_information(codes, values, num_bins=num_bins, binning=binning)
    entropies = entropies_of_values(values)
    perfect = binned_information(values.astype(np.float64), values, num_bins=num_bins, binning=binning)
    return _gap(information, entropies, ceiling=float(gaps_of(perfect, entropies).mean()))


def exact_mutual_information_gap(
    mean: ArrayLike, logvar: ArrayLike, factors: FactorSpace | ArrayLike
) -> MutualInformationGap:
    """Compute the MIG of the full posterior over a set of images, without sampling or bins.

    Args:
        mean: Posterior means, (images, latents): an array, a tensor or lists of real numbers.
        logvar: Logarithms of the posterior variances, of the same shape.
        factors: The full factorial grid of images, for rows that are the whole grid in its index order; or the factor
            values of any images, (images, factors), as for `factor_values`.

    Returns:
        The score and the quantities behind it. A perfect code scores 1.

    Error:
        At most twice that of `exact_mutual_information` over the entropy: below 3e-4 of a gap. Of images drawn from a
        larger set, the score is not that of the set: 0.14 on 10,000 random images and 0.36 on all 737,280 were measured
        on one model.

    Raises:
        ValueError: If a factor has only one value, or for the reasons of `exact_mutual_information`.

    Source:
        Chen et al. 2018, arXiv:1802.04942.
    """
    if isinstance(factors, FactorSpace):
        sizes, entropies = factors.sizes, np.log(np.array(factors.sizes, dtype=np.float64))
    else:
        factors = factor_values(factors)
        sizes, entropies = tuple((factors.max(axis=0) + 1).tolist()), entropies_of_values(factors)
    _check_varying(sizes)
    return _gap(exact_mutual_information(mean, logvar, factors), entropies, ceiling=None)


def _gap(
    information: Float[np.ndarray, "latents factors"],
    entropies: Float[np.ndarray, " factors"],
    *,
    ceiling: float | None,
) -> MutualInformationGap:
    gaps = gaps_of(information, entropies)
    return MutualInformationGap(
        score=float(gaps.mean()),
        gaps=gaps,
        mutual_information=information,
        entropies=entropies,
        matched_latents=information.argmax(axis=0),
        ceiling=ceiling,
    )


def gaps_of(
    information: Float[np.ndarray, "latents factors"], entropies: Float[np.ndarray, " factors"]
) -> Float[np.ndarray, " factors"]:
    """Return the gap of each factor from mutual information and entropies in nats."""
    with_none = np.vstack([information, np.zeros_like(information[:1])])  # second best to a single latent
    second, first = np.sort(with_none, axis=0)[-2:]
    gaps: Float[np.ndarray, " factors"] = (first - second) / entropies
    return gaps


def _check_varying(num_values: tuple[int, ...]) -> None:
    if 1 in num_values:
        raise ValueError(
            f"Each factor must take at least two values, but column {num_values.index(1)} takes one, and its gap would "
            "be 0 / 0: drop the column, or use rows in which it varies."
        )
