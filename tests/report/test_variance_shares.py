import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from betavae.report.variance_shares import VarianceShares, variance_shares

Scores = list[list[list[float]]]


def shares_of(scores: Scores) -> VarianceShares:
    shares = variance_shares(scores)
    assert shares is not None
    return shares


def parts(shares: VarianceShares) -> tuple[float, float, float]:
    return shares.method.share, shares.value.share, shares.seed.share


UNEQUAL = [[1, 2, 4], [3], [2, 2]]
"""Number of seeds of each value of three methods: no two methods have as many scores."""


def shaped(scores: np.ndarray, num_seeds: list[list[int]]) -> Scores:
    """Scores as the nested lists of methods and values."""
    rest = iter(scores.tolist())
    return [[list(itertools.islice(rest, count)) for count in method] for method in num_seeds]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[[0.1, 0.1], [0.1]], [[0.4, 0.4, 0.4]]], (1, 0, 0)),
        ([[[0.1, 0.1], [0.3, 0.3]], [[0.0], [0.4]]], (0, 1, 0)),
        ([[[0.1, 0.3], [0.2]], [[0.0, 0.4], [0.1, 0.2, 0.3]]], (0, 0, 1)),
        # means of methods 1 and 5 around 3: 4 * 4 * 2; of values, 1 to either side: 8 * 1; of seeds, 0.5: 8 * 0.25
        ([[[-0.5, 0.5], [1.5, 2.5]], [[3.5, 4.5], [5.5, 6.5]]], (32 / 42, 8 / 42, 2 / 42)),
    ],
)
def test_shares_by_hand(scores: Scores, expected: tuple[float, float, float]) -> None:
    assert parts(shares_of(scores)) == pytest.approx(expected, abs=1e-12)


def looped(scores: Scores) -> tuple[float, float, float]:
    """The shares by a loop over the scores, each with the means of its method and of its value."""
    every = np.concatenate([value for method in scores for value in method])
    squares = np.zeros(3)
    for of_method in scores:
        method_mean = np.concatenate(of_method).mean()
        for of_value in of_method:
            for score in of_value:
                steps = method_mean - every.mean(), np.mean(of_value) - method_mean, score - np.mean(of_value)
                squares += np.square(steps)
    method, value, seed = squares / ((every - every.mean()) ** 2).sum()
    return float(method), float(value), float(seed)


def test_shares_are_the_sums_of_squares_of_unequal_groups_and_sum_to_1() -> None:
    scores = shaped(np.random.default_rng(0).normal(3, 1, 14), UNEQUAL)
    shares = shares_of(scores)
    assert parts(shares) == pytest.approx(looped(scores), abs=1e-12)
    assert sum(parts(shares)) == pytest.approx(1, abs=1e-12)
    assert shares.num_scores == 14


def test_expected_shares_are_the_means_over_all_orders() -> None:
    """Exact for any scores: the mean over the 720 orders of six scores, in groups of 1, 2 and 3."""
    scores = np.array([0.0, 0.1, 0.15, 0.4, 0.9, 0.95])
    num_seeds = [[1, 2], [3]]
    every = [looped(shaped(np.array(order), num_seeds)) for order in itertools.permutations(scores.tolist())]
    shares = shares_of(shaped(scores, num_seeds))
    assert expected_parts(shares) == pytest.approx((1 / 5, 1 / 5, 3 / 5))
    assert np.mean(every, axis=0) == pytest.approx(expected_parts(shares), abs=1e-12)


def test_expected_shares_without_an_effect_by_simulation() -> None:
    """Shares of 400 draws of scores that depend on nothing: within five standard errors of their mean."""
    generator = np.random.default_rng(1)
    drawn = np.array([looped(shaped(generator.normal(size=14), UNEQUAL)) for _ in range(400)])
    expected = expected_parts(shares_of(shaped(generator.normal(size=14), UNEQUAL)))
    assert expected == pytest.approx((2 / 13, 3 / 13, 8 / 13))
    assert drawn.mean(axis=0) == pytest.approx(expected, abs=5 * drawn.std(axis=0).max() / math.sqrt(400))


def expected_parts(shares: VarianceShares) -> tuple[float, float, float]:
    return shares.method.expected, shares.value.expected, shares.seed.expected


def test_p_of_the_method_against_all_orders_of_the_values() -> None:
    """Four values of 2, 1, 3 and 1 seeds: 24 orders, of which 10,000 draws are within five standard errors."""
    values = [[0.1, 0.2], [0.5], [0.6, 0.3, 0.7], [0.4]]
    seen = shares_of([values[:2], values[2:]]).method
    orders = [[list(first), list(last)] for first, last in splits(values)]
    as_large = [looped(order)[0] >= seen.share - 1e-12 for order in orders]
    assert 0.1 < np.mean(as_large) < 0.9
    assert seen.p == pytest.approx(np.mean(as_large), abs=5 * 0.005)


def splits(values: list[list[float]]) -> Iterator[tuple[list[list[float]], list[list[float]]]]:
    for order in itertools.permutations(values):
        yield list(order[:2]), list(order[2:])


def test_p_of_the_value_against_all_orders_within_the_methods() -> None:
    """3! * 4! orders: scores move between the values of their method alone."""
    scores: Scores = [[[0.10, 0.20], [0.30]], [[0.80, 0.60], [0.90, 0.50]]]
    seen = shares_of(scores).value
    shares = [
        looped(shaped(np.array([*first, *last]), [[2, 1], [2, 2]]))[1]
        for first in itertools.permutations([0.10, 0.20, 0.30])
        for last in itertools.permutations([0.80, 0.60, 0.90, 0.50])
    ]
    exact = np.mean(np.array(shares) >= seen.share - 1e-12)
    assert 0.1 < exact < 0.9
    assert seen.p == pytest.approx(exact, abs=5 * 0.005)


def test_p_is_small_under_an_effect_and_uniform_without() -> None:
    """Without an effect p is at most 0.2 in a fifth of the cases: of 60, 12 with a standard deviation of 3.1."""
    generator = np.random.default_rng(2)
    shape = [[3] * 4] * 3
    drawn = [shares_of(shaped(generator.normal(size=36), shape)) for _ in range(60)]
    for share in ([each.method for each in drawn], [each.value for each in drawn]):
        ps = np.array([one.p for one in share])
        assert abs((ps <= 0.2).sum() - 12) < 4 * 3.1
        assert abs((ps <= 0.5).sum() - 30) < 4 * 3.9
    noise = 0.1 * generator.normal(size=36)
    of_method = shares_of(shaped(noise + np.repeat([0, 1, 2], 12), shape))
    assert of_method.method.p == pytest.approx(1e-4, abs=2e-3)  # 6 of 34,650 splits are as far apart
    assert of_method.value.p is not None
    assert of_method.value.p > 0.01
    of_value = shares_of(shaped(noise + np.tile(np.repeat([0, 1, 2, 3], 3), 3), shape))
    assert of_value.value.p == 1 / 10_001
    assert of_value.method.p is not None
    assert of_value.method.p > 0.9


def test_shares_do_not_depend_on_scale_and_origin() -> None:
    scores = np.random.default_rng(3).normal(size=14)
    first, second = shares_of(shaped(scores, UNEQUAL)), shares_of(shaped(1e-6 * scores + 0.3, UNEQUAL))
    assert parts(second) == pytest.approx(parts(first), abs=1e-6)
    assert (second.method.p, second.value.p) == (first.method.p, first.value.p)


def test_what_no_permutation_can_tell_has_no_p() -> None:
    one_method = shares_of([[[0.1, 0.2], [0.4, 0.3]]])
    assert (one_method.method.share, one_method.method.expected, one_method.method.p) == (pytest.approx(0), 0, None)
    assert one_method.value.p == pytest.approx(2 / 6, abs=5 * 0.005)
    one_seed = shares_of([[[0.1], [0.2]], [[0.4], [0.3]]])
    assert (one_seed.seed.share, one_seed.seed.expected, one_seed.value.p) == (pytest.approx(0), 0, None)
    one_value = shares_of([[[0.1, 0.2]], [[0.4, 0.3, 0.5]]])
    assert (one_value.value.share, one_value.method.p, one_value.value.p) == (pytest.approx(0), None, None)


@pytest.mark.parametrize("scores", [[], [[]], [[[0.1]]], [[[0.1, 0.1], [0.1]], [[0.1]]]])
def test_without_a_spread_there_are_no_shares(scores: Scores) -> None:
    assert variance_shares(scores) is None


def test_empty_values_and_methods_are_left_out() -> None:
    full: Scores = [[[0.1, 0.2], [0.4]], [[0.3, 0.5]]]
    assert variance_shares([[], [[0.1, 0.2], [], [0.4]], [[]], [[0.3, 0.5]]]) == variance_shares(full)
