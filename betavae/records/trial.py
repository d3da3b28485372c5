"""Read a trial's folder: its plan, its reports, its checkpoints, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from betavae.config import Precision, TrialConfig
from betavae.errors import InputError
from betavae.files import parse_json, read_json
from betavae.metrics import Score, Scores
from betavae.records.checkpoint import CheckpointError, History, checkpoint_folders, read_history, read_scores

PARAMS_FILE = "params.json"
RESULT_FILE = "result.json"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"
FAILURE_FILE = "failure.json"

_PREFIX = "trial_"

RANK_BY = "mig"
"""The score that ranks trials, unless a sweep names another."""

Report = dict[str, Any]

TrialT = TypeVar("TrialT", "Trial", "PlannedTrial")

Status = Literal["finished", "stopped", "failed", "unfinished"]
"""`finished`: ran all its steps; `stopped`: by a stopping rule; `unfinished`: is running, or was interrupted."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder and scores."""

    folder: Path
    scores: Scores


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep, as read from its folder.

    Attributes:
        trial_id: The identifier in the sweep: the number in four digits.
        index: The number.
        folder: The trial's folder.
        config: The configuration.
        reports: The reports, in order.
        rank_by: The name of the reported score that ranks the trial; higher is better.
        error: The last line of the error, if the trial failed.
        would_recur: Whether another try would fail in the same way.
        was_stopped: Whether a stopping rule stopped the trial.
        problems: A sentence for each damaged file: which it is, and what replaces it.
        unkept: Scores that could not be written to the trial's checkpoints, by checkpoint folder and name.
        choice: The score of the final model by the rule that chooses models; None if it has none, or if models are
            chosen by `score`.
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
    choice: float | None = None

    @property
    def setting(self) -> TrialConfig:
        """The configuration with seed 0: equal for trials that differ in the seed alone."""
        return replace(self.config, seed=0)

    @property
    def best(self) -> Report | None:
        """The report with the highest score; None before the first report."""
        return max(self.reports, key=lambda report: report[self.rank_by], default=None)

    @property
    def score(self) -> float:
        """The highest score, which was selected with labels; 0 before the first report."""
        return float(self.best[self.rank_by]) if self.best else 0.0

    @property
    def last_score(self) -> float:
        """The score of the last report, which was not selected; 0 before the first report."""
        return float(self.reports[-1][self.rank_by]) if self.reports else 0.0

    @cached_property
    def best_checkpoint(self) -> Checkpoint | None:
        """The readable checkpoint with the highest score, read once; None if there is none."""
        checkpoints = [known for known in self._read_checkpoints() if self.rank_by in known.scores]
        return max(checkpoints, key=lambda checkpoint: checkpoint.scores[self.rank_by].value, default=None)

    @cached_property
    def final_checkpoint(self) -> Checkpoint | None:
        """The checkpoint of the last report, read once; None if it is missing or damaged."""
        checkpoints = self._read_checkpoints()
        return next((checkpoint for checkpoint in checkpoints if checkpoint.scores.step == self.step), None)

    def final_score(self, name: str) -> float | None:
        """Return a score of the final model, from the last report or its checkpoint; None if neither has it."""
        if self.reports and name in self.reports[-1]:
            return float(self.reports[-1][name])
        checkpoint = self.final_checkpoint
        return checkpoint.scores[name].value if checkpoint is not None and name in checkpoint.scores else None

    @property
    def chosen_report(self) -> Report | None:
        """The report of the model that stands for the trial; None before the first report."""
        return self.best if self.choice is None else self.reports[-1]

    @property
    def chosen_checkpoint(self) -> Checkpoint | None:
        """The checkpoint that stands for the trial: the final one if a rule has scored its model, else the best."""
        return self.best_checkpoint if self.choice is None else self.final_checkpoint

    def _read_checkpoints(self) -> list[Checkpoint]:
        """Return the readable checkpoints: one may be damaged, or deleted by the sweep meanwhile."""
        checkpoints = []
        for folder in checkpoint_folders(self.folder):
            try:
                scores = read_scores(folder).with_scores(self.unkept.get(folder, {}))
            except CheckpointError:
                continue
            checkpoints.append(Checkpoint(folder, scores))
        return checkpoints

    @property
    def step(self) -> int:
        """Number of steps at the last report."""
        return self.reports[-1]["step"] if self.reports else 0

    @property
    def is_complete(self) -> bool:
        """Whether the trial ran all its steps."""
        return self.step >= self.config.steps

    @property
    def status(self) -> Status:
        """How the trial ended, if it has."""
        if self.error is not None:
            return "failed"
        if self.is_complete:
            return "finished"
        return "stopped" if self.was_stopped else "unfinished"


@dataclass(frozen=True)
class Trials:
    """The trials below a sweep's `search` or `confirm` folder.

    Attributes:
        read: The trials that have started and can be read, in order of their identifiers.
        unreadable: A sentence for each trial that cannot be read, by identifier.
    """

    read: list[Trial]
    unreadable: dict[str, str]

    @property
    def unreadable_indices(self) -> set[int]:
        """The numbers of the trials that cannot be read. The copy of a trial's folder under another name has none."""
        return {int(name) for name in self.unreadable if name.isdecimal()}


def read_trials(folder: Path, record: Mapping[str, Any] | None = None) -> Trials:
    """Read every trial below a sweep's `search` or `confirm` folder.

    Args:
        folder: The `search` or `confirm` folder.
        record: The sweep's record. It gives the ranking score, and the planned precision of a trial whose plan is lost.

    Raises:
        OSError: If the folder exists and cannot be listed.
    """
    trials, unreadable = [], {}
    paths = sorted(folder.iterdir()) if folder.exists() else []  # glob would ignore a folder that it cannot read
    for path in [path for path in paths if path.name.startswith(_PREFIX)]:
        try:
            if not holds_something(path):
                continue
            trials.append(read_trial(path, record))
        except (InputError, OSError) as error:
            unreadable[identifier_of(path)] = f"Trial {folder_in_sweep(path)} could not be read: {error}"
    return Trials(trials, unreadable)


def read_trial(folder: Path, record: Mapping[str, Any] | None = None, *, rank_by: str | None = None) -> Trial:
    """Read a trial's folder; content of a damaged file is taken from the latest checkpoint.

    Args:
        folder: The trial's folder.
        record: The sweep's record, as for `read_trials`.
        rank_by: The name of the score that ranks the trial; that of the record if None.

    Raises:
        InputError: If no file holds the configuration, or the latest checkpoint was trained with another.
        OSError: If a file cannot be read.
    """
    history, rank_by = _latest_history(folder), rank_by or rank_by_of(record or {})
    planned, problems = _read_planned(folder, history, record or {})
    reports, more_problems = _read_reports(folder, history, rank_by)
    return Trial(
        trial_id=identifier_of(folder),
        index=planned.index,
        folder=folder,
        config=planned.config,
        reports=reports,
        rank_by=rank_by,
        error=_read_error(folder / ERROR_FILE),
        would_recur=_would_recur(folder / FAILURE_FILE),
        was_stopped=(folder / OUTCOME_FILE).exists(),  # a stopping rule alone writes it, so its content does not matter
        problems=(*problems, *more_problems),
    )


def rank_by_of(record: Mapping[str, Any]) -> str:
    """Return the name of the score that ranks a sweep's trials, from the sweep's record."""
    return str(record.get("options", {}).get("search", {}).get("rank_by", RANK_BY))


@dataclass(frozen=True)
class PlannedTrial:
    """A planned trial: its number and its configuration."""

    index: int
    config: TrialConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `params.json`."""
        return {"index": self.index, **self.config.to_dict()}

    @classmethod
    def read(cls, path: Path) -> PlannedTrial:
        """Read a `params.json`.

        Raises:
            InputError: If the file is damaged; the message names the file.
            OSError: If the file cannot be read.
        """
        values = read_json(path)
        index = values.pop("index", None) if isinstance(values, dict) else None
        if type(index) is not int or index < 0:
            raise InputError(f"{path} must hold a trial's number as index, but holds {index!r}.")
        return cls(index, TrialConfig.complete(values, path))


def report_of_line(line: str, rank_by: str = RANK_BY) -> Report | None:
    """Parse a line of `result.json`; return None if it is no report, such as a line that is being written."""
    try:
        report = parse_json(line)
    except ValueError:
        return None
    if not isinstance(report, dict) or not all(map(_is_number, report.values())):
        return None
    step = report.get("step")
    return report if isinstance(step, int) and step > 0 and rank_by in report else None


def differing_fields(planned: TrialConfig, trained: TrialConfig) -> list[str]:
    """Return the names in which a planned and a trained config differ.

    A planned precision of `auto` is decided when training starts, so it agrees with any.
    """
    names = dict.fromkeys((*planned.to_dict(), *trained.to_dict()))
    if planned.precision == "auto":
        del names["precision"]
    return [name for name in names if planned.value(name) != trained.value(name)]


def describe_fields(config: TrialConfig, names: Sequence[str]) -> str:
    """Return some names of a config with their values, as text for a message."""
    return " and ".join(f"{name} {_shown(config.value(name))}" for name in names)


def _shown(value: object) -> object:
    return "of none" if value is None else value


def _read_planned(
    folder: Path, history: History | None, record: Mapping[str, Any]
) -> tuple[PlannedTrial, tuple[str, ...]]:
    """Return the plan, or a replacement from the latest checkpoint, with a sentence for each problem."""
    try:
        planned = PlannedTrial.read(folder / PARAMS_FILE)
    except (InputError, FileNotFoundError) as error:
        damage = f"its {PARAMS_FILE} is missing" if isinstance(error, FileNotFoundError) else str(error).rstrip(".")
        if history is None or not identifier_of(folder).isdecimal():
            raise InputError(
                f"{damage}; no checkpoint tells what it trained either. Delete {folder} to have it trained anew."
            ) from error
        config = replace(history.config, precision=_asked_precision(history.config.precision, record))
        return PlannedTrial(int(identifier_of(folder)), config), (
            f"Trial {folder_in_sweep(folder)}: {damage}; its values are taken from its latest checkpoint.",
        )
    if history is not None and (names := differing_fields(planned.config, history.config)):
        raise InputError(
            f"its {PARAMS_FILE} says {describe_fields(planned.config, names)}, but its checkpoint was trained with "
            f"{describe_fields(history.config, names)}. Write into {PARAMS_FILE} what was trained, or delete {folder} "
            "to have it trained anew."
        )
    return planned, ()


def _asked_precision(trained: Precision, record: Mapping[str, Any]) -> Precision:
    """Return the precision that a sweep's record asks for in a trial that was trained in a decided one."""
    asked = record.get("options", {}).get("space", {}).get("precision", [trained])
    return trained if trained in asked else "auto"


def _read_reports(folder: Path, history: History | None, rank_by: str) -> tuple[tuple[Report, ...], tuple[str, ...]]:
    """Return the reports of the latest checkpoint and those after it, with a sentence for each problem."""
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
    """Return the reports without those whose step is not above all steps before it."""
    rising: list[Report] = []
    for report in reports:
        if not rising or report["step"] > rising[-1]["step"]:
            rising.append(report)
    return rising


def _latest_history(folder: Path) -> History | None:
    for checkpoint in reversed(checkpoint_folders(folder)):
        try:
            return read_history(checkpoint)
        except CheckpointError:  # damaged, or deleted by the running trial
            continue
    return None


def _read_error(path: Path) -> str | None:
    """Return the last line of a trial's error; None if the trial has not failed."""
    if not path.exists():
        return None
    text = path.read_text(errors="replace").rstrip()
    return text.rpartition("\n")[2] or f"{path.name} is empty."


def _would_recur(path: Path) -> bool:
    """Return whether another try would fail in the same way; False if the file is missing or damaged."""
    try:
        values = read_json(path)
    except (ValueError, FileNotFoundError):
        return False
    return isinstance(values, dict) and values.get("would_recur") is True


def holds_something(folder: Path) -> bool:
    """Return whether a trial's folder holds any file but hidden ones, which a driver that is killed early leaves.

    Raises:
        OSError: If the folder cannot be read.
    """
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have a score, the best first: those that a rule has scored, then by the highest score.

    Raises:
        ValueError: If the trials are of several data sets, whose scores do not compare.
    """
    scored = [trial for trial in trials if trial.reports]
    if len(names := by_dataset(scored)) > 1:
        raise ValueError(
            f"Trials must be of one data set to be ranked, since scores of two do not compare, but are of "
            f"{', '.join(names)}; rank the trials of each, as by_dataset groups them."
        )
    return sorted(scored, key=_merit, reverse=True)


def by_dataset(trials: Iterable[TrialT]) -> dict[str, list[TrialT]]:
    """Return trials, or planned trials, by the name of their data set, in the order of the first of each."""
    groups: dict[str, list[TrialT]] = {}
    for trial in trials:
        groups.setdefault(trial.config.dataset.name, []).append(trial)
    return groups


def _merit(trial: Trial) -> tuple[bool, float]:
    return trial.choice is not None, trial.score if trial.choice is None else trial.choice


def num_ended(trials: Sequence[Trial]) -> int:
    """Return how many trials finished, were stopped or failed."""
    return sum(trial.status != "unfinished" for trial in trials)


def trial_folder_name(index: int) -> str:
    """Return the name of a trial's folder."""
    return f"{_PREFIX}{index:04}"


def identifier_of(folder: Path) -> str:
    """Return the identifier of the trial in a folder: its number in four digits."""
    return folder.name.removeprefix(_PREFIX)


def folder_in_sweep(folder: Path) -> str:
    """Return a trial's folder as messages name it: its stage and its identifier."""
    return f"{folder.parent.name}/{identifier_of(folder)}"
