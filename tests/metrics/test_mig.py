"""Closed-form cases, on full factorial grids, so that the empirical distribution is the population's."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from betavae.data import DSPRITES_FACTORS, FactorSpace
from betavae.metrics import exact_mutual_information_gap, mutual_information_gap


def grid(*sizes):
    """All combinations of factor values, in C order."""
    return np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)


def columns(*latents):
    return np.stack(latents, axis=1).astype(np.float64)


def binary_entropy(p):
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def uniform_in_bins(num_values, num_bins=20):
    """I / H, in equal-mass bins, of a value that is spread evenly over one of `num_values` equal intervals.

    Bins and values then cut [0, 1] into pieces; H(value | bin) is the mean over the bins of their pieces' entropy.
    """
    edges = np.unique([i / num_bins for i in range(num_bins + 1)] + [i / num_values for i in range(num_values + 1)])
    pieces = np.diff(edges)[np.diff(edges) > 1e-12]
    return (math.log(num_values) + pieces @ np.log(pieces * num_bins)) / math.log(num_values)


def one_to_one():
    factors = grid(3, 6, 10)
    return columns(*factors.T, np.full(len(factors), 2.5)), factors


def integers_in_20_bins():
    factors = grid(40, 32)
    return factors.astype(np.float64), factors


def duplicated():
    factors = grid(4, 5)
    return columns(*factors.T, *-factors.T), factors


def independent_and_constant():
    rows = grid(4, 5, 7)
    return columns(rows[:, 2], np.ones(len(rows))), rows[:, :2]


def xor_only():
    factors = grid(2, 2)
    return columns(factors[:, 0] ^ factors[:, 1]), factors


def xor_and_first():
    factors = grid(2, 2)
    return columns(factors[:, 0] ^ factors[:, 1], factors[:, 0]), factors


def packed():
    factors = grid(3, 4)
    return columns(4 * factors[:, 0] + factors[:, 1], np.zeros(12)), factors


def bit_flips():
    """A bit, and two copies of it, of which 1 in 10 and 3 in 10 are wrong."""
    bit, first, second = grid(2, 10, 10).T
    return columns(bit ^ (first < 1), bit ^ (second < 3)), bit[:, None]


def merged_pairs():
    factors = grid(6)
    return columns(factors[:, 0] // 2), factors


def split_bits():
    factors = grid(8)
    return columns(factors[:, 0] // 2, factors[:, 0] % 2), factors


def non_uniform():
    factors = np.array([0, 0, 1, 2])[:, None]
    return factors.astype(np.float64), factors


def last_bin_closed():
    factors = grid(21)
    return factors.astype(np.float64), factors


def one_outlier():
    factors = grid(10, 10)[:, :1]
    codes = factors.astype(np.float64)
    codes[0] = 1e6  # a row of value 0
    return codes, factors


def outlier_width():
    """One bin for the outlier, one for all other rows."""
    other = 9 * 10 / 99 * math.log(99 / 10) + 9 / 99 * math.log(99 / 9)  # H(v | not the outlier)
    return 1 - 99 / 100 * other / math.log(10)


def outlier_mass():
    """The outlier joins the last bin, with the ten rows of value 9; the other bins hold one value each."""
    return 1 - (11 * math.log(11) - 10 * math.log(10)) / (100 * math.log(10))


def jittered(num_values):
    """10,000 offsets per value, evenly spaced over [0, 1/2): no draw, hence no sampling error."""
    factors = np.repeat(np.arange(num_values), 10_000)[:, None]
    return factors + np.tile((np.arange(10_000) + 0.5) / 20_000, num_values)[:, None], factors


CLOSED_FORMS = {
    "1-to-1": (one_to_one, "width", 1.0, 1.0),
    "20 bins too few": (integers_in_20_bins, "width", (math.log(20) / math.log(40) + 0.85) / 2, 0.831049),
    "duplicated": (duplicated, "width", 0.0, 0.0),
    "independent and constant": (independent_and_constant, "width", 0.0, 0.0),
    "xor only": (xor_only, "width", 0.0, 0.0),
    "xor and first": (xor_and_first, "width", 0.5, 0.5),
    "packed": (packed, "width", 1.0, 1.0),
    "bit flips": (bit_flips, "width", binary_entropy(0.3) - binary_entropy(0.1), 0.412295),
    "merged pairs": (merged_pairs, "width", 1 - math.log(2) / math.log(6), 0.613147),
    "split bits": (split_bits, "width", 1 / 3, 0.333333),
    "non-uniform factor": (non_uniform, "width", 1.0, 1.0),
    "last bin closed": (last_bin_closed, "width", 1 - 2 / 21 * math.log(2) / math.log(21), 0.978317),
    "one outlier, equal width": (one_outlier, "width", outlier_width(), 0.010203),
    "one outlier, equal mass": (one_outlier, "mass", outlier_mass(), 0.985447),
    "jitter of 3 values": (lambda: jittered(3), "mass", uniform_in_bins(3), 0.942062),
    "jitter of 6 values": (lambda: jittered(6), "mass", uniform_in_bins(6), 0.928951),
    "jitter of 32 values": (lambda: jittered(32), "mass", uniform_in_bins(32), 0.779742),
    "jitter of 40 values": (lambda: jittered(40), "mass", uniform_in_bins(40), 0.812098),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_closed_forms(case):
    build, binning, expected, published = CLOSED_FORMS[case]
    codes, factors = build()
    result = mutual_information_gap(codes, factors, binning=binning)
    assert expected == pytest.approx(published, abs=6e-7)
    assert result.score == pytest.approx(expected, abs=1e-9)
    assert result.score == pytest.approx(result.gaps.mean(), abs=1e-15)


def test_parts_of_a_result():
    # Fails if the gap uses another entropy, the matched latent is a rank or sorted order leaks into the matrix.
    codes, factors = xor_and_first()
    result = mutual_information_gap(codes[:, ::-1].copy(), factors)
    np.testing.assert_allclose(result.mutual_information, [[math.log(2), 0], [0, 0]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.gaps, [1, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.entropies, [math.log(2)] * 2, rtol=1e-15)
    assert result.matched_latents.tolist() == [0, 0]  # of equals, the first
    with pytest.raises(FrozenInstanceError):
        result.score = 1.0


def test_permuted_latents_keep_the_score():
    codes, factors = bit_flips()
    result, swapped = (mutual_information_gap(columns(*latents), factors) for latents in (codes.T, codes.T[::-1]))
    assert swapped.score == result.score
    assert (result.matched_latents.tolist(), swapped.matched_latents.tolist()) == ([0], [1])
    np.testing.assert_array_equal(swapped.mutual_information, result.mutual_information[::-1])


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_ceiling_on_dsprites(binning):
    # 40 values in 20 bins of 1 to 3, and 32 in 20 of 1 or 2; shape and scale fit. Fails if it ignores the bins.
    factors = DSPRITES_FACTORS.indices_to_factors(np.arange(DSPRITES_FACTORS.size))
    result = mutual_information_gap(np.zeros((len(factors), 1)), factors, binning=binning)
    assert result.score == 0
    assert result.ceiling == pytest.approx(0.902420, abs=6e-7)


def test_ceiling_is_the_score_of_a_perfect_code_on_the_same_rows():
    # Fails if the ceiling assumes uniform rows, more bins, or values without holes.
    generator = np.random.default_rng(0)
    factors = np.stack([generator.integers(30, size=500), generator.binomial(9, 0.3, size=500)], axis=1)
    names = np.sort(generator.choice(10**9, size=30, replace=False))
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)
    for options in ({}, {"binning": "mass"}, {"num_bins": 7}):
        perfect = mutual_information_gap(ranks.astype(np.float64), names[factors], **options)
        assert perfect.ceiling == perfect.score < 1


def test_spread_codes_score_below_the_ceiling():
    # The two numbers of mutual_information_gap's docstring. On every 7th row, the bias (B-1)(V-1)/2N of the second
    # largest is 0.003 nats, or 0.001 of a gap.
    factors = DSPRITES_FACTORS.indices_to_factors(np.arange(0, DSPRITES_FACTORS.size, 7))
    codes = factors + np.random.default_rng(0).uniform(0, 0.5, size=factors.shape)
    assert mutual_information_gap(codes, factors).score == pytest.approx(0.889, abs=2e-3)
    assert mutual_information_gap(codes, factors, binning="mass").score == pytest.approx(0.848, abs=2e-3)


def test_gaps_of_small_information_are_biased_down():
    # Both latents know the bit alike, so the gap is 0; then the second best of 9 useless latents eats what a weak
    # one knows. Fails if the docstring's warning stops being true.
    generator = np.random.default_rng(0)
    bit = generator.integers(2, size=(1000, 1))
    codes = np.concatenate([bit + generator.normal(size=(1000, 1)), generator.normal(size=(1000, 9))], axis=1)
    result = mutual_information_gap(codes, bit)
    assert result.gaps[0] < result.mutual_information[0, 0] / result.entropies[0] - 0.5 * 19 / 2000 / math.log(2)


def test_a_factor_with_one_value_is_refused():
    # Instead of a nan. The entropy of 49 equal rows, log 49 - 49 log 49 / 49, must not be trusted to be 0.
    codes, factors = np.zeros((49, 1)), np.stack([np.arange(49) % 7, np.full(49, 3)], axis=1)
    with pytest.raises(ValueError, match=r"at least two values, but column 1 takes one.*drop the column"):
        mutual_information_gap(codes, factors)
    space = FactorSpace(("bit", "colour"), ((0.0, 1.0), (1.0,)))
    with pytest.raises(ValueError, match="column 1 takes one"):
        exact_mutual_information_gap(np.zeros((2, 1)), np.zeros((2, 1)), space)


def test_bad_samples_are_refused_here_too():
    with pytest.raises(ValueError, match="num_bins must be at least 2"):
        mutual_information_gap(np.zeros((2, 1)), np.array([[0], [1]]), num_bins=1)
