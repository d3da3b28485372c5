"""What a sweep can be asked for: typed options, whose docstrings are the `--help`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from betavae.config import PARTS
from betavae.errors import InputError, ParameterError
from betavae.metrics import METRICS
from sweeps.options.fields import flag, option, options_of
from sweeps.search.space import Range, Space, ends

PresetName = Literal["quick", "full", "seed-study"]
Search = Literal["grid", "random", "optuna"]
Sampler = Literal["tpe", "gp", "qmc", "random"]
Scheduler = Literal["none", "asha", "median", "hyperband", "percentile"]
Origin = Literal["default", "preset", "sweep", "file", "command line"]

EMERGENCE_IMAGES = 48_000
"""Images after which a trial's `mig` ranks it. Its rank correlation with the score at 96,000 images is 0.12 at 16,000,
0.76 at 32,000 and 0.98 at 48,000 (measured with batches of 32). It is the default grace of a stopping rule."""

_NUM_SEEDS = 5

MAX_SEEDS = 1_000
"""Seeds that one configuration may be trained with."""

MAX_TRIALS = 500_000
"""Trials of a search."""

SEEDS_PER_SWEEP = 1_000_000
"""A sweep's trials have seeds from this many times its own on, so that no two sweeps share one."""

MAX_SEED = 2**63 // SEEDS_PER_SWEEP - 1
"""A sweep's largest seed: its trials' seeds must be below 2**63."""


@dataclass(frozen=True)
class SweepOptions:
    """The sweep: where it is kept, and what is shown of it."""

    preset: PresetName | None = option(None, resume="fixed")
    """Values for all options that are not given. `quick`: minutes on two cores; `full`: the field's sizes, for GPUs;
    `seed-study`: the study that this lab corrects. Default: `quick` without a GPU, `full` with one."""

    config: Path | None = option(None, is_recorded=False, metavar="FILE")
    """Read options from this file, under the names they have here, in tables or not: TOML, or a sweep's `sweep.json`,
    which asks for the same sweep again. The command line overrides the file."""

    dry_run: bool = option(False, is_recorded=False)
    """Print every option and its origin, and time and disk estimated from three seconds of training; start and write
    nothing. With `--address`, join the cluster to ask what it has."""

    name: str | None = option(None, resume="fixed")
    """Name of this sweep's folder below `--results`; it must not exist. Default: the preset and the time."""

    results: str = option("results", resume="fixed", metavar="FOLDER")
    """Where sweeps are kept: a folder, or a URL such as s3://BUCKET/FOLDER, with its keys in the environment."""

    resume: str | None = option(None, is_recorded=False, metavar="FOLDER")
    """Resume the sweep in this folder or at this URL. No option may change the study; `--trials`, `--confirm` and
    `--seeds` may be raised."""

    retry_failed: bool = option(False, is_recorded=False)
    """With `--resume`: run the failed trials again, from their latest checkpoints."""

    report: bool = option(True)
    """Write the report, `report/index.html`, when the sweep ends."""

    loggers: tuple[str, ...] | None = option(None, metavar="NAME")
    """What follows the trials while they run: `terminal` prints a line for each that ends, `tensorboard` writes curves
    and pictures. Default: all."""

    quiet: bool = option(False, is_recorded=False)
    """Print the final table and errors only."""

    verbose: bool = option(False, is_recorded=False)
    """Print a line for every start and every report too."""

    seed: int = option(0, letter="s", least=0, most=MAX_SEED, resume="fixed")
    """Fixes the search, and the seed of every trial, which fixes its initial weights, order of images and noise."""


@dataclass(frozen=True)
class ResourceOptions:
    """The resources: what the sweep may use."""

    address: str | None = option(None, metavar="HOST:PORT")
    """Join a Ray cluster: `auto` for the one of this machine, or HOST:PORT. Default: start a Ray on this machine."""

    num_gpus: int | None = option(None, least=0)
    """GPUs in all. With 0, trials run on CPUs, one core and one thread each. On a cluster it may be more than there are
    now: machines that join later are used. Default: every GPU there is."""

    trials_per_gpu: int = option(1, least=1)
    """Trials that share a GPU; these models fill only part of one."""

    num_cpus: int | None = option(None, least=1)
    """CPU cores in all. Default: all that this process may use, by its affinity and its control group's quota."""


@dataclass(frozen=True)
class SearchOptions:
    """The search: which trials are tried, and which are stopped early."""

    search: Search = option("grid", resume="fixed")
    """`grid`: every combination of the values; `random`: drawn from values and ranges; `optuna`: proposed by
    `--sampler`, which learns from the trials so far."""

    sampler: Sampler = option("tpe", resume="fixed")
    """With `--search optuna`: `tpe`, a tree-structured Parzen estimator; `gp`, a Gaussian process; `qmc`, a
    low-discrepancy sequence; `random`."""

    trials: int | None = option(None, least=1, most=MAX_TRIALS, resume="raise")
    """Number of configurations. Default: all points of a grid. If a grid has more points, so many are drawn."""

    repeats: int | None = option(None, least=1, most=MAX_SEEDS, resume="fixed")
    """Train every configuration with the same N seeds, so that configurations can be compared in pairs. Default: train
    each once, with a seed of its own."""

    scheduler: Scheduler = option("none", resume="fixed")
    """`none`: every trial runs to its end; `asha`: stop a trial at a rung if it is below the best third of those before
    it; `median`: stop a trial below the median of the others; `hyperband`, `percentile`: by Optuna's pruners."""

    grace_steps: int | None = option(None, least=1, resume="fixed")
    """Steps before which no trial is stopped. Default: 48,000 images, before which scores hardly rank trials, or half
    of the steps if that is less."""

    rank_by: str = option("mig", resume="fixed", metavar="SCORE")
    """The score that search, stopping rule, ranking and confirmation use."""


@dataclass(frozen=True)
class ConfirmOptions:
    """The confirmation: the best are trained again, with seeds that took no part in the choice."""

    confirm: int | None = option(None, least=1, resume="raise")
    """After the search, train this many of the best configurations again, each with the same `--seeds` new seeds and
    to the end. The result of one is the median over these."""

    seeds: int | None = option(None, least=1, most=MAX_SEEDS, resume="raise")
    """With `--confirm`: new seeds of each configuration that is confirmed. Default: 5."""


@dataclass(frozen=True)
class ReportOptions:
    """The report: what it shows."""

    top: int = option(3, least=1)
    """Show this many of the best models, beside the median and the worst."""

    exact: int = option(1, least=0)
    """Compute the exact MIG of this many of the best models, from the full posterior of all images: about a minute each
    on two cores, kept in the checkpoint; of a confirmed configuration for each of its seeds. 0 for none."""

    def check(self) -> None:
        """Refuse what is impossible.

        Raises:
            InputError: Naming the option, what must hold, and what came.
        """
        check_limits(self)


@dataclass(frozen=True)
class AnalysisOptions:
    """Write one offline page of a sweep, with its figures (PNG and PDF), its table (CSV) and a summary (JSON).

    It reads the sweep's folder alone: a sweep that has ended, that runs or that was killed, or a copy on another
    machine. Exit codes: 0 done; 2 bad input, nothing written.
    """

    folder: str
    output: Path | None = option(None, metavar="FOLDER")
    """Write the report here: a new folder, or an earlier report, which is replaced. Default: `report` in the sweep's
    folder."""

    export: Path | None = option(None, metavar="FOLDER")
    """Also write the best model to this new folder: weights, config, scores, a card and a script that draws it."""

    report: ReportOptions = field(default_factory=ReportOptions)


@dataclass(frozen=True)
class Options:
    """Train VAEs on a data set whose factors are known, and rank them by a score of disentanglement.

    Each trial trains one model, scores it on 10,000 images of the whole set, and leaves a folder from which it can be
    resumed, scored again and drawn. A preset gives the values of all options that the command line does not.

    Exit codes: 0 done; 1 a trial, the report or the storage failed, or a bug; 2 bad
    input, nothing started; 129, 130, 143 interrupted.
    """

    sweep: SweepOptions = field(default_factory=SweepOptions)
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    space: Space = field(default_factory=Space)
    confirm: ConfirmOptions = field(default_factory=ConfirmOptions)
    report: ReportOptions = field(default_factory=ReportOptions)
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)

    @property
    def tried(self) -> tuple[str, ...]:
        """What the trials may differ in, by name: parts, then parameters."""
        kinds = [kind for kind in PARTS if len(self.space.names_of(kind)) > 1]
        return tuple(dict.fromkeys([*kinds, *(name for branch in self.space.branches() for name in branch.tried)]))

    @property
    def num_seeds(self) -> int:
        """New seeds of each configuration that is confirmed, decided."""
        return _NUM_SEEDS if self.confirm.seeds is None else self.confirm.seeds

    @property
    def max_steps(self) -> int:
        """Steps of the longest trial."""
        return max(self._numbers("steps"))

    @property
    def grace_steps(self) -> int:
        """Steps before which no trial is stopped, decided: for the smallest batch, if there are several."""
        asked = self.search.grace_steps
        ranked_from = math.ceil(EMERGENCE_IMAGES / min(self._numbers("batch_size")))
        return min(ranked_from, math.ceil(self.max_steps / 2)) if asked is None else asked

    def _numbers(self, name: str) -> tuple[int, ...]:
        axis = self.space.axis(name)
        assert axis is not None  # every trial has it
        return tuple(map(int, ends(axis)))

    def check(self) -> None:
        """Refuse what can be refused without looking at the machine.

        Raises:
            InputError: Naming the option, what must hold, what came, and the fix.
        """
        for group in GROUPS:
            check_limits(getattr(self, group))
        self._check_confirm()
        _check_name(self.sweep.name)
        if self.sweep.retry_failed and self.sweep.resume is None:
            raise InputError("--retry-failed needs --resume, the folder of the sweep whose trials failed.")
        if self.sweep.quiet and self.sweep.verbose:
            raise InputError("--quiet and --verbose cannot both hold; give one of them.")
        try:
            self.space.check()
        except ParameterError as error:
            raise InputError(f"{flag(error.name)} {error.requirement}") from error
        self._check_search()
        _check_rank_by(self.search.rank_by)

    def _check_confirm(self) -> None:
        if self.confirm.seeds is not None and self.confirm.confirm is None:
            raise InputError(
                f"--seeds {self.confirm.seeds} needs --confirm, the number of configurations that get them; to train "
                "every configuration of the search with several seeds give --repeats."
            )

    def _check_search(self) -> None:
        for name, axis in self.space.resolved().axes.items():
            if self.search.search == "grid" and isinstance(axis, Range):
                raise InputError(
                    f"--search grid needs values, but {flag(name)} is the range {axis}; give values or take "
                    "--search random."
                )
        if self.search.search != "grid" and self.search.trials is None:
            raise InputError(f"--search {self.search.search} needs --trials, the number of configurations to draw.")


GROUPS = ("sweep", "resources", "search", "confirm", "report")
"""The groups of options whose names are fixed; the others are the parameters of a trial."""


def check_limits(group: Any) -> None:
    """Refuse an option outside its limits.

    Raises:
        InputError: Naming the option, what must hold, and what came.
    """
    for name, each in options_of(type(group)).items():
        each.check(getattr(group, name))


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name must be a folder's name of letters, digits, '.', '-' and '_', but got {name!r}.")


def _check_rank_by(name: str) -> None:
    known = [each for each, metric in METRICS.items() if metric.can_rank()]
    if name not in known:
        raise InputError(f"--rank-by must be one of {', '.join(known)}, but got {name!r}.")
