"""Codes paired with factors: checks, training and test rows, and what the scores with labels have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from betavae.arrays import ArrayLike, as_array, as_floats
from betavae.data import FactorSpace
from betavae.errors import InputError
from betavae.metrics.base import EncodedSample, Score
from betavae.metrics.mutual_information import check_bins, check_finite, factor_values

SPLIT_ROWS = 15_000
"""Number of images of a score that trains on two thirds of them and tests on the others."""

LARGEST_CODE = 1e70
"""The linear classifiers of larger codes do not end: fourth powers overflow."""

LARGEST_WHOLE = 2.0**53
"""Floats below are whole numbers without gaps."""


@dataclass(frozen=True)
class Split:
    """Training and test rows of codes and factors.

    Attributes:
        train_codes: Codes to train on.
        train_factors: Their factors, as whole numbers.
        test_codes: Codes to test on.
        test_factors: Their factors.
    """

    train_codes: Float[np.ndarray, "train latents"]
    train_factors: Int[np.ndarray, "train factors"]
    test_codes: Float[np.ndarray, "test latents"]
    test_factors: Int[np.ndarray, "test factors"]

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four matrices, in the order in which scores take them."""
        return self.train_codes, self.train_factors, self.test_codes, self.test_factors


@dataclass(frozen=True)
class SampleSplit:
    """A sample's rows of the factors that vary, split at random: two thirds to train on, the others to test.

    Attributes:
        rows: The rows of both parts.
        names: The factors' names, in the order of columns.
        description: The number of rows of each part and the factors that are left out, in words.
    """

    rows: Split
    names: tuple[str, ...]
    description: str

    @property
    def perfect(self) -> Split:
        """The same rows with the factors' values as codes."""
        rows = self.rows
        codes, test_codes = rows.train_factors.astype(np.float64), rows.test_factors.astype(np.float64)
        return Split(codes, rows.train_factors, test_codes, rows.test_factors)


def checked_codes(name: str, codes: ArrayLike) -> Float[np.ndarray, "rows latents"]:
    """Return codes as float64, row by row in memory, so that sums over rows do not depend on the layout of the input.

    Args:
        name: The argument's name, for the message.
        codes: A matrix of real numbers, one row per image.

    Raises:
        ValueError: If there are fewer than two rows or no latents, or a code is nan, infinite or above 1e70.
    """
    array = as_floats(name, codes)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a matrix with at least one row and one latent, but got shape {array.shape}.")
    if len(array) < 2:
        raise ValueError(f"{name} must have at least two rows, but got one.")
    check_finite(name, array)
    largest = float(np.abs(array).max())
    if largest > LARGEST_CODE:
        raise ValueError(f"{name} must be at most {LARGEST_CODE:g}, but one is {largest:g}: scale them.")
    return np.array(array, dtype=np.float64, order="C")


def checked_pair(
    codes: ArrayLike, factors: ArrayLike
) -> tuple[Float[np.ndarray, "rows latents"], Int[np.ndarray, "rows factors"]]:
    """Return checked codes, and factors as whole numbers.

    Args:
        codes: As for `checked_codes`.
        factors: Factor values, one row per image. A column of whole numbers stays as it is. The values of any other
            column are ranked: 0.2, 0.7 and 0.7 become 0, 1 and 1.

    Raises:
        ValueError: If the row counts differ, a factor takes one value, a factor value is NaN or has no order, or for
            the reasons of `checked_codes`.
    """
    codes = checked_codes("codes", codes)
    (numbers,) = whole_factors([factor_matrix("factors", factors, "codes", len(codes))])
    _check_varying("factors", numbers)
    return codes, numbers


def checked_split(
    train_codes: ArrayLike, train_factors: ArrayLike, test_codes: ArrayLike, test_factors: ArrayLike
) -> Split:
    """Return checked training and test rows, with factors as for `checked_pair`.

    Raises:
        ValueError: If the parts differ in their number of latents or factors, or for the reasons of `checked_pair` in
            one of the parts; the message names the argument.
    """
    train, test = checked_codes("train_codes", train_codes), checked_codes("test_codes", test_codes)
    train_matrix = factor_matrix("train_factors", train_factors, "train_codes", len(train))
    test_matrix = factor_matrix("test_factors", test_factors, "test_codes", len(test))
    check_same_columns("train_codes", train, "test_codes", test, columns="latents")
    check_same_columns("train_factors", train_matrix, "test_factors", test_matrix, columns="factors")
    train_numbers, test_numbers = whole_factors([train_matrix, test_matrix])
    split = Split(train, train_numbers, test, test_numbers)
    _check_varying("train_factors", split.train_factors)
    _check_varying("test_factors", split.test_factors)
    return split


def check_same_columns(
    name: str,
    array: Shaped[np.ndarray, "rows k"],
    other_name: str,
    other: Shaped[np.ndarray, "others l"],
    *,
    columns: str,
) -> None:
    """Refuse two matrices of different widths.

    Raises:
        ValueError: If they differ; the message names the matrices and what their columns are.
    """
    if array.shape[1] != other.shape[1]:
        raise ValueError(
            f"{name} and {other_name} must have the same {columns}, "
            f"but got {array.shape[1]} and {other.shape[1]} columns."
        )


def factor_matrix(name: str, factors: ArrayLike, codes_name: str, num_rows: int) -> Shaped[np.ndarray, "rows factors"]:
    """Return factor values as a matrix of any type.

    Args:
        name: The argument's name, for the message.
        factors: Factor values, (rows, factors).
        codes_name: The name of the codes that the rows belong to, for the message.
        num_rows: The number of rows of these codes.

    Raises:
        ValueError: If they are no matrix with a row for each code, or hold NaN.
    """
    matrix = as_array(name, factors)
    if matrix.dtype.kind in "US":
        matrix = as_array(name, factors, dtype=object)  # else a NaN beside strings would become a string
    if matrix.ndim != 2 or matrix.shape[1] == 0 or len(matrix) != num_rows:
        raise ValueError(
            f"{name} must be a matrix with a row for each of the {num_rows} rows of {codes_name} and at least one "
            f"column, but got shape {matrix.shape}."
        )
    if matrix.dtype.kind == "c":
        raise ValueError(f"{name} must be numbers or strings that have an order, but got {matrix.dtype}.")
    holes = {"NaN": matrix != matrix, "infinity": np.isinf(matrix) if matrix.dtype.kind == "f" else np.array(False)}
    for kind, where in holes.items():
        if where.any():
            row, column = np.argwhere(where)[0]
            raise ValueError(f"{name} must not hold {kind}, but column {column} does, first in row {row}.")
    return matrix


def whole_factors(matrices: Sequence[Shaped[np.ndarray, "_rows factors"]]) -> list[Int[np.ndarray, "_rows factors"]]:
    """Return factor values as whole numbers.

    Args:
        matrices: From `factor_matrix`, of the same factors; ranks mean the same in all of them.

    Returns:
        For each matrix, a column of whole numbers as it is; any other column by the ranks of its values.

    Raises:
        ValueError: If the values of a factor have no order.
    """
    columns = np.concatenate(matrices).T
    numbers = np.stack([_whole_numbers(column) for column in columns], axis=1)
    return np.split(numbers, np.cumsum([len(matrix) for matrix in matrices])[:-1])


def _whole_numbers(column: Shaped[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    return column.astype(np.int64) if _is_whole(column) else factor_values(column[:, None])[:, 0]


def _is_whole(column: Shaped[np.ndarray, " rows"]) -> bool:
    if column.dtype.kind not in "biuf":
        return False
    numbers = column.astype(np.float64)
    return bool((np.abs(numbers) < LARGEST_WHOLE).all() and (numbers == np.trunc(numbers)).all())


def _check_varying(name: str, factors: Int[np.ndarray, "rows factors"]) -> None:
    constant = ~varies(factors)
    if constant.any():
        raise ValueError(
            f"Each factor must take at least two values, but column {constant.argmax()} of {name} takes one: drop the "
            "column, or use rows in which it varies."
        )


def binned_factors(numbers: Int[np.ndarray, "rows factors"], *, num_bins: int) -> Int[np.ndarray, "rows factors"]:
    """Return the equal-width bin of each factor value; the last bin is closed.

    Raises:
        ValueError: If num_bins < 2.
    """
    check_bins(num_bins, "width")
    edges = [np.histogram_bin_edges(column, num_bins)[:-1] for column in numbers.T]
    return np.stack([np.digitize(column, e) - 1 for column, e in zip(numbers.T, edges, strict=True)], axis=1)


def varies(columns: Shaped[np.ndarray, "rows columns"]) -> Bool[np.ndarray, " columns"]:
    """Return of each column whether it takes more than one value."""
    different: Bool[np.ndarray, " columns"] = (columns != columns[0]).any(axis=0)
    return different


@dataclass(frozen=True)
class Standardiser:
    """Standardise latents by the mean and the standard deviation of some rows.

    Attributes:
        mean: Mean of each latent.
        scale: Standard deviation of each latent, ddof 0; infinite for a constant latent, which becomes 0.
    """

    mean: Float[np.ndarray, " latents"]
    scale: Float[np.ndarray, " latents"]

    @classmethod
    def of(cls, codes: Float[np.ndarray, "rows latents"]) -> Standardiser:
        """Return the standardiser of some rows."""
        mean = codes.mean(axis=0)
        reach = np.abs(codes - mean).max(axis=0)  # so that squares of tiny deviations do not vanish
        scale = np.full_like(mean, np.inf)
        moving = varies(codes)
        scale[moving] = reach[moving] * ((codes - mean)[:, moving] / reach[moving]).std(axis=0)
        return cls(mean, scale)

    def __call__(self, codes: Float[np.ndarray, "rows latents"]) -> Float[np.ndarray, "rows latents"]:
        """Return codes in units of the deviations from the mean."""
        standardised: Float[np.ndarray, "rows latents"] = (codes - self.mean) / self.scale
        return standardised


def canonical_order(codes: Float[np.ndarray, "rows latents"]) -> Int[np.ndarray, " latents"]:
    """Return the latents sorted by their values: by the first row, then by the second, and so on.

    A classifier that sees latents in this order gives the same result, to the last bit, in whatever order they come.
    """
    return np.array(sorted(range(codes.shape[1]), key=lambda latent: codes[:, latent].tolist()), dtype=np.int64)


def varying_sample(sample: EncodedSample) -> tuple[EncodedSample, str]:
    """Return a sample of the factors that vary, and words that name the others.

    Returns:
        The sample, and an empty text if every factor varies, else "; colour left out: one value".

    Raises:
        InputError: If no factor varies.
    """
    return _with_factors(sample, varies(sample.factors), where="on the rows of the score")


def _with_factors(
    sample: EncodedSample, kept: Bool[np.ndarray, " factors"], *, where: str
) -> tuple[EncodedSample, str]:
    names, space = sample.space.names, sample.space
    if not kept.any():
        raise InputError(f"A factor must vary {where}, but each of {', '.join(names)} takes one value there.")
    columns = np.flatnonzero(kept)
    space = FactorSpace(
        [names[k] for k in columns],
        [space.values[k] for k in columns],
        categorical=[name for name in space.categorical if kept[space.column(name)]],
    )
    left_out = [name for name, is_kept in zip(names, kept, strict=True) if not is_kept]
    words = f"; {', '.join(left_out)} left out: one value" if left_out else ""
    return replace(sample, factors=sample.factors[:, columns].astype(np.int64), space=space), words


def split_sample(sample: EncodedSample, *, generator: np.random.Generator, shuffled: bool = False) -> SampleSplit:
    """Return the training and test rows of a sample.

    Args:
        sample: The sample. If it has no test rows, it is split at random: two thirds to train on, the others to test.
        generator: Where the split is drawn.
        shuffled: Whether the rows of factors are shuffled, so that the codes know nothing of them.

    Raises:
        InputError: If there are fewer than four rows to split, or no factor varies in both parts.
    """
    if shuffled:
        sample = _shuffled(sample, generator)
    train, test = (sample, sample.test) if sample.test is not None else _halves(sample, generator)
    varying = varies(train.factors) & varies(test.factors)
    where = "in both the training and the test rows"
    (train, words), (test, _) = _with_factors(train, varying, where=where), _with_factors(test, varying, where=where)
    description = f"{len(train.mean):,} training and {len(test.mean):,} test rows{words}"
    return SampleSplit(Split(train.mean, train.factors, test.mean, test.factors), train.space.names, description)


def _shuffled(sample: EncodedSample, generator: np.random.Generator) -> EncodedSample:
    test = None if sample.test is None else _shuffled(sample.test, generator)
    return replace(sample, factors=shuffled_rows(sample.factors, generator), test=test)


def _halves(sample: EncodedSample, generator: np.random.Generator) -> tuple[EncodedSample, EncodedSample]:
    num_rows = len(sample.mean)
    if num_rows < 4:
        raise InputError(f"A score with training and test rows must have at least 4 rows, but got {num_rows}.")
    order = generator.permutation(num_rows)
    train, test = order[: 2 * num_rows // 3], order[2 * num_rows // 3 :]
    return _rows_of(sample, train), _rows_of(sample, test)


def _rows_of(sample: EncodedSample, rows: Int[np.ndarray, " rows"]) -> EncodedSample:
    return replace(sample, mean=sample.mean[rows], logvar=None, factors=sample.factors[rows])


def shuffled_rows(
    factors: Int[np.ndarray, "rows factors"], generator: np.random.Generator
) -> Int[np.ndarray, "rows factors"]:
    """Return the rows of factors in random order, so that codes in the old order know nothing of them."""
    return factors[generator.permutation(len(factors))]


def random_state(generator: np.random.Generator) -> int:
    """Return a seed for scikit-learn."""
    return int(generator.integers(2**31))


@contextmanager
def reproducible_fits() -> Iterator[None]:
    """Fit classifiers with one thread, and take them as they are after their last iteration.

    The number of iterations is part of a score's definition, so that scikit-learn's warning says nothing new. Nor does
    its warning of a factor with as many values as half of the rows. With several threads, rounding would depend on the
    number of cores; and products this small take four times as long.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        yield


def score_of(
    sample: EncodedSample,
    *,
    value: float,
    estimator: str,
    by_factor: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
    ceiling: float | None = None,
    chance: float | None = None,
) -> Score:
    """Return a score of a sample's rows."""
    return Score(
        value=value,
        estimator=estimator,
        num_rows=len(sample.mean),
        rows=sample.rows.description,
        by_factor=by_factor or {},
        details=details or {},
        rows_seed=sample.rows.seed,
        ceiling=ceiling,
        chance=chance,
    )


def by_name(names: Sequence[str], values: Float[np.ndarray, " factors"]) -> dict[str, float]:
    """Return a number per factor, by the factor's name."""
    return dict(zip(names, values.tolist(), strict=True))
