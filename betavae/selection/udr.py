"""Unsupervised disentanglement ranking (UDR): models that encode alike up to order and sign are taken to be good."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import kl_per_latent
from betavae.metrics.paired import Standardiser, reproducible_fits, varies
from betavae.selection.inputs import checked_logvars, checked_models, medians_over_others

INFORMATIVE_NATS = 0.01
"""A latent with at most this KL, averaged over the rows, is left out, if no other limit is given."""

LASSO_ALPHA = 0.1
"""Weight of the absolute coefficients, relative to the mean squared error / 2 of standardised codes."""

_TOLERANCE = 1e-8
"""Of scikit-learn's Lasso: by its default, 1e-4, the order of the latents would change the sixth digit."""

NUM_ROWS = 1_000
"""Rows by which the study compares models."""


@dataclass(frozen=True)
class UDR:
    """The UDR of several models and the comparisons behind it.

    Attributes:
        scores: The score of each model: the median over the models that it is compared with; nan if there is none.
        pairs: How alike the codes of two models are: entry [i, j] compares model j with model i, in [0, 1]; nan if it
            does not.
        num_informative: The number of informative latents of each model.
    """

    scores: Float[np.ndarray, " models"]
    pairs: Float[np.ndarray, "models models"]
    num_informative: Int[np.ndarray, " models"]


def udr(
    codes: Sequence[ArrayLike],
    *,
    logvars: Sequence[ArrayLike] | None = None,
    groups: Sequence[Hashable] | None = None,
    similarity: str = "spearman",
    min_kl: float = INFORMATIVE_NATS,
) -> UDR:
    """Compute the UDR of models without labels.

    R[a, b] is the similarity of latent a of one model and latent b of another: their absolute Spearman correlation, or
    the absolute coefficient of a in a Lasso regression of b on all latents of the first model, both standardised. The
    relative strength of a latent is max(R)^2 / sum(R) over the latents of the other model, 0 where the sum is 0. The
    pair's entry is the mean over the latents of the second model, plus that of the first, divided by 2. Uninformative
    latents are left out.

    Args:
        codes: For each model the posterior means of the same images, in the same order: (rows, latents). The models may
            differ in their number of latents.
        logvars: Natural logarithms of the posterior variances, in the shapes of `codes`: a latent with an average KL of
            at most `min_kl` is uninformative. If None, only constant latents are.
        groups: A value for each model: it is compared with the other models of the same value, such as the other seeds
            of its setting. With all other models if None.
        similarity: `spearman` or `lasso`.
        min_kl: In nats, 0 or more. Raise it where the latents that hold nothing have a larger KL, as they have if its
            weight is small: noise that agrees with nothing lowers the score of each model.

    Returns:
        Scores in [0, 1]. Those of models that agree up to permutations, signs and, with `spearman`, monotone functions
        of single latents are the highest. A model without an informative latent scores 0.

    Error:
        With n rows, independent latents have an absolute Spearman correlation of about 0.8 / sqrt(n). So two equal
        perfect codes of z latents score 1 / (1 + 0.8 (z - 1) / sqrt(n)): 0.81 with 10 latents and 1,000 rows. All
        models of a sweep are biased alike.

    Raises:
        ValueError: If there are fewer than two models, numbers of rows or models differ, `min_kl` is negative, nan or
            given without `logvars`, or codes are no finite matrices; the message names the model.

    Source:
        Duan et al. 2020, arXiv:1905.12614. The mean of both halves as in disentanglement_lib: the paper divides the sum
        over the latents of both models by their number, which differs where the numbers of informative latents do.
    """
    matrices = checked_models(codes, logvars=logvars, groups=groups)
    if similarity not in _SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(_SIMILARITIES)}, but got {similarity!r}.")
    if not min_kl >= 0:
        raise ValueError(f"min_kl must be at least 0 nats, but got {min_kl}.")
    if logvars is None and min_kl != INFORMATIVE_NATS:
        raise ValueError("min_kl needs logvars, without which no KL is known; give them, or leave min_kl out.")
    informative = [
        varies(each) if logvars is None else varies(each) & (_kl(each, logvars[model], model) > min_kl)
        for model, each in enumerate(matrices)
    ]
    counts = np.array([each.sum() for each in informative])
    alive = np.flatnonzero(counts)
    pairs = np.zeros((len(matrices), len(matrices)))
    if alive.size:
        latents = [matrices[model][:, informative[model]] for model in alive]
        pairs[np.ix_(alive, alive)] = _relative_strengths(_SIMILARITIES[similarity](latents), counts[alive])
    return UDR(medians_over_others(pairs, groups), pairs, counts)


def _kl(codes: Float[np.ndarray, "rows latents"], logvar: ArrayLike, model: int) -> Float[np.ndarray, " latents"]:
    return kl_per_latent(codes, checked_logvars(codes, logvar, model))


def _spearman(codes: Sequence[Float[np.ndarray, "rows _latents"]]) -> Float[np.ndarray, "all all"]:
    """Return the absolute Spearman correlation of all latents of all models."""
    from scipy.stats import rankdata  # late: the import takes a second

    ranks = Standardiser.of(ordered := rankdata(np.hstack(codes), axis=0))(ordered)
    correlation: Float[np.ndarray, "all all"] = np.minimum(np.abs(ranks.T @ ranks) / len(ranks), 1.0)
    return correlation


def _lasso(codes: Sequence[Float[np.ndarray, "rows _latents"]]) -> Float[np.ndarray, "all all"]:
    """Return the absolute coefficient of each latent in the regression of every latent on its model's latents."""
    from sklearn.linear_model import Lasso

    standardised = [Standardiser.of(each)(each) for each in codes]
    targets = np.hstack(standardised)
    with reproducible_fits():
        coefficients = [Lasso(alpha=LASSO_ALPHA, tol=_TOLERANCE).fit(each, targets).coef_ for each in standardised]
    blocks = [np.abs(np.reshape(each, (targets.shape[1], -1))).T for each in coefficients]  # one target has one row
    return np.vstack(blocks)


_SIMILARITIES: dict[str, Callable[[Sequence[np.ndarray]], np.ndarray]] = {"spearman": _spearman, "lasso": _lasso}


def _relative_strengths(
    similarity: Float[np.ndarray, "all all"], num_latents: Int[np.ndarray, " models"]
) -> Float[np.ndarray, "models models"]:
    """Return the entry of each pair of models from the similarities of their latents.

    Args:
        similarity: Of all latents of all models, in blocks.
        num_latents: The number of latents of each model, none of them 0.
    """
    starts = np.concatenate(([0], np.cumsum(num_latents)[:-1]))
    of_columns = _strengths(similarity, starts)  # (models, all): the latents of the second model
    of_rows = _strengths(similarity.T, starts)  # (models, all): the latents of the first
    second = np.add.reduceat(of_columns, starts, axis=1) / num_latents
    first = np.add.reduceat(of_rows, starts, axis=1) / num_latents
    pairs: Float[np.ndarray, "models models"] = (second + first.T) / 2
    return pairs


def _strengths(
    similarity: Float[np.ndarray, "all all"], starts: Int[np.ndarray, " models"]
) -> Float[np.ndarray, "models all"]:
    """Return max^2 / sum over the rows of each model, per column; 0 where the sum is 0."""
    sums = np.add.reduceat(similarity, starts, axis=0)
    strongest = np.maximum.reduceat(similarity, starts, axis=0)
    strengths: Float[np.ndarray, "models all"] = strongest**2 / np.where(sums > 0, sums, 1.0)
    return strengths
