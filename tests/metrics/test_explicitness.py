import math
import warnings

import numpy as np
import pytest
from closed_forms import generator, grid, halves, noisy_codes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from betavae.metrics import explicitness


def score(codes, factors):
    return explicitness(codes, factors, codes, factors)


FACTORS = np.repeat(grid(2, 3), 10, axis=0)


def test_a_perfect_code_of_bits_reaches_one():
    factors = FACTORS[:, :1]
    result = score(factors.astype(np.float64), factors)
    assert (result.score, result.train_score, result.areas.tolist()) == (1, 1, [1])


def test_a_rotation_changes_almost_nothing():
    """A linear classifier turns codes as it likes, up to its penalty: explicitness does not see axes."""
    factors = np.repeat(grid(2, 2), 10, axis=0)
    turned = factors @ np.array([[1.0, 1.0], [1.0, -1.0]])
    assert score(turned, factors).score == score(factors.astype(np.float64), factors).score == 1


def test_codes_that_know_nothing_score_one_half():
    """On a grid: every pair of rows of two values is a tie."""
    nuisance = np.tile(np.arange(10.0), 6)[:, None]
    assert score(nuisance, FACTORS).score == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_constant_latents_are_ignored(constant):
    """Division by their deviation would be 0/0."""
    codes, factors = noisy_codes(num_rows=100)
    dead = np.full((100, 1), constant)
    np.testing.assert_allclose(score(np.hstack([codes, dead]), factors).areas, score(codes, factors).areas, atol=1e-9)
    assert score(dead, factors).score == 0.5


def test_a_latent_that_is_constant_on_the_training_rows_alone_is_ignored():
    """No division by 0 where it varies on the test rows."""
    train, train_values, test, test_values = halves(*noisy_codes(num_rows=100))
    dead, alive = np.full((50, 1), 0.1), generator().normal(size=(50, 1))
    result = explicitness(np.hstack([train, dead]), train_values, np.hstack([test, alive]), test_values)
    expected = explicitness(train, train_values, test, test_values)
    np.testing.assert_allclose(result.areas, expected.areas, atol=1e-9)


def test_agrees_with_scikit_learn():
    """As dlib takes it: areas of all columns of a binarised factor at once, two of them for a bit."""
    codes, factors = noisy_codes(num_rows=200, sizes=(2, 5))
    train, train_values, test, test_values = halves(codes, factors)
    scaler = StandardScaler().fit(train)
    expected = []
    for k in range(2):
        with warnings.catch_warnings(action="ignore"):
            classifier = LogisticRegression().fit(scaler.transform(train), train_values[:, k])
        expected.append(
            [
                roc_auc_score(
                    MultiLabelBinarizer().fit_transform(values[:, [k]]),
                    classifier.predict_proba(scaler.transform(part)),
                )
                for part, values in ((train, train_values), (test, test_values))
            ]
        )
    result = explicitness(train, train_values, test, test_values)
    # areas are counts of pairs, so that a rounding error changes one by nothing, or by a pair of the 100 x 100 / 4
    np.testing.assert_allclose(result.areas, np.array(expected)[:, 1], rtol=0, atol=1e-12)
    assert result.train_score == pytest.approx(np.mean(np.array(expected)[:, 0]), abs=1e-12)


def test_an_area_is_the_share_of_pairs_in_order():
    """Brute force, with the classifier's probability as a rising function of one latent."""
    codes, factors = noisy_codes(num_rows=60, sizes=(2,), num_latents=1)
    ones, zeros = (codes[factors[:, 0] == value, 0] for value in (1, 0))
    share = np.mean(ones[:, None] > zeros) + np.mean(ones[:, None] == zeros) / 2
    assert score(codes, factors).score == pytest.approx(max(share, 1 - share), abs=1e-12)


def test_values_that_one_part_lacks_have_no_area():
    """Where the library would be given columns that do not match."""
    train_values = np.array([0, 0, 1, 1, 2, 2])[:, None]
    test_values = np.array([1, 1, 2, 2, 3, 3])[:, None]
    train, test = train_values.astype(np.float64), test_values.astype(np.float64)
    result = explicitness(train, train_values, test, test_values)
    classifier = LogisticRegression().fit(StandardScaler().fit_transform(train), train_values[:, 0])
    probabilities = classifier.predict_proba(StandardScaler().fit(train).transform(test))
    expected = np.mean([roc_auc_score(test_values[:, 0] == value, probabilities[:, value]) for value in (1, 2)])
    assert result.score == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="a value in both parts, but those of the test rows are all new"):
        explicitness(train, train_values, test, test_values + 5)


def test_the_standard_error_of_an_area():
    """`Error:` about 0.3 / sqrt(m) for noise, exactly sqrt((n + 1) / 12 m (n - m)) among n rows."""
    draws, areas, rows = generator(), [], 60
    for _ in range(60):
        values = draws.permutation(np.arange(rows) % 6)[:, None]
        train = (draws.normal(size=(rows, 2)), np.arange(rows)[:, None] % 6)
        areas.append(explicitness(*train, draws.normal(size=(rows, 2)), values == 0).score)
    m, n = 10, rows
    exact = math.sqrt((n + 1) / (12 * m * (n - m)))
    assert exact == pytest.approx(0.3 / math.sqrt(m), rel=0.1)
    # chi-square with 59 degrees of freedom, within its 0.001 and 0.999 quantiles
    assert math.sqrt(30.4 / 59) * exact < np.std(areas, ddof=1) < math.sqrt(98.3 / 59) * exact
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * exact / math.sqrt(60))
