"""Read a sweep's folder: its record, and the trials of its search and of its confirmation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from betavae.data import DATASETS
from betavae.metrics import Score
from betavae.records.record import read_record_and_problems
from betavae.records.trial import Trial, by_dataset, rank_by_of, read_trials

SEARCH_FOLDER = "search"
"""The folder of the search's trials, in the sweep's folder."""

CONFIRM_FOLDER = "confirm"
"""The folder of the trials that confirm the search's best with new seeds, in the sweep's folder."""


@dataclass(frozen=True)
class Selection:
    """How the models of a sweep are chosen: by a rule that scores them at their end.

    Attributes:
        label: The rule's name in tables and figures.
        needs_factors: Whether the rule looks at factors.
        scores: The rule's score of each trial of the search, by identifier.
        score: The name of the score that the rule is; None for a rule that compares models with one another.
    """

    label: str
    needs_factors: bool
    scores: Mapping[str, float]
    score: str | None = None

    def rated(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return trials of the search with their score by the rule as their `choice`."""
        return [replace(trial, choice=self.scores.get(trial.trial_id)) for trial in trials]

    def restricted_to(self, trials: Iterable[Trial]) -> Selection:
        """Return this selection with the scores of these trials of the search alone."""
        names = {trial.trial_id for trial in trials}
        return replace(self, scores={name: score for name, score in self.scores.items() if name in names})


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep's folder.

    Attributes:
        folder: The sweep's folder.
        record: The content of `sweep.json`.
        trials: The trials of the search that have started and can be read.
        confirming: The trials of the confirmation that have started and can be read.
        unreadable: A sentence for each damaged file: which it is, and what follows.
        selection: How models are chosen; None if by their highest ranking score during training.
    """

    folder: Path
    record: dict[str, Any]
    trials: tuple[Trial, ...]
    confirming: tuple[Trial, ...]
    unreadable: tuple[str, ...]
    selection: Selection | None = None

    @property
    def select(self) -> str | None:
        """The name of the rule by which the sweep chose its models, as recorded; None for the highest ranking score."""
        return self._report_option("select")

    @property
    def udr_among(self) -> str | None:
        """The models among which the sweep compared models, as recorded; None if not given."""
        return self._report_option("udr_among")

    @property
    def udr_min_kl(self) -> float | None:
        """The KL that UDR's latents exceed, in nats, as recorded; None if not given."""
        with contextlib.suppress(TypeError, ValueError):
            return float(self._report_option("udr_min_kl") or "")
        return None

    def _report_option(self, name: str) -> str | None:
        value = self.record.get("options", {}).get("report", {}).get(name)
        return None if value is None else str(value)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """The names of its data sets: those of the record that are known here, then those of its trials."""
        recorded = [name for name in self.record.get("data", {}) if name in DATASETS]
        return tuple(dict.fromkeys([*recorded, *by_dataset([*self.trials, *self.confirming])]))

    def by_dataset(self) -> dict[str, Sweep]:
        """Return its parts by the name of the data set: in each, the trials of this data set alone.

        Scores of two data sets do not compare, so trials are ranked within a part. A data set of which no trial has
        started has a part without trials. A sweep of one data set is its own part.
        """
        names = self.dataset_names
        return {name: self if len(names) == 1 else self._of_dataset(name) for name in names}

    def _of_dataset(self, name: str) -> Sweep:
        trials, confirming = (tuple(by_dataset(stage).get(name, ())) for stage in (self.trials, self.confirming))
        selection = None if self.selection is None else self.selection.restricted_to(trials)
        if selection is not None and not selection.scores:
            selection = None  # no model of this data set has a score by the rule yet
        return replace(self, trials=trials, confirming=confirming, selection=selection)

    @property
    def rank_by(self) -> str:
        """The name of the score that ranks its trials."""
        return rank_by_of(self.record)

    @property
    def chosen_by_score(self) -> str | None:
        """The name of the score of final models that chooses models; None if the rule is another, or there is none."""
        return None if self.selection is None else self.selection.score

    @property
    def has_ended(self) -> bool:
        """Whether its search, and its confirmation if it has one, ran to the end; False if running or interrupted."""
        outcome = self.record.get("outcome", {})
        return bool(outcome.get(SEARCH_FOLDER) == "done" and outcome.get(CONFIRM_FOLDER, "done") == "done")

    def with_scores(self, scores: Mapping[Path, Mapping[str, Score]]) -> Sweep:
        """Return this sweep with scores that its folder could not keep, by checkpoint folder and name."""
        trials, confirming = (
            tuple(replace(trial, unkept=scores) for trial in stage) for stage in (self.trials, self.confirming)
        )
        return replace(self, trials=trials, confirming=confirming)

    def with_selection(self, selection: Selection | None) -> Sweep:
        """Return this sweep with the trials as a rule has scored them; None for no rule."""
        if selection is None:
            trials = tuple(replace(trial, choice=None) for trial in self.trials)
        else:
            trials = tuple(selection.rated(self.trials))
        return replace(self, trials=trials, selection=selection)


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder, or a copy of it, whether the sweep has ended, is running or was killed.

    Raises:
        InputError: If the folder is no sweep's, or its record is damaged or of another format.
    """
    record, problems = read_record_and_problems(folder)
    search, confirming = (read_trials(folder / stage, record) for stage in (SEARCH_FOLDER, CONFIRM_FOLDER))
    for trials in (search, confirming):
        problems += [problem for trial in trials.read for problem in trial.problems]
        problems += trials.unreadable.values()
    return Sweep(folder, record, tuple(search.read), tuple(confirming.read), tuple(problems))


def name_in_sweep(trial: Trial) -> str:
    """Return a trial's identifier, after the folder's name if it is not of the search."""
    stage = trial.folder.parent.name
    return trial.trial_id if stage == SEARCH_FOLDER else f"{stage}/{trial.trial_id}"
