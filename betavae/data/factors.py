"""The generating factors of an image set, and the numbering of their combinations."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class FactorSpace:
    """Every combination of a few discrete factors, numbered in C order: the last factor varies fastest.

    Attributes:
        names: One name per factor, all different.
        values: The values each factor takes, in the order of its indices, rows in the order of `names`.

    Raises:
        ValueError: If there are no factors, a factor has no values, a name repeats, or the lengths differ.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | str, ...], ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be one or more different names, but got {self.names}.")
        if len(self.values) != len(self.names):
            raise ValueError(f"values must have one row per name ({len(self.names)}), but got {len(self.values)}.")
        if 0 in self.sizes:
            raise ValueError(f"Each factor must have a value, but {self.names[self.sizes.index(0)]!r} has none.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor takes, V_k."""
        return tuple(len(row) for row in self.values)

    @property
    def num_factors(self) -> int:
        """How many factors there are."""
        return len(self.names)

    @property
    def size(self) -> int:
        """How many combinations there are: the product of `sizes`."""
        return math.prod(self.sizes)

    def indices_to_factors(self, indices: Int[np.ndarray, " samples"]) -> Int[np.ndarray, "samples factors"]:
        """Return the factor indices of numbered combinations.

        Args:
            indices: Combination numbers, 0 .. size - 1.

        Returns:
            Entry [i, k] in 0 .. V_k - 1, as int64.

        Raises:
            ValueError: If an index is out of range.
        """
        outside = indices[(indices < 0) | (indices >= self.size)]
        if outside.size:
            raise ValueError(f"indices must be in 0 .. {self.size - 1}, but got {outside[0]}.")
        return np.stack(np.unravel_index(indices, self.sizes), axis=1)

    def factors_to_indices(self, factors: Int[np.ndarray, "samples factors"]) -> Int[np.ndarray, " samples"]:
        """Return the numbers of combinations: the inverse of `indices_to_factors`.

        Args:
            factors: Entry [i, k] in 0 .. V_k - 1.

        Returns:
            Combination numbers, 0 .. size - 1, as int64.

        Raises:
            ValueError: If there is not one column per factor, or an entry is out of range.
        """
        if factors.ndim != 2 or factors.shape[1] != self.num_factors:
            raise ValueError(f"factors must have shape (samples, {self.num_factors}), but got {factors.shape}.")
        outside = np.argwhere((factors < 0) | (factors >= np.array(self.sizes)))
        if outside.size:
            row, column = outside[0]
            limit = self.sizes[column] - 1
            raise ValueError(f"{self.names[column]} must be in 0 .. {limit}, but got {factors[row, column]}.")
        indices: Int[np.ndarray, " samples"] = np.ravel_multi_index(tuple(factors.T), self.sizes)
        return indices


def _evenly(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(start, stop, count))


# Colour, the published first factor, is left out: it never varies, so it has no entropy and no score can use it.
DSPRITES_FACTORS = FactorSpace(
    names=("shape", "scale", "orientation", "posX", "posY"),
    values=(
        ("square", "ellipse", "heart"),
        _evenly(0.5, 1.0, 6),
        _evenly(0.0, 2 * math.pi, 40),  # the last equals the first: 39 different pictures, 40 labels
        _evenly(0.0, 1.0, 32),  # to the right
        _evenly(0.0, 1.0, 32),  # downwards, 0 at the top
    ),
)
