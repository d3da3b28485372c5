"""The base class of trackers: loggers that write each trial as a run of an experiment tracker."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np

from betavae.errors import InputError
from betavae.records.record import read_record
from betavae.records.trial import ERROR_FILE, PlannedTrial, Trial
from sweeps.loggers.base import LogContext, Logger, Report
from sweeps.loggers.contents import derived_hyperparameters, describe_ending, numbers_of, pictures_of
from sweeps.loggers.worker import Worker

_PATIENCE_SECONDS = 60.0
"""Time without any success, after which the end of a stage no longer waits for a tracker."""

Status = Literal["finished", "stopped", "failed", "interrupted"]


@dataclass(frozen=True)
class RunPlan:
    """The identity and the settings of a run.

    Attributes:
        key: Its identifier, the same whenever the sweep is resumed: of the sweep, the stage and the trial's number.
        name: The name to show, such as `search/0003`.
        group: The name of the sweep.
        tags: Stage, data set and objective, by these words.
        config: All parameters of the trial, flat, and the numbers that follow from them. It names no folder.
    """

    key: str
    name: str
    group: str
    tags: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        status: In one word.
        text: In one line. Of an error it has the kind alone, since its message may name folders and machines.
        rank_by: The name of the score that ranks trials.
        best: The highest score, and its step; None if there is no report.
    """

    status: Status
    text: str
    rank_by: str
    best: tuple[float, int] | None = None

    @classmethod
    def of(cls, trial: Trial) -> Ending:
        """Return the ending of a trial, as read from its folder."""
        best = None if trial.best is None else (trial.score, int(trial.best["step"]))
        status: Status = "interrupted" if trial.status == "unfinished" else trial.status
        text = describe_ending(trial) if trial.error is None else _describe_failure(trial.error, trial.step)
        return cls(status, text, trial.rank_by, best)


def _describe_failure(error: str, step: int) -> str:
    """Return at which step a trial failed, with the name of the error's class if the error begins with one."""
    kind = re.match(r"(?:\w+\.)*([A-Z]\w*)(?=:|$)", error)
    return f"failed at step {step}: {kind[1] if kind else 'an error'}, see {ERROR_FILE} in its folder"


@dataclass
class TrackedRun(ABC):
    """A run of a tracker: a trial's.

    Attributes:
        step: The step of the latest report that the run has; 0 before the first.
    """

    step: int = field(default=0, kw_only=True)

    @abstractmethod
    def log(self, step: int, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray]) -> None:
        """Add a report: its numbers and the pictures of its checkpoint, by name."""

    @abstractmethod
    def end(self, ending: Ending) -> None:
        """Add the outcome, and end the run."""


class Tracker(Logger):
    """Writes each trial as a run: its parameters, every report once, the pictures of its checkpoints, its outcome.

    The tracker is called in a thread of its own, so that neither the sweep nor its end waits for a server that cannot
    be reached. A call that raises costs what it would have written. A run that could not be opened is tried again at
    the next report, and receives all earlier ones; so does a run of a resumed sweep.

    Args:
        context: The stage.
    """

    is_default = False

    package: ClassVar[str]
    """The package that the tracker imports."""

    environment: ClassVar[Mapping[str, str]]
    """Environment variables that are set before the import, unless they are set already."""

    def __init__(self, context: LogContext) -> None:
        super().__init__(context)
        self._worker = Worker(self.name, patience=_PATIENCE_SECONDS)
        self._running: set[int] = set()
        # both used by the worker's thread alone:
        self._runs: dict[int, TrackedRun] = {}
        self._unsent: dict[int, deque[Mapping[str, Any]]] = defaultdict(deque)
        self._unsent.update({trial.index: deque(trial.reports) for trial in context.known_trials})

    @abstractmethod
    def open(self, plan: RunPlan) -> TrackedRun:
        """Begin a run, or continue it if the tracker has it."""

    def disconnect(self) -> None:
        """End what serves all runs. By default, do nothing: a run needs no more."""

    @classmethod
    def load(cls) -> ModuleType:
        """Import the tracker's package.

        Raises:
            InputError: If it is not installed.
        """
        for name, value in cls.environment.items():
            os.environ.setdefault(name, value)
        try:
            module = importlib.import_module(cls.package)
        except ImportError as error:
            raise InputError(cls._needs_package(f"it cannot be imported ({error})")) from error
        if module.__file__ is None:  # a folder of this name, such as W&B's own files
            raise InputError(cls._needs_package("it is not installed"))
        return module

    @classmethod
    def _needs_package(cls, problem: str) -> str:
        return (
            f"{cls.name} needs the package {cls.package}, but {problem}: pip install -c constraints.txt -e "
            f"'.[{cls.name}]'."
        )

    def __enter__(self) -> Tracker:
        self._worker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Mark the runs of trials that have not ended as interrupted, and wait until all is written.

        Raises:
            TimeoutError: If the tracker does not answer.
            Exception: The first error that has not been raised yet.
        """
        for index in self._running:
            self._worker.submit(None, partial(self._interrupt, index))
        self._worker.submit(None, self.disconnect)
        self._worker.close()

    def started(self, trial: PlannedTrial) -> None:
        """Begin or continue the trial's run."""
        self._running.add(trial.index)
        self._submit(trial.index, partial(self._send, trial))

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Add a report to the trial's run, with the checkpoint's pictures."""
        step = int(report["step"])
        self._submit(trial.index, partial(self._send, trial, dict(report) | {"step": step}))

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Add the outcome to the trial's run, and end the run."""
        rank_by = self.context.stage.rank_by
        ending = Ending("failed", "its folder cannot be read", rank_by) if outcome is None else Ending.of(outcome)
        self._running.discard(trial.index)
        self._submit(trial.index, partial(self._end, trial, ending))

    def _submit(self, index: int, call: Callable[[], None]) -> None:
        self._worker.submit(index, call)
        self._worker.raise_error(index)

    def _send(self, trial: PlannedTrial, *reports: Mapping[str, Any]) -> None:
        """Send the reports of a trial that the tracker lacks, after opening the run."""
        index, unsent = trial.index, self._unsent[trial.index]
        unsent.extend(reports)
        if index not in self._runs:
            self._runs[index] = self.open(self._plan(trial))
        run = self._runs[index]
        while unsent:
            report = unsent.popleft()
            if (step := report["step"]) > run.step:
                run.step = step
                run.log(step, numbers_of(report), pictures_of(self.context.stage.trial(index), step))

    def _end(self, trial: PlannedTrial, ending: Ending) -> None:
        self._send(trial)
        self._unsent.pop(trial.index)
        self._runs.pop(trial.index).end(ending)

    def _interrupt(self, index: int) -> None:
        if (run := self._runs.pop(index, None)) is not None:
            run.end(Ending("interrupted", f"interrupted after step {run.step}", self.context.stage.rank_by))

    def _plan(self, trial: PlannedTrial) -> RunPlan:
        stage, config = self.context.stage.path.name, trial.config
        return RunPlan(
            key=f"{self._sweep_key}-{stage}-{trial.index:04}",
            name=f"{stage}/{trial.index:04}",
            group=self.context.sweep.location.rstrip("/").rpartition("/")[2],
            tags={"stage": stage, "dataset": config.dataset.name, "objective": config.objective.name},
            config=config.public_dict() | derived_hyperparameters(config),
        )

    @cached_property
    def _sweep_key(self) -> str:
        """A text that identifies the sweep, also after its folder is renamed: from its record."""
        try:
            record = read_record(self.context.sweep.local)
            identity = f"{record.get('start')} {record.get('command')}"
        except InputError:  # no sweep's folder, as in tests of a logger by itself
            identity = self.context.sweep.location
        return hashlib.sha256(identity.encode()).hexdigest()[:12]
