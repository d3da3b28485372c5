"""The base class of loggers, and the context that a logger receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from betavae.records.trial import PlannedTrial, Trial
from sweeps.options.options import Options
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

Report = Mapping[str, Any]
"""A report of a trial: the step, and numbers by name."""


@dataclass(frozen=True)
class LogContext:
    """The stage that a logger follows.

    Attributes:
        sweep: The sweep's folder.
        stage: The folder of the stage's trials.
        options: The sweep's options.
        num_trials: The number of trials of the stage.
        factor_names: The names of the factors of the sweep's data sets.
        known_trials: Trials that earlier runs of the sweep have started, as read from their folders.
    """

    sweep: Mirror
    stage: StageFolder
    options: Options
    num_trials: int
    factor_names: tuple[str, ...]
    known_trials: tuple[Trial, ...] = ()


class Logger:
    """Follows the trials of one stage. It is a context manager, entered before the first trial, left after the last.

    An exception of a logger causes a warning; the trial continues.

    Attributes:
        name: The logger's name for `--loggers`.
        is_default: Whether the logger follows a sweep without `--loggers`.

    Args:
        context: The stage.
    """

    name: ClassVar[str]
    is_default: ClassVar[bool] = True

    @classmethod
    def check(cls, options: Options) -> None:
        """Refuse a sweep that the logger could not follow. By default, do nothing: a logger follows any.

        Raises:
            InputError: With the fix.
        """

    def __init__(self, context: LogContext) -> None:
        self.context = context

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: by default, there is nothing to close."""

    def started(self, trial: PlannedTrial) -> None:
        """Log the start or resume of a trial. By default, do nothing."""

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Log a report, after its checkpoint is written. By default, do nothing.

        A resumed trial repeats its latest report.
        """

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Log the end of a trial, as read from its folder; None if it cannot be read. By default, do nothing."""
