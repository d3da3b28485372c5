"""The terminal logger: a line for each trial that ends, and a progress bar."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from betavae.columns import field_column, ordered_fields, report_column, shown_fields
from betavae.config import TrialConfig
from betavae.records.trial import ERROR_FILE, PlannedTrial, Trial, by_dataset, num_ended, ranked
from betavae.text import one_line, printable
from sweeps.loggers.base import LogContext, Logger, Report

_NUM_BEST = 5
"""Number of the best trials that the live display shows: of all data sets together, at least one of each."""


@dataclass(frozen=True)
class _Running:
    """A running trial at its latest report.

    Attributes:
        config: The configuration.
        step: The step of the report.
        images_per_second: The speed of training.
        report_time: The time of the report, on the monotonic clock.
    """

    config: TrialConfig
    step: int
    images_per_second: float
    report_time: float

    def progress(self) -> float:
        """Estimate the share of the trial's steps done by now, at the speed of its latest report."""
        updates_since = self.images_per_second * (time.monotonic() - self.report_time) / self.config.batch_size
        # not beyond the next report: a trial that hangs makes no progress
        updates = min(
            self.config.updates_until(self.step) + updates_since,
            self.config.updates_until(self.config.next_evaluation(self.step)),
        )
        return updates / self.config.num_updates


class TerminalLog(Logger):
    """Prints a line when a trial ends, with the best score so far of its data set; on a terminal, also a progress bar.

    Args:
        context: The stage.
        console: The output; None for the standard output.
    """

    name = "terminal"

    def __init__(self, context: LogContext, *, console: Console | None = None) -> None:
        super().__init__(context)
        self._quiet, self._verbose = context.options.sweep.quiet, context.options.sweep.verbose
        self._num_ended = num_ended(context.known_trials)
        self._num_datasets = len(context.options.space.names_of("dataset"))
        self._best = {name: self._first(group) for name, group in by_dataset(context.known_trials).items()}
        self._start_steps = {trial.index: trial.step for trial in context.known_trials}
        self._running: dict[int, _Running] = {}
        self._console = console or Console(highlight=False, soft_wrap=True)
        has_bar = self._console.is_terminal and not self._quiet
        live = Live(console=self._console, transient=True, refresh_per_second=1, get_renderable=self._picture)
        self._live = live if has_bar else None

    def __enter__(self) -> TerminalLog:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the progress bar."""
        if self._live is not None:
            self._live.stop()

    def started(self, trial: PlannedTrial) -> None:
        """Add the trial to the running trials."""
        step = self._start_steps.get(trial.index, 0)
        self._running[trial.index] = _Running(trial.config, step, 0.0, time.monotonic())
        if self._verbose:
            self._print(f"{trial.index:04}  started")
        self._draw()

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Store the trial's step and speed."""
        speed = float(report["images_per_second"])
        speed = speed if math.isfinite(speed) else 0.0
        self._running[trial.index] = _Running(trial.config, int(report["step"]), speed, time.monotonic())
        if self._verbose:
            self._print(f"{trial.index:04}  step {report['step']:<7} {_describe_report(report, self._rank_by)}")
        self._draw()

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Print the trial's outcome."""
        self._num_ended += 1
        self._running.pop(trial.index, None)
        dataset = trial.config.dataset.name
        other_trials = [best for best in self._best.get(dataset, []) if best.index != trial.index]
        self._best[dataset] = self._first([*other_trials, *([] if outcome is None else [outcome])])
        count = f"[{self._num_ended}/{self.context.num_trials}]"
        if not self._quiet:
            ending = "its folder cannot be read" if outcome is None else _describe_ending(outcome, self._varied_fields)
            self._print(f"{count:>8} {trial.index:04}  {ending}{self._describe_best(dataset)}")
        self._draw()

    def _first(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the best trials of one data set that the display shows."""
        return ranked(trials)[: max(1, _NUM_BEST // self._num_datasets)]

    def _describe_best(self, dataset: str) -> str:
        """Return the best score so far of a data set, named if there are several; nothing before the first score."""
        if not self._best[dataset]:
            return ""
        best, of = self._best[dataset][0], f" of {dataset}" if self._num_datasets > 1 else ""
        return f"   best{of} so far {best.score:.3f} ({best.trial_id})"

    @property
    def _varied_fields(self) -> tuple[str, ...]:
        return self.context.options.varied_fields

    @property
    def _rank_by(self) -> str:
        return self.context.stage.rank_by

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _picture(self) -> Group:
        """Return the live display. Called at every event, and every second from a thread of rich."""
        return Group(*self._best_lines(), self._bar())

    def _bar(self) -> Table:
        """Return progress, number of trials, speed, and an estimate of the remaining time if no trial is stopped."""
        running_trials, num_trials = list(self._running.values()), self.context.num_trials
        trials_done = self._num_ended + sum(trial.progress() for trial in running_trials)
        row: list[RenderableType] = [
            ProgressBar(num_trials, trials_done, width=30),
            f"{self._num_ended}/{num_trials} trials, {len(running_trials)} running",
        ]
        trials_per_second = sum(
            trial.images_per_second / (trial.config.num_updates * trial.config.batch_size) for trial in running_trials
        )
        if trials_per_second > 0:
            seconds_left = min((num_trials - trials_done) / trials_per_second, timedelta.max.total_seconds() / 2)
            speed = sum(trial.images_per_second for trial in running_trials)
            row += [f"{speed:,.0f} images/s", f"about {timedelta(seconds=round(seconds_left))} left"]
        bar = Table.grid(padding=(0, 2))
        bar.add_row(*row)
        return bar

    def _best_lines(self) -> list[str]:
        return [
            f"{trial.trial_id}  {trial.rank_by} {trial.score:.3f}  "
            f"{_describe_config(trial.config, self._varied_fields)}"
            for trials in self._best.values()
            for trial in trials
        ]


def _describe_config(config: TrialConfig, varied_fields: Sequence[str]) -> str:
    """Return the config's main fields and those that vary in the sweep, in columns."""
    names = ordered_fields({*varied_fields, *shown_fields([config])})
    columns = [(field_column(name), config.value(name)) for name in names]
    return " ".join(
        f"{column.symbol} {column.write(value):<{_width(value)}}" for column, value in columns if value is not None
    ).rstrip()


def _width(value: object) -> int:
    return 11 if isinstance(value, str) else 5 if isinstance(value, int) else 7


def _describe_ending(trial: Trial, varied_fields: Sequence[str]) -> str:
    if trial.error is not None:
        error_file = f"{trial.folder.parent.name}/{trial.folder.name}/{ERROR_FILE}"
        return f"FAILED: {one_line(trial.error)} (traceback: {error_file})"
    status = "finished" if trial.is_complete else f"{trial.status} at {trial.step}"
    return f"{_describe_config(trial.config, varied_fields)}  {status:<16} {trial.rank_by} {trial.score:.3f}"


def _describe_report(report: Report, rank_by: str) -> str:
    losses = [name for name in report if name.startswith("loss/")]
    columns = [(report_column(name), report[name]) for name in (rank_by, *losses)]
    numbers = "  ".join(f"{column.symbol} {column.write(value)}" for column, value in columns)
    return f"{numbers}  {report['images_per_second']:.0f} images/s"
