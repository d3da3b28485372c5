import numpy as np
import pytest
from closed_forms import columns, generator, grid, noisy_codes

from betavae.metrics import irs


def test_a_perfect_code_reaches_one():
    factors = grid(3, 4)
    result = irs(factors.astype(np.float64), factors)
    assert result.score == 1
    np.testing.assert_array_equal(np.diag(result.robustness), [1, 1])


def test_a_monotone_or_folded_code_of_one_factor_reaches_one():
    factors = grid(3, 40)
    assert irs(columns(np.exp(factors[:, 0]), np.cos(factors[:, 1])), factors).score == pytest.approx(1, abs=1e-12)


def test_a_rotated_code():
    """z = a + b with n values each: b moves it by (n - 1) / 2, of n - 1 in all."""
    factors = grid(5, 5)
    a, b = factors.T
    result = irs(columns(a + b, a - b), factors, quantile=1.0)
    np.testing.assert_allclose(result.robustness, 0.5, rtol=0, atol=1e-15)
    assert result.score == pytest.approx(0.5)


def test_packed_factors():
    """z = 4 a + b, 0 .. 11: b moves it by 1.5, a by 4, of 5.5 in all."""
    factors = grid(3, 4)
    result = irs(columns(4 * factors[:, 0] + factors[:, 1]), factors, quantile=1.0)
    np.testing.assert_allclose(result.robustness, [[1 - 1.5 / 5.5, 1 - 4 / 5.5]], rtol=1e-15)
    assert result.score == pytest.approx(1 - 1.5 / 5.5)


def test_duplicated_latents_reach_one():
    factors = grid(3, 4)
    assert irs(np.hstack([factors, -2.0 * factors]), factors).score == 1


def test_latents_are_weighted_by_their_largest_deviation():
    """A perfect one of deviation 1.5, and a nuisance of 30 that no factor holds."""
    factors = np.repeat(grid(4, 2), 2, axis=0)
    codes = columns(factors[:, 0], np.tile([-30, 30], 8))
    assert irs(codes, factors).score == pytest.approx(1.5 / 31.5)
    assert irs(codes, factors).largest_deviations.tolist() == [1.5, 30]


def test_constant_latents_are_dropped():
    """0.1 has a computed variance above 0, by which dlib would keep it and divide by a rounding error."""
    codes, factors = noisy_codes(num_rows=100)
    expected = irs(codes, factors)
    result = irs(np.insert(codes, [0, 4], [0.1, 0.0], axis=1), factors)
    assert result.score == pytest.approx(expected.score, abs=1e-12)
    assert result.robustnesses[[0, 5]].tolist() == result.largest_deviations[[0, 5]].tolist() == [0, 0]
    dead = irs(np.full((100, 2), 0.1), factors)
    assert (dead.score, dead.robustness.sum()) == (0, 0)


def test_values_with_one_row_count_as_robust():
    """`Error:` nothing moves in one row."""
    codes = generator().normal(size=(20, 1))
    assert irs(codes, np.arange(20)[:, None]).score == 1


def test_noise_does_not_score_zero_and_less_with_more_rows():
    """`Error:` 1 - quantile / largest, of all rows since a value has almost the distribution of all."""
    scores = []
    for rows in (1_000, 100_000):
        codes, factors = generator().normal(size=(rows, 1)), grid(2)[np.arange(rows) % 2]
        distances = np.abs(codes - codes.mean())
        # both halves' quantiles differ from that of all by sampling: a density of 0.03 at 2.58 makes 0.99 +- 0.0045
        # (500 rows) a quantile of 2.58 +- 0.15; the mean of two, over a largest distance of at least 3
        expected = 1 - np.quantile(distances, 0.99) / distances.max()
        scores.append(irs(codes, factors).score)
        assert scores[-1] == pytest.approx(expected, abs=4 * 0.15 / np.sqrt(2 * rows / 1000) / 3)
    assert scores[0] < scores[1] < 1, "the largest deviation grows, the quantile does not"


def test_agrees_with_loops():
    codes, factors = noisy_codes(num_rows=200, sizes=(3, 5))
    robustness, largest = np.zeros((4, 2)), np.zeros(4)
    for j in range(4):
        largest[j] = max(abs(z - codes[:, j].mean()) for z in codes[:, j])
        for k in range(2):
            moves = []
            for value in set(factors[:, k].tolist()):
                group = codes[factors[:, k] == value, j]
                moves.append(np.quantile(np.abs(group - group.mean()), 0.99))
            robustness[j, k] = 1 - np.mean(moves) / largest[j]
    result = irs(codes, factors)
    np.testing.assert_allclose(result.robustness, robustness, rtol=0, atol=1e-12)
    assert result.score == pytest.approx(np.average(robustness.max(axis=1), weights=largest), abs=1e-12)


def test_binned_factors_as_in_the_code_of_the_study():
    """40 values in 20 bins: neighbours count as one value, whose rows differ by 1, of deviation 1/2."""
    factors = np.repeat(grid(40), 3, axis=0)
    codes = factors.astype(np.float64)
    assert irs(codes, factors).score == 1
    assert irs(codes, factors, num_bins=20).score == pytest.approx(1 - 0.5 / 19.5)
    few = grid(4, 5)
    mixed = few @ np.array([[1.0, 2.0], [3.0, 1.0]])
    assert irs(mixed, few, num_bins=20).score == irs(mixed, few).score, "at most 20 values stay apart"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantile": 1.1}, r"quantile must be in \[0, 1\], but got 1.1"),
        ({"quantile": -0.1}, r"quantile must be in \[0, 1\], but got -0.1"),
        ({"num_bins": 1}, "num_bins must be at least 2, but got 1"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        irs(*noisy_codes(), **settings)
