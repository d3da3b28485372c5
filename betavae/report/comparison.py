"""Whether two settings differ by more than the luck of their seeds."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

_MAX_COUNTED = 200_000
"""Up to so many splits, or choices of signs, a test counts each; from there on it draws some."""

_NUM_RESAMPLES = 20_000
_LEVEL, _POWER = 0.05, 0.8
_MAX_SEEDS = 2**20


def share_of_wins(scores: Sequence[float], others: Sequence[float]) -> float:
    """Return the share of all pairs, one of each side, in which the first is higher; an equal pair counts one half."""
    difference = np.subtract.outer(np.array(scores), np.array(others))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def permutation_p(scores: Sequence[float], others: Sequence[float]) -> float:
    """Return the two-sided p of two groups that are not paired: the permutation form of the Mann-Whitney test.

    It is the share of splits of all scores into two groups of these sizes whose `share_of_wins` is as far from one
    half. Every split is counted where there are at most 200,000 (two groups of ten); else 20,000 random ones and the
    split that was seen.

    Args:
        scores: One or more.
        others: One or more.

    Error:
        Of random splits, a standard error of at most 0.0036.
    """
    ranks, size = scipy.stats.rankdata([*scores, *others]), len(scores)
    if math.comb(len(ranks), size) <= _MAX_COUNTED:
        splits = np.array(list(itertools.combinations(range(len(ranks)), size)))
    else:
        generator = np.random.default_rng(0)
        drawn = [generator.permutation(len(ranks))[:size] for _ in range(_NUM_RESAMPLES)]
        splits = np.array([*drawn, range(size)])  # the split that was seen is one of them: without it p could be 0
    sums = ranks[splits].sum(axis=1)  # of a split, the share of wins grows with the sum of the ranks of its first group
    middle = size * (len(ranks) + 1) / 2
    return float(np.mean(np.abs(sums - middle) >= abs(ranks[:size].sum() - middle)))


def smallest_permutation_p(size: int, other_size: int) -> float:
    """Return the smallest p that `permutation_p` can give: of groups of these sizes that do not overlap."""
    num_splits = math.comb(size + other_size, size)
    return min(1.0, 2 / num_splits) if num_splits <= _MAX_COUNTED else 1 / (_NUM_RESAMPLES + 1)


def paired_differences(
    seeds: Sequence[int], scores: Sequence[float], other_seeds: Sequence[int], other_scores: Sequence[float]
) -> tuple[float, ...] | None:
    """Return the differences of two groups that were trained with the same seeds, seed by seed.

    Args:
        seeds: Of the first group.
        scores: Its scores, in the order of `seeds`.
        other_seeds: Of the second group, in any order.
        other_scores: Its scores, in the order of `other_seeds`.

    Returns:
        First minus second, in the order of `seeds`; None if the groups do not have the same seeds, each once, or have
        fewer than two.
    """
    if len(seeds) < 2 or len(set(seeds)) < len(seeds) or sorted(seeds) != sorted(other_seeds):
        return None
    others = dict(zip(other_seeds, other_scores, strict=True))
    return tuple(score - others[seed] for seed, score in zip(seeds, scores, strict=True))


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of paired differences: the sign-flip permutation test of their mean.

    If the two settings of each pair do the same, either sign of a difference is as likely. p is the share of all
    choices of signs whose mean is as far from 0 as the mean that was seen. Every choice is counted where there are at
    most 200,000 (17 pairs); else 20,000 random ones and the choice that was seen.

    Args:
        differences: One per pair; at least one.

    Returns:
        At least `smallest_sign_flip_p`; 1 if all differences are 0.

    Error:
        Of random choices, a standard error of at most 0.0036.

    Source:
        Fisher 1935, The Design of Experiments, chapter III.
    """
    seen = np.array(differences, float)
    signs = _signs(len(seen))
    rounding = 1e-12 * np.abs(seen).sum()
    return float(np.mean(np.abs(signs @ seen) >= abs(seen.sum()) - rounding))


def smallest_sign_flip_p(num_pairs: int) -> float:
    """Return the smallest p that `sign_flip_p` can give: of so many differences, all of one sign."""
    return 2.0 ** (1 - num_pairs) if 2**num_pairs <= _MAX_COUNTED else 1 / (_NUM_RESAMPLES + 1)


def probability_better(scores: Sequence[float], others: Sequence[float]) -> float:
    """Return how often the first has the higher median when the seeds of both groups are resampled with replacement.

    Error:
        A bootstrap of a handful of seeds is rough: with five each it never knows of a sixth that fails.
    """
    generator = np.random.default_rng(0)
    first, second = (
        np.median(generator.choice(np.array(group), (_NUM_RESAMPLES, len(group))), axis=1) for group in (scores, others)
    )
    return float(np.mean((first > second) + 0.5 * (first == second)))


def seeds_needed(scores: Sequence[float], others: Sequence[float]) -> int | None:
    """Return about how many seeds of each group would separate their means, at 5 % and with a power of 80 %.

    Returns:
        The least number of each group with which a two-sided t-test has this power, if means and standard deviations
        are as seen. None if a group has fewer than two seeds, if the means do not differ in the direction of the
        medians, or if it would take more than a million.

    Error:
        The difference and the spread are those of the few seeds that were seen, so the number may be several times too
        small or too large.
    """
    if min(len(scores), len(others)) < 2:
        return None
    difference = float(np.mean(scores) - np.mean(others))
    variance = (np.var(scores, ddof=1) + np.var(others, ddof=1)) / 2
    agrees = difference * float(np.median(scores) - np.median(others)) > 0
    if not agrees:
        return None
    if variance == 0:
        return 2
    effect = abs(difference) / math.sqrt(variance)
    numbers = range(2, _MAX_SEEDS + 1)
    place = bisect.bisect_left(numbers, _POWER, key=lambda number: t_test_power(effect, number))
    return numbers[place] if place < len(numbers) else None


def t_test_power(effect: float, number: int) -> float:
    """Return the power of a two-sided t-test of two groups at 5 %.

    Args:
        effect: The difference of the means in standard deviations of a group.
        number: The size of each group, 2 or more.

    Source:
        The noncentral t distribution: Cohen 1988, Statistical Power Analysis, chapter 2.
    """
    freedom, shift = 2 * number - 2, effect * math.sqrt(number / 2)
    limit = scipy.stats.t.isf(_LEVEL / 2, freedom)
    return float(scipy.stats.nct.sf(limit, freedom, shift) + scipy.stats.nct.cdf(-limit, freedom, shift))


def _signs(num_pairs: int) -> Float[np.ndarray, "choices pairs"]:
    """Return choices of signs: all, or random ones with the choice that was seen last."""
    if 2**num_pairs <= _MAX_COUNTED:
        return np.array(list(itertools.product((1.0, -1.0), repeat=num_pairs)))
    drawn = np.random.default_rng(0).choice((1.0, -1.0), (_NUM_RESAMPLES, num_pairs))
    return np.vstack([drawn, np.ones(num_pairs)])
