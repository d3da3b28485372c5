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
        """The ranking score of each trial; the highest first."""

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each trial, in the order of `scores`."""
        return tuple(trial.config.seed for trial in self.trials)

    @property
    def num_seeds(self) -> int:
        """Number of trials."""
        return len(self.trials)

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

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores whose median and quartiles are shown: `best_scores`."""
        return self.best_scores

    @cached_property
    def best_scores(self) -> tuple[float, ...]:
        """The best ranking score of each trial, selected with labels; the highest first."""
        return tuple(trial.score for trial in self.trials)

    @property
    def merit(self) -> tuple[bool, float]:
        """What orders settings of one data set: `is_rated`, and the median by the rule, or else of the scores."""
        chosen = [trial.choice for trial in self.trials if trial.choice is not None]
        return self.is_rated, median_of(chosen) if chosen else self.median

    @property
    def is_rated(self) -> bool:
        """Whether the rule that chooses models has scored one of its models."""
        return any(trial.choice is not None for trial in self.trials)


def settings_of(trials: Sequence[Trial]) -> list[Setting]:
    """Group the trials of one data set that have a score by their configuration without its seed.

    The highest median comes first: of the scores by the rule that chooses models, if there is one, else of `scores`.
    Settings of which no trial is scored by the rule come last.
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
