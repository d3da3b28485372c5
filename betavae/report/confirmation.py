"""The search's best configurations, trained again with seeds that took no part in the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from betavae.config import TrialConfig
from betavae.metrics import METRICS
from betavae.records.trial import Trial
from betavae.report.choice import labels_of_ranking
from betavae.report.settings import SeedGroup, Setting, median_of, setting_values, settings_of


@dataclass(frozen=True)
class Confirmed(SeedGroup):
    """One configuration and its new seeds: the trials that ran to their end.

    Attributes:
        score: The name of the score of `final_scores`.
        search_score: The median of its scores in the search: at the end of training if models are chosen by this score,
            else the highest during training. None if the search's trials of it cannot be read.
        num_failed: Number of new seeds that failed.
    """

    score: str
    search_score: float | None
    num_failed: int

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores whose median and quartiles are shown: `final_scores`."""
        return self.final_scores

    @cached_property
    def final_scores(self) -> tuple[float, ...]:
        """The score of each new seed at the end of its training, selected by nobody; the highest first."""
        return tuple(score for trial in self.trials if (score := trial.final_score(self.score)) is not None)

    @cached_property
    def other_scores(self) -> Mapping[str, tuple[float | None, ...]]:
        """By name, other scores in the order of `final_scores`; None where one has not been taken."""
        names = other_metrics(self.score, rank_by=self.trials[0].rank_by)
        return {name: tuple(trial.final_score(name) for trial in self.trials) for name in names}

    def other_median(self, name: str) -> float | None:
        """Return the median of another score; None if it has not been taken of every seed."""
        scores = [score for score in self.other_scores[name] if score is not None]
        return median_of(scores) if len(scores) == self.num_seeds else None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values; each list is in the order of `final_scores`."""
        labels = labels_of_ranking(self.score).replace(" ", "_")
        return {
            "config": setting_values(self.config),
            "score": self.score,
            f"search_score_selected_{labels}": self.search_score,
            "median": self.median,
            "quartiles": list(self.quartiles),
            "seeds": list(self.seeds),
            self.score: list(self.final_scores),
            **{name: list(scores) for name, scores in self.other_scores.items()},
            "failed": self.num_failed,
        }


def confirmed(trials: Sequence[Trial], confirming: Sequence[Trial], *, score: str | None = None) -> list[Confirmed]:
    """Return each configuration of which a new seed has run to its end, the highest median first.

    Args:
        trials: Of the search.
        confirming: Of its confirmation.
        score: The name of the score that is compared; the ranking score if None. A new seed without it is left out.
    """
    groups: dict[TrialConfig, list[Trial]] = {}
    for trial in confirming:
        groups.setdefault(trial.setting, []).append(trial)
    confirmations = []
    for config, group in groups.items():
        name = score or group[0].rank_by
        finished = [(trial, trial.final_score(name)) for trial in group if trial.status == "finished"]
        scored = [(trial, value) for trial, value in finished if value is not None]
        if scored:
            by_score = [trial for trial, _ in sorted(scored, key=lambda pair: pair[1], reverse=True)]
            in_search = next((setting for setting in settings_of(trials) if setting.config == config), None)
            num_failed = sum(trial.status == "failed" for trial in group)
            confirmations.append(
                Confirmed(
                    config, tuple(by_score), name, _search_score(in_search, is_final=score is not None), num_failed
                )
            )
    return sorted(confirmations, key=lambda confirmation: confirmation.median, reverse=True)


def _search_score(setting: Setting | None, *, is_final: bool) -> float | None:
    if setting is None or (is_final and not setting.is_rated):
        return None
    return setting.median if is_final else median_of(setting.best_scores)


def other_metrics(score: str, *, rank_by: str) -> list[str]:
    """Return the names of the scores beside a compared one: the ranking score, and those that are taken on request."""
    return [name for name in (rank_by, *requested_metrics(rank_by)) if name != score]


def requested_metrics(rank_by: str) -> list[str]:
    """Return the names of the metrics that are taken on request, such as `mig_exact`, without the ranking score."""
    return [name for name, metric in METRICS.items() if not metric.is_live and name != rank_by]
