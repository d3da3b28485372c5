import math
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from betavae.data import DSPRITES_FACTORS
from betavae.metrics import factor_entropies, mutual_information, mutual_information_gap
from betavae.metrics.mutual_information import factor_values


def noisy_codes(*, num_rows=2000, seed=0):
    """Codes that mix, and partly ignore, three factors: no bin and no count is special."""
    generator = np.random.default_rng(seed)
    factors = np.stack([generator.integers(size, size=num_rows) for size in (3, 6, 40)], axis=1)
    codes = factors @ generator.normal(size=(3, 5)) + generator.normal(size=(num_rows, 5))
    return codes, factors


def published_bins(latent, num_bins, binning):
    """The two binnings as the definitions spell them, in numpy's own histogram and quantile functions."""
    if binning == "width":
        return np.digitize(latent, np.histogram(latent, num_bins)[1][:-1])
    return np.searchsorted(np.quantile(latent, np.linspace(0, 1, num_bins + 1))[1:-1], latent, side="right")


def information_by_loops(bins, values):
    """I = sum p(b, v) log(p(b, v) / (p(b) p(v))), one pair of values after the other."""
    total = 0.0
    for b in set(bins.tolist()):
        for v in set(values.tolist()):
            joint = np.mean((bins == b) & (values == v))
            if joint > 0:
                total += joint * math.log(joint / (np.mean(bins == b) * np.mean(values == v)))
    return total


@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("num_bins", [2, 7, 20])
def test_agrees_with_loops_and_with_scikit_learn(num_bins, binning):
    # Fails if a bin edge, the contingency table, or the sides of the matrix change.
    codes, factors = noisy_codes()
    information = mutual_information(codes, factors, num_bins=num_bins, binning=binning)
    assert information.shape == (5, 3)
    for j, k in np.ndindex(5, 3):
        bins = published_bins(codes[:, j], num_bins, binning)
        assert information[j, k] == pytest.approx(mutual_info_score(bins, factors[:, k]), abs=1e-12)
        assert information[j, k] == pytest.approx(information_by_loops(bins, factors[:, k]), abs=1e-12)


def test_float32_codes_are_binned_in_float64():
    # Fails without the cast: these codes are the edges rounded to float32, some down, which then belong below.
    codes = np.linspace(0.1, 0.7, 21, dtype=np.float32)[:, None]
    factors = np.arange(21)[:, None]
    information = mutual_information(codes, factors)
    assert information.dtype == np.float64
    np.testing.assert_array_equal(information, mutual_information(codes.astype(np.float64), factors))


def test_last_equal_width_bin_is_closed():
    # Fails if the largest code opens a 21st bin: I would be log 21.
    codes = np.arange(21.0)[:, None]
    expected = (19 * math.log(21) + 2 * math.log(21 / 2)) / 21
    assert mutual_information(codes, np.arange(21)[:, None])[0, 0] == pytest.approx(expected, abs=1e-12)


def test_code_on_an_equal_mass_cut_belongs_above():
    # Fails with side="left": the median 1 would join 0, which leaves one bin of three rows and one of two.
    codes = np.array([0.0, 0.0, 1.0, 1.0, 2.0])[:, None]
    factors = np.array([0, 0, 1, 1, 1])[:, None]
    information = mutual_information(codes, factors, num_bins=2, binning="mass")
    assert information[0, 0] == pytest.approx(factor_entropies(factors)[0], abs=1e-12)


@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("constant", [0.0, -3.7, 1e17, 1e-300])
def test_constant_latent_knows_nothing(constant, binning):
    # Exactly 0, and without a warning (which is an error here): fails if p log p meets an empty bin.
    factors = np.arange(60)[:, None] % np.array([3, 4, 5])
    np.testing.assert_array_equal(mutual_information(np.full((60, 1), constant), factors, binning=binning), 0)


def test_latent_that_varies_in_its_last_bit():
    # numpy.histogram refuses a range that holds fewer than 20 different numbers; the code is still worth log 2.
    codes = np.where(np.arange(10) % 2, 1.0, np.nextafter(1.0, 2.0))[:, None]
    assert mutual_information(codes, (np.arange(10) % 2)[:, None])[0, 0] == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_permutations(binning):
    # Fails if latents or factors are mixed up (a view where a transpose is meant), or rows are not taken as pairs.
    codes, factors = noisy_codes()
    information = mutual_information(codes, factors, binning=binning)
    latents, columns = [3, 0, 4, 1, 2], [2, 0, 1]
    rows = np.random.default_rng(1).permutation(len(codes))
    permuted = mutual_information(codes[rows][:, latents], factors[rows][:, columns], binning=binning)
    np.testing.assert_allclose(permuted, information[latents][:, columns], rtol=0, atol=1e-13)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_affine_maps_change_nothing(binning):
    # Powers of two and whole numbers, so that no code is rounded across a bin edge; a negative scale would move the
    # codes that lie on an edge to the other side.
    codes, factors = noisy_codes()
    codes = np.round(codes * 2**20)
    mapped = codes * np.array([1, 0.5, 4, 2.0**-30, 2.0**40]) + np.array([0, 3, -8, 0, 0])
    np.testing.assert_array_equal(
        mutual_information(mapped, factors, binning=binning), mutual_information(codes, factors, binning=binning)
    )


def test_negating_a_latent_changes_nothing():
    codes, factors = noisy_codes()  # continuous: only the two ends lie on an edge
    np.testing.assert_allclose(
        mutual_information(-codes, factors, binning="width"), mutual_information(codes, factors), rtol=0, atol=1e-3
    )


def test_monotone_maps_change_nothing_for_equal_mass():
    # Of 2,000 codes, no quantile i/20 is one itself, so that each cut stays between the same two. Fails for "width".
    codes, factors = noisy_codes(num_rows=2000)
    information = mutual_information(codes, factors, binning="mass")
    mapped = np.exp(codes / np.abs(codes).max() * 10)
    np.testing.assert_array_equal(mutual_information(mapped, factors, binning="mass"), information)
    assert np.abs(mutual_information(mapped, factors, binning="width") - information).max() > 0.1


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integers_can_name_the_values(dtype):
    # Fails if offsets overflow a narrow type, or a table is made of every integer between two values.
    codes, factors = noisy_codes()
    limits = np.iinfo(dtype)
    names = np.array([limits.min, limits.max, 5], dtype=dtype)
    expected = mutual_information(codes, factors[:, :1])
    np.testing.assert_allclose(mutual_information(codes, names[factors[:, :1]]), expected, rtol=0, atol=1e-13)
    assert factor_entropies(names[factors[:, :1]]) == pytest.approx(factor_entropies(factors[:, :1]), abs=1e-13)


def test_values_across_the_sign_bit_of_uint64():
    names = np.array([2**63 - 1, 2**63, 2**63 + 1], dtype=np.uint64)
    codes, factors = noisy_codes()
    np.testing.assert_allclose(
        mutual_information(codes, names[factors[:, :1]]), mutual_information(codes, factors[:, :1]), rtol=0, atol=1e-13
    )


def test_entropies_are_empirical():
    # Fails if a uniform factor is assumed, or values that no row takes are counted.
    factors = np.array([[0, 7], [0, 7], [4, 7], [9, 7]])
    assert factor_entropies(factors) == pytest.approx([1.5 * math.log(2), 0.0], abs=1e-15)
    assert factor_entropies(np.full((3, 1), 5))[0] == 0


def test_bias_for_independent_pairs():
    """Bias is (B-1)(V-1)/2N, and 2N I follows a chi-square law of as many degrees, so its mean over 200 is within 3 %.

    The chi-square law's standard deviation is sqrt(2 d): 0.0037 of d for the mean of 200 latents at d = 741. The next
    order of the expansion is of relative size B V / N = 0.08 at most, and measured below 0.03.
    """
    generator = np.random.default_rng(0)
    codes = generator.uniform(size=(10_000, 200))
    factors = generator.integers(40, size=(10_000, 1))
    bias = 19 * 39 / (2 * 10_000)
    assert bias == pytest.approx(0.037, abs=1e-4)
    assert mutual_information(codes, factors).mean() == pytest.approx(bias, rel=0.03)


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 1), int), {}, "one row per image"),
        (np.zeros((0, 2)), np.zeros((0, 1), int), {}, "at least one row"),
        (np.zeros((3, 0)), np.zeros((3, 1), int), {}, "at least one row, one latent"),
        (np.zeros((3, 2)), np.zeros((3, 0), int), {}, "one factor"),
        ([], [], {}, "at least one row"),
        (np.zeros(3), np.zeros((3, 1), int), {}, r"must be matrices .* but got shapes \(3,\) and \(3, 1\)"),
        (np.zeros((3, 1)), np.zeros(3, int), {}, r"must be matrices .* but got shapes \(3, 1\) and \(3,\)"),
        (np.array([[0.0, np.nan, 0], [0, 0, np.inf]]), np.zeros((2, 1), int), {}, r"latents \[1, 2\]"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), {"num_bins": 1}, "num_bins must be at least 2, but got 1"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), {"binning": "depth"}, "one of 'width', 'mass', but got 'depth'"),
    ],
)
def test_refusals(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        mutual_information(codes, factors, **options)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_codes_whose_range_overflows_are_binned_as_smaller_ones(binning):
    # numpy.linspace and numpy.quantile would make edges of nan.
    codes, factors = noisy_codes()
    codes = np.round(codes - codes.mean(axis=0), 3)  # on both sides of 0
    largest = codes * 2.0 ** np.floor(1024 - np.log2(np.abs(codes).max()))
    assert np.abs(largest).max() > 2.0**1023
    np.testing.assert_array_equal(
        mutual_information(largest, factors, binning=binning), mutual_information(codes, factors, binning=binning)
    )


def published_latents_values(rows):
    """The official file's `latents_values` for some rows, without the colour: shape 1, 2, 3, the others fractions."""
    columns = DSPRITES_FACTORS.indices_to_factors(rows).T
    values = [(1.0, 2.0, 3.0), *DSPRITES_FACTORS.values[1:]]
    return np.stack([np.array(names)[column] for names, column in zip(values, columns, strict=True)], axis=1)


def test_fractional_factors_are_ranked_not_cut():
    # Fails if they are cast to integers: of the scales 0.5 .. 1 and of the positions 0 .. 1, two values were left.
    rows = np.random.default_rng(0).choice(DSPRITES_FACTORS.size, 3000, replace=False)
    indices = DSPRITES_FACTORS.indices_to_factors(rows)
    codes = indices + np.random.default_rng(1).normal(size=indices.shape)
    values = published_latents_values(rows)
    np.testing.assert_array_equal(factor_values(values), factor_values(indices))
    np.testing.assert_array_equal(mutual_information(codes, values), mutual_information(codes, indices))
    np.testing.assert_array_equal(factor_entropies(values), factor_entropies(indices))
    by_values, by_indices = (mutual_information_gap(codes, factors) for factors in (values, indices))
    assert (by_values.score, by_values.ceiling) == (by_indices.score, by_indices.ceiling)


@pytest.mark.parametrize(
    "as_factors",
    [
        np.float64, np.float32, np.float16, np.uint8, np.longdouble, lambda f: f * 0.1, lambda f: f / 7 - 3, object,
        lambda f: np.array(list("abcdefgh"))[f], lambda f: np.array(list("abcdefgh"), object)[f],
        lambda f: np.datetime64("2020-01-01") + f, lambda f: np.where(f == 7, np.inf, f), torch.tensor,
        lambda f: torch.tensor(f, dtype=torch.bfloat16), lambda f: torch.tensor(f * 0.5, requires_grad=True),
        lambda f: f.tolist(), lambda f: (f * 0.5).tolist(), lambda f: tuple(map(tuple, f)),
        lambda f: np.where(f == 0, -0.0, f), lambda f: np.asfortranarray(f)[:, :], lambda f: f.astype(">i4"),
        lambda f: 10**30 * f.astype(object), lambda f: np.array(list("abcdefgh"))[f].tolist(),
    ],
)  # fmt: skip
def test_factors_may_be_anything_that_has_an_order(as_factors):
    # In an order that keeps that of the integers, so that the ceiling is the same too.
    generator = np.random.default_rng(0)
    factors = generator.integers(8, size=(500, 2))
    codes = factors + generator.normal(size=(500, 2))
    given = as_factors(factors) if not isinstance(as_factors, type) else factors.astype(as_factors)
    expected, result = mutual_information_gap(codes, factors), mutual_information_gap(codes, given)
    np.testing.assert_array_equal(factor_values(given), factors)
    np.testing.assert_array_equal(result.mutual_information, expected.mutual_information)
    assert (result.score, result.ceiling) == (expected.score, expected.ceiling)


def test_booleans_are_two_values():
    assert factor_values([[True], [False], [True]]).tolist() == [[1], [0], [1]]


def test_values_are_compared_exactly():
    assert factor_values([[0.3, -0.0], [0.1 + 0.2, 0.0]]).tolist() == [[0, 0], [1, 0]]


def test_a_number_beside_a_string_stays_a_number():
    # numpy.asarray makes strings of such lists: then 1 and 1.0 would be two values, and nan would be one.
    assert factor_values([["b", 1], ["a", 1.0]]).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(ValueError, match="factors must not hold NaN, but column 1 does, first in row 1"):
        factor_values([["b", 1.0], ["a", math.nan]])


@pytest.mark.parametrize("form", [np.array, torch.tensor, list, lambda rows: np.array(rows, object)])
def test_nan_among_the_factors_is_refused_by_column_and_row(form):
    factors = [[0.0, 0.0], [1.0, 0.5], [0.0, math.nan]]
    with pytest.raises(ValueError, match="factors must not hold NaN, but column 1 does, first in row 2: drop"):
        mutual_information(np.zeros((3, 1)), form(factors))


@pytest.mark.parametrize("column", [[1, "a"], [None, 1], [{}, {}]])
def test_values_without_an_order_are_refused(column):
    with pytest.raises(ValueError, match="must have an order, as numbers or as strings do, but column 0 has none"):
        factor_values(np.array(column, object)[:, None])


@pytest.mark.parametrize("factors", [[], [[]], np.zeros((0, 2)), [1, 2], 3, [[[1]]]])
def test_factors_that_are_no_matrix_are_refused(factors):
    with pytest.raises(ValueError, match="factors must be a matrix with at least one row and one column"):
        factor_entropies(factors)


@pytest.mark.parametrize(
    "as_codes",
    [
        torch.tensor, lambda c: torch.tensor(c, requires_grad=True), lambda c: c.tolist(), np.asfortranarray,
        lambda c: np.repeat(c, 2, 1)[:, ::2], lambda c: c.astype(">f8"), lambda c: c.astype(object),
        lambda c: list(torch.tensor(c, requires_grad=True)),
    ],
)  # fmt: skip
def test_codes_may_come_in_any_form(as_codes):
    codes, factors = noisy_codes(num_rows=200)
    given = as_codes(codes)
    np.testing.assert_array_equal(mutual_information(given, factors), mutual_information(codes, factors))


@pytest.mark.parametrize("codes", [[["a"], ["b"]], np.ones((2, 1), complex), torch.ones(2, 1, dtype=torch.complex64)])
def test_codes_that_are_no_real_numbers_have_not_diverged(codes):
    with pytest.raises(ValueError, match="codes must be real numbers") as refusal:
        mutual_information(codes, [[0], [1]])
    assert "diverged" not in str(refusal.value)


def test_large_tables_give_the_same_without_their_empty_cells(monkeypatch):
    # Fails if a row's total counts every factor, or a cell goes to the factor beside.
    codes, factors = noisy_codes()
    expected = mutual_information(codes, factors, num_bins=50)
    monkeypatch.setattr(sys.modules["betavae.metrics.mutual_information"], "_LARGEST_TABLE", 0)
    np.testing.assert_allclose(mutual_information(codes, factors, num_bins=50), expected, rtol=1e-12, atol=1e-15)


def test_a_factor_of_many_values_takes_little_memory():
    values = np.arange(40_000)[:, None] // [2, 4]
    tracemalloc.start()
    information = mutual_information(values, values, num_bins=20_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    logs = np.log([[20_000, 10_000], [10_000, 10_000]])
    np.testing.assert_allclose(information, logs, rtol=1e-12)
    assert peak < 100e6  # bytes; the tables would have 600 million cells
