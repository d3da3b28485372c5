"""Scores of plain arrays: anybody's codes and factors in, scores out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from betavae.arrays import ArrayLike, as_floats
from betavae.data import FactorSpace
from betavae.errors import InputError
from betavae.metrics.base import EncodedSample, Metric, Rows, Score, unlabelled
from betavae.metrics.exact_information import MAX_LOGVAR
from betavae.metrics.mutual_information import check_finite
from betavae.metrics.paired import check_same_columns, checked_codes, factor_matrix, whole_factors
from betavae.metrics.registry import Known, as_names, find_metrics
from betavae.metrics.scores import Scores


def score(
    codes: ArrayLike,
    factors: ArrayLike | None,
    metrics: str | Iterable[str],
    *,
    seed: int = 0,
    logvar: ArrayLike | None = None,
    test_codes: ArrayLike | None = None,
    test_factors: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    categorical: Iterable[str] = (),
) -> Scores:
    """Take scores of codes and factors, from whatever model they are.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor on any device or lists of real numbers.
        factors: Factor values, (rows, factors), rows in the order of `codes`. A column of whole numbers stays as it is;
            the values of any other column are ranked: 0.2, 0.7 and 0.7 become 0, 1 and 1; strings are ranked by the
            alphabet. A factor that takes one value is left out, and the score's `estimator` names it. None for scores
            that need no factors.
        metrics: A name in `METRICS`, several names, or "all" for all that these arrays allow; a warning names a score
            of "all" that cannot be taken of such rows.
        seed: Seed of all random choices: the split, batches, classifiers, and the shuffle of the chance level.
        logvar: Natural logarithms of the posterior variances, of the shape of `codes`, for scores of the posterior.
        test_codes: Codes to test on, for scores that train a classifier. If there are none, the rows are split at
            random: two thirds to train on, the others to test.
        test_factors: Their factors.
        names: The factors' names; "factor_0", "factor_1" and so on if there are none.
        categorical: Names of the factors whose values have no order, which `mig_chen` leaves out.

    Returns:
        The scores by name: `score(...)["mig"].value`, `.by_factor`, `.details`, `.chance`, `.ceiling`.

    Error:
        That of each score, see the function of its name. `mig_exact` and `mig_chen` of part of a grid are biased, and
        their `estimator` says so.

    Raises:
        ValueError: If there is no such metric, an array has a wrong shape, one row, NaN or infinity, or a
            score cannot be taken of it.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, but got {seed!r}.")
    named = as_names(metrics)
    known = Known(
        has_posterior=logvar is not None,
        has_factors=factors is not None,
        has_decoder=False,
        has_training_images=False,
    )
    found = find_metrics(named, known)
    sample = _sample(codes, factors, logvar=logvar, seed=int(seed), names=names, categorical=categorical)
    if test_codes is not None or test_factors is not None:
        sample = _with_test_rows(sample, codes, factors, test_codes, test_factors)
    return Scores(
        by_name=_scores(found, sample, named),
        kl_nats_per_latent=tuple(sample.kl_per_latent().tolist()),
        data_source="arrays",
        data_fingerprint=_fingerprint(sample),
    )


def _sample(
    codes: ArrayLike,
    factors: ArrayLike | None,
    *,
    logvar: ArrayLike | None,
    seed: int,
    names: Sequence[str] | None,
    categorical: Iterable[str],
) -> EncodedSample:
    mean = checked_codes("codes", codes)
    variances = _checked_logvar(logvar, mean.shape)
    rows = Rows(np.arange(len(mean)), "all rows that were given", seed)
    if factors is None:
        return unlabelled(mean, variances, rows)
    (numbers,) = whole_factors([factor_matrix("factors", factors, "codes", len(mean))])
    return EncodedSample(mean, variances, numbers, _space(numbers, names, categorical), rows)


def _space(
    numbers: Int[np.ndarray, "rows factors"], names: Sequence[str] | None, categorical: Iterable[str]
) -> FactorSpace:
    names = [f"factor_{k}" for k in range(numbers.shape[1])] if names is None else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"names must be a list of the factors' names, but got {names!r}.")
    if len(names) != numbers.shape[1]:
        raise InputError(f"names must hold a name for each of {numbers.shape[1]} factors, but got {len(names)}.")
    if not isinstance(categorical, list | tuple) or not set(categorical) <= set(names):
        raise InputError(f"categorical must be a list of some of {', '.join(names)}, but got {categorical!r}.")
    return FactorSpace(names, [np.unique(column) for column in numbers.T], categorical=categorical)


def _checked_logvar(logvar: ArrayLike | None, shape: tuple[int, ...]) -> Float[np.ndarray, "rows latents"] | None:
    if logvar is None:
        return None
    array = as_floats("logvar", logvar)
    if array.shape != shape:
        raise InputError(f"logvar must have the shape of codes, {shape}, but got {array.shape}.")
    check_finite("logvar", array)
    if np.abs(array).max() > MAX_LOGVAR:
        raise InputError(f"logvar must lie in [-300, 300], but got {array.min()} .. {array.max()}; clamp it.")
    return array.astype(np.float64)


def _with_test_rows(
    sample: EncodedSample,
    codes: ArrayLike,
    factors: ArrayLike | None,
    test_codes: ArrayLike | None,
    test_factors: ArrayLike | None,
) -> EncodedSample:
    if test_codes is None or test_factors is None or factors is None:
        given = {"factors": factors, "test_codes": test_codes, "test_factors": test_factors}
        missing = ", ".join(name for name, array in given.items() if array is None)
        raise InputError(f"factors, test_codes and test_factors must be given together, but there is no {missing}.")
    mean = checked_codes("test_codes", test_codes)
    check_same_columns("codes", sample.mean, "test_codes", mean, columns="latents")
    matrix = factor_matrix("factors", factors, "codes", len(sample.mean))
    test_matrix = factor_matrix("test_factors", test_factors, "test_codes", len(mean))
    check_same_columns("factors", matrix, "test_factors", test_matrix, columns="factors")
    numbers, test_numbers = whole_factors([matrix, test_matrix])  # together, so that ranks mean the same in both
    rows = Rows(np.arange(len(mean)), "all test rows that were given", sample.rows.seed)
    return replace(sample, factors=numbers, test=EncodedSample(mean, None, test_numbers, sample.space, rows))


def _scores(found: Mapping[str, Metric], sample: EncodedSample, named: Sequence[str]) -> dict[str, Score]:
    """Return scores by name. One that cannot be taken is an error if it is named, else a warning."""
    scores = {}
    for name, metric in found.items():
        try:
            scores[name] = metric.score(sample)
        except ValueError as error:
            if name in named:
                raise InputError(f"{name}: {error}") from error
            warnings.warn(f"{name} is left out: {error}", stacklevel=3)
    return scores


def _fingerprint(sample: EncodedSample) -> str:
    digest = hashlib.sha256()
    for part in (sample, sample.test):
        for array in () if part is None else (part.mean, part.logvar, part.factors):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
