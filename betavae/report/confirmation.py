"""The search's best configurations, trained again with seeds that took no part in the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from betavae.config import TrialConfig
from betavae.metrics import METRICS
from betavae.records.trial import Trial
from betavae.report.settings import SeedGroup, median_of, setting_values, settings_of


@dataclass(frozen=True)
class Confirmed(SeedGroup):
    """One configuration and its new seeds: the trials that ran to their end.

    Attributes:
        search_score: The highest ranking score that the search saw of it: selected with labels. None if the search's
            trials of it cannot be read.
        num_failed: Number of new seeds that failed.
    """

    search_score: float | None
    num_failed: int

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores whose median and quartiles are shown: `final_scores`."""
        return self.final_scores

    @cached_property
    def final_scores(self) -> tuple[float, ...]:
        """The ranking score of each new seed at the end of its training, selected by nobody; the highest first."""
        return tuple(trial.last_score for trial in self.trials)

    @cached_property
    def requested_scores(self) -> Mapping[str, tuple[float | None, ...]]:
        """By name, the scores on request in the order of `final_scores`; None where one has not been taken."""
        return {name: final_values(self.trials, name) for name in requested_metrics(self.trials[0].rank_by)}

    def requested_median(self, name: str) -> float | None:
        """Return the median of a score on request; None if it has not been taken of every seed."""
        scores = [score for score in self.requested_scores[name] if score is not None]
        return median_of(scores) if len(scores) == self.num_seeds else None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values; each list is in the order of `final_scores`."""
        return {
            "config": setting_values(self.config),
            "search_score_selected_with_labels": self.search_score,
            "median": self.median,
            "quartiles": list(self.quartiles),
            "seeds": list(self.seeds),
            self.trials[0].rank_by: list(self.final_scores),
            **{name: list(scores) for name, scores in self.requested_scores.items()},
            "failed": self.num_failed,
        }


def confirmed(trials: Sequence[Trial], confirming: Sequence[Trial]) -> list[Confirmed]:
    """Return each configuration of which a new seed has run to its end, the highest median first.

    Args:
        trials: Of the search.
        confirming: Of its confirmation.
    """
    groups: dict[TrialConfig, list[Trial]] = {}
    for trial in confirming:
        groups.setdefault(trial.setting, []).append(trial)
    confirmations = []
    for config, group in groups.items():
        finished = [trial for trial in group if trial.status == "finished"]
        if finished:
            in_search = [setting.median for setting in settings_of(trials) if setting.config == config]
            by_score = sorted(finished, key=lambda trial: trial.last_score, reverse=True)
            num_failed = sum(trial.status == "failed" for trial in group)
            confirmations.append(Confirmed(config, tuple(by_score), next(iter(in_search), None), num_failed))
    return sorted(confirmations, key=lambda confirmation: confirmation.median, reverse=True)


def requested_metrics(rank_by: str) -> list[str]:
    """Return the names of the metrics that are taken on request, such as `mig_exact`, without the ranking score."""
    return [name for name, metric in METRICS.items() if not metric.is_live and name != rank_by]


def final_values(trials: Sequence[Trial], name: str) -> tuple[float | None, ...]:
    """Return a score of each trial's final checkpoint; None where it has not been taken."""
    checkpoints = [trial.final_checkpoint for trial in trials]
    return tuple(known.scores[name].value if known and name in known.scores else None for known in checkpoints)
