"""What a person sees of a sweep: the plan, a line per trial, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from betavae.analysis.results import ERROR_FILE, SEARCH_FOLDER, Trial, num_ended, ranked
from betavae.data import DSprites
from sweeps.cluster import Resources
from sweeps.options import Options
from sweeps.plan import num_trials
from sweeps.trial_folder import SearchFolder


def describe_plan(
    options: Options, *, known: Sequence[Trial], resources: Resources, data: DSprites, location: str
) -> str:
    """What is about to happen, in a few lines."""
    search, trial = options.search, options.trial
    place = f"{resources.num_gpus} GPUs" if resources.num_gpus else f"{resources.num_cpus} CPU cores, one thread each"
    lines = [
        f"preset     {options.sweep.preset}",
        f"trials     {num_trials(options)} by {search.search} search, {_describe_scheduler(options)}",
        f"over       beta {_axis(search.beta)}, latent size {_axis(search.latent_size)}, lr {_axis(search.lr)}",
        f"each       {trial.architecture}, {trial.steps} steps of {trial.batch_size} images, "
        f"scored every {options.eval_every} steps on 10,000 images of the whole set",
        f"on         {resources.num_concurrent} at a time: {place}",
        f"data       {data.source}, SHA-256 {data.fingerprint[:12]}...",
        f"results    {location}",
    ]
    if known:
        ended = num_ended(known)
        lines.append(f"resumed    {ended} trials have ended, {len(known) - ended} go on from their latest checkpoints")
    return "\n".join(lines)


class TrialLog(TrialProgressCallback):  # where there is one, Ray prints no lines of its own
    """Prints a line when a trial ends, with the best so far.

    Args:
        search_folder: Where the trials are kept: what a trial has come to is read there.
        num_planned: Trials in all.
        known: Those that were there before.
    """

    def __init__(self, search_folder: SearchFolder, num_planned: int, *, known: Sequence[Trial] = ()) -> None:
        super().__init__(metric="mig")
        self._folder, self._num_planned = search_folder, num_planned
        self._best = max(ranked(known), key=lambda trial: trial.score, default=None)
        self._num_ended = num_ended(known)

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Say nothing of a single report."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how a trial ended."""
        ended = self._folder.read(trial.config["seed"])
        self._num_ended += 1
        if ended.reports and (self._best is None or ended.score > self._best.score):
            self._best = ended
        count = f"[{self._num_ended}/{self._num_planned}]"
        so_far = f"   best so far {self._best.score:.3f} ({self._best.trial_id})" if self._best else ""
        print(f"{count:>8} {ended.trial_id}  {_describe_ending(ended)}{so_far}", flush=True)


def _describe_ending(trial: Trial) -> str:
    if trial.error is not None:
        return f"FAILED: {trial.error} (traceback: {SEARCH_FOLDER}/{trial.folder.name}/{ERROR_FILE})"
    config = trial.config
    values = f"beta {config.beta:<6.4g} z {config.latent_size:<3} lr {config.lr:<8.3g}"
    how = "finished" if trial.is_complete else f"{trial.status} at {trial.step}"
    return f"{values} {how:<16} mig {trial.score:.3f}"


def format_table(trials: Sequence[Trial], *, factor_names: Sequence[str], root: Path) -> str:
    """The trials that have a score, best first, as aligned text.

    Every number of a row is of the same evaluation: the trial's best by `mig`.
    """
    header = ["mig", *factor_names, "beta", "beta_norm", "z", "lr", "step", "recon", "kl", "active", "best checkpoint"]
    rows = [header] + [_row(trial, factor_names, root) for trial in ranked(list(trials))]
    return _align(rows)


def format_seed_study_table(trials: Sequence[Trial], *, factor_names: Sequence[str]) -> str:
    """The seed study's own number beside the whole set's, at each trial's last evaluation; empty without one."""
    scored = [trial for trial in trials if trial.reports and "mig_seed_study" in trial.reports[-1]]
    if not scored:
        return ""
    header = ["beta", "step", "own rows", *factor_names, "whole set", *factor_names]
    rows = [header] + [_seed_study_row(trial, factor_names) for trial in sorted(scored, key=lambda t: t.config.beta)]
    return (
        "\nmig by 20 equal-mass bins on the first 5,000 images, as the seed study took it (0 where a factor never "
        f"varies),\nbeside mig by 20 equal-width bins on 10,000 images of the whole set:\n{_align(rows)}"
    )


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Columns to the right, the last one, which is long, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append("  ".join([*map(str.rjust, cells, widths), last]))
    return "\n".join(lines)


def _seed_study_row(trial: Trial, factor_names: Sequence[str]) -> list[str]:
    last = trial.reports[-1]
    own = [f"{last[f'mig_seed_study/{name}']:.4f}" for name in factor_names]
    whole = [f"{last[f'mig/{name}']:.4f}" for name in factor_names]
    own_score, whole_score = f"{last['mig_seed_study']:.4f}", f"{last['mig']:.4f}"
    return [f"{trial.config.beta:g}", f"{last['step']}", own_score, *own, whole_score, *whole]


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


def _axis(axis: Any) -> str:
    return " ".join(f"{value:g}" for value in axis) if isinstance(axis, tuple) else str(axis)


def _describe_scheduler(options: Options) -> str:
    name, grace, steps = options.search.scheduler, options.grace_steps, options.trial.steps
    if name == "none":
        return "each run to its end"
    if grace >= steps:
        return f"{name}, which stops none: it may from {grace} steps on, and trials end at {steps}"
    return f"{name}, which may stop one from {grace} steps on"
