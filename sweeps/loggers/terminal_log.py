"""What a person sees of a sweep that runs: the plan, a line per trial, the bar."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.records.trial import ERROR_FILE, Trial, num_ended, ranked
from betavae.report.findings import counted
from betavae.text import one_line, printable
from sweeps.cluster import Resources
from sweeps.options.options import Options
from sweeps.search.axes import ends, written
from sweeps.search.plan import num_trials
from sweeps.storage.stage_folder import SearchFolder

_NUM_BEST = 5


def describe_plan(
    options: Options, *, known: Sequence[Trial], resources: Resources, data: DSprites, location: str
) -> str:
    """What is about to happen, in a few lines."""
    search, trial = options.search, options.trial
    gpus, cores = counted(resources.num_gpus, "GPU"), counted(resources.num_cpus, "CPU core")
    place = gpus if resources.num_gpus else f"{cores}, one thread each"
    lines = [
        f"preset     {options.sweep.preset}",
        f"trials     {num_trials(options)}, by {search.search} search, {_describe_scheduler(options)}",
        f"over       beta {written(search.beta)} ({_describe_beta_norm(options)}), "
        f"latent size {written(search.latent_size)}, lr {written(search.lr)}",
        f"each       {trial.architecture}, {trial.objective}, {trial.steps} steps of {trial.batch_size} images, "
        f"scored every {options.eval_every} steps on 10,000 images of the whole set",
        f"on         {resources.num_concurrent} at a time: {place}",
        f"data       {data.source}, SHA-256 {data.fingerprint[:12]}...",
        f"results    {location}",
    ]
    if options.confirm.confirm is not None:
        lines.insert(4, f"then       the best {options.confirm.confirm} again, with {options.num_seeds} new seeds each")
    if known:
        ended = num_ended(known)
        lines.append(f"resumed    {ended} ended, {len(known) - ended} to go on from their latest checkpoints")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Running:
    """A trial at its latest report: its step, how fast it was, and when that was told."""

    step: int
    images_per_second: float
    told: float

    def since(self) -> float:
        """Images it should have trained on since."""
        return self.images_per_second * (time.monotonic() - self.told)


class TrialLog(TrialProgressCallback):  # where there is one, Ray prints no lines of its own
    """Says when a trial ends, with the best so far; on a terminal a bar below says how far the sweep is.

    To be used as a context: at its end the bar goes. What cannot be shown costs its line, never the trial.

    Args:
        search_folder: Where the trials are kept: what a trial has come to is read there.
        options: The sweep's.
        num_planned: How many trials there are to be.
        known: Trials that were there before.
        console: Where it is said; the standard output if None.
    """

    def __init__(
        self,
        search_folder: SearchFolder,
        options: Options,
        *,
        num_planned: int,
        known: Sequence[Trial] = (),
        console: Console | None = None,
    ) -> None:
        super().__init__(metric="mig")
        self._folder, self._num_planned = search_folder, num_planned
        self._steps, self._batch_size = options.trial.steps, options.trial.batch_size
        self._eval_every = options.eval_every
        self._quiet, self._verbose = options.sweep.quiet, options.sweep.verbose
        self._num_ended, self._best = num_ended(known), ranked(known)[:_NUM_BEST]
        self._steps_before = {trial.config.seed: trial.step for trial in known}
        self._running: dict[int, _Running] = {}
        self._console = console or Console(highlight=False, soft_wrap=True)
        has_bar = self._console.is_terminal and not self._quiet
        live = Live(console=self._console, transient=True, refresh_per_second=1, get_renderable=self._picture)
        self._live = live if has_bar else None

    def __enter__(self) -> TrialLog:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray writes its callbacks down before it starts, and a terminal cannot be; nobody reads it."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count it as one that runs."""
        self._attempt(trial, self._note_start)

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Take in a report."""
        if "step" in result:  # else it is Ray's own, of a trial that failed before its first report
            self._attempt(trial, lambda seed: self._note_report(seed, result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how a trial ended."""
        self._num_ended += 1
        self._attempt(trial, self._note_end)

    def _attempt(self, trial: Any, note: Callable[[int], None]) -> None:
        """Note something of a trial, and draw the bar anew."""
        seed = trial.config["seed"]
        try:
            note(seed)
            self._draw()
        except Exception as error:  # of any kind: Ray takes it for a failure of the trial, or of the sweep
            if not self._quiet:
                with contextlib.suppress(Exception):  # the output itself cannot be written
                    self._say(f"{self._name(seed)}  cannot be shown: {type(error).__name__}: {one_line(str(error))}")

    def _note_start(self, seed: int) -> None:
        self._running[seed] = _Running(self._steps_before.get(seed, 0), 0.0, time.monotonic())
        if self._verbose:
            self._say(f"{self._name(seed)}  started")

    def _note_report(self, seed: int, report: dict[str, Any]) -> None:
        speed = float(report["images_per_second"])
        self._running[seed] = _Running(int(report["step"]), speed if math.isfinite(speed) else 0.0, time.monotonic())
        if self._verbose:
            self._say(f"{self._name(seed)}  step {report['step']:<7} {_numbers(report)}")

    def _note_end(self, seed: int) -> None:
        self._running.pop(seed, None)
        ended = self._folder.read(seed)
        others = [best for best in self._best if best.config.seed != seed]
        self._best = ranked([*others, ended])[:_NUM_BEST]
        count = f"[{self._num_ended}/{self._num_planned}]"
        so_far = f"   best so far {self._best[0].score:.3f} ({self._best[0].trial_id})" if self._best else ""
        if not self._quiet:
            self._say(f"{count:>8} {ended.trial_id}  {_describe_ending(ended)}{so_far}")

    def _name(self, seed: int) -> str:
        return f"{self._folder.index(seed):04}"

    def _say(self, line: str) -> None:
        self._console.print(printable(line), markup=False)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _picture(self) -> Group:
        """What the terminal shows; drawn at every event, and every second in a thread of rich's."""
        return Group(*self._best_five(), self._bar())

    def _bar(self) -> Table:
        """How many trials, how much of all steps, how fast, how long if no trial is stopped."""
        running = list(self._running.values())
        in_all = self._num_planned * self._steps
        # no further than its next report: one that hangs does not get on
        under_way = [trial.step + min(trial.since() / self._batch_size, self._eval_every) for trial in running]
        done = self._num_ended * self._steps + sum(under_way)
        rate = sum(trial.images_per_second for trial in running)
        row: list[RenderableType] = [
            ProgressBar(in_all, done, width=30),
            f"{self._num_ended}/{self._num_planned} trials, {len(running)} running",
        ]
        if rate > 0:
            left = min((in_all - done) * self._batch_size / rate, timedelta.max.total_seconds() / 2)
            row += [f"{rate:,.0f} images/s", f"about {timedelta(seconds=round(left))} left"]
        bar = Table.grid(padding=(0, 2))
        bar.add_row(*row)
        return bar

    def _best_five(self) -> list[str]:
        return [f"{trial.trial_id}  mig {trial.score:.3f}  {_describe_config(trial)}" for trial in self._best]


def _describe_ending(trial: Trial) -> str:
    if trial.error is not None:
        return (
            f"FAILED: {one_line(trial.error)} (traceback: {trial.folder.parent.name}/{trial.folder.name}/{ERROR_FILE})"
        )
    how = "finished" if trial.is_complete else f"{trial.status} at {trial.step}"
    return f"{_describe_config(trial)} {how:<16} mig {trial.score:.3f}"


def _describe_config(trial: Trial) -> str:
    config = trial.config
    return f"beta {config.beta:<6.4g} z {config.latent_size:<3} lr {config.lr:<8.3g}"


def _numbers(report: dict[str, Any]) -> str:
    return (
        f"mig {report['mig']:.3f}  recon {report['loss/recon_nats']:.1f}  kl {report['loss/kl_nats']:.2f}  "
        f"{report['images_per_second']:.0f} images/s"
    )


def _describe_beta_norm(options: Options) -> str:
    """Beta where the loss is averaged over pixels and latents, over the whole of both axes."""
    (beta_low, beta_high), (size_low, size_high) = ends(options.search.beta), ends(options.search.latent_size)
    low = TrialConfig(beta=beta_low, latent_size=int(size_low)).beta_norm
    high = TrialConfig(beta=beta_high, latent_size=int(size_high)).beta_norm
    return f"beta_norm {low:.3g}" if low == high else f"beta_norm {low:.3g} to {high:.3g}"


def _describe_scheduler(options: Options) -> str:
    name, grace, steps = options.search.scheduler, options.grace_steps, options.trial.steps
    if name == "none":
        return "each run to its end"
    if grace >= steps:
        return f"{name}, which stops none: it may from {grace} steps on, and trials end at {steps}"
    return f"{name}, which may stop one from {grace} steps on"
