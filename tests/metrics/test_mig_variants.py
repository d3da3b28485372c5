"""The MIG as Chen et al. and as the library dent quote it."""

import numpy as np
import pytest
from closed_forms import columns, generator, grid, sample_of
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import minmax_scale

from betavae.errors import InputError
from betavae.metrics import METRICS, mig_dent, mutual_information_gap


def test_a_perfect_code_reaches_one_where_values_do_not_fit_in_bins():
    """On a grid of 40 x 32, whose unbinned factors leave a gap of 0.831049."""
    factors = grid(40, 32)
    codes = factors.astype(np.float64)
    gap = mig_dent(codes, factors)
    assert gap.score == pytest.approx(1, abs=1e-12)
    assert gap.ceiling == pytest.approx(1, abs=1e-12)
    assert mutual_information_gap(codes, factors).score == pytest.approx(0.831049, abs=5e-7)


def test_factors_of_at_most_20_values_are_as_without_bins():
    factors = grid(3, 20, 7)
    codes = factors + generator().normal(size=factors.shape)
    for key, value in vars(mutual_information_gap(codes, factors)).items():
        np.testing.assert_array_equal(getattr(mig_dent(codes, factors), key), value)


def test_duplicated_latents_leave_no_gap():
    factors = grid(40, 3)
    assert mig_dent(np.hstack([factors, -factors]), factors).score == pytest.approx(0, abs=1e-12)


def test_values_are_binned_by_their_size_not_by_their_rank():
    """0, 1 and 100 fall into two bins: the code of the last alone is perfect."""
    factors = np.array([0, 1, 100, 100])[:, None]
    gap = mig_dent(columns([0, 0, 1, 1], np.zeros(4)), factors)
    assert gap.score == pytest.approx(1, abs=1e-12)
    assert gap.entropies[0] == pytest.approx(np.log(2))


def test_agrees_with_loops_over_scikit_learn():
    """Codes and factors scaled to [0, 1], cut at twentieths."""
    draws = generator()
    factors = np.stack([draws.integers(size, size=3000) for size in (37, 50)], axis=1)
    codes = factors @ draws.normal(size=(2, 3)) + draws.normal(size=(3000, 3))
    edges = np.linspace(0, 1, 21)[:-1]
    binned = [np.digitize(minmax_scale(part), edges) for part in (codes, factors.astype(np.float64))]
    gaps = []
    for values in binned[1].T:
        information = sorted(mutual_info_score(latent, values) for latent in binned[0].T)
        gaps.append((information[-1] - information[-2]) / mutual_info_score(values, values))
    np.testing.assert_allclose(mig_dent(codes, factors).gaps, gaps, rtol=0, atol=1e-12)


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="num_bins must be at least 2, but got 1"):
        mig_dent(np.eye(2), [[0], [1]], num_bins=1)


def test_chen_takes_the_mean_over_the_factors_that_have_an_order():
    factors = grid(3, 4, 5)
    codes = factors[:, [0, 0, 1, 2]] * [1.0, -1.0, 1.0, 1.0]  # a gap of 0 for the first, and of 1 for the others
    sample = sample_of(codes, factors, categorical=["a"])
    score = METRICS["mig_chen"]().score(sample)
    exact = METRICS["mig_exact"]().score(sample)
    # the documented error of a gap; a variance of exp(-4) leaves neighbours at a distance of 7 deviations apart
    assert score.value == pytest.approx(1, abs=2e-3)
    assert exact.value == pytest.approx(2 / 3, abs=2e-3)
    assert score.by_factor == exact.by_factor
    assert score.value == exact.details["score_of_ordered_factors"]
    assert "factors that have an order" in score.estimator


def test_chen_needs_a_factor_that_has_an_order():
    factors = grid(3, 4)
    with pytest.raises(InputError, match="A factor must have values with an order, but each of a, b is categorical"):
        METRICS["mig_chen"]().score(sample_of(factors, factors, categorical=["a", "b"]))
