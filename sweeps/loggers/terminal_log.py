"""The terminal, while trials run: a line for each trial that ends, and a bar below."""

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

from betavae.columns import field_column, report_column, shown_fields
from betavae.config import TrialConfig
from betavae.records.trial import ERROR_FILE, PlannedTrial, Trial, num_ended, ranked
from betavae.text import one_line, printable
from sweeps.loggers.base import LogContext, Logger, Report

_NUM_BEST = 5


@dataclass(frozen=True)
class _Running:
    """A trial at its latest report.

    Attributes:
        config: What it trains.
        step: Its step.
        images_per_second: Its speed.
        at: When it reported, on the monotonic clock.
    """

    config: TrialConfig
    step: int
    images_per_second: float
    at: float

    def progress(self) -> float:
        """Return the share of its steps that it has done by now, at the speed of its latest report."""
        since = self.images_per_second * (time.monotonic() - self.at) / self.config.batch_size
        # no further than its next report: one that hangs makes no progress
        return (self.step + min(since, self.config.eval_every)) / self.config.steps


class TerminalLog(Logger):
    """Prints a line when a trial ends, with the best so far; on a terminal a bar shows how far the sweep is.

    Args:
        context: The stage.
        console: Where lines are printed; the standard output if None.
    """

    name = "terminal"

    def __init__(self, context: LogContext, *, console: Console | None = None) -> None:
        super().__init__(context)
        self._quiet, self._verbose = context.options.sweep.quiet, context.options.sweep.verbose
        self._num_ended, self._best = num_ended(context.known), ranked(context.known)[:_NUM_BEST]
        self._steps_before = {trial.index: trial.step for trial in context.known}
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
        """Take the bar away."""
        if self._live is not None:
            self._live.stop()

    def started(self, trial: PlannedTrial) -> None:
        """Count the trial as one that runs."""
        step = self._steps_before.get(trial.index, 0)
        self._running[trial.index] = _Running(trial.config, step, 0.0, time.monotonic())
        if self._verbose:
            self._print(f"{trial.index:04}  started")
        self._draw()

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Note how far and how fast the trial is."""
        speed = float(report["images_per_second"])
        speed = speed if math.isfinite(speed) else 0.0
        self._running[trial.index] = _Running(trial.config, int(report["step"]), speed, time.monotonic())
        if self._verbose:
            self._print(f"{trial.index:04}  step {report['step']:<7} {_describe_report(report, self._rank_by)}")
        self._draw()

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Print how the trial ended."""
        self._num_ended += 1
        self._running.pop(trial.index, None)
        others = [best for best in self._best if best.index != trial.index]
        self._best = ranked([*others, *([] if outcome is None else [outcome])])[:_NUM_BEST]
        count = f"[{self._num_ended}/{self.context.num_planned}]"
        so_far = f"   best so far {self._best[0].score:.3f} ({self._best[0].trial_id})" if self._best else ""
        if not self._quiet:
            ending = "its folder cannot be read" if outcome is None else _describe_ending(outcome, self._tried)
            self._print(f"{count:>8} {trial.index:04}  {ending}{so_far}")
        self._draw()

    @property
    def _tried(self) -> tuple[str, ...]:
        return self.context.options.tried

    @property
    def _rank_by(self) -> str:
        return self.context.stage.rank_by

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _picture(self) -> Group:
        """Return what the terminal shows; called at every event, and every second in a thread of rich's."""
        return Group(*self._best_five(), self._bar())

    def _bar(self) -> Table:
        """Return how many trials have ended, how far all are, the speed, and the time left if none is stopped."""
        running, num_planned = list(self._running.values()), self.context.num_planned
        under_way = [trial.progress() for trial in running]
        done = self._num_ended + sum(under_way)
        row: list[RenderableType] = [
            ProgressBar(num_planned, done, width=30),
            f"{self._num_ended}/{num_planned} trials, {len(running)} running",
        ]
        per_second = sum(trial.images_per_second / (trial.config.steps * trial.config.batch_size) for trial in running)
        if per_second > 0:
            left = min((num_planned - done) / per_second, timedelta.max.total_seconds() / 2)
            speed = sum(trial.images_per_second for trial in running)
            row += [f"{speed:,.0f} images/s", f"about {timedelta(seconds=round(left))} left"]
        bar = Table.grid(padding=(0, 2))
        bar.add_row(*row)
        return bar

    def _best_five(self) -> list[str]:
        return [
            f"{trial.trial_id}  {trial.rank_by} {trial.score:.3f}  {_describe_config(trial.config, self._tried)}"
            for trial in self._best
        ]


def _describe_config(config: TrialConfig, tried: Sequence[str]) -> str:
    """Return what else the sweep tries, then the objective's parameters, latents and learning rate, in columns."""
    names = dict.fromkeys((*(name for name in tried if name not in shown_fields([config])), *shown_fields([config])))
    columns = [(field_column(name), config.value(name)) for name in names]
    return " ".join(f"{column.symbol} {column.write(value):<{_width(value)}}" for column, value in columns).rstrip()


def _width(value: object) -> int:
    return 11 if isinstance(value, str) else 5 if isinstance(value, int) else 7


def _describe_ending(trial: Trial, tried: Sequence[str]) -> str:
    if trial.error is not None:
        place = f"{trial.folder.parent.name}/{trial.folder.name}/{ERROR_FILE}"
        return f"FAILED: {one_line(trial.error)} (traceback: {place})"
    how = "finished" if trial.is_complete else f"{trial.status} at {trial.step}"
    return f"{_describe_config(trial.config, tried)}  {how:<16} {trial.rank_by} {trial.score:.3f}"


def _describe_report(report: Report, rank_by: str) -> str:
    losses = [name for name in report if name.startswith("loss/")]
    shown = [(report_column(name), report[name]) for name in (rank_by, *losses)]
    numbers = "  ".join(f"{column.symbol} {column.write(value)}" for column, value in shown)
    return f"{numbers}  {report['images_per_second']:.0f} images/s"
