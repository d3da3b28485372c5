"""Trials that differ in nothing but the seed, taken together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.records.trial import Trial, ranked

_MAX_SPLITS = 20_000

_NOT_SHOWN = ("seed", "eval_every", "precision", "compile")
"""Fields that say how a trial ran, not what it tried."""


@dataclass(frozen=True)
class Setting:
    """One configuration, and its trials that have a score.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        trials: One or more, the highest score first.
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
        """Return the median of `scores`."""
        return float(np.median(self.scores))

    @cached_property
    def quartiles(self) -> tuple[float, float]:
        """Return the first and the third quartile of `scores`."""
        low, high = np.quantile(self.scores, (0.25, 0.75))
        return float(low), float(high)


def settings_of(trials: Sequence[Trial]) -> list[Setting]:
    """Group the trials with a score by what they tried; the highest median `mig` first."""
    groups: dict[TrialConfig, list[Trial]] = {}
    for trial in ranked(trials):
        groups.setdefault(trial.setting, []).append(trial)
    settings = [Setting(config, tuple(group)) for config, group in groups.items()]
    return sorted(settings, key=lambda setting: setting.median, reverse=True)


def setting_values(config: TrialConfig) -> dict[str, Any]:
    """A setting as plain values: all fields but the seed."""
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def share_of_wins(scores: Sequence[float], others: Sequence[float]) -> float:
    """Share of all pairs, one of each side, in which the first is the higher; an equal pair counts one half."""
    difference = np.subtract.outer(np.array(scores), np.array(others))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def permutation_p(scores: Sequence[float], others: Sequence[float]) -> float:
    """How often two groups of these sizes, drawn at random from all the scores, are as far apart: two-sided p.

    Every split is counted where there are at most 20,000, else 20,000 random ones. What is compared is
    `share_of_wins`, so that this is the permutation form of the Mann-Whitney test.
    """
    together, size = np.array([*scores, *others]), len(scores)
    apart = abs(share_of_wins(scores, others) - 0.5)
    if math.comb(len(together), size) <= _MAX_SPLITS:
        splits = [list(split) for split in itertools.combinations(range(len(together)), size)]
    else:
        generator = np.random.default_rng(0)
        splits = [generator.permutation(len(together))[:size].tolist() for _ in range(_MAX_SPLITS)]
        splits.append(list(range(size)))  # the split that was seen is one of them: without it p could be 0
    shares = [share_of_wins(together[split].tolist(), np.delete(together, split).tolist()) for split in splits]
    return float(np.mean(np.abs(np.array(shares) - 0.5) >= apart - 1e-12))


def varied_fields(trials: Sequence[Trial]) -> tuple[str, ...]:
    """What the sweep varied: fields of TrialConfig that differ between trials, without the seed."""
    names = [field.name for field in fields(TrialConfig) if field.name not in _NOT_SHOWN]
    return tuple(name for name in names if len({getattr(trial.config, name) for trial in trials}) > 1)
