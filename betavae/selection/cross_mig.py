"""Cross-model MIG: a model is taken to be good if other models hold the same information, latent by latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.arrays import ArrayLike
from betavae.metrics.paired import Standardiser, varies
from betavae.selection.inputs import checked_logvars, checked_models, medians_over_others

_LARGEST_SQUARE = 1 - 1e-12
"""Of a correlation, so that two latents without noise have finite information about each other, 13.8 nats."""


@dataclass(frozen=True)
class CrossMIG:
    """The cross-model MIG of several models and the comparisons behind it, in nats.

    Attributes:
        scores: The score of each model: the median over the other models.
        pairs: Entry [i, j] compares the models i and j, and equals entry [j, i]; nan if i is j.
    """

    scores: Float[np.ndarray, " models"]
    pairs: Float[np.ndarray, "models models"]


def cross_mig(codes: Sequence[ArrayLike], *, logvars: Sequence[ArrayLike]) -> CrossMIG:
    """Compute the cross-model MIG of models without labels.

    It is the MIG of a model where the latents of another model take the place of the factors. Both codes are drawn from
    their posteriors, and I(a; b) = -log(1 - R^2 s_a s_b) / 2 is the mutual information of latent a of one model and
    latent b of the other, as if they were Gaussian: R is the Spearman correlation of their posterior means, and s the
    share of the variance of the means in the variance of the drawn codes. The gap of b is the largest I(a; b) minus the
    second largest, where a model of one latent has a second of 0. The pair's entry is the smaller of two sums: of the
    gaps of the other model's latents, and of those of this model's latents in the other. The larger one would count
    each copy of a latent.

    Unlike the factors' entropies in the MIG, the information of a latent does not divide its gap. So a code that holds
    more has a higher score than one that holds less and agrees as well.

    Args:
        codes: For each model the posterior means of the same images, in the same order: (rows, latents). The models may
            differ in their number of latents.
        logvars: Natural logarithms of the posterior variances, in the shapes of `codes`.

    Returns:
        Scores in nats, at least 0. The order and the signs of the latents do not change them, nor do monotone
        functions of the means change R. Latents that hold nothing add little.

    Error:
        With n rows, independent latents without noise have an I(a; b) of about 1 / 2n nats, and unrelated models of z
        such latents a score of about z / n: 0.01 nats with 10 latents and 1,000 rows.

    Raises:
        ValueError: If there are fewer than two models, numbers of rows or models differ, or codes or variances are no
            finite matrices; the message names the model.

    Source:
        This lab. Models as each other's factors: ModelCentrality, Lin et al. 2020, arXiv:1906.06034. Spearman
        correlations and the median: UDR, Duan et al. 2020, arXiv:1905.12614. Gap: Chen et al. 2018, arXiv:1802.04942.
    """
    from scipy.stats import rankdata  # late: the import takes a second

    matrices = checked_models(codes, logvars=logvars)
    shares = np.concatenate(
        [
            _share_of_means(matrix, checked_logvars(matrix, logvar, model))
            for model, (matrix, logvar) in enumerate(zip(matrices, logvars, strict=True))
        ]
    )
    ordered = rankdata(np.hstack(matrices), axis=0)
    ranks = Standardiser.of(ordered)(ordered) * np.sqrt(shares)
    starts = np.cumsum([0, *(matrix.shape[1] for matrix in matrices)])
    sums = np.array(
        [_sums_of_gaps(ranks[:, first:end], ranks, starts[:-1]) for first, end in zip(starts, starts[1:], strict=False)]
    )
    pairs: Float[np.ndarray, "models models"] = np.minimum(sums, sums.T)
    return CrossMIG(medians_over_others(pairs), pairs)


def _share_of_means(
    means: Float[np.ndarray, "rows latents"], logvars: Float[np.ndarray, "rows latents"]
) -> Float[np.ndarray, " latents"]:
    """Return the share of the means' variance in the variance of codes that are drawn; 0 for a constant latent."""
    with np.errstate(over="ignore"):  # infinite noise leaves nothing
        noise = np.exp(logvars.astype(np.float64)).mean(0)
    signal = np.where(varies(means), means.var(0), 0.0)
    shares: Float[np.ndarray, " latents"] = np.where(
        signal > 0, signal / np.where(signal > 0, signal + noise, 1.0), 0.0
    )
    return shares


def _sums_of_gaps(
    model: Float[np.ndarray, "rows latents"],
    all_models: Float[np.ndarray, "rows all"],
    starts: np.ndarray,
) -> Float[np.ndarray, " models"]:
    """Return of each model the sum of the gaps of its latents, where one model's latents tell of them.

    Args:
        model: The latents that tell: standardised ranks, times the root of the share.
        all_models: Those of all models.
        starts: The first latent of each model in `all_models`.
    """
    squares = np.minimum((model.T @ all_models / len(model)) ** 2, _LARGEST_SQUARE)
    largest = np.sort(-np.log1p(-squares) / 2, axis=0)[::-1]
    gaps = largest[0] - largest[1] if len(largest) > 1 else largest[0]
    sums: Float[np.ndarray, " models"] = np.add.reduceat(gaps, starts)
    return sums
