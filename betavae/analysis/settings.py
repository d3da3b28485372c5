"""Trials that differ in nothing but the seed, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from betavae.analysis.results import Trial, ranked
from betavae.config import TrialConfig

_NOT_SHOWN = ("seed", "eval_every", "precision", "compile")
"""Fields that say how a trial ran, not what it tried."""


@dataclass(frozen=True)
class Setting:
    """One configuration, and its trials that have a score.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        trials: One or more, the highest `mig` first.
    """

    config: TrialConfig
    trials: tuple[Trial, ...]

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """`mig` of each trial at its best, the highest first."""
        return tuple(trial.score for trial in self.trials)

    @property
    def num_seeds(self) -> int:
        """How many trials have a score."""
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


def settings_of(trials: Sequence[Trial]) -> list[Setting]:
    """Group the trials with a score by what they tried; the highest median `mig` first."""
    groups: dict[TrialConfig, list[Trial]] = {}
    for trial in ranked(trials):
        groups.setdefault(replace(trial.config, seed=0), []).append(trial)
    settings = [Setting(config, tuple(group)) for config, group in groups.items()]
    return sorted(settings, key=lambda setting: setting.median, reverse=True)


def share_of_wins(scores: Sequence[float], others: Sequence[float]) -> float:
    """Share of all pairs, one of each side, in which the first is the higher; an equal pair counts one half."""
    difference = np.subtract.outer(np.array(scores), np.array(others))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def varied_fields(trials: Sequence[Trial]) -> tuple[str, ...]:
    """What the sweep varied: fields of TrialConfig that differ between trials, without the seed."""
    names = [field.name for field in fields(TrialConfig) if field.name not in _NOT_SHOWN]
    return tuple(name for name in names if len({getattr(trial.config, name) for trial in trials}) > 1)
