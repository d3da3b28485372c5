"""The part of a grid of which the exact MIG of a part is taken, and how near it is to the whole."""

import math

import numpy as np
import pytest

from betavae.data import DSPRITES_FACTORS, FactorSpace
from betavae.data.base import FactorImages
from betavae.metrics import METRICS, EncodedSample, Rows
from betavae.metrics.mig_part import MigExactPart, thinning


class Grid(FactorImages):
    source, fingerprint, image_shape = "none", "0" * 64, (1, 1, 1)

    def __init__(self, *sizes: int) -> None:
        self.factors = FactorSpace([f"f{number}" for number in range(len(sizes))], [range(size) for size in sizes])

    def images(self, indices, device="cpu"):
        raise AssertionError("the rows follow from the factors")

    def verify(self) -> None:
        return


def part_of(data: FactorImages) -> tuple[Rows, np.ndarray]:
    rows = MigExactPart().rows(data, len(data))
    return rows, data.factors_of(rows.indices)


@pytest.mark.parametrize(
    ("sizes", "modulus"),
    [((3, 6, 40, 32, 32), 8), ((10, 10, 10, 8, 4, 15), 5), ((40, 40, 160), 5), ((7, 11, 13, 100), 1), ((5, 7), 1)],
)
def test_each_value_is_as_frequent_as_in_the_whole_set(sizes: tuple[int, ...], modulus: int) -> None:
    data = Grid(*sizes)
    rows, factors = part_of(data)
    assert len(factors) == math.prod(sizes) / modulus
    assert rows.description.endswith(f"a multiple of {modulus}" if modulus > 1 else "whole set")
    for column, size in enumerate(sizes):
        assert set(np.bincount(factors[:, column], minlength=size)) == {len(factors) // size}


def test_each_pair_of_values_is_as_frequent_as_any_other_where_three_factors_are_thinned_out() -> None:
    sizes = DSPRITES_FACTORS.sizes
    _, factors = part_of(Grid(*sizes))
    for column in range(len(sizes)):
        for other in range(column):
            pairs = np.bincount(factors[:, column] * sizes[other] + factors[:, other])
            assert pairs.min() == pairs.max() > 0


def test_two_factors_are_thinned_out_only_if_many_values_meet() -> None:
    """Of a value of one factor, 8 values of the other are left, not the 2 that a larger number would leave."""
    modulus, columns = thinning(Grid(40, 40, 160).factors_of(np.arange(40 * 40 * 160)))
    assert (modulus, columns) == (5, [0, 1, 2])
    modulus, columns = thinning(Grid(3, 7, 160, 160).factors_of(np.arange(3 * 7 * 160 * 160)))
    assert (modulus, columns) == (10, [2, 3])


def test_a_set_that_is_no_grid_is_scored_as_a_whole() -> None:
    class Some(Grid):
        def __len__(self) -> int:
            return 100_000

    rows, _ = part_of(Some(3, 6, 40, 32, 32))
    assert len(rows.indices) == 100_000


def test_the_score_is_near_that_of_the_whole_grid_and_says_that_it_is_of_a_part() -> None:
    """A code that turns two factors by 20 degrees, with posteriors of 0.1 to 0.6 of a factor's length."""
    data, draws = Grid(3, 6, 40, 32, 32), np.random.default_rng(0)
    whole = data.factors_of(np.arange(len(data)))
    scaled = (whole + 0.5) / np.array(data.factors.sizes) - 0.5
    angle = math.radians(20)
    turned = scaled[:, 3:] @ np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mean = np.column_stack([scaled[:, :2].sum(axis=1), scaled[:, 2], turned]) + draws.normal(0, 0.01, (len(whole), 4))
    logvar = 2 * np.log(np.array([0.2, 0.6, 0.1, 0.15])) + np.zeros_like(mean)
    exact = METRICS["mig_exact"]().score(
        EncodedSample(mean, logvar, whole, data.factors, Rows(np.arange(len(data)), ""))
    )
    rows, factors = part_of(data)
    kept = rows.indices
    part = MigExactPart().score(EncodedSample(mean[kept], logvar[kept], factors, data.factors, rows))
    assert part.value == pytest.approx(exact.value, abs=0.002)
    assert part.by_factor == {name: pytest.approx(gap, abs=0.004) for name, gap in exact.by_factor.items()}
    assert "part of a grid" in part.estimator
    assert part.chance is not None
    assert part.chance < 0.01
