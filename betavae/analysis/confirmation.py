"""The search's best, trained again with seeds that took no part in the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from betavae.analysis.exact import EXACT_SCORE
from betavae.analysis.results import Trial, ranked
from betavae.config import TrialConfig

_NUM_RESAMPLES = 20_000
_LEVEL, _POWER = 1.96, 0.84  # normal quantiles: 5 % two-sided, 80 %


@dataclass(frozen=True)
class Confirmed:
    """One configuration and its new seeds.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        search_score: The highest `mig` that the search saw of it: selected with labels.
        trials: Those that ran to their end, the highest `mig` at that end first.
    """

    config: TrialConfig
    search_score: float
    trials: tuple[Trial, ...]

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """`mig` of each new seed at the end of its training, which nobody selected; the highest first."""
        return tuple(trial.last_score for trial in self.trials)

    @cached_property
    def exact_scores(self) -> tuple[float | None, ...]:
        """`mig_exact` in the order of `scores`, where it has been taken."""
        checkpoints = [trial.last_checkpoint for trial in self.trials]
        return tuple(
            None if checkpoint is None else checkpoint.scores.get(EXACT_SCORE, {}).get("score")
            for checkpoint in checkpoints
        )

    @property
    def num_seeds(self) -> int:
        """New seeds that have ended."""
        return len(self.trials)

    @cached_property
    def median(self) -> float:
        """Of `scores`."""
        return float(np.median(self.scores))

    @cached_property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third, of `scores`."""
        low, high = np.quantile(self.scores, (0.25, 0.75))
        return float(low), float(high)


def confirmed(trials: Sequence[Trial], confirming: Sequence[Trial]) -> list[Confirmed]:
    """Each configuration that was confirmed, the highest median first.

    Args:
        trials: Of the search.
        confirming: Of its confirmation; one that has not ended is not counted.
    """
    found: dict[TrialConfig, list[Trial]] = {}
    for trial in confirming:
        if trial.status == "finished":
            found.setdefault(replace(trial.config, seed=0), []).append(trial)
    searched = {config: [trial for trial in ranked(trials) if _is_of(trial, config)] for config in found}
    each = [
        Confirmed(
            config,
            search_score=max((trial.score for trial in searched[config]), default=math.nan),
            trials=tuple(sorted(group, key=lambda trial: trial.last_score, reverse=True)),
        )
        for config, group in found.items()
    ]
    return sorted(each, key=lambda one: one.median, reverse=True)


def probability_better(scores: Sequence[float], others: Sequence[float]) -> float:
    """How often the first has the higher median when both groups of seeds are drawn again, with replacement.

    Error:
        A bootstrap of a handful of seeds is rough: with five each it never knows of a sixth that fails.
    """
    generator = np.random.default_rng(0)
    first, second = (
        np.median(generator.choice(np.array(group), (_NUM_RESAMPLES, len(group))), axis=1) for group in (scores, others)
    )
    return float(np.mean((first > second) + 0.5 * (first == second)))


def seeds_needed(scores: Sequence[float], others: Sequence[float]) -> int | None:
    """About how many seeds of each would tell their means apart, in a test at 5 % with a power of 80 %.

    None if there is no telling: fewer than two seeds of one, or equal means.

    Source:
        The normal approximation for two groups: n = 2 ((1.96 + 0.84) s / d)^2.
    """
    if min(len(scores), len(others)) < 2:
        return None
    difference = float(np.mean(scores) - np.mean(others))
    variance = (np.var(scores, ddof=1) + np.var(others, ddof=1)) / 2
    return None if difference == 0 else max(2, math.ceil(2 * (_LEVEL + _POWER) ** 2 * variance / difference**2))


def _is_of(trial: Trial, config: TrialConfig) -> bool:
    return replace(trial.config, seed=0) == config
