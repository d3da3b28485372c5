"""Read a sweep's folder: what was asked for, the trials, what they reported, and their checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from betavae.checkpoint import SCORES_FILE, CheckpointError, read_scores
from betavae.config import TrialConfig

SWEEP_FILE = "sweep.json"
"""What was asked for, with what, when; how it ended is added last."""

SEARCH_FOLDER = "search"
"""The search's trials, below the sweep's folder."""

CONFIRM_FOLDER = "confirm"
"""The trials that confirm the search's best with new seeds, beside it."""

PARAMS_FILE = "params.json"
RESULT_FILE = "result.json"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"

Report = dict[str, Any]

Status = Literal["finished", "stopped", "failed", "unfinished"]
"""`finished`: ran to its planned end; `stopped`: by the scheduler; `unfinished`: runs still, or was cut."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, and the content of its `scores.json`."""

    folder: Path
    scores: dict[str, Any]

    @property
    def score(self) -> float:
        """Its `mig`."""
        return float(self.scores["mig"]["score"])


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep, as its folder tells it.

    Attributes:
        trial_id: Its name in the sweep.
        folder: Where it is.
        config: What it trains.
        reports: What it reported, in order.
        error: The last line of its error, if it failed.
        was_stopped: Whether the scheduler stopped it.
    """

    trial_id: str
    folder: Path
    config: TrialConfig
    reports: tuple[Report, ...]
    error: str | None = None
    was_stopped: bool = False

    @property
    def setting(self) -> TrialConfig:
        """What it tries: its configuration with seed 0, whatever its own."""
        return replace(self.config, seed=0)

    @property
    def best(self) -> Report | None:
        """The report with the highest `mig`; None before the first."""
        return max(self.reports, key=lambda report: report["mig"], default=None)

    @property
    def score(self) -> float:
        """Its highest `mig`, which was selected with labels; 0 before the first report."""
        return self.best["mig"] if self.best else 0.0

    @property
    def last_score(self) -> float:
        """The `mig` of its last report, which nobody selected; 0 before the first."""
        return float(self.reports[-1]["mig"]) if self.reports else 0.0

    @cached_property
    def best_checkpoint(self) -> Checkpoint | None:
        """The one of the highest `mig`, of those whose scores can be read; None without one. Read once."""
        return max(_read_checkpoints(self.folder), key=lambda checkpoint: checkpoint.score, default=None)

    @cached_property
    def final_checkpoint(self) -> Checkpoint | None:
        """The one of its last report, if its scores can be read. Read once."""
        checkpoints = _read_checkpoints(self.folder)
        return next((checkpoint for checkpoint in checkpoints if checkpoint.scores["step"] == self.step), None)

    @property
    def step(self) -> int:
        """Steps at its last report."""
        return self.reports[-1]["step"] if self.reports else 0

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its planned end."""
        return self.step >= self.config.steps

    @property
    def status(self) -> Status:
        """How it ended, if it has."""
        if self.error is not None:
            return "failed"
        if self.is_complete:
            return "finished"
        return "stopped" if self.was_stopped else "unfinished"


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, read.

    Attributes:
        folder: Where it is.
        record: The content of `sweep.json`.
        trials: Of the search, those that have started and can be read.
        confirming: The same of its confirmation.
        unreadable: What could not be read, and why: a sentence each.
    """

    folder: Path
    record: dict[str, Any]
    trials: tuple[Trial, ...]
    confirming: tuple[Trial, ...]
    unreadable: tuple[str, ...]

    @property
    def has_ended(self) -> bool:
        """Whether it ran to its end, its confirmation too if it has one; else it runs still, or was cut."""
        outcome = self.record.get("outcome", {})
        return bool(outcome.get(SEARCH_FOLDER) == "done" and outcome.get(CONFIRM_FOLDER, "done") == "done")


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder: one that has ended, runs still or was killed, here or a copy of it.

    Raises:
        ValueError: If it is no sweep's.
    """
    record = read_record(folder)
    trials, unreadable = _read_all(folder / SEARCH_FOLDER)
    confirming, unreadable_too = _read_all(folder / CONFIRM_FOLDER)
    return Sweep(folder, record, tuple(trials), tuple(confirming), (*unreadable, *unreadable_too))


def read_record(folder: Path) -> dict[str, Any]:
    """Read a sweep's `sweep.json` alone, without its trials.

    Raises:
        ValueError: If the folder is no sweep's.
    """
    path = folder / SWEEP_FILE
    if not path.is_file():
        raise ValueError(f"{folder} must be a sweep's folder, but has no {SWEEP_FILE}; give one that run.py made.")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, but is damaged: {error}.") from error
    return record


def read_trials(folder: Path) -> list[Trial]:
    """Read every trial below a sweep's `search` or `confirm` folder; those that have started, by identifier."""
    return _read_all(folder)[0]


def read_reports(path: Path) -> tuple[Report, ...]:
    """A report per line; the last one, without its end, is being written. None where there is no file yet."""
    if not path.is_file():
        return ()
    whole_lines = path.read_text().split("\n")[:-1]
    return tuple(map(json.loads, whole_lines))


def name_in_sweep(trial: Trial) -> str:
    """Its identifier; that of one which confirms, with the folder."""
    stage = trial.folder.parent.name
    return trial.trial_id if stage == SEARCH_FOLDER else f"{stage}/{trial.trial_id}"


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with a score, the highest `mig` first."""
    return sorted((trial for trial in trials if trial.reports), key=lambda trial: trial.score, reverse=True)


def num_ended(trials: Sequence[Trial]) -> int:
    """How many trials have finished, were stopped or failed."""
    return sum(trial.status != "unfinished" for trial in trials)


def _read_all(folder: Path) -> tuple[list[Trial], list[str]]:
    trials, unreadable = [], []
    for params in sorted(folder.glob(f"trial_*/{PARAMS_FILE}")):
        try:
            trials.append(read_trial(params.parent))
        except (ValueError, OSError) as error:
            unreadable.append(f"Trial {folder.name}/{_identifier(params.parent)} could not be read: {error}")
    return trials, unreadable


def read_trial(folder: Path) -> Trial:
    """Read one trial's folder.

    Raises:
        ValueError: If a file is damaged.
        OSError: If it is no trial's.
    """
    error, outcome = folder / ERROR_FILE, folder / OUTCOME_FILE
    return Trial(
        trial_id=_identifier(folder),
        folder=folder,
        config=TrialConfig.read(folder / PARAMS_FILE),
        reports=read_reports(folder / RESULT_FILE),
        error=error.read_text().rstrip().rpartition("\n")[2] if error.exists() else None,
        was_stopped=outcome.exists() and json.loads(outcome.read_text())["status"] == "stopped",
    )


def _identifier(folder: Path) -> str:
    return folder.name.removeprefix("trial_")


def _read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Those that are whole: one may be damaged, or deleted by the sweep meanwhile."""
    checkpoints = []
    for path in folder.glob(f"checkpoint_*/{SCORES_FILE}"):
        try:
            checkpoints.append(Checkpoint(path.parent, read_scores(path.parent)))
        except CheckpointError:
            continue
    return checkpoints
