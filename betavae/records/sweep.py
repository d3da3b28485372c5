"""Read a sweep's folder: what was asked for, and the trials of its search and of its confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from betavae.metrics import Score
from betavae.records.record import read_record_and_problems
from betavae.records.trial import Trial, rank_by_of, read_trials

SEARCH_FOLDER = "search"
"""The search's trials, below the sweep's folder."""

CONFIRM_FOLDER = "confirm"
"""The trials that confirm the search's best with new seeds, beside it."""


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, read.

    Attributes:
        folder: Where it is.
        record: The content of `sweep.json`.
        trials: Of the search, those that have started and can be read.
        confirming: The same of its confirmation.
        unreadable: Which files are damaged, and what follows from that: a sentence each.
    """

    folder: Path
    record: dict[str, Any]
    trials: tuple[Trial, ...]
    confirming: tuple[Trial, ...]
    unreadable: tuple[str, ...]

    @property
    def rank_by(self) -> str:
        """The score that ranks its trials."""
        return rank_by_of(self.record)

    @property
    def has_ended(self) -> bool:
        """Whether it ran to its end, its confirmation too if it has one; else it runs still, or was cut."""
        outcome = self.record.get("outcome", {})
        return bool(outcome.get(SEARCH_FOLDER) == "done" and outcome.get(CONFIRM_FOLDER, "done") == "done")

    def with_scores(self, scores: Mapping[Path, Mapping[str, Score]]) -> Sweep:
        """Return this sweep with scores that its folder could not keep, by checkpoint folder and name."""
        trials, confirming = (
            tuple(replace(trial, unkept=scores) for trial in stage) for stage in (self.trials, self.confirming)
        )
        return replace(self, trials=trials, confirming=confirming)


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder: one that has ended, runs still or was killed, here or a copy of it.

    Raises:
        InputError: If it is no sweep's, or its record is damaged or of another format.
    """
    record, problems = read_record_and_problems(folder)
    search, confirming = (read_trials(folder / stage, record) for stage in (SEARCH_FOLDER, CONFIRM_FOLDER))
    for trials in (search, confirming):
        problems += [problem for trial in trials.read for problem in trial.problems]
        problems += trials.unreadable.values()
    return Sweep(folder, record, tuple(search.read), tuple(confirming.read), tuple(problems))


def name_in_sweep(trial: Trial) -> str:
    """Its identifier; that of one which confirms, with the folder."""
    stage = trial.folder.parent.name
    return trial.trial_id if stage == SEARCH_FOLDER else f"{stage}/{trial.trial_id}"
