import math

import numpy as np
import pytest
from closed_forms import columns, generator, grid, halves, noisy_codes, sample_of
from joblib import parallel_config
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.preprocessing import StandardScaler

from betavae.metrics import METRICS, dci
from betavae.metrics.dci import _Fit, _scores

ROUNDING = 1e-9
"""What 1e-11 that is added to each importance changes: some 1e-11 log 1e11."""


def score(codes, factors, seed=0, **settings):
    return dci(codes, factors, codes, factors, generator=generator(seed), **settings)


def two_bits():
    factors = np.repeat(grid(2, 2), 8, axis=0)
    return factors.astype(np.float64), factors


def test_a_perfect_code_of_bits_reaches_one():
    """One split separates a bit, and no other latent lowers the loss of what is left."""
    codes, factors = two_bits()
    result = score(codes, factors)
    np.testing.assert_allclose(result.importance, np.eye(2), rtol=0, atol=ROUNDING)
    for value in (result.disentanglement, result.completeness, result.informativeness):
        assert value == pytest.approx(1, abs=ROUNDING)


def test_a_perfect_code_of_many_values():
    """Without noise in the code, every split is on the factor's own latent: the grid makes others useless."""
    factors = grid(3, 5, 4)
    result = score(factors.astype(np.float64), factors)
    assert result.disentanglement > 0.99
    assert result.completeness > 0.99
    assert result.informativeness == 1


def test_constant_latents_have_no_weight():
    codes, factors = two_bits()
    result = score(np.hstack([codes, np.full((len(codes), 2), 0.1)]), factors)
    assert result.disentanglement == pytest.approx(1, abs=ROUNDING)
    assert result.completeness == pytest.approx(1, abs=ROUNDING)
    assert result.importance[2:].sum() == 0
    np.testing.assert_allclose(result.disentanglements[2:], 0, atol=ROUNDING)


def test_packed_factors_are_complete_and_not_disentangled():
    """One latent holds both bits: each column of importance is 1 there, so its row is uniform."""
    _, factors = two_bits()
    a, b = factors.T
    result = score(columns(2 * a + b, np.zeros(len(a))), factors)
    assert result.disentanglement == pytest.approx(0, abs=ROUNDING)
    assert result.completeness == pytest.approx(1, abs=ROUNDING)
    assert result.informativeness == 1


def test_duplicated_latents_are_disentangled_and_not_complete():
    """The trees share a factor's importance between its two latents, in shares that their seeds decide."""
    codes, factors = two_bits()
    result = score(np.hstack([codes, codes]), factors)
    assert result.disentanglement == pytest.approx(1, abs=ROUNDING)
    shares = result.importance[:2] + result.importance[2:]
    np.testing.assert_allclose(shares, np.eye(2), rtol=0, atol=ROUNDING)
    assert 0.5 - ROUNDING <= result.completeness < 1  # 1 - log 2 / log 4 if the shares are equal


def test_without_importance_all_is_zero():
    """0/0: no latent can be split, so each class has the probability of its frequency."""
    _, factors = two_bits()
    result = score(np.full((len(factors), 3), 0.1), factors)
    assert result.importance.sum() == 0
    assert (result.disentanglement, result.completeness) == (
        pytest.approx(0, abs=ROUNDING),
        pytest.approx(0, abs=ROUNDING),
    )
    assert result.informativeness == 0.5


def test_one_factor_is_disentangled_and_one_latent_complete():
    """The logarithm to the base 1 would be nan."""
    codes, factors = two_bits()
    result = score(codes, factors[:, :1])
    assert (result.disentanglement, result.disentanglements.tolist()) == (1, [1, 1])
    result = score(codes[:, :1], factors)
    assert (result.completeness, result.completenesses.tolist()) == (1, [1, 1])


def test_trees_whose_splits_do_not_help_give_no_importance():
    """Scikit-learn divides 0 by 0 where a bit is split by another: the split is made, and gains nothing."""
    codes, factors = two_bits()
    result = score(codes[:, :1], factors)
    np.testing.assert_allclose(result.importance, [[1, 0]], rtol=0, atol=ROUNDING)
    assert result.disentanglement == pytest.approx(1, abs=ROUNDING)


@pytest.mark.parametrize(
    ("importance", "disentanglement", "completeness"),
    [
        ([[1, 0], [0, 1]], 1, 1),
        ([[0.5, 0.5], [0.5, 0.5]], 0, 0),
        ([[1, 1], [0, 0]], 0, 1),
        # latents of weights 3/4 and 1/4; H(2/3, 1/3) in bits, and completeness 1 and 0
        ([[1, 0.5], [0, 0.5]], 1 - 0.75 * (math.log2(3) - 2 / 3), 0.5),
    ],
)
def test_scores_of_an_importance_matrix(importance, disentanglement, completeness):
    result = _scores([_Fit(column, 1.0) for column in np.array(importance, dtype=np.float64).T])
    assert result.disentanglement == pytest.approx(disentanglement, abs=ROUNDING)
    assert result.completeness == pytest.approx(completeness, abs=ROUNDING)


def test_agrees_with_scikit_learn():
    """Exactly: on standardised codes, whose first rows are in order, with the seeds that the generator draws."""
    codes, factors = noisy_codes(num_rows=300, sizes=(2, 3))
    codes = codes[:, np.argsort(((codes - codes[::2].mean(axis=0)) / codes[::2].std(axis=0))[0])]
    parts = halves(codes, factors)
    scaler = StandardScaler().fit(parts[0])
    train, test = np.float32(scaler.transform(parts[0])), np.float32(scaler.transform(parts[2]))
    seeds = generator().integers(2**31, size=2)
    importance, accuracies = np.zeros((4, 2)), []
    for k, seed in enumerate(seeds.tolist()):
        classifier = GradientBoostingClassifier(random_state=seed).fit(train, parts[1][:, k])
        importance[:, k] = classifier.feature_importances_
        accuracies.append(np.mean(classifier.predict(test) == parts[3][:, k]))
    weights = importance.sum(axis=1) / importance.sum()
    expected = weights @ (1 - entropy(importance.T + 1e-11, base=2))
    result = dci(*parts, generator=generator())
    np.testing.assert_allclose(result.importance, importance, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.accuracies, accuracies, rtol=0, atol=1e-12)
    assert result.disentanglement == pytest.approx(expected, abs=1e-12)
    assert result.informativeness == pytest.approx(np.mean(accuracies), abs=1e-12)


def test_standardising_is_no_other_score():
    """Trees of the codes as they are have the same importances, within the 2e-3 that equal splits are worth."""
    codes, factors = noisy_codes(num_rows=300, sizes=(2, 2))
    fitted = GradientBoostingClassifier(random_state=0).fit(codes, factors[:, 0]).feature_importances_
    np.testing.assert_allclose(score(codes, factors).importance[:, 0], fitted, rtol=0, atol=2e-3)


def test_the_number_of_training_rows_matters_more_than_the_seed():
    """`Error:` on codes with noise, trees of few rows split on what is noise."""
    codes, factors = noisy_codes(num_rows=800, sizes=(2, 2), num_latents=3)
    by_rows = [dci(codes[:n], factors[:n], codes, factors, generator=generator()) for n in (100, 800)]
    by_seed = [dci(codes[:100], factors[:100], codes, factors, generator=generator(s)) for s in (0, 1)]
    difference = abs(by_rows[0].disentanglement - by_rows[1].disentanglement)
    assert difference > 10 * abs(by_seed[0].disentanglement - by_seed[1].disentanglement)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_the_result_does_not_depend_on_the_number_of_workers(backend):
    codes, factors = noisy_codes(num_rows=60, sizes=(2, 3))
    with parallel_config(backend=backend):
        alone, together = (vars(score(codes, factors, num_workers=n)) for n in (1, 2))
    for key, value in alone.items():
        np.testing.assert_array_equal(together[key], value)


def test_factors_keep_their_columns_whatever_is_fitted_first():
    """Those of many values are fitted first."""
    factors = np.repeat(grid(2, 3), 4, axis=0)
    for order in ([0, 1], [1, 0]):
        result = score(factors.astype(np.float64), factors[:, order])
        np.testing.assert_allclose(result.importance, np.eye(2)[:, order], rtol=0, atol=ROUNDING)


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="num_workers must be at least 1, but got 0"):
        score(*two_bits(), num_workers=0)


def test_the_metric_names_factors_and_has_the_chance_level_of_shuffled_factors():
    codes, factors = two_bits()
    result = METRICS["dci"](num_workers=1).score(sample_of(codes, factors))
    assert result.chance is not None
    assert result.chance < 0.9 * result.value
    assert result.details["chance_of_informativeness"] == pytest.approx(0.5, abs=0.3)
    assert result.value == result.details["disentanglement"]
    assert result.details["completeness_by_factor"] == pytest.approx({"a": 1, "b": 1})
    assert np.array(result.details["importance"]).shape == (2, 2)
