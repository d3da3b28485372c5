"""What follows the trials of a sweep while they run, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from betavae.records.trial import PlannedTrial, Trial
from sweeps.options.options import Options
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

Report = Mapping[str, Any]
"""What a trial reports: its step, and numbers by name."""


@dataclass(frozen=True)
class LogContext:
    """The stage that a logger follows.

    Attributes:
        sweep: The sweep's own folder.
        stage: Where the stage's trials are kept.
        options: The sweep's.
        num_planned: Number of trials of the stage.
        factor_names: Of the sweep's data sets.
        known: Trials that an earlier run has begun, as they are read from their folders.
    """

    sweep: Mirror
    stage: StageFolder
    options: Options
    num_planned: int
    factor_names: tuple[str, ...]
    known: tuple[Trial, ...] = ()


class Logger:
    """Follows the trials of one stage. It is used as a context, from before the first trial to after the last.

    A logger may raise: that costs a warning, never the trial.

    Attributes:
        name: How `--loggers` calls it.

    Args:
        context: The stage.
    """

    name: ClassVar[str]

    def __init__(self, context: LogContext) -> None:
        self.context = context

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: an ordinary logger has nothing to close."""

    def started(self, trial: PlannedTrial) -> None:
        """Take in that a trial starts, or is resumed."""

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Take in a trial's report; its checkpoint is written already. A resumed trial repeats its latest report."""

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Take in how a trial ended, as its folder says; None where that cannot be read."""
