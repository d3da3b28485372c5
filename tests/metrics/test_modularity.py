import math

import numpy as np
import pytest
from closed_forms import columns, generator, grid, noisy_codes, sample_of
from sklearn.metrics import mutual_info_score

from betavae.metrics import METRICS, modularity


def test_a_perfect_code_reaches_one():
    factors = grid(3, 4, 5)
    result = modularity(factors.astype(np.float64), factors)
    assert result.score == pytest.approx(1, abs=1e-12)
    assert result.modularities == pytest.approx([1, 1, 1], abs=1e-12)


def test_duplicated_latents_are_modular():
    factors = grid(3, 4)
    assert modularity(np.hstack([factors, -factors]), factors).score == pytest.approx(1, abs=1e-12)


def test_a_rotated_code_scores_zero():
    """By 45 degrees: each latent informs on two factors alike."""
    factors = grid(5, 5)
    a, b = factors.T
    assert modularity(columns(a + b, a - b), factors).score == pytest.approx(0, abs=1e-12)


def test_packed_factors():
    """z = 4 a + b knows log 3 nats of one factor and log 4 of the other, and nothing of a third."""
    factors = grid(3, 4, 2)
    a, b, _ = factors.T
    expected = 1 - (math.log(3) / math.log(4)) ** 2 / 2
    assert modularity(columns(4 * a + b), factors).score == pytest.approx(expected, abs=1e-12)


def test_dead_latents_count_as_zero_and_are_left_out_beside():
    factors = grid(3, 4)
    codes = np.hstack([factors, np.full((12, 2), 0.1)])
    result = modularity(codes, factors)
    assert result.score == pytest.approx(0.5, abs=1e-12)
    assert result.score_of_informative == pytest.approx(1, abs=1e-12)
    assert result.modularities == pytest.approx([1, 1, 0, 0], abs=1e-12)
    dead = modularity(codes[:, 2:], factors)
    assert (dead.score, dead.score_of_informative) == (0, 0)


def test_with_one_factor_a_latent_that_informs_scores_one():
    """0 / 0 in the definition: there is no other factor."""
    factors = grid(3)
    assert modularity(columns(factors[:, 0], np.zeros(3)), factors).modularities.tolist() == [1, 0]


def test_information_whose_square_vanishes():
    """A latent of 1e-200 nats is still of one factor: fails where 0 / 0 is left after squaring."""
    from betavae.metrics.modularity import _modularities

    information = np.array([[1e-200, 0.0], [1e-200, 1e-200]])
    np.testing.assert_array_equal(_modularities(information), [1, 0])


def test_noise_scores_high():
    """`Error:` information of noise is its bias, (bins - 1) (values - 1) / 2 rows: a ratio of 1/2 for 11 and 21 values.

    Twice the rows times the information is chi-square with 190 and 380 degrees of freedom. To second order, their
    ratio's square is 1/4 (1 + 2/190 + 3 x 2/380) and has a standard deviation of 1/2 sqrt(2/190 + 2/380) / 2.
    """
    draws = generator()
    factors = np.stack([draws.integers(size, size=10_000) for size in (11, 21)], axis=1)
    codes = draws.uniform(size=(10_000, 60))
    ratio, deviation = 0.25 * (1 + 2 / 190 + 6 / 380), 0.25 * 2 * math.sqrt(2 / 190 + 2 / 380)
    got = modularity(codes, factors)
    assert got.score == pytest.approx(1 - ratio, abs=4 * deviation / math.sqrt(60))
    assert METRICS["modularity"]().score(sample_of(codes, factors)).chance == pytest.approx(
        1 - ratio, abs=4 * deviation / math.sqrt(60)
    )


def test_agrees_with_loops_over_scikit_learn():
    codes, factors = noisy_codes(num_rows=300, sizes=(3, 4, 7))
    expected = []
    for latent in codes.T:
        bins = np.digitize(latent, np.histogram(latent, 20)[1][:-1])
        squares = [mutual_info_score(bins, values) ** 2 for values in factors.T]
        expected.append(1 - (sum(squares) - max(squares)) / (max(squares) * 2))
    result = modularity(codes, factors)
    np.testing.assert_allclose(result.modularities, expected, rtol=0, atol=1e-12)
    assert result.score == pytest.approx(np.mean(expected), abs=1e-12)


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="num_bins must be at least 2, but got 1"):
        modularity(*noisy_codes(), num_bins=1)


def test_the_ceiling_is_the_score_of_the_factors_as_codes():
    _, factors = noisy_codes(num_rows=50, sizes=(3, 4))
    score = METRICS["modularity"]().score(sample_of(factors, factors))
    assert score.value == score.ceiling < 1
