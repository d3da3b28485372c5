import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from betavae.metrics import factor_entropies, mutual_information


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
        (np.array([[0.0, np.nan, 0], [0, 0, np.inf]]), np.zeros((2, 1), int), {}, r"latents \[1, 2\]"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), {"num_bins": 1}, "num_bins must be at least 2, but got 1"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), {"binning": "depth"}, "one of 'width', 'mass', but got 'depth'"),
    ],
)
def test_refusals(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        mutual_information(codes, factors, **options)
