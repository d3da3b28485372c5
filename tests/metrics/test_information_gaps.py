"""What the metrics add to the estimators that `test_mig.py` tests."""

import numpy as np
import pytest

from betavae.data import FactorSpace
from betavae.metrics import METRICS, EncodedSample, Rows, mutual_information_gap

SPACE = FactorSpace(("shape", "size", "turn"), (("a", "b"), range(40), range(50)), categorical=["shape"])


def sample_of(space: FactorSpace, indices: np.ndarray) -> EncodedSample:
    factors = space.indices_to_factors(indices)
    mean = factors + np.random.default_rng(0).normal(size=factors.shape)
    return EncodedSample(mean, np.full_like(mean, -4.0), factors, space, Rows(indices, "some"))


def test_a_factor_that_never_varies_counts_as_zero_in_the_score_and_in_its_chance_level() -> None:
    """The study's own rule. Fails where the chance level is the mean over the varying factors."""
    sample = sample_of(SPACE, np.arange(40 * 50))
    score = METRICS["mig_seed_study"]().score(sample)
    varying = sample.factors[:, 1:]
    gaps = mutual_information_gap(sample.mean, varying, num_bins=20, binning="mass").gaps
    assert score.value == pytest.approx(gaps.sum() / 3)
    assert score.by_factor == {"shape": 0.0, "size": gaps[0], "turn": gaps[1]}
    shuffled = varying[sample.generator().permutation(len(varying))]
    assert score.chance == pytest.approx(
        mutual_information_gap(sample.mean, shuffled, num_bins=20, binning="mass").gaps.sum() / 3
    )


def test_rows_in_which_nothing_varies_score_zero() -> None:
    score = METRICS["mig_seed_study"]().score(sample_of(SPACE, np.zeros(10, np.int64)))
    assert (score.value, score.chance, set(score.by_factor.values())) == (0.0, 0.0, {0.0})


def test_the_exact_score_of_the_ordered_factors_leaves_out_the_categories() -> None:
    metric = METRICS["mig_exact"]()
    score = metric.score(sample_of(SPACE, np.arange(SPACE.size)))
    ordered = [score.by_factor[name] for name in ("size", "turn")]
    assert score.details["score_of_ordered_factors"] == pytest.approx(np.mean(ordered))
    categories = FactorSpace(SPACE.names, SPACE.values, categorical=SPACE.names)
    score = metric.score(sample_of(categories, np.arange(SPACE.size)))
    assert score.details["score_of_ordered_factors"] is None
    metric.check_details(score)
