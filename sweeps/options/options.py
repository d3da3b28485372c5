"""What a sweep can be asked for: typed options. Their docstrings are the `--help`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from betavae.config import NUM_IMAGES, Architecture, Objective, Precision, TrialConfig
from sweeps.search.axes import AXES, Axis, Range, axis_argument, check_axis

PresetName = Literal["quick", "full", "seed-study"]
Search = Literal["grid", "random", "optuna"]
Scheduler = Literal["none", "asha", "median"]

EMERGENCE_IMAGES = 48_000
"""From so many images on a trial's `mig` ranks it: its rank correlation with the score at 96,000 images is 0.12 at
16,000, 0.76 at 32,000 and 0.98 at 48,000 (measured with batches of 32). A scheduler's grace where none is asked for."""

_NUM_SEEDS = 5

MAX_SEEDS = 1_000
"""New seeds that one configuration may be confirmed with."""

MAX_SEED = 2**63 // 1_000_000 - 1
"""A sweep's largest seed: each of its million trials' seeds, which follow from it, must be below 2**63."""


@dataclass(frozen=True)
class SweepOptions:
    """Where the sweep goes and what it draws its randomness from."""

    preset: PresetName | None = None
    """Values for all options that are not given. `quick`: minutes on two cores; `full`: the field's sizes, for GPUs;
    `seed-study`: the study this lab corrects. Without: quick where there is no GPU, full where there is one."""

    config: Path | None = None
    """Take options from this file, under the names they have here, in tables or not: TOML, or a sweep's `sweep.json`,
    which asks for the same sweep again. What the command line says comes first."""

    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Say what would be done, option by option, with time and disk from three seconds of training; start nothing, and
    write nothing. With `--address` the cluster is joined to ask what it has."""

    name: str | None = None
    """Folder of this sweep below `--results`; it must not exist. Without: the preset and the time."""

    results: str = "results"
    """Where sweeps are kept: a folder, or a URL such as s3://BUCKET/FOLDER, with its keys in the environment."""

    resume: str | None = None
    """Go on with the sweep in this folder or at this URL. No option may change the study; `--trials` may be
    raised."""

    retry_failed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With `--resume`: run the failed trials again, from their latest checkpoints."""

    report: bool = True
    """Write the report, `report/index.html`, when the sweep has ended."""

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the table of the end and errors, and nothing before."""

    verbose: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a line for every start and every report too."""

    seed: Annotated[int, tyro.conf.arg(aliases=["-s"])] = 0
    """Fixes the search and, trial by trial, initial weights, order of images and noise."""


@dataclass(frozen=True)
class ResourceOptions:
    """What the sweep may use."""

    address: str | None = None
    """Join a Ray cluster: `auto` for that of this machine, or HOST:PORT. Without: a Ray of this sweep's own, here."""

    num_gpus: int | None = None
    """GPUs in all. Without: every GPU there is. With 0 trials run on CPUs, one core and one thread each. On a cluster
    it may be more than there is now: machines that join later are used."""

    trials_per_gpu: int = 1
    """Trials that share a GPU; these models fill only part of one."""

    num_cpus: int | None = None
    """CPU cores in all. Without: all that this process may use, by its affinity and its control group's quota."""


@dataclass(frozen=True)
class SearchOptions:
    """Which trials are tried, and which go on."""

    beta: Annotated[Axis, axis_argument(float)] = (1.0, 4.0, 10.0)
    """Weight of the KL term, or of the part that `--objective` takes of it: values, or a log-uniform range."""

    latent_size: Annotated[Axis, axis_argument(int), tyro.conf.arg(aliases=["-z"])] = (10,)
    """Number of latents: values, or a log-uniform range."""

    lr: Annotated[Axis, axis_argument(float)] = (1e-3,)
    """Adam's learning rate: values, or a log-uniform range."""

    search: Search = "grid"
    """`grid`: every combination of the values; `random`: drawn from values and ranges; `optuna`: TPE, which learns from
    the trials so far."""

    trials: int | None = None
    """Number of trials. Without, a grid is tried once. With fewer trials than a grid has points, the points are drawn;
    with more, they are tried again with new seeds."""

    scheduler: Scheduler = "none"
    """`none`: every trial runs to its end; `asha`: at each rung a trial stops that is below the best third of those
    before it; `median`: a trial below the median of the others stops."""

    grace_steps: int | None = None
    """Steps before a scheduler may stop a trial. Without: 48,000 images, before which scores rank little, or half of
    the steps if that is less."""


@dataclass(frozen=True)
class TrialOptions:
    """How each trial is trained."""

    architecture: Architecture = "burgess"
    """`burgess`: the literature's network. `conv3`: the seed study's."""

    objective: Objective = "beta-vae"
    """The loss. `beta-vae`: beta weighs the whole KL term. `beta-tcvae`: it weighs the total correlation alone,
    which is estimated from one batch: take 128 images or more (docs/results.md)."""

    steps: int = 6_000
    """Optimizer steps of a trial that is not stopped."""

    batch_size: Annotated[int, tyro.conf.arg(aliases=["-b"])] = 64
    """Images per step."""

    eval_every: int | None = None
    """Steps between evaluations; each scores, reports and writes a checkpoint. Without: a quarter of the steps."""

    images: int = NUM_IMAGES
    """Train on the first so many images in file order: fewer than all only to study that flaw."""

    precision: Precision = "auto"
    """Arithmetic of the convolutions. `auto`: bfloat16 where the device computes in it, else float32."""

    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compile the networks with torch.compile."""


@dataclass(frozen=True)
class ConfirmOptions:
    """Whether the best are trained again, with seeds that took no part in the choice."""

    confirm: int | None = None
    """After the search, train so many of the best configurations again, each with `--seeds` new seeds and to the end.
    What is then said of one is the median over these. It may be asked for, or raised, when a sweep is resumed."""

    seeds: int | None = None
    """With `--confirm`: new seeds for each configuration that is confirmed. Without: 5. It may be raised when a sweep
    is resumed."""


@dataclass(frozen=True)
class ReportOptions:
    """What the report shows."""

    top: int = 3
    """How many of the best models it shows, beside the median and the worst."""

    exact: int = 1
    """Of how many of the best it also gives the exact MIG, from the full posterior of all 737,280 images: about a
    minute each on two cores, kept in the checkpoint; of a confirmed configuration for each of its seeds. 0 for none."""

    def check(self) -> None:
        """Refuse what is impossible.

        Raises:
            ValueError: Naming the option, what must hold, and what came.
        """
        _at_least("--top", self.top, 1)
        _at_least("--exact", self.exact, 0)


@dataclass(frozen=True)
class AnalysisOptions:
    """Write one offline page of a sweep, with its figures (PNG and PDF), its table (CSV) and a summary (JSON).

    It reads the sweep's folder alone: of a sweep that has ended, runs still or was killed, or a copy on another
    machine. Exit codes: 0 done, 2 bad input and nothing written.
    """

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """The sweep's, `results/NAME`, or its URL."""

    output: Path | None = None
    """Where the report goes: a new folder or an earlier report, which is replaced. Without: `report` in the sweep's."""

    export: Path | None = None
    """Also write the best model there, to give away: weights, config, scores, a card and a script that draws it."""

    report: ReportOptions = field(default_factory=ReportOptions)


@dataclass(frozen=True)
class Options:
    """Sweep beta-VAEs on dSprites and rank them by their Mutual Information Gap.

    Each trial trains one model, scores it on 10,000 images of the whole set, and leaves a folder that can be resumed,
    judged and drawn. Exit codes: 0 done; 1 a trial, the report or the storage failed; 2 bad input and nothing
    started; 129/130/143 interrupted.
    """

    sweep: SweepOptions = field(default_factory=SweepOptions)
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    trial: TrialOptions = field(default_factory=TrialOptions)
    confirm: ConfirmOptions = field(default_factory=ConfirmOptions)
    report: ReportOptions = field(default_factory=ReportOptions)

    @property
    def eval_every(self) -> int:
        """Steps between evaluations, decided."""
        return math.ceil(self.trial.steps / 4) if self.trial.eval_every is None else self.trial.eval_every

    @property
    def num_seeds(self) -> int:
        """New seeds of each configuration that is confirmed, decided."""
        return _NUM_SEEDS if self.confirm.seeds is None else self.confirm.seeds

    @property
    def grace_steps(self) -> int:
        """Steps before a scheduler may stop a trial, decided."""
        asked = self.search.grace_steps
        ranked_from = min(math.ceil(EMERGENCE_IMAGES / self.trial.batch_size), math.ceil(self.trial.steps / 2))
        return ranked_from if asked is None else asked

    def trial_values(self) -> dict[str, Any]:
        """The fields of TrialConfig that all trials share."""
        shared = self.trial
        return {
            "architecture": shared.architecture,
            "objective": shared.objective,
            "steps": shared.steps,
            "batch_size": shared.batch_size,
            "eval_every": self.eval_every,
            "images": shared.images,
            "precision": shared.precision,
            "compile": shared.compile,
        }

    def check(self) -> None:
        """Refuse what can be refused without looking at the machine.

        Raises:
            ValueError: Naming the option, what must hold, what came, and the fix.
        """
        _at_least("--trials-per-gpu", self.resources.trials_per_gpu, 1)
        _at_least("--num-gpus", self.resources.num_gpus, 0)
        _at_least("--num-cpus", self.resources.num_cpus, 1)
        _at_least("--trials", self.search.trials, 1)
        _at_least("--grace-steps", self.search.grace_steps, 1)
        if not 0 <= self.sweep.seed <= MAX_SEED:
            raise ValueError(f"--seed must be in 0 .. {MAX_SEED}, but got {self.sweep.seed}.")
        _at_least("--confirm", self.confirm.confirm, 1)
        if not 1 <= self.num_seeds <= MAX_SEEDS:
            raise ValueError(f"--seeds must be in 1 .. {MAX_SEEDS}, but got {self.num_seeds}.")
        if self.confirm.seeds is not None and self.confirm.confirm is None:
            raise ValueError(
                f"--seeds {self.confirm.seeds} needs --confirm, the number of configurations that get them; for more "
                "seeds in a grid search give --trials, a multiple of its points."
            )
        _check_name(self.sweep.name)
        if self.sweep.retry_failed and self.sweep.resume is None:
            raise ValueError("--retry-failed needs --resume, the folder of the sweep whose trials failed.")
        if self.sweep.quiet and self.sweep.verbose:
            raise ValueError("--quiet and --verbose cannot both hold; give one of them.")
        self.report.check()
        for name in AXES:
            check_axis(flag(name), getattr(self.search, name))
        self._check_search()
        self._check_trials()

    def _check_search(self) -> None:
        ranges = [name for name in AXES if isinstance(getattr(self.search, name), Range)]
        if self.search.search == "grid" and ranges:
            axis = flag(ranges[0])
            raise ValueError(
                f"--search grid needs values, but {axis} is the range {getattr(self.search, ranges[0])}; "
                f"give values ({axis} 1 4 10) or take --search random."
            )
        if self.search.search != "grid" and self.search.trials is None:
            raise ValueError(f"--search {self.search.search} needs --trials, the number of trials to draw.")

    def _check_trials(self) -> None:
        """Build the config at every corner of the search space, so that an impossible one fails here."""
        for name in AXES:
            axis = getattr(self.search, name)
            for value in (axis.low, axis.high) if isinstance(axis, Range) else axis:
                self._check_trial({name: value})

    def _check_trial(self, values: dict[str, Any]) -> None:
        try:
            TrialConfig.from_dict(values | self.trial_values())
        except ValueError as error:
            name, _, what = str(error).partition(" ")
            raise ValueError(f"{flag(name)} {what}") from error


def flag(name: str) -> str:
    """How an option is written on the command line."""
    return "--" + name.replace("_", "-")


def _at_least(flag: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{flag} must be at least {least}, but got {value}.")


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"--name must be a folder's name of letters, digits, '.', '-' and '_', but got {name!r}.")
