import itertools
import math

import numpy as np
import pytest

from betavae.data import DSPRITES_FACTORS, FactorSpace

TINY = FactorSpace(("letter", "number"), (("a", "b"), (1.0, 2.0, 3.0)))


def test_dsprites_factors_are_the_published_ones_without_the_colour():
    assert DSPRITES_FACTORS.names == ("shape", "scale", "orientation", "posX", "posY")
    assert DSPRITES_FACTORS.sizes == (3, 6, 40, 32, 32)
    assert DSPRITES_FACTORS.size == 737_280
    assert DSPRITES_FACTORS.num_factors == 5
    shape, scale, orientation, pos_x, pos_y = DSPRITES_FACTORS.values
    assert shape == ("square", "ellipse", "heart")
    assert scale == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    assert (orientation[0], orientation[39]) == (0, pytest.approx(2 * math.pi))
    assert pos_x == pos_y == pytest.approx([i / 31 for i in range(32)])


def test_combinations_are_counted_with_the_last_factor_fastest():
    counted = list(itertools.product(range(2), range(3)))
    assert TINY.indices_to_factors(np.arange(6)).tolist() == [list(row) for row in counted]


def test_index_is_the_published_formula():
    shape, scale, orientation, pos_x, pos_y = 2, 3, 17, 30, 5
    index = (((shape * 6 + scale) * 40 + orientation) * 32 + pos_x) * 32 + pos_y
    factors = np.array([[shape, scale, orientation, pos_x, pos_y]])
    assert DSPRITES_FACTORS.factors_to_indices(factors).tolist() == [index]


def test_round_trip_over_every_combination():
    indices = np.arange(DSPRITES_FACTORS.size)
    factors = DSPRITES_FACTORS.indices_to_factors(indices)
    assert factors.dtype == np.int64
    assert factors.max(axis=0).tolist() == [size - 1 for size in DSPRITES_FACTORS.sizes]
    np.testing.assert_array_equal(DSPRITES_FACTORS.factors_to_indices(factors), indices)


def test_no_indices_give_no_rows():
    factors = TINY.indices_to_factors(np.arange(0))
    assert factors.shape == (0, 2)
    assert TINY.factors_to_indices(factors).shape == (0,)


@pytest.mark.parametrize("index", [-1, 6])
def test_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match=rf"indices must be in 0 \.\. 5, but got {index}\."):
        TINY.indices_to_factors(np.array([0, index]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 3], r"number must be in 0 \.\. 2, but got 3\."),
        ([-1, 0], r"letter must be in 0 \.\. 1, but got -1\."),
        ([0, 0, 0], r"shape \(samples, 2\), but got \(1, 3\)"),
    ],
)
def test_factors_out_of_range_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        TINY.factors_to_indices(np.array([row]))


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ((), (), "one or more different names"),
        (("a", "a"), ((1.0,), (2.0,)), "one or more different names"),
        (("a", "b"), ((1.0,),), "one row per name"),
        (("a", "b"), ((1.0,), ()), "'b' has none"),
    ],
)
def test_impossible_spaces_are_refused(names, values, message):
    with pytest.raises(ValueError, match=message):
        FactorSpace(names, values)
