"""What a person sees of a sweep: the plan, a line per trial, the table, and TensorBoard's curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune
from torch.utils.tensorboard import SummaryWriter

from betavae.analysis.results import Trial, ranked
from betavae.config import TrialConfig
from betavae.data import DSprites
from sweeps.cluster import Resources
from sweeps.options import Options
from sweeps.search import METRIC, num_trials

_CURVES = ("mig", "loss/", "active_units", "images_per_second")


def describe_plan(options: Options, *, resources: Resources, data: DSprites, folder: Path) -> str:
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
        f"results    {folder}",
    ]
    return "\n".join(lines)


class TrialLog(tune.Callback):
    """Prints a line when a trial ends, with the best so far; knows afterwards how each ended.

    Attributes:
        num_planned: Trials in all.
        num_ended: Trials that ran to their end, were stopped by the scheduler, or failed.
        failed: Why, by trial.
    """

    def __init__(self, num_planned: int) -> None:
        self.num_planned, self.num_ended = num_planned, 0
        self.failed: dict[str, str] = {}
        self._stopped: dict[str, int] = {}
        self._best: dict[str, float] = {}

    def outcome(self) -> dict[str, Any]:
        """How the search ended, for the sweep's record."""
        how = "done" if self.num_ended == self.num_planned else "interrupted"
        return {"search": how, "ended": self.num_ended, "stopped_at_step": self._stopped, "failed": self.failed}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Remember a trial's best score."""
        self._best[trial.trial_id] = max(result[METRIC], self._best.get(trial.trial_id, 0.0))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how a trial ended that did not fail."""
        config, step = TrialConfig.from_dict(trial.config), trial.last_result["step"]
        if step < config.steps:
            self._stopped[trial.trial_id] = step
        how = "finished" if step >= config.steps else f"stopped at {step}"
        values = f"beta {config.beta:<6.4g} z {config.latent_size:<3} lr {config.lr:<8.3g}"
        self._print(trial, f"{values} {how:<16} mig {self._best[trial.trial_id]:.3f}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say why a trial failed, and where its traceback is."""
        # where Ray has written it by now; it is copied to the trial's own folder a little later
        reason = Path(trial.error_file).read_text().rstrip().rpartition("\n")[2]
        self.failed[trial.trial_id] = reason
        self._print(trial, f"FAILED: {reason} (traceback: {trial.path}/error.txt)")

    def _print(self, trial: Any, text: str) -> None:
        self.num_ended += 1
        count = f"[{self.num_ended}/{self.num_planned}]"
        best = max(self._best, key=lambda name: self._best[name], default=None)
        so_far = f"   best so far {self._best[best]:.3f} ({best})" if best else ""
        print(f"{count:>8} {trial.trial_id}  {text}{so_far}", flush=True)


class TensorBoardCurves(tune.Callback):
    """Writes each trial's numbers, under their own names, into the trial's folder."""

    def __init__(self) -> None:
        self._writers: dict[str, SummaryWriter] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Add a point to every curve."""
        if trial.trial_id not in self._writers:
            self._writers[trial.trial_id] = SummaryWriter(trial.path)
        writer = self._writers[trial.trial_id]
        for name, value in result.items():
            if name.startswith(_CURVES):
                writer.add_scalar(name, value, result["step"])
        writer.flush()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's curves."""
        self._close(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's curves."""
        self._close(trial)

    def _close(self, trial: Any) -> None:
        writer = self._writers.pop(trial.trial_id, None)
        if writer is not None:
            writer.close()


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
