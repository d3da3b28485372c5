import math

import numpy as np
import pytest
import scipy.stats

from betavae.report.comparison import (
    paired_differences,
    permutation_p,
    share_of_wins,
    sign_flip_p,
    smallest_permutation_p,
    smallest_sign_flip_p,
)


def test_share_of_wins_counts_every_pair() -> None:
    assert share_of_wins([3.0, 1.0], [2.0, 1.0]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_permutation_p_against_the_mann_whitney_test() -> None:
    generator = np.random.default_rng(0)
    for sizes in ((5, 5), (3, 6), (2, 2), (10, 10)):
        scores, others = (generator.normal(size=size).tolist() for size in sizes)
        expected = scipy.stats.mannwhitneyu(scores, others, method="exact").pvalue
        assert permutation_p(scores, others) == pytest.approx(expected, abs=1e-12)
    many = generator.normal(size=30), generator.normal(0.6, size=30)
    expected = scipy.stats.mannwhitneyu(*many, method="asymptotic").pvalue
    # 20,000 random splits: a standard error of at most 0.0035; the asymptotic p is as good at these sizes
    assert permutation_p(many[0].tolist(), many[1].tolist()) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 3), (3, 3), (5, 5), (10, 10)])
def test_the_smallest_permutation_p_is_that_of_groups_that_do_not_overlap(sizes: tuple[int, int]) -> None:
    first, second = [100.0 + number for number in range(sizes[0])], [float(number) for number in range(sizes[1])]
    assert permutation_p(first, second) == pytest.approx(smallest_permutation_p(*sizes), rel=1e-9)


def test_permutation_p_is_never_0() -> None:
    """Two groups of eleven that do not overlap: 2 of 705,432 splits are as far apart, which 20,000 draws seldom hit."""
    first, second = [float(score) for score in range(11, 22)], [float(score) for score in range(11)]
    assert permutation_p(first, second) >= smallest_permutation_p(11, 11) == 1 / 20_001


@pytest.mark.parametrize("count", range(1, 18))
def test_differences_of_one_sign_are_as_far_apart_as_they_can_be(count: int) -> None:
    """Only the choices of one sign for all have a mean as far from 0: 2 of 2**n."""
    differences = np.random.default_rng(count).uniform(0.1, 1, count)
    assert sign_flip_p(differences.tolist()) == 2 / 2**count == smallest_sign_flip_p(count)
    assert sign_flip_p((-differences).tolist()) == 2 / 2**count


@pytest.mark.parametrize(("count", "losses"), [(4, 1), (8, 2), (13, 4), (14, 7)])
def test_equal_differences_follow_the_binomial_distribution(count: int, losses: int) -> None:
    """The mean of n signs is as far from 0 as n - 2k of them: at most k losses, or as many wins."""
    differences = [1.0] * (count - losses) + [-1.0] * losses
    expected = min(1.0, 2 * sum(math.comb(count, k) for k in range(losses + 1)) / 2**count)
    assert sign_flip_p(differences) == expected


def test_three_pairs_by_hand() -> None:
    """|+-1 +-2 +-4|: 7, 5, 3, 1, each twice; 1 + 4 - 2 = 3, so that six of eight are as far from 0."""
    assert sign_flip_p([1.0, -2.0, 4.0]) == 6 / 8


def test_pairs_without_a_difference_tell_nothing() -> None:
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_sign_flip_p_against_scipy_and_is_its_own_under_scaling() -> None:
    generator = np.random.default_rng(0)
    for count in (2, 5, 9):
        differences = generator.normal(0.5, 1, count)
        test = scipy.stats.permutation_test(
            (differences,), lambda x, axis: x.mean(axis), permutation_type="samples", n_resamples=np.inf,
            vectorized=True,
        )  # fmt: skip
        p = sign_flip_p(differences.tolist())
        assert p == pytest.approx(test.pvalue, abs=1e-12)
        assert sign_flip_p((1e-6 * differences).tolist()) == sign_flip_p((1e6 * differences).tolist()) == p


def test_many_pairs_are_drawn_and_never_give_0() -> None:
    """The binomial's closed form within five standard errors of 20,000 draws; 2**-39 is never drawn but once."""
    expected = 2 * scipy.stats.binom.cdf(7, 20, 0.5)
    error = 5 * math.sqrt(expected * (1 - expected) / 20_000) + 1 / 20_001
    assert abs(sign_flip_p([1.0] * 13 + [-1.0] * 7) - expected) < error
    assert sign_flip_p([1.0] * 40) == smallest_sign_flip_p(40) == 1 / 20_001


def test_pairs_are_matched_by_seed_whatever_their_order() -> None:
    assert paired_differences((7, 3), (0.5, 0.4), (3, 7), (0.1, 0.3)) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    ("seeds", "other_seeds"), [((1, 2), (1, 3)), ((1,), (1,)), ((1, 2), (1, 2, 3)), ((1, 1), (1, 1)), ((), ())]
)
def test_other_seeds_make_no_pairs(seeds: tuple[int, ...], other_seeds: tuple[int, ...]) -> None:
    assert paired_differences(seeds, [0.1] * len(seeds), other_seeds, [0.2] * len(other_seeds)) is None
