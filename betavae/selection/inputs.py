"""Checks of the codes of several models that are compared with one another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from betavae.arrays import ArrayLike, as_floats
from betavae.metrics.mutual_information import check_finite
from betavae.metrics.paired import checked_codes


def checked_models(
    codes: Sequence[ArrayLike], *, logvars: Sequence[ArrayLike] | None, groups: Sequence[Hashable] | None = None
) -> list[Float[np.ndarray, "rows _latents"]]:
    """Return the codes of models as float64.

    Raises:
        ValueError: If there are fewer than two models, numbers of rows or models differ, or codes are no finite
            matrices; the message names the model.
    """
    matrices = [checked_codes(f"codes[{model}]", each) for model, each in enumerate(codes)]
    if len(matrices) < 2:
        raise ValueError(f"codes must be those of two models or more, but got {len(matrices)}.")
    for model, matrix in enumerate(matrices):
        if len(matrix) != len(matrices[0]):
            raise ValueError(
                f"codes must be of the same images, but codes[0] has {len(matrices[0])} rows and codes[{model}] "
                f"{len(matrix)}."
            )
    for name, each in (("logvars", logvars), ("groups", groups)):
        if each is not None and len(each) != len(matrices):
            raise ValueError(f"{name} must have one entry for each of {len(matrices)} models, but got {len(each)}.")
    return matrices


def checked_logvars(
    codes: Float[np.ndarray, "rows latents"], logvar: ArrayLike, model: int
) -> Float[np.ndarray, "rows latents"]:
    """Return natural logarithms of the posterior variances of a model's codes.

    Raises:
        ValueError: If they have another shape or are not finite; the message names the model.
    """
    logvars = as_floats(f"logvars[{model}]", logvar)
    if logvars.shape != codes.shape:
        raise ValueError(
            f"logvars[{model}] must have the shape of codes[{model}], {codes.shape}, but has {logvars.shape}."
        )
    check_finite(f"logvars[{model}]", logvars)
    return logvars


def medians_over_others(
    pairs: Float[np.ndarray, "models models"], groups: Sequence[Hashable] | None = None
) -> Float[np.ndarray, " models"]:
    """Return the median of each column over the other models of its group; nan if there are none.

    All other entries of `pairs` are set to nan.
    """
    labels = [0] * len(pairs) if groups is None else list(groups)
    is_compared = np.array([[label == other for other in labels] for label in labels])
    np.fill_diagonal(is_compared, False)
    pairs[~is_compared] = np.nan
    columns = zip(pairs.T, is_compared.T, strict=True)
    return np.array([np.median(column[known]) if known.any() else np.nan for column, known in columns])
