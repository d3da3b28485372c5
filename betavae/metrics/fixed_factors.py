"""Rows that share the value of one factor: what the scores of beta-VAE and FactorVAE draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

BLOCK_NUMBERS = 2**22
"""Codes gathered at once: 32 MiB."""


@dataclass(frozen=True)
class RowsByValue:
    """The rows of each value of one factor.

    Attributes:
        order: Row numbers, those of one value after those of another.
        starts: Where the rows of each value start in `order`.
        counts: The number of rows of each value.
    """

    order: Int[np.ndarray, " rows"]
    starts: Int[np.ndarray, " values"]
    counts: Int[np.ndarray, " values"]

    @classmethod
    def of(cls, values: Int[np.ndarray, " rows"]) -> RowsByValue:
        """Return the rows of each value of a factor, whose values are 0 .. V - 1."""
        counts = np.bincount(values)
        return cls(np.argsort(values, kind="stable"), np.cumsum(counts) - counts, counts)

    def draw(self, values: Int[np.ndarray, ...], generator: np.random.Generator) -> Int[np.ndarray, ...]:
        """Return a row of each value, drawn with replacement from all rows of that value."""
        rows: Int[np.ndarray, ...] = self.order[self.starts[values] + generator.integers(self.counts[values])]
        return rows


def blocks_by_factor(
    fixed: Int[np.ndarray, " points"], *, num_factors: int, numbers_per_point: int
) -> Iterator[tuple[int, Int[np.ndarray, " block"]]]:
    """Return each factor with the points that fix it, in blocks that fit in memory.

    Args:
        fixed: The factor that each point fixes.
        num_factors: Number of factors.
        numbers_per_point: Number of codes that a point gathers.
    """
    size = max(BLOCK_NUMBERS // numbers_per_point, 1)
    for factor in range(num_factors):
        points = np.flatnonzero(fixed == factor)
        for start in range(0, len(points), size):
            yield factor, points[start : start + size]


def check_counts(*, num_train: int, num_test: int, batch_size: int, least_batch: int) -> None:
    """Refuse numbers of points and rows for which a score is not defined.

    Raises:
        ValueError: If there are no training or test points, or fewer rows than `least_batch` in a batch.
    """
    if num_train < 1 or num_test < 1:
        raise ValueError(f"num_train and num_test must be at least 1, but got {num_train} and {num_test}.")
    if batch_size < least_batch:
        raise ValueError(f"batch_size must be at least {least_batch}, but got {batch_size}.")
