"""What a person sees of a sweep: the plan, a line per trial, and the table."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.progress_reporter import TrialProgressCallback
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from betavae.analysis.confirmation import Confirmed
from betavae.analysis.findings import counted
from betavae.analysis.results import ERROR_FILE, Trial, num_ended, ranked
from betavae.analysis.seed_study import Reproduced, explain
from betavae.config import TrialConfig
from betavae.data import DSprites
from sweeps.axes import ends, written
from sweeps.cluster import Resources
from sweeps.options import Options
from sweeps.plan import num_trials
from sweeps.search_folder import SearchFolder

_NUM_BEST = 5


def describe_plan(
    options: Options, *, known: Sequence[Trial], resources: Resources, data: DSprites, location: str
) -> str:
    """What is about to happen, in a few lines."""
    search, trial = options.search, options.trial
    place = f"{resources.num_gpus} GPUs" if resources.num_gpus else f"{resources.num_cpus} CPU cores, one thread each"
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
        lines.insert(
            4, f"then       the best {options.confirm.confirm} again, with {options.confirm.seeds} new seeds each"
        )
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

    To be used as a context: at its end the bar goes.

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
        seed = trial.config["seed"]
        self._running[seed] = _Running(self._steps_before.get(seed, 0), 0.0, time.monotonic())
        if self._verbose:
            self._say(f"{self._name(seed)}  started")
        self._draw()

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Take in a report."""
        if "step" in result:  # else it is Ray's own, of a trial that failed before its first report
            seed = trial.config["seed"]
            self._running[seed] = _Running(result["step"], result["images_per_second"], time.monotonic())
            if self._verbose:
                self._say(f"{self._name(seed)}  step {result['step']:<7} {_numbers(result)}")
            self._draw()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how a trial ended."""
        seed = trial.config["seed"]
        self._num_ended += 1
        self._running.pop(seed, None)
        ended = self._folder.read(seed)
        others = [best for best in self._best if best.config.seed != seed]
        self._best = ranked([*others, ended])[:_NUM_BEST]
        count = f"[{self._num_ended}/{self._num_planned}]"
        so_far = f"   best so far {self._best[0].score:.3f} ({self._best[0].trial_id})" if self._best else ""
        if not self._quiet:
            self._say(f"{count:>8} {ended.trial_id}  {_describe_ending(ended)}{so_far}")
        self._draw()

    def _name(self, seed: int) -> str:
        return f"{self._folder.index(seed):04}"

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)

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
        if rate:
            left = timedelta(seconds=round((in_all - done) * self._batch_size / rate))
            row += [f"{rate:,.0f} images/s", f"about {left} left"]
        bar = Table.grid(padding=(0, 2))
        bar.add_row(*row)
        return bar

    def _best_five(self) -> list[str]:
        return [f"{trial.trial_id}  mig {trial.score:.3f}  {_describe_config(trial)}" for trial in self._best]


def format_confirmation_table(confirmations: Sequence[Confirmed]) -> str:
    """The confirmed configurations, the highest median first, as aligned text; empty if no new seed has ended yet."""
    if not confirmations:
        return ""
    header = ["median", "quartiles", "search", "beta", "z", "lr", "mig of each new seed"]
    rows = [header] + [
        [
            f"{one.median:.4f}",
            "{:.3f} .. {:.3f}".format(*one.quartiles),
            "-" if one.search_score is None else f"{one.search_score:.4f}",
            f"{one.config.beta:.4g}",
            f"{one.config.latent_size}",
            f"{one.config.lr:.3g}",
            "  ".join(f"{score:.3f}" for score in one.scores),
        ]
        for one in confirmations
    ]
    return (
        "\nconfirmed: mig at the end of training with seeds that took no part in the choice; search: the highest that "
        f"it was chosen by,\nselected with labels\n{_align(rows)}"
    )


def _describe_whole(config: TrialConfig) -> str:
    return f"beta {config.beta:.4g}, latent size {config.latent_size}, lr {config.lr:.3g}"


def _describe_ending(trial: Trial) -> str:
    if trial.error is not None:
        return f"FAILED: {trial.error} (traceback: {trial.folder.parent.name}/{trial.folder.name}/{ERROR_FILE})"
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


def describe_best(trials: Sequence[Trial], confirmations: Sequence[Confirmed] = ()) -> str:
    """The best in a line: the configuration that was confirmed best, or else the search's best trial."""
    if confirmations:
        first = confirmations[0]
        promised = ""
        if first.search_score is not None:
            promised = f" ({first.search_score:.3f} in the search, selected with labels)"
        return (
            f"best       {_describe_whole(first.config)}: median mig {first.median:.3f} over "
            f"{counted(first.num_seeds, 'new seed')}{promised}"
        )
    scored = ranked(trials)
    best, middle = scored[0], float(np.median([trial.last_score for trial in scored]))
    return (
        f"best       {best.trial_id}, mig {best.score:.3f}, selected with labels (median of all at their end "
        f"{middle:.3f}): {_describe_whole(best.config)}, seed {best.config.seed}"
    )


def format_table(trials: Sequence[Trial], *, factor_names: Sequence[str], root: Path) -> str:
    """The trials that have a score, best first, as aligned text.

    Every number of a row is of the same evaluation: the trial's best by `mig`.
    """
    header = ["mig", *factor_names, "beta", "beta_norm", "z", "lr", "step", "recon", "kl", "active", "best checkpoint"]
    rows = [header] + [_row(trial, factor_names, root) for trial in ranked(list(trials))]
    return _align(rows)


def format_seed_study_table(found: Sequence[Reproduced]) -> str:
    """The seed study's numbers, published and here, beside the whole set's: medians over the seeds."""
    rows = [["gap", "published", "its protocol", "whole set", "models"]]
    for one in found:
        models = f"{_describe_whole(one.config)}, {counted(one.num_seeds, 'seed')}"
        for name, own in one.own_rows.items():
            published = f"{one.published[name]:.4f}" if one.published else "-"
            rows.append([name, published, f"{own:.4f}", f"{one.whole_set[name]:.4f}", models if name == "mig" else ""])
    return f"\nThe seed study, medians over the seeds:\n{_align(rows)}\n{textwrap.fill(explain(found), 120)}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Columns to the right, the last one, which is long, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append("  ".join([*map(str.rjust, cells, widths), last]))
    return "\n".join(lines)


def _row(trial: Trial, factor_names: Sequence[str], root: Path) -> list[str]:
    best, config, checkpoint = trial.best, trial.config, trial.best_checkpoint
    assert best is not None  # a ranked trial has a score
    return [
        f"{best['mig']:.4f}",
        *(f"{best[f'mig/{name}']:.3f}" for name in factor_names),
        f"{config.beta:.4g}",
        f"{config.beta_norm:.4g}",
        f"{config.latent_size}",
        f"{config.lr:.3g}",
        f"{best['step']}",
        f"{best['loss/recon_nats']:.1f}",
        f"{best['loss/kl_nats']:.2f}",
        f"{best['active_units']:.0f}",
        str(checkpoint.folder.relative_to(root)) if checkpoint else "-",
    ]


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
