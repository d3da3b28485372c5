"""The scores of beta-VAE and FactorVAE, which fix a factor and draw rows."""

import math

import numpy as np
import pytest
from closed_forms import columns, generator, grid, noisy_codes, sample_of
from sklearn.linear_model import LogisticRegression

from betavae.metrics import METRICS, beta_vae_score, factor_vae_score
from betavae.metrics.fixed_factors import RowsByValue, blocks_by_factor

SIZES = (3, 4, 5)
FACTORS = grid(*SIZES)
PERFECT = FACTORS.astype(np.float64)


def four_errors(share, num_points=5000):
    """Four standard errors of a share of independent points."""
    return 4 * math.sqrt(share * (1 - share) / num_points)


def bvae(codes, factors=FACTORS, seed=0, **settings):
    return beta_vae_score(codes, factors, generator=generator(seed), **settings)


def fvae(codes, factors=FACTORS, seed=0, **settings):
    return factor_vae_score(codes, factors, generator=generator(seed), **settings)


def rotated():
    """Two factors of one size in two latents turned by 45 degrees, and a third factor in its own."""
    factors = grid(4, 4, 5)
    a, b, c = factors.T
    return columns(a + b, a - b, c), factors


# Both


@pytest.mark.parametrize("score", [bvae, fvae])
def test_a_perfect_code_reaches_one(score):
    result = score(PERFECT)
    assert (result.score, result.train_accuracy, result.accuracies.tolist()) == (1, 1, [1, 1, 1])


@pytest.mark.parametrize("score", [bvae, fvae])
def test_duplicated_latents_still_reach_one(score):
    assert score(np.hstack([PERFECT, -PERFECT])).score == 1


@pytest.mark.parametrize("score", [bvae, fvae])
def test_one_factor_leaves_nothing_to_tell_apart(score):
    assert score(PERFECT[:, :1], FACTORS[:, :1]).score == 1


@pytest.mark.parametrize("score", [bvae, fvae])
def test_noise_scores_one_over_the_number_of_factors(score):
    """Fresh rows of noise for each draw, but for the few that repeat: many rows of each value."""
    factors = np.repeat(FACTORS, 500, axis=0)
    codes = generator(1).normal(size=(len(factors), 4))
    # the majority table, or the classifier, learns what rows of one value share: the largest of some dozen deviations
    # of the mean of 30,000 / 5 rows, small beside the sampling error of the test points
    assert score(codes, factors).score == pytest.approx(1 / 3, abs=four_errors(1 / 3))


@pytest.mark.parametrize("score", [bvae, fvae])
def test_the_standard_error_is_that_of_independent_test_points(score):
    """`Error:` fails if points share rows or factors more than they should."""
    codes, factors = rotated()
    accuracies = [score(codes, factors, seed=seed, num_train=2000, num_test=200).score for seed in range(24)]
    mean = np.mean(accuracies)
    assert 0.4 < mean < 0.999
    spread = np.std(accuracies, ddof=1) / math.sqrt(mean * (1 - mean) / 200)
    # chi-square with 23 degrees of freedom, within its 0.001 and 0.999 quantiles, and a little for the training points
    assert math.sqrt(7.5 / 23) < spread < 1.3 * math.sqrt(49.7 / 23)


def straightforward(codes, sizes, *, num_points, draws, point):
    """Draw one point after the other as the papers say: by drawing factors of the whole grid, not rows."""
    points = []
    for _ in range(num_points):
        fixed = draws.integers(len(sizes))
        points.append((fixed, point(codes, sizes, fixed, draws)))
    return points


def drawn_factors(sizes, draws):
    return np.stack([draws.integers(size, size=64) for size in sizes], axis=1)


def encoded(codes, factors, sizes):
    return codes[np.ravel_multi_index(tuple(factors.T), sizes)]


def difference(codes, sizes, fixed, draws):
    first, second = drawn_factors(sizes, draws), drawn_factors(sizes, draws)
    second[:, fixed] = first[:, fixed]
    return np.abs(encoded(codes, first, sizes) - encoded(codes, second, sizes)).mean(axis=0)


def vote(codes, sizes, fixed, draws):
    factors = drawn_factors(sizes, draws)
    factors[:, fixed] = factors[0, fixed]
    local = encoded(codes, factors, sizes).var(axis=0, ddof=1)
    return int(np.argmin(local / codes.var(axis=0, ddof=1)))


NOISE = 2.0


def mixed_codes():
    """No code of a factor alone, and differences in how well each is known."""
    draws = generator(2)
    return PERFECT @ draws.normal(size=(3, 4)) + NOISE * draws.normal(size=(len(FACTORS), 4))


def test_beta_vae_score_agrees_with_a_straightforward_loop():
    codes, draws = mixed_codes(), generator(3)
    points = straightforward(codes, SIZES, num_points=6000, draws=draws, point=difference)
    labels, features = (np.array(column) for column in zip(*points, strict=True))
    classifier = LogisticRegression(max_iter=1000).fit(features[:3000], labels[:3000])
    expected = (classifier.predict(features[3000:]) == labels[3000:]).mean()
    got = bvae(codes, num_train=3000, num_test=3000).score
    assert 0.5 < expected < 0.99
    assert got == pytest.approx(expected, abs=math.sqrt(2) * four_errors(expected, 3000))


def test_factor_vae_score_agrees_with_a_straightforward_loop():
    codes, draws = mixed_codes(), generator(3)
    points = np.array(straightforward(codes, SIZES, num_points=6000, draws=draws, point=vote))
    table = np.zeros((4, 3))
    np.add.at(table, (points[:3000, 1], points[:3000, 0]), 1)
    expected = (table.argmax(axis=1)[points[3000:, 1]] == points[3000:, 0]).mean()
    result = fvae(codes, num_train=3000, num_test=3000)
    assert 0.5 < expected < 0.99
    assert result.score == pytest.approx(expected, abs=math.sqrt(2) * four_errors(expected, 3000))
    # shares of votes by latent and factor, within the largest standard error of twelve shares of both sides
    np.testing.assert_allclose(result.votes / 3000, table / 3000, rtol=0, atol=math.sqrt(2) * four_errors(0.3, 3000))


@pytest.mark.parametrize("score", [bvae, fvae])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_train": 0}, "num_train and num_test must be at least 1, but got 0 and 5000"),
        ({"num_test": 0}, "must be at least 1, but got 10000 and 0"),
        ({"batch_size": 0}, "batch_size must be at least [12], but got 0"),
    ],
)
def test_refusals(score, settings, message):
    with pytest.raises(ValueError, match=message):
        score(PERFECT, **settings)


def test_rows_of_a_value_are_drawn_from_all_rows_of_that_value():
    values = np.array([2, 0, 1, 0, 2, 2])
    groups = RowsByValue.of(values)
    wanted = generator().integers(3, size=(500, 4))
    rows = groups.draw(wanted, generator())
    np.testing.assert_array_equal(values[rows], wanted)
    assert set(rows.ravel().tolist()) == set(range(6))


def test_blocks_hold_every_point_once_and_fit_in_memory():
    fixed = generator().integers(3, size=1000)
    seen = []
    for factor, points in blocks_by_factor(fixed, num_factors=3, numbers_per_point=2**16):
        assert (fixed[points] == factor).all()
        assert len(points) <= 2**6
        seen += points.tolist()
    assert sorted(seen) == list(range(1000))


# BetaVAE score


def test_a_factor_that_is_not_encoded_does_not_lower_the_beta_vae_score():
    """`Error:` the pattern of no latent that agrees is its mark."""
    assert bvae(PERFECT[:, 1:]).score == 1


def test_the_penalty_of_the_beta_vae_score_depends_on_the_scale():
    """`Error:` features of 1e-6 leave the classifier without a choice but the most frequent label."""
    result = bvae(1e-6 * PERFECT)
    assert result.score == pytest.approx(1 / 3, abs=four_errors(1 / 3))
    assert sorted(result.accuracies.tolist()) == [0, 0, 1]


def test_the_beta_vae_score_of_a_rotated_code():
    """Two factors in one plane cannot be told apart by the sizes of differences; the third can."""
    codes, factors = rotated()
    result = bvae(codes, factors)
    assert result.accuracies[2] == 1
    assert result.accuracies[:2].mean() == pytest.approx(0.5, abs=four_errors(0.5, 5000 * 2 / 3))


# FactorVAE score


def test_votes_say_which_latent_stands_for_which_factor():
    result = fvae(PERFECT[:, [2, 0, 1]])
    assert (result.votes > 0).astype(int).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert result.votes.sum() == 10_000


def test_the_factor_vae_score_of_a_factor_that_is_not_encoded():
    """Its votes go to the other latents at random, whose majority is another factor: two of three factors are right."""
    result = fvae(PERFECT[:, 1:])
    assert result.accuracies.tolist() == [0, 1, 1]
    assert result.score == pytest.approx(2 / 3, abs=four_errors(2 / 3))


def test_the_factor_vae_score_of_packed_factors():
    """One latent holds all: every vote is for it, and one factor is its majority."""
    a, b, c = FACTORS.T
    result = fvae(columns(20 * a + 5 * b + c))
    assert sorted(result.accuracies.tolist()) == [0, 0, 1]
    assert result.score == pytest.approx(1 / 3, abs=four_errors(1 / 3))


@pytest.mark.parametrize("pruned_below", [0.0, 0.05])
def test_a_constant_latent_has_no_vote(pruned_below):
    """At a threshold of 0, 0/0 would be the first minimum of every point, and the score that of chance."""
    codes = np.insert(PERFECT, 0, 0.1, axis=1)
    result = fvae(codes, pruned_below=pruned_below)
    assert result.score == 1
    assert result.kept_latents.tolist() == [False, True, True, True]


def test_latents_are_pruned_below_a_deviation_of_0_05():
    """The threshold of the studies, by the sample's deviation with ddof 1."""
    unit = PERFECT / PERFECT.std(axis=0, ddof=1)
    codes = np.hstack([0.0501 * unit, 0.0499 * unit])
    assert fvae(codes).kept_latents.tolist() == [True] * 3 + [False] * 3
    assert fvae(codes, pruned_below=0.0).kept_latents.all()
    assert (
        METRICS["factor_vae_score"]().score(sample_of(codes, FACTORS)).details["kept_latents"]
        == [True] * 3 + [False] * 3
    )


def test_pruning_decides_on_the_score():
    """`Error:` small but faithful latents count at a threshold of 0, and not at 0.05."""
    codes = PERFECT * [1, 1, 1e-3]
    assert fvae(codes, pruned_below=0.0).score == 1
    assert fvae(codes).score == pytest.approx(2 / 3, abs=four_errors(2 / 3))


def test_without_a_latent_the_factor_vae_score_is_zero():
    result = fvae(0.001 * PERFECT)
    assert (result.score, result.train_accuracy, result.votes.sum(), result.kept_latents.any()) == (0, 0, 0, False)


def test_one_kept_latent_has_every_vote():
    codes = PERFECT * [1, 1e-3, 1e-3]
    result = fvae(codes)
    assert result.votes[0].sum() == 10_000
    assert result.score == pytest.approx(1 / 3, abs=four_errors(1 / 3))


def test_a_negative_threshold_is_refused():
    for threshold in (-0.1, math.nan):
        with pytest.raises(ValueError, match="pruned_below must be at least 0, but got"):
            fvae(PERFECT, pruned_below=threshold)


def test_scaling_all_latents_changes_no_vote_without_a_threshold():
    """By powers of two: local and global variances scale together."""
    codes, factors = noisy_codes(num_rows=500, sizes=(3, 4))
    scaled = codes * [1, 2, 1024, 0.25]
    np.testing.assert_array_equal(
        fvae(scaled, factors, pruned_below=0.0).votes, fvae(codes, factors, pruned_below=0.0).votes
    )
