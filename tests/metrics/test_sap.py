"""SAP of classes and of numbers."""

import warnings

import numpy as np
import pytest
from closed_forms import columns, generator, grid, halves, noisy_codes, sample_of
from sklearn.svm import LinearSVC

from betavae.metrics import METRICS, sap, sap_continuous


def of_classes(codes, factors):
    return sap(codes, factors, codes, factors, generator=generator())


def of_numbers(codes, factors):
    return sap_continuous(codes, factors)


BITS = np.repeat(grid(2, 2), 25, axis=0)
BOTH = pytest.mark.parametrize("score", [of_classes, of_numbers])


# Both


@BOTH
def test_duplicated_latents_leave_no_gap(score):
    codes = np.hstack([BITS, BITS]).astype(np.float64)
    assert score(codes, BITS).score == pytest.approx(0, abs=1e-12)


@BOTH
def test_the_second_best_to_a_single_latent_is_none(score):
    """Where the second largest of one would be an error."""
    result = score(BITS[:, :1].astype(np.float64), BITS[:, :1])
    assert result.score == pytest.approx(1)
    assert result.matched_latents.tolist() == [0]


@BOTH
def test_noise_leaves_almost_no_gap(score):
    codes = generator(1).normal(size=(2000, 4))
    factors = generator(2).integers(2, size=(2000, 2))
    # accuracies and squared correlations of 2,000 pairs are within 4 / sqrt(2000) and 16 / 2000 of chance
    assert score(codes, factors).score < 4 * 0.5 / np.sqrt(2000) * 2


# Classes


def test_bits_in_a_perfect_code():
    """Accuracy 1 against that of a constant guess, 1/2: a gap of 1/2, with a dead latent or without."""
    codes = BITS.astype(np.float64)
    for latents in (codes, np.insert(codes, 1, 0.1, axis=1)):
        result = of_classes(latents, BITS)
        assert result.gaps.tolist() == [0.5, 0.5]
        assert result.predictability.max(axis=0).tolist() == [1, 1]


def test_a_perfect_code_of_many_values_is_far_below_one():
    """`Error:` a threshold on one number separates the ends alone from the rest."""
    factors = np.repeat(grid(40), 20, axis=0)
    codes = columns(factors[:, 0], np.zeros(len(factors)))
    assert of_classes(codes, factors).score < 0.25
    assert of_numbers(codes, factors).score == pytest.approx(1)


def test_agrees_with_scikit_learn():
    codes, factors = noisy_codes(num_rows=300, sizes=(2, 5))
    train, train_values, test, test_values = halves(codes, factors)
    expected = np.zeros((4, 2))
    with warnings.catch_warnings(action="ignore"):
        for j, k in np.ndindex(4, 2):
            classifier = LinearSVC(C=0.01, class_weight="balanced").fit(train[:, [j]], train_values[:, k])
            expected[j, k] = np.mean(classifier.predict(test[:, [j]]) == test_values[:, k])
    result = sap(train, train_values, test, test_values, generator=generator())
    np.testing.assert_array_equal(result.predictability, expected)
    ordered = np.sort(expected, axis=0)
    assert result.score == pytest.approx((ordered[-1] - ordered[-2]).mean())


def test_the_penalty_depends_on_the_scale():
    """`Error:` at C = 0.01, the weight of a latent of 1e-6 rounds to none, and one value is guessed for all rows."""
    factors = np.repeat(grid(2, 2), 25, axis=0)
    assert of_classes(1.0 * factors, factors).score == 0.5
    assert of_classes(1e-6 * factors, factors).score == 0


def test_outliers_are_no_crash():
    """Where a solver that does not converge warns, which is an error here."""
    codes, factors = noisy_codes(num_rows=500, sizes=(2, 6))
    codes[::50] *= 1e4
    assert 0 <= of_classes(codes, factors).score <= 1


# Numbers


def test_numbers_in_a_perfect_code():
    factors = grid(3, 4)
    result = of_numbers(factors * [-2.0, 0.5] + 7, factors)
    np.testing.assert_allclose(result.predictability, np.eye(2), rtol=0, atol=1e-15)
    assert result.score == pytest.approx(1)


def test_a_rotated_code_leaves_no_gap():
    """By 45 degrees: each of two latents explains half of each factor."""
    factors = grid(5, 5)
    a, b = factors.T
    result = of_numbers(columns(a + b, a - b), factors)
    np.testing.assert_allclose(result.predictability, 0.5, rtol=0, atol=1e-15)
    assert result.score == pytest.approx(0, abs=1e-15)


def test_packed_factors():
    """z = 4 a + b: shares of its variance, and nothing in the other latent."""
    factors = grid(3, 4)
    a, b = factors.T
    parts = np.array([16 * a.var(), b.var()])
    result = of_numbers(columns(4 * a + b, np.zeros(12)), factors)
    np.testing.assert_allclose(result.gaps, parts / parts.sum(), rtol=1e-12)


def test_a_variance_of_at_most_1e_12_explains_nothing():
    unit = grid(2, 2)[:, 0] * 2.0 - 1
    unit /= unit.std(ddof=1)
    codes = columns(0.99e-6 * unit, 1.01e-6 * unit, np.full(4, 0.1))
    assert of_numbers(codes, grid(2, 2)[:, :1]).predictability[:, 0] == pytest.approx([0, 1, 0])


def test_agrees_with_numpy():
    codes, factors = noisy_codes(num_rows=300, sizes=(4, 9))
    expected = np.corrcoef(codes.T, factors.T)[:4, 4:] ** 2
    np.testing.assert_allclose(of_numbers(codes, factors).predictability, expected, rtol=0, atol=1e-12)


def test_a_squared_correlation_of_independent_pairs_is_about_one_over_the_rows():
    """`Error:` its mean over all orders of the rows is 1 / (rows - 1)."""
    draws, factors = generator(), grid(50)
    squares = [
        of_numbers(draws.permutation(np.arange(50.0))[:, None], factors).predictability[0, 0] for _ in range(2000)
    ]
    assert np.mean(squares) == pytest.approx(1 / 49, abs=4 * np.std(squares) / np.sqrt(2000))


def test_the_metric_has_the_ceiling_of_the_factors_as_codes():
    """On rows that are no grid, factors correlate with one another."""
    codes, factors = noisy_codes(num_rows=40, sizes=(3, 4))
    score = METRICS["sap_continuous"]().score(sample_of(factors, factors))
    assert score.value == pytest.approx(score.ceiling)
    correlation = np.corrcoef(factors.T)[0, 1] ** 2
    assert score.ceiling == pytest.approx(1 - correlation)
    assert METRICS["sap_continuous"]().score(sample_of(codes, factors)).ceiling == pytest.approx(score.ceiling)
