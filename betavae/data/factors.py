"""The generating factors of an image set, and the numbering of their combinations."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from betavae.arrays import ArrayLike, as_array, as_integers


@dataclass(frozen=True)
class FactorSpace:
    """All combinations of a few discrete factors, numbered in C order: the last factor varies fastest.

    Attributes:
        names: One name per factor, all different.
        values: One row per factor, in the order of `names`: its values, in the order of their indices. Lists, arrays
            and tensors become tuples.
        categorical: The factors whose values have no order, such as a shape.
        cyclic: The factors whose values lie on a circle, such as an angle: the first is beside the last.
        position: The factors that move an object to the right and downwards; None if there are none.
        lines: The factor of few values that figures draw as one line each; None if there is none.

    Raises:
        ValueError: If there are no factors, a factor has no list of values or an empty one, a name repeats, or the
            lengths differ; if `categorical`, `cyclic`, `position` or `lines` names no factor; or if a factor is both
            categorical and cyclic.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | int | str, ...], ...]
    categorical: tuple[str, ...]
    cyclic: tuple[str, ...]
    position: tuple[str, str] | None
    lines: str | None

    def __init__(
        self,
        names: Iterable[str],
        values: Iterable[ArrayLike],
        *,
        categorical: Iterable[str] = (),
        cyclic: Iterable[str] = (),
        position: tuple[str, str] | None = None,
        lines: str | None = None,
    ) -> None:
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "values", tuple(_values_of_factor(row) for row in values))
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be one or more different names, but got {self.names}.")
        if len(self.values) != len(self.names):
            raise ValueError(f"values must have one row per name ({len(self.names)}), but got {len(self.values)}.")
        if 0 in self.sizes:
            raise ValueError(f"Each factor must have a value, but {self.names[self.sizes.index(0)]!r} has none.")
        object.__setattr__(self, "categorical", tuple(categorical))
        object.__setattr__(self, "cyclic", tuple(cyclic))
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "lines", lines)
        for name in (*self.categorical, *self.cyclic, *(position or ()), *(() if lines is None else (lines,))):
            self.column(name)
        if both := set(self.categorical) & set(self.cyclic):
            raise ValueError(f"A factor must be categorical or cyclic, but {', '.join(sorted(both))} is both.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each factor, V_k."""
        return tuple(len(row) for row in self.values)

    @property
    def num_factors(self) -> int:
        """The number of factors."""
        return len(self.names)

    @property
    def size(self) -> int:
        """The number of combinations: the product of `sizes`."""
        return math.prod(self.sizes)

    @property
    def has_order(self) -> bool:
        """Whether the values of some factor have an order."""
        return any(name not in self.categorical for name in self.names)

    def column(self, name: str) -> int:
        """Return the column of a factor.

        Raises:
            ValueError: If there is no factor of that name.
        """
        if name not in self.names:
            raise ValueError(f"A factor must be one of {', '.join(self.names)}, but got {name!r}.")
        return self.names.index(name)

    def indices_to_factors(self, indices: ArrayLike) -> Int[np.ndarray, "samples factors"]:
        """Return the factor indices of combinations.

        Args:
            indices: Combination numbers, 0 .. size - 1: an array, a tensor or a list of integers.

        Returns:
            Entry [i, k] in 0 .. V_k - 1, as int64.

        Raises:
            ValueError: If the indices are not a vector of integers, or one is out of range.
        """
        numbers = as_integers("indices", indices, num_axes=1)
        outside = numbers[(numbers < 0) | (numbers >= self.size)]
        if outside.size:
            raise ValueError(f"indices must be in 0 .. {self.size - 1}, but got {outside[0]}.")
        return np.stack(np.unravel_index(numbers.astype(np.int64), self.sizes), axis=1)

    def factors_to_indices(self, factors: ArrayLike) -> Int[np.ndarray, " samples"]:
        """Return the numbers of combinations: the inverse of `indices_to_factors`.

        Args:
            factors: Entry [i, k] in 0 .. V_k - 1: an array, a tensor or lists of integers.

        Returns:
            Combination numbers, 0 .. size - 1, as int64.

        Raises:
            ValueError: If the factors are not a matrix of integers, there is not one column per factor, or an entry is
                out of range; or if there are 2**63 combinations or more.
        """
        indices: Int[np.ndarray, " samples"] = np.ravel_multi_index(tuple(self.checked(factors).T), self.sizes)
        return indices

    def checked(self, factors: ArrayLike) -> Int[np.ndarray, "samples factors"]:
        """Return a matrix of factor indices as int64.

        Args:
            factors: Entry [i, k] in 0 .. V_k - 1: an array, a tensor or lists of integers.

        Raises:
            ValueError: If the factors are not a matrix of integers, there is not one column per factor, or an entry is
                out of range.
        """
        entries = as_integers("factors", factors, num_axes=2)
        if entries.shape[1] != self.num_factors:
            raise ValueError(f"factors must have shape (samples, {self.num_factors}), but got {entries.shape}.")
        outside = np.argwhere((entries < 0) | (entries >= np.array(self.sizes)))
        if outside.size:
            row, column = outside[0]
            limit = self.sizes[column] - 1
            raise ValueError(f"{self.names[column]} must be in 0 .. {limit}, but got {entries[row, column]}.")
        return entries.astype(np.int64)


def _values_of_factor(row: ArrayLike) -> tuple[float | int | str, ...]:
    values = as_array("the values of a factor", row, dtype=object)  # so that a number beside a string stays a number
    if values.ndim != 1:
        raise ValueError(f"The values of a factor must be a list of numbers or strings, but got {row!r}.")
    return tuple(values.tolist())


def value_ranks(values: Shaped[np.ndarray, "images factors"]) -> Int[np.ndarray, "images factors"]:
    """Return the place of each value among the different values of its column, the smallest at 0."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.stack(ranks, axis=1).astype(np.int64)


NO_FACTORS = FactorSpace(["none"], [[0]])
"""In place of factors that are not known, or not to be looked at: one that takes one value."""
