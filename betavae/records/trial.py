"""Read a trial's folder: what it trains, what it reported, its checkpoints, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.files import parse_json, read_json
from betavae.metrics import Score, Scores
from betavae.records.checkpoint import SCORES_FILE, CheckpointError, History, read_history, read_scores

PARAMS_FILE = "params.json"
RESULT_FILE = "result.json"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"
FAILURE_FILE = "failure.json"

RANK_BY = "mig"
"""The score that ranks trials where a sweep names no other."""

Report = dict[str, Any]

Status = Literal["finished", "stopped", "failed", "unfinished"]
"""`finished`: ran to its planned end; `stopped`: by the scheduler; `unfinished`: runs still, or was cut."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, and its scores."""

    folder: Path
    scores: Scores


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep, as its folder tells it.

    Attributes:
        trial_id: Its name in the sweep: its number in four digits.
        index: Its number.
        folder: Where it is.
        config: What it trains.
        reports: What it reported, in order.
        rank_by: The reported score that ranks it; the higher the better.
        error: The last line of its error, if it failed.
        would_recur: Whether another try would fail in the same way.
        was_stopped: Whether a stopping rule stopped it.
        problems: Which of its files are damaged, and what stands in for them: a sentence each.
        unkept: Scores that its checkpoints could not keep, by checkpoint folder and name: they count as kept.
    """

    trial_id: str
    index: int
    folder: Path
    config: TrialConfig
    reports: tuple[Report, ...]
    rank_by: str = RANK_BY
    error: str | None = None
    would_recur: bool = False
    was_stopped: bool = False
    problems: tuple[str, ...] = ()
    unkept: Mapping[Path, Mapping[str, Score]] = field(default_factory=dict)

    @property
    def setting(self) -> TrialConfig:
        """Its configuration with seed 0, whatever its own seed: equal for trials that differ in nothing else."""
        return replace(self.config, seed=0)

    @property
    def best(self) -> Report | None:
        """The report of the highest score; None before the first."""
        return max(self.reports, key=lambda report: report[self.rank_by], default=None)

    @property
    def score(self) -> float:
        """Its highest score, which was selected with labels; 0 before the first report."""
        return float(self.best[self.rank_by]) if self.best else 0.0

    @property
    def last_score(self) -> float:
        """The score of its last report, which nobody selected; 0 before the first."""
        return float(self.reports[-1][self.rank_by]) if self.reports else 0.0

    @cached_property
    def best_checkpoint(self) -> Checkpoint | None:
        """The checkpoint of the highest score, of those whose scores can be read; None without one. Read once."""
        checkpoints = [known for known in self._read_checkpoints() if self.rank_by in known.scores]
        return max(checkpoints, key=lambda checkpoint: checkpoint.scores[self.rank_by].value, default=None)

    @cached_property
    def final_checkpoint(self) -> Checkpoint | None:
        """The checkpoint of its last report, if its scores can be read. Read once."""
        checkpoints = self._read_checkpoints()
        return next((checkpoint for checkpoint in checkpoints if checkpoint.scores.step == self.step), None)

    def _read_checkpoints(self) -> list[Checkpoint]:
        """Read those that are whole: one may be damaged, or deleted by the sweep meanwhile."""
        checkpoints = []
        for path in self.folder.glob(f"checkpoint_*/{SCORES_FILE}"):
            try:
                scores = read_scores(path.parent).with_scores(self.unkept.get(path.parent, {}))
            except CheckpointError:
                continue
            checkpoints.append(Checkpoint(path.parent, scores))
        return checkpoints

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
class Trials:
    """The trials below a sweep's `search` or `confirm` folder.

    Attributes:
        read: Those that have started and can be read, by identifier.
        unreadable: The others: identifier -> why, in a sentence.
    """

    read: list[Trial]
    unreadable: dict[str, str]


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
        except (InputError, OSError) as error:
            unreadable[_identifier(path)] = f"Trial {folder_in_sweep(path)} could not be read: {error}"
    return Trials(trials, unreadable)


def read_trial(folder: Path, record: Mapping[str, Any] | None = None, *, rank_by: str | None = None) -> Trial:
    """Read one trial's folder; what is damaged there is taken from its latest checkpoint.

    Args:
        folder: The trial's.
        record: As `read_trials`.
        rank_by: The score that ranks it; the one that the record names if None.

    Raises:
        InputError: If no file tells what it trains, or its checkpoint was trained with other values.
        OSError: If a file cannot be read.
    """
    history, rank_by = _latest_history(folder), rank_by or rank_by_of(record or {})
    planned, problems = _read_planned(folder, history, record or {})
    reports, more_problems = _read_reports(folder, history, rank_by)
    return Trial(
        trial_id=_identifier(folder),
        index=planned.index,
        folder=folder,
        config=planned.config,
        reports=reports,
        rank_by=rank_by,
        error=_read_error(folder / ERROR_FILE),
        would_recur=_would_recur(folder / FAILURE_FILE),
        was_stopped=(folder / OUTCOME_FILE).exists(),  # written for no other reason, so that its content cannot matter
        problems=(*problems, *more_problems),
    )


def rank_by_of(record: Mapping[str, Any]) -> str:
    """Return the score that ranks a sweep's trials, as its record says."""
    return str(record.get("options", {}).get("search", {}).get("rank_by", RANK_BY))


@dataclass(frozen=True)
class PlannedTrial:
    """A trial before it starts: its number, and what it is to train."""

    index: int
    config: TrialConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `params.json`."""
        return {"index": self.index, **self.config.to_dict()}

    @classmethod
    def read(cls, path: Path) -> PlannedTrial:
        """Read a `params.json`.

        Raises:
            InputError: If it is damaged; the message names it.
            OSError: If it cannot be read.
        """
        values = read_json(path)
        index = values.pop("index", None) if isinstance(values, dict) else None
        if type(index) is not int or index < 0:
            raise InputError(f"{path} must hold a trial's number as index, but holds {index!r}.")
        return cls(index, TrialConfig.complete(values, path))


def report_of_line(line: str, rank_by: str = RANK_BY) -> Report | None:
    """Parse a line of `result.json`; return None if it is no report, such as one that is being written."""
    try:
        report = parse_json(line)
    except ValueError:
        return None
    if not isinstance(report, dict) or not all(map(_is_number, report.values())):
        return None
    step = report.get("step")
    return report if isinstance(step, int) and step > 0 and rank_by in report else None


def differing_fields(planned: TrialConfig, trained: TrialConfig) -> list[str]:
    """Name the fields in which a checkpoint's config is not the one that was planned.

    A planned precision of `auto` is decided when training starts, and so agrees with any.
    """
    names = dict.fromkeys((*planned.to_dict(), *trained.to_dict()))
    if planned.precision == "auto":
        del names["precision"]
    return [name for name in names if planned.value(name) != trained.value(name)]


def describe_fields(config: TrialConfig, names: Sequence[str]) -> str:
    """Write some fields of a config with their values, for a message."""
    return " and ".join(f"{name} {_shown(config.value(name))}" for name in names)


def _shown(value: object) -> object:
    return "of none" if value is None else value


def _read_planned(
    folder: Path, history: History | None, record: Mapping[str, Any]
) -> tuple[PlannedTrial, tuple[str, ...]]:
    """Read what the trial trains, or else take it from its latest checkpoint."""
    try:
        planned = PlannedTrial.read(folder / PARAMS_FILE)
    except (InputError, FileNotFoundError) as error:
        damage = f"its {PARAMS_FILE} is missing" if isinstance(error, FileNotFoundError) else str(error).rstrip(".")
        if history is None or not _identifier(folder).isdecimal():
            raise InputError(
                f"{damage}; no checkpoint tells what it trained either. Delete {folder} to have it trained anew."
            ) from error
        asked = record.get("options", {}).get("space", {}).get("precision", [history.config.precision])[0]
        config = replace(history.config, precision=asked)
        return PlannedTrial(int(_identifier(folder)), config), (
            f"Trial {folder_in_sweep(folder)}: {damage}; its values are taken from its latest checkpoint.",
        )
    if history is not None and (names := differing_fields(planned.config, history.config)):
        raise InputError(
            f"its {PARAMS_FILE} says {describe_fields(planned.config, names)}, but its checkpoint was trained with "
            f"{describe_fields(history.config, names)}. Write into {PARAMS_FILE} what was trained, or delete {folder} "
            "to have it trained anew."
        )
    return planned, ()


def _read_reports(folder: Path, history: History | None, rank_by: str) -> tuple[tuple[Report, ...], tuple[str, ...]]:
    """Read what was reported: as the latest checkpoint has it, and what came after that."""
    path = folder / RESULT_FILE
    lines = path.read_text(errors="replace").split("\n")[:-1] if path.is_file() else []  # the last is being written
    parsed = [report_of_line(line, rank_by) for line in lines]
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


def _would_recur(path: Path) -> bool:
    """Whether another try would fail in the same way; a file that is missing or damaged says no."""
    try:
        values = read_json(path)
    except (ValueError, FileNotFoundError):
        return False
    return isinstance(values, dict) and values.get("would_recur") is True


def holds_something(folder: Path) -> bool:
    """Whether a trial's folder holds more than the driver leaves that ends before it writes what is to be trained.

    Raises:
        OSError: If it cannot be read.
    """
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials with a score, the highest first."""
    return sorted((trial for trial in trials if trial.reports), key=lambda trial: trial.score, reverse=True)


def num_ended(trials: Sequence[Trial]) -> int:
    """How many trials have finished, were stopped or failed."""
    return sum(trial.status != "unfinished" for trial in trials)


def _identifier(folder: Path) -> str:
    return folder.name.removeprefix("trial_")


def folder_in_sweep(folder: Path) -> str:
    """Return how messages name a trial's folder: its stage and its identifier."""
    return f"{folder.parent.name}/{_identifier(folder)}"
