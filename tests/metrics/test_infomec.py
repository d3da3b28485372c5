import math
import warnings

import numpy as np
import pytest
from closed_forms import columns, generator, grid, noisy_codes, sample_of
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score
from sklearn.preprocessing import StandardScaler

from betavae.metrics import METRICS, infomec
from betavae.metrics.infomec import _dominance

FACTORS = np.repeat(grid(3, 4), 30, axis=0)


def score(codes, factors, seed=0):
    return infomec(codes, factors, generator=generator(seed))


@pytest.mark.parametrize(
    ("information", "dominance"),
    [
        (np.eye(3), 1.0),
        (np.full((2, 4), 0.3), 0.0),
        ([[0.5, 0.5, 0.0]], (1 / 2 - 1 / 3) / (1 - 1 / 3)),
        ([[0.9, 0.1], [0.5, 0.5]], 0.4),
        (np.zeros((2, 3)), 0.0),
        ([[1.0, 0.0], [0.0, 0.0]], 0.5),
        (np.zeros((0, 3)), 0.0),
        ([[0.7], [0.0]], 0.5),
    ],
    ids=["one each", "equal", "two of three", "mean", "0/0", "one 0/0", "none kept", "one choice"],
)
def test_the_share_of_the_largest(information, dominance):
    """Equal shares give 0, and so do no shares at all; a single choice has all that there is."""
    assert _dominance(np.array(information)) == pytest.approx(dominance, abs=1e-12)


def test_a_perfect_code():
    """Its own factor's entropy in each latent, and nothing of the other's but the estimator's noise."""
    result = score(FACTORS.astype(np.float64), FACTORS)
    # the estimator on n rows of which m share a value is psi(n) - psi(m), within 1 / 2m of log(n / m)
    np.testing.assert_allclose(np.diag(result.information), 1, rtol=0, atol=1 / (2 * 90 * math.log(3)))
    # counts of 10 neighbours in n / 10 groups that do not overlap: four standard errors of 1 / sqrt(n) nats
    noise = 4 / math.sqrt(len(FACTORS)) / math.log(3)
    assert max(result.information[0, 1], result.information[1, 0]) < noise
    for dominance in (result.infom, result.infoc):
        assert (1 / (1 + noise) - 1 / 2) * 2 < dominance <= 1
    assert result.kept_latents.all()


def test_a_perfect_code_of_bits_is_explicit():
    factors = np.repeat(grid(2, 2), 20, axis=0)
    assert score(factors.astype(np.float64), factors).infoe > 0.99


def test_duplicated_latents_are_not_compact():
    """The largest share s among two latents is s / 2 among four: (s/2 - 1/4) / (1 - 1/4) is a third of 2 s - 1."""
    result = score(np.hstack([FACTORS, FACTORS]).astype(np.float64), FACTORS)
    alone = score(FACTORS.astype(np.float64), FACTORS)
    assert result.infom == pytest.approx(alone.infom, abs=1e-9)
    np.testing.assert_array_equal(result.information[:2], result.information[2:])
    assert result.infoc == pytest.approx(alone.infoc / 3, abs=1e-12)


def test_packed_factors_are_compact_and_not_modular():
    """One latent knows all of both factors; the other is constant, and pruned."""
    factors = np.repeat(grid(3, 3), 30, axis=0)
    a, b = factors.T
    result = score(columns(3 * a + b, np.full(len(a), 0.1)), factors)
    assert result.kept_latents.tolist() == [True, False]
    assert result.infoc == 1
    assert result.infom == pytest.approx(0, abs=1e-12)
    assert result.information[1].tolist() == [0, 0]


def test_one_kept_latent_is_compact_for_the_factors_that_it_knows():
    """0/0 in the definition."""
    result = score(FACTORS[:, :1] * 1.0, FACTORS)
    assert result.infoc in (0.5, 1.0)  # the other factor's estimate may be 0, or barely above
    assert result.infoc == (result.information[0] > 0).mean()


def test_without_a_latent_all_is_zero():
    result = score(np.full((len(FACTORS), 2), 0.1), FACTORS)
    assert (result.infom, result.infoc, result.kept_latents.any()) == (0, 0, False)
    assert result.infoe == pytest.approx(0, abs=1e-9)


def test_a_constant_latent_informs_on_nothing():
    """The estimator adds noise, and would find something in it for about half of the factors."""
    factors = generator(1).integers(3, size=(400, 8))
    codes = columns(generator().normal(size=400), np.full(400, 0.1))
    result = score(codes, factors)
    assert (result.information[0] > 0).any()
    assert not result.information[1].any()


def test_latents_of_a_range_of_a_twentieth_are_pruned():
    """At most 1/20 of the largest range; above, they are kept."""
    codes = FACTORS[:, [0, 0, 0]] * [20.0, 1.0, 1.001]
    assert score(codes, FACTORS).kept_latents.tolist() == [True, False, True]


def test_agrees_with_scikit_learn():
    """As the paper's code calls it, with the seed that the generator draws."""
    codes, factors = noisy_codes(num_rows=200, sizes=(2, 5))
    seed = int(generator().integers(2**31))
    information, explicit = np.empty((4, 2)), []
    for k in range(2):
        entropy = mutual_info_score(factors[:, k], factors[:, k])
        for j in range(4):
            standardised = StandardScaler().fit_transform(codes[:, [j]])
            estimate = mutual_info_classif(standardised, factors[:, k], n_neighbors=10, random_state=seed)
            information[j, k] = estimate[0] / entropy
        losses = []
        for design in (StandardScaler().fit_transform(codes), np.zeros_like(codes)):
            with warnings.catch_warnings(action="ignore"):
                classifier = LogisticRegression(C=np.inf, class_weight="balanced").fit(design, factors[:, k])
            losses.append(log_loss(factors[:, k], classifier.predict_proba(design)))
        explicit.append(1 - losses[0] / losses[1])
    result = score(codes, factors)
    np.testing.assert_allclose(result.information, information, rtol=0, atol=1e-12)
    # where lbfgs stops depends on the order of latents; its tolerance of 1e-4 of the gradient leaves the loss at 1e-4
    np.testing.assert_allclose(result.explicitnesses, explicit, rtol=0, atol=1e-4)
    shares = information.max(axis=1) / information.sum(axis=1)
    assert result.infom == pytest.approx((shares.mean() - 1 / 2) / (1 - 1 / 2), abs=1e-12)
    shares = information.max(axis=0) / information.sum(axis=0)
    assert result.infoc == pytest.approx((shares.mean() - 1 / 4) / (1 - 1 / 4), abs=1e-12)


@pytest.mark.parametrize("counts", [[10, 90], [5, 20, 75]])
def test_the_loss_without_codes_is_the_logarithm_of_the_number_of_values(counts):
    """Also of values that are not equally frequent: balanced weights make them so."""
    values = np.repeat(np.arange(len(counts)), counts)
    design = np.zeros((len(values), 2))
    classifier = LogisticRegression(C=np.inf, class_weight="balanced").fit(design, values)
    loss = log_loss(values, classifier.predict_proba(design))
    assert loss == pytest.approx(math.log(len(counts)), abs=1e-9)


def test_noise_scores_high_in_infom():
    """`Error:` always above the 0 of equal shares, of which estimates of nothing are far."""
    codes, factors = generator().normal(size=(400, 6)), generator(1).integers(3, size=(400, 4))
    result = score(codes, factors)
    assert result.infom > 0.3
    assert result.information.max() < 0.1


def test_infoe_is_taken_on_the_training_rows():
    """`Error:` noise of as many latents as rows is known by heart."""
    codes, factors = generator().normal(size=(20, 20)), generator(1).integers(2, size=(20, 1))
    assert score(codes, factors).infoe > 0.9


def test_a_new_value_in_every_row_is_refused():
    with pytest.raises(ValueError, match="two rows, but column 1 has a new value in each of 20 rows"):
        score(generator().normal(size=(20, 2)), np.stack([np.arange(20) % 2, np.arange(20)], axis=1))


def test_the_metric_gives_the_chance_level_of_all_three():
    codes, factors = noisy_codes(num_rows=200)
    result = METRICS["infomec"]().score(sample_of(codes, factors))
    assert result.value == result.details["infom"]
    assert 0 <= result.chance <= 1
    assert result.details["chance_of_infoe"] < result.details["infoe"]
