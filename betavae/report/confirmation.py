"""The search's best, trained again with seeds that took no part in the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.records.trial import Trial
from betavae.report.scores import exact_score
from betavae.report.settings import Setting, setting_values

_NUM_RESAMPLES = 20_000
_LEVEL, _POWER = 1.96, 0.84  # normal quantiles: 5 % two-sided, 80 %


@dataclass(frozen=True)
class Confirmed(Setting):
    """One configuration and its new seeds: the trials that ran to their end.

    Attributes:
        search_score: The highest `mig` that the search saw of it: selected with labels. None if that cannot be read.
        num_failed: How many new seeds failed.
    """

    search_score: float | None
    num_failed: int

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """`mig` of each new seed at the end of its training, which nobody selected; the highest first."""
        return tuple(trial.last_score for trial in self.trials)

    @cached_property
    def exact_scores(self) -> tuple[float | None, ...]:
        """`mig_exact` in the order of `scores`, where it has been taken of the last step."""
        return exact_scores(self.trials)

    @property
    def exact_median(self) -> float | None:
        """Of `exact_scores`, if all have been taken."""
        taken = [score for score in self.exact_scores if score is not None]
        return float(np.median(taken)) if len(taken) == self.num_seeds else None

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values; what is a list has the order of `scores`."""
        return {
            "config": setting_values(self.config),
            "search_score_selected_with_labels": self.search_score,
            "median": self.median,
            "quartiles": list(self.quartiles),
            "seeds": [trial.config.seed for trial in self.trials],
            "mig": list(self.scores),
            "mig_exact": list(self.exact_scores),
            "failed": self.num_failed,
        }


def confirmed(trials: Sequence[Trial], confirming: Sequence[Trial]) -> list[Confirmed]:
    """Each configuration of which a new seed has run to its end, the highest median first.

    Args:
        trials: Of the search.
        confirming: Of its confirmation.
    """
    groups: dict[TrialConfig, list[Trial]] = {}
    for trial in confirming:
        groups.setdefault(trial.setting, []).append(trial)
    found = []
    for config, group in groups.items():
        finished = [trial for trial in group if trial.status == "finished"]
        if finished:
            best_in_search = max((trial.score for trial in trials if trial.setting == config), default=None)
            by_score = sorted(finished, key=lambda trial: trial.last_score, reverse=True)
            num_failed = sum(trial.status == "failed" for trial in group)
            found.append(Confirmed(config, tuple(by_score), best_in_search, num_failed))
    return sorted(found, key=lambda one: one.median, reverse=True)


def exact_scores(trials: Sequence[Trial]) -> tuple[float | None, ...]:
    """`mig_exact` of each trial, where it has been taken of the last step."""
    return tuple(exact_score(trial.final_checkpoint) for trial in trials)


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
    """About how many seeds of each would tell their means apart, if those differ as seen: at 5 %, with a power of 80 %.

    None if there is no telling: fewer than two seeds of one, or means that do not differ the way the medians do.

    Source:
        The normal approximation for two groups: n = 2 ((1.96 + 0.84) s / d)^2.
    """
    if min(len(scores), len(others)) < 2:
        return None
    difference = float(np.mean(scores) - np.mean(others))
    variance = (np.var(scores, ddof=1) + np.var(others, ddof=1)) / 2
    agrees = difference * float(np.median(scores) - np.median(others)) > 0
    return None if not agrees else max(2, math.ceil(2 * (_LEVEL + _POWER) ** 2 * variance / difference**2))
