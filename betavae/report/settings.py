"""Trials that differ in nothing but the seed, taken together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.records.trial import Trial, ranked


@dataclass(frozen=True)
class SeedGroup(ABC):
    """One configuration, and its trials with different seeds.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        trials: One or more, the highest score first.
    """

    config: TrialConfig
    trials: tuple[Trial, ...]

    @property
    @abstractmethod
    def scores(self) -> tuple[float, ...]:
        """The score of each trial by which groups are compared; the highest first."""

    @property
    def counted(self) -> tuple[Trial, ...]:
        """The trials of `scores`, in their order."""
        return self.trials

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each trial of `counted`."""
        return tuple(trial.config.seed for trial in self.counted)

    @property
    def num_seeds(self) -> int:
        """Number of trials of `counted`."""
        return len(self.counted)

    @property
    def median(self) -> float:
        """The median of `scores`."""
        return median_of(self.scores)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of `scores`."""
        return quartiles_of(self.scores)


class Setting(SeedGroup):
    """One configuration of the search, and its trials that have a score."""

    @cached_property
    def counted(self) -> tuple[Trial, ...]:
        """The trials whose models the rule that chooses models has scored; all, if it has scored none."""
        return tuple(trial for trial in self.trials if trial.choice is not None) or self.trials

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """The score of each counted trial by the rule that chooses models; if it has scored none, `best_scores`."""
        rated = tuple(trial.choice for trial in self.counted if trial.choice is not None)
        return rated or self.best_scores

    @cached_property
    def best_scores(self) -> tuple[float, ...]:
        """The best ranking score of each trial, in the order of `trials`."""
        return tuple(trial.score for trial in self.trials)

    @property
    def merit(self) -> tuple[bool, float]:
        """What orders settings of one data set: `is_rated`, and the median."""
        return self.is_rated, self.median

    @property
    def is_rated(self) -> bool:
        """Whether the rule that chooses models has scored one of its models."""
        return self.counted[0].choice is not None


def settings_of(trials: Sequence[Trial]) -> list[Setting]:
    """Group the trials of one data set that have a score by their configuration without its seed.

    The highest median of `scores` comes first. Settings of which the rule that chooses models has scored none come
    last.
    """
    settings = [Setting(config, tuple(group.values())) for config, group in by_setting(ranked(trials)).items()]
    return sorted(settings, key=lambda setting: setting.merit, reverse=True)


def by_setting(trials: Iterable[Trial]) -> dict[TrialConfig, dict[int, Trial]]:
    """Return trials by their configuration without its seed, and by seed: of trials with the same seed, the first."""
    groups: dict[TrialConfig, dict[int, Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.setting, {}).setdefault(trial.config.seed, trial)
    return groups


def setting_values(config: TrialConfig) -> dict[str, Any]:
    """Return a setting as plain values: all parameters but the seed."""
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def median_of(scores: Sequence[float]) -> float:
    """Return the median of one score or more."""
    return float(np.median(scores))


def quartiles_of(scores: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile of one score or more, interpolated linearly."""
    low, high = np.quantile(scores, (0.25, 0.75))
    return float(low), float(high)
