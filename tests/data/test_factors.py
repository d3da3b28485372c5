import itertools
import math

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize(
    "form", [list, np.array, torch.tensor, lambda v: np.array(v, np.uint8), lambda v: np.array(v, object), tuple]
)
def test_numbers_of_combinations_may_come_in_any_form(form):
    assert TINY.indices_to_factors(form([0, 5])).tolist() == [[0, 0], [1, 2]]
    assert TINY.factors_to_indices(form([[0, 0], [1, 2]])).tolist() == [0, 5]


@pytest.mark.parametrize("values", [[0.0], [0.5], [True], ["a"], np.zeros(6, bool), torch.zeros(2), 0, [[0]]])
def test_what_numbers_no_combination_is_refused(values):
    # A mask was taken for the numbers 0 and 1.
    with pytest.raises(ValueError, match="indices must be a vector of integers, but got"):
        TINY.indices_to_factors(values)


@pytest.mark.parametrize("values", [[[0.0, 0.5]], [[True, False]], [["a", "b"]], [0, 1], [[math.nan, 0]]])
def test_what_is_no_matrix_of_factor_indices_is_refused(values):
    with pytest.raises(ValueError, match="factors must be a matrix of integers, but got"):
        TINY.factors_to_indices(values)


@pytest.mark.parametrize("index", [2**64 - 1, 2**70, -(2**63)])
def test_numbers_far_out_of_range_do_not_wrap_around(index):
    with pytest.raises(ValueError, match=rf"indices must be in 0 \.\. 5, but got {index}\."):
        TINY.indices_to_factors([index])
    with pytest.raises(ValueError, match=rf"number must be in 0 \.\. 2, but got {index}\."):
        TINY.factors_to_indices(np.array([[0, index]], object))


def test_a_space_by_hand_keeps_tuples_of_plain_values():
    made = FactorSpace(["a", "b", "c"], [np.arange(2.0), ["x", 1], torch.arange(3)])
    assert made == FactorSpace(("a", "b", "c"), ((0.0, 1.0), ("x", 1), (0, 1, 2)))
    assert hash(made) == hash(FactorSpace(("a", "b", "c"), ((0.0, 1.0), ("x", 1), (0, 1, 2))))
    with pytest.raises(ValueError, match="The values of a factor must be a list of numbers or strings"):
        FactorSpace(("a", "b"), (1.0, 2.0))
