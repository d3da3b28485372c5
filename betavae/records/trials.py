"""Read a sweep's folder: what was asked for, the trials, what they reported, and their checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from betavae.config import TrialConfig
from betavae.files import parse_json
from betavae.records.checkpoint import SCORES_FILE, CheckpointError, History, read_history, read_scores
from betavae.records.sweep_record import read_record_and_problems

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
        problems: Which of its files are damaged, and what stands in for them: a sentence each.
    """

    trial_id: str
    folder: Path
    config: TrialConfig
    reports: tuple[Report, ...]
    error: str | None = None
    was_stopped: bool = False
    problems: tuple[str, ...] = ()

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
        unreadable: Which files are damaged, and what follows from that: a sentence each.
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


@dataclass(frozen=True)
class Trials:
    """The trials below a sweep's `search` or `confirm` folder.

    Attributes:
        read: Those that have started and can be read, by identifier.
        unreadable: The others: identifier -> why, in a sentence.
    """

    read: list[Trial]
    unreadable: dict[str, str]


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder: one that has ended, runs still or was killed, here or a copy of it.

    Raises:
        ValueError: If it is no sweep's, or its record is damaged.
    """
    record, problems = read_record_and_problems(folder)
    search, confirming = (read_trials(folder / stage, record) for stage in (SEARCH_FOLDER, CONFIRM_FOLDER))
    for trials in (search, confirming):
        problems += [problem for trial in trials.read for problem in trial.problems]
        problems += trials.unreadable.values()
    return Sweep(folder, record, tuple(search.read), tuple(confirming.read), tuple(problems))


def read_trials(folder: Path, record: Mapping[str, Any] | None = None) -> Trials:
    """Read every trial below a sweep's `search` or `confirm` folder.

    Args:
        folder: The stage's.
        record: The sweep's; it says what precision was asked for where a trial's own file no longer does.

    Raises:
        OSError: If the folder is there and cannot be listed.
    """
    trials, unreadable = [], {}
    paths = sorted(folder.iterdir()) if folder.exists() else []  # glob would pass over a folder that it cannot read
    for path in [path for path in paths if path.name.startswith("trial_")]:
        try:
            if not holds_something(path):
                continue
            trials.append(read_trial(path, record))
        except (ValueError, OSError) as error:
            unreadable[_identifier(path)] = f"Trial {folder_in_sweep(path)} could not be read: {error}"
    return Trials(trials, unreadable)


def read_trial(folder: Path, record: Mapping[str, Any] | None = None) -> Trial:
    """Read one trial's folder; what is damaged there is taken from its latest checkpoint.

    Args:
        folder: The trial's.
        record: As `read_trials`.

    Raises:
        ValueError: If what it trains cannot be told, or its checkpoint was trained with other values.
        OSError: If a file cannot be read.
    """
    history = _latest_history(folder)
    config, problems = _read_config(folder, history, record or {})
    reports, more_problems = _read_reports(folder, history)
    return Trial(
        trial_id=_identifier(folder),
        folder=folder,
        config=config,
        reports=reports,
        error=_read_error(folder / ERROR_FILE),
        was_stopped=(folder / OUTCOME_FILE).exists(),  # written for no other reason, so that its content cannot matter
        problems=(*problems, *more_problems),
    )


def report_of_line(line: str) -> Report | None:
    """Parse a line of `result.json`; return None if it is no report, such as one that is being written."""
    try:
        report = parse_json(line)
    except ValueError:
        return None
    if not isinstance(report, dict) or not all(map(_is_number, report.values())):
        return None
    step = report.get("step")
    return report if isinstance(step, int) and step > 0 and "mig" in report else None


def differing_fields(planned: TrialConfig, trained: TrialConfig) -> list[str]:
    """Name the fields in which a checkpoint's config is not the one that was planned.

    A planned precision of `auto` is decided when training starts, and so agrees with any.
    """
    names = [field.name for field in fields(TrialConfig)]
    if planned.precision == "auto":
        names.remove("precision")
    return [name for name in names if getattr(planned, name) != getattr(trained, name)]


def describe_fields(config: TrialConfig, names: Sequence[str]) -> str:
    """Write some fields of a config with their values, for a message."""
    return " and ".join(f"{name} {getattr(config, name)}" for name in names)


def _read_config(
    folder: Path, history: History | None, record: Mapping[str, Any]
) -> tuple[TrialConfig, tuple[str, ...]]:
    """Read what the trial trains, or else take it from its latest checkpoint."""
    try:
        config = TrialConfig.read(folder / PARAMS_FILE)
    except (ValueError, FileNotFoundError) as error:
        damage = f"its {PARAMS_FILE} is missing" if isinstance(error, FileNotFoundError) else str(error).rstrip(".")
        if history is None:
            raise ValueError(
                f"{damage}; no checkpoint tells what it trained either. Delete {folder} to have it trained anew."
            ) from error
        asked = record.get("options", {}).get("trial", {}).get("precision", history.config.precision)
        return replace(history.config, precision=asked), (
            f"Trial {folder_in_sweep(folder)}: {damage}; its values are taken from its latest checkpoint.",
        )
    if history is not None and (names := differing_fields(config, history.config)):
        raise ValueError(
            f"its {PARAMS_FILE} says {describe_fields(config, names)}, but its checkpoint was trained with "
            f"{describe_fields(history.config, names)}. Write into {PARAMS_FILE} what was trained, or delete {folder} "
            "to have it trained anew."
        )
    return config, ()


def _read_reports(folder: Path, history: History | None) -> tuple[tuple[Report, ...], tuple[str, ...]]:
    """Read what was reported: as the latest checkpoint has it, and what came after that."""
    path = folder / RESULT_FILE
    lines = path.read_text(errors="replace").split("\n")[:-1] if path.is_file() else []  # the last is being written
    parsed = [report_of_line(line) for line in lines]
    checked = () if history is None else history.reports
    last_step = checked[-1]["step"] if checked else 0
    later = [report for report in parsed if report is not None and report["step"] > last_step]
    reports = (*checked, *_rising(later))
    if parsed == list(reports[: len(parsed)]) and len(reports) - len(parsed) <= 1:  # a checkpoint precedes its line
        return reports, ()
    damage = f"Trial {folder_in_sweep(folder)}: {path} is damaged"
    if history is None:
        return reports, (f"{damage}, and no checkpoint holds its reports; {len(reports)} could be read.",)
    return reports, (f"{damage}; {len(checked)} reports are restored from its latest checkpoint.",)


def _rising(reports: Sequence[Report]) -> list[Report]:
    """Leave out reports that do not come after all before them."""
    rising: list[Report] = []
    for report in reports:
        if not rising or report["step"] > rising[-1]["step"]:
            rising.append(report)
    return rising


def _latest_history(folder: Path) -> History | None:
    for checkpoint in sorted(folder.glob("checkpoint_*"), reverse=True):
        try:
            return read_history(checkpoint)
        except CheckpointError:  # damaged, or deleted meanwhile by the trial itself
            continue
    return None


def _read_error(path: Path) -> str | None:
    """Read the last line of a trial's error; None if it has not failed."""
    if not path.exists():
        return None
    text = path.read_text(errors="replace").rstrip()
    return text.rpartition("\n")[2] or f"{path.name} is empty."


def holds_something(folder: Path) -> bool:
    """Whether a trial's folder holds more than the driver leaves that ends before it writes what is to be trained.

    Raises:
        OSError: If it cannot be read.
    """
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


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


def _identifier(folder: Path) -> str:
    return folder.name.removeprefix("trial_")


def folder_in_sweep(folder: Path) -> str:
    """Return how messages name a trial's folder: its stage and its identifier."""
    return f"{folder.parent.name}/{_identifier(folder)}"


def _read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Those that are whole: one may be damaged, or deleted by the sweep meanwhile."""
    checkpoints = []
    for path in folder.glob(f"checkpoint_*/{SCORES_FILE}"):
        try:
            checkpoints.append(Checkpoint(path.parent, read_scores(path.parent)))
        except CheckpointError:
            continue
    return checkpoints
