"""Typed options of a sweep. The docstrings of classes and fields are the `--help`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from betavae.config import PARTS
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.metrics import METRICS
from betavae.metrics.mig_part import MigExactPart
from betavae.metrics.registry import ALL, LIVE, is_likelihood
from betavae.records.trial import RANK_BY
from betavae.selection.rules import Among, UdrLassoRule, UdrRule, find_rule, rule_names
from sweeps.options.fields import errors_naming_flags, flag, option, options_of
from sweeps.search.space import Range, Space, axis_text, ends

PresetName = Literal["quick", "full", "seed-study", "methods", "methods-small"]
Search = Literal["grid", "random", "optuna"]
Sampler = Literal["tpe", "gp", "qmc", "random"]
Scheduler = Literal["none", "asha", "median", "hyperband", "percentile"]
Origin = Literal["default", "preset", "sweep", "file", "command line"]

EMERGENCE_IMAGES = 96_000
"""Training images after which `mig` ranks trials; the default grace of a stopping rule. Over 54 trials of six
objectives, its rank correlation with `mig_exact` after 384,000 images is 0.52 at 48,000 and 0.82 at 96,000 images."""

_GRACE_PART = 3
"""The default grace is at most the steps divided by this: a trial that is stopped has then saved two thirds of them."""

_NUM_SEEDS = 5

MAX_SEEDS = 1_000
"""The most seeds of one configuration."""

MAX_TRIALS = 500_000
"""The most trials of a search."""

SEEDS_PER_SWEEP = 1_000_000
"""The seeds of a sweep's trials start at the sweep's seed times this number, so that no two sweeps share a seed."""

MAX_SEED = 2**63 // SEEDS_PER_SWEEP - 1
"""The largest seed of a sweep: the seeds of its trials must be below 2**63."""


@dataclass(frozen=True)
class SweepOptions:
    """The sweep: folder, record and output."""

    preset: PresetName | None = option(None, resume="fixed")
    """Take the values of all other options from this preset, unless given. `quick`: minutes on two cores; `full`:
    training lengths and model sizes of the literature, for GPUs; `seed-study`: the study that this project corrects;
    `methods`: six objectives as in the literature, for GPUs; `methods-small`: six objectives in hours on two cores.
    Default: `quick` without a GPU, `full` with a GPU."""

    config: Path | None = option(None, is_recorded=False, metavar="FILE")
    """Read options from this file: TOML with the option names of this help, with or without tables; or the `sweep.json`
    of a sweep, to run the same sweep again. Or read a study that comes with this package, by its name: `beta-tcvae`,
    `beta-tcvae-batch-128`, `beta-tcvae-choice`, `beta-tcvae-few-latents`, `beta-tcvae-label-free`,
    `beta-tcvae-relaxed`, `beta-tcvae-starts`, `beta-tcvae-straight`, `beta-vae`, `beta-vae-relaxed`, `search`. The
    command line overrides the file; the file's values of what it turns off, or of a part that it replaces, have no
    effect."""

    dry_run: bool = option(False, is_recorded=False)
    """Print every option with its origin, and an estimate of time and disk space from three seconds of training. Start
    no trial and write nothing. With `--address`, join the cluster to read its resources."""

    name: str | None = option(None, resume="fixed")
    """Name of the sweep's folder in `--results`; the folder must not exist. Default: preset and time."""

    results: str = option("results", resume="fixed", metavar="FOLDER")
    """Folder that holds the sweeps' folders, or its URL, such as s3://BUCKET/FOLDER, with keys in the environment."""

    data_root: str | None = option(None, metavar="FOLDER")
    """Folder that holds the official files of data sets, such as `3dshapes/3dshapes.h5`. Default: the folder that
    $DISENTANGLEMENT_LIB_DATA names."""

    resume: str | None = option(None, is_recorded=False, metavar="FOLDER")
    """Resume the sweep in this folder or at this URL. Options that define the study must stay the same; `--trials`,
    `--confirm` and `--seeds` may be raised."""

    retry_failed: bool = option(False, is_recorded=False)
    """With `--resume`: run the failed trials again, from their latest checkpoints."""

    report: bool = option(True)
    """Write the report, `report/index.html`, when the sweep ends."""

    loggers: tuple[str, ...] | None = option(None, metavar="NAME")
    """Loggers to use while trials run. `terminal`: print a line when a trial ends; `tensorboard`: write curves and
    pictures; and those of `--track`. Default: `terminal` and `tensorboard`."""

    track: tuple[str, ...] | None = option(None, metavar="NAME")
    """Add these trackers to the loggers: `wandb` (Weights & Biases), `mlflow`. Each writes every trial as a run of a
    group per sweep, and is configured by its own environment variables, such as WANDB_MODE and MLFLOW_TRACKING_URI.
    Without a name: none, to resume a sweep without its trackers."""

    quiet: bool = option(False, is_recorded=False)
    """Print only the final table, the best trial and errors."""

    verbose: bool = option(False, is_recorded=False)
    """Also print a line at every start and every report of a trial."""

    seed: int = option(0, letter="s", least=0, most=MAX_SEED, resume="fixed")
    """Seed of the search; the seeds of all trials follow from it. A trial's seed determines its initial weights, its
    order of images and its noise."""

    @property
    def location(self) -> str:
        """The folder or URL that the results go to: of the resumed sweep, or of all sweeps."""
        return self.resume or self.results


@dataclass(frozen=True)
class ResourceOptions:
    """The resources: machines, GPUs and CPU cores."""

    address: str | None = option(None, metavar="HOST:PORT")
    """Join the Ray cluster at this address; `auto` for the cluster of this machine. Default: start Ray on this machine
    alone."""

    num_gpus: int | None = option(None, least=0)
    """Total number of GPUs. With 0, trials train on the CPU, `--cpus-per-trial` cores each. On a cluster, the number
    may exceed the present GPUs: machines that join later are used. Default: all GPUs."""

    trials_per_gpu: int | Literal["auto"] = option(1, least=1)
    """Number of trials that share a GPU; one of these models does not fill a GPU. `auto`: measure the costliest trial,
    alone and with others, for about a minute before the trials; on this machine alone."""

    cpus_per_trial: int = option(1, least=1)
    """CPU cores of a trial. On the CPU it trains in as many threads, which changes the last bits of its results."""

    num_cpus: int | None = option(None, least=1)
    """Total number of CPU cores. Default: all cores that this process may use, by its affinity and its control group's
    quota."""


@dataclass(frozen=True)
class SearchOptions:
    """The search: which trials run, and which are stopped early."""

    search: Search = option("grid", resume="fixed")
    """`grid`: try every combination of the values; `random`: draw from values and ranges; `optuna`: let `--sampler`
    propose configurations, from the scores so far, of one data set."""

    sampler: Sampler = option("tpe", resume="fixed")
    """With `--search optuna`: `tpe`, a tree-structured Parzen estimator; `gp`, a Gaussian process; `qmc`, a
    low-discrepancy sequence; `random`."""

    trials: int | None = option(None, least=1, most=MAX_TRIALS, resume="raise")
    """Number of configurations. From a larger grid, this many points are drawn. Default: all points of the grid."""

    repeats: int | None = option(None, least=1, most=MAX_SEEDS, resume="fixed")
    """Train every configuration with the same N seeds, so that configurations can be compared in pairs. Default: train
    each configuration once, with a seed of its own."""

    scheduler: Scheduler = option("none", resume="fixed")
    """Rule that stops trials early. `none`: stop none; `asha`: at each rung (grace, 3 x grace, 9 x grace ... steps),
    stop a trial below the best third of the trials that reached the rung before it; `median`: stop a trial below the
    median of the others; `hyperband`, `percentile`: use Optuna's pruners. A trial is compared with trials of its own
    data set."""

    grace_steps: int | None = option(None, least=1, resume="fixed")
    """Number of steps before which no trial is stopped. Default: the steps of 96,000 images, before which scores
    predict the final ranking badly, or a third of all steps if that is less."""

    rank_by: str = option(RANK_BY, resume="fixed", metavar="SCORE")
    """Score by which the search and the stopping rule go: `mig`, `mig_quantile`, or one of `--live-scores`. If it is
    given, and `--select` is not, its highest value during training also chooses, ranks and confirms models. With a
    `--select` that looks at no factor, the default is `elbo`."""

    live_scores: tuple[str, ...] | None = option(None, resume="fixed", metavar="SCORE")
    """Take these scores too at every evaluation, beside `mig`, `mig_quantile` and `active_units`. Seconds of each on
    one core: `total_correlation` 0.01, `mig_dent` 0.03, `modularity` 0.03, `sap_continuous` 0.03, `irs` 0.06,
    `factor_vae_score` 0.2, `beta_vae_score` 0.4, `mig_exact_part` 2, `elbo` 2, `sap` 2, `explicitness` 4, `infomec` 7;
    `sap` and `explicitness` encode 15,000 images more, `mig_exact_part` 92,160 of dSprites. The score of `--rank-by` is
    taken in any case."""

    final_scores: tuple[str, ...] | None = option(None, resume="fixed", metavar="SCORE")
    """Take these scores too at the end of a trial's training, of its final model. On dSprites `mig_exact` takes 2
    minutes of a core, and about 3 seconds with a GPU; `mig_exact_part`, a screen for it, takes an eighth. Without a
    name: none. Default: `mig_exact`; with the presets `quick` and `seed-study` `mig_exact_part`; none where models are
    chosen without labels."""


@dataclass(frozen=True)
class ConfirmOptions:
    """The confirmation: train the best configurations again, with seeds that took no part in their selection."""

    confirm: int | None = option(None, least=0, resume="raise")
    """After the search, train this many of the best configurations of each data set again for all steps, each with the
    same `--seeds` new seeds. The result of a configuration is its median score over these seeds. Default: 0, none."""

    seeds: int | None = option(None, least=1, most=MAX_SEEDS, resume="raise")
    """With `--confirm`: number of new seeds of each configuration. Default: 5."""


@dataclass(frozen=True)
class ReportOptions:
    """The choice of models, and the report: its content."""

    select: str | None = option(None, resume="fixed", metavar="RULE")
    """Rule that chooses models: those that are confirmed, exported, shown and called best. Without labels: `udr` and
    `udr-lasso` choose models that encode images as others do, `cross-mig` models whose latents have most information
    in common with those of others, one to one, `model-centrality` models whose latents identify those of others, `elbo`
    models that explain images. Then nothing in the sweep looks at a factor. With labels: a score of the models at their
    end, such as `mig_exact`. Default: the first of `--final-scores`. If there is none, or `--rank-by` is given: the
    highest score of `--rank-by` during training."""

    udr_among: Among | None = option(None, resume="fixed")
    """With `--select udr`: compare a model with the other seeds of its `setting`, or with `all` other models. Default:
    `setting` if two models or more of every setting ran all their steps, else `all`."""

    udr_min_kl: float | None = option(None, least=0, most=100, resume="fixed", metavar="NATS")
    """With `--select udr`: leave out latents whose KL, averaged over the images, is at most this. Default: 0.01. Raise
    it where latents that hold nothing have more, as they do where the KL has a small weight: the page names the KL of
    each latent."""

    scores: tuple[str, ...] | None = option(None, metavar="SCORE")
    """Take these scores of the models, or `all`, and store them in the checkpoints: `mig_chen`, `mig_dent`,
    `beta_vae_score`, `factor_vae_score`, `dci`, `sap`, `sap_continuous`, `modularity`, `explicitness`, `irs`,
    `infomec`, `total_correlation`, `elbo`. On two cores `dci` takes minutes a model, all others together less than one,
    and to encode the images for `mig_exact` and `mig_chen` about two."""

    top: int | None = option(None, least=1)
    """Take `--scores` of this many of the best models of each data set alone, and show them. Default: take them of all,
    and show 3."""

    exact: int | None = option(None, least=0)
    """Take `mig_exact`, from the full posterior of all images, of this many of the best models of each data set; for a
    confirmed configuration, of the models of all its seeds. 0 for none. Default: 1; 0 for a sweep that chose without
    labels."""

    def check(self) -> None:
        """Refuse a value outside its limits, and a score that is not known.

        Raises:
            InputError: Naming the option, its limits and the value.
        """
        check_limits(self)
        known = [*METRICS, ALL]
        for name in self.scores or ():
            if name not in known:
                raise InputError(f"--scores must be some of {', '.join(known)}, but got {name!r}.")
        if self.select is not None and self.select not in rule_names():
            raise InputError(f"--select must be one of {', '.join(rule_names())}, but got {self.select!r}.")
        for name in _OF_UDR:
            if getattr(self, name) is not None and not self.is_udr:
                raise _unused_error(name, _UDR_IN_WORDS)

    @property
    def is_udr(self) -> bool:
        """Whether the rule is one of UDR."""
        return self.select in (UdrRule.name, UdrLassoRule.name)

    @property
    def chosen_by_score(self) -> str | None:
        """The name of the score of final models that chooses models; None if the rule is another, or there is none."""
        return self.select if self.select in METRICS else None

    @property
    def is_label_free(self) -> bool:
        """Whether models are chosen by a rule that looks at no factor."""
        return self.select in rule_names() and not find_rule(self.select).needs_factors


@dataclass(frozen=True)
class AnalysisOptions:
    """Write the report of a sweep: a page to read offline, figures (PNG, PDF), a table (CSV) and a summary (JSON).

    Of a sweep with several data sets, each has a report of its own, and one page leads to them.

    The report needs the sweep's folder alone. The sweep may have ended, still run, or have been killed; the folder may
    be a copy on another machine.

    Exit codes: 0 success; 2 bad input, nothing written.
    """

    folder: str
    output: Path | None = option(None, metavar="FOLDER")
    """Write the report to this folder. The folder must be new, or hold an earlier report, which is replaced. Default:
    `report` in the sweep's folder."""

    export: Path | None = option(None, metavar="FOLDER")
    """Also write the best model to this new folder, which can be uploaded to the Hugging Face Hub as it is: weights
    (safetensors), configuration, scores, a model card, a script that draws latent traversals, and, if the packages of
    the extra `onnx` are installed, encoder and decoder as ONNX. With several data sets, write the best model of each to
    a folder of the data set's name in it."""

    export_optuna: Path | None = option(None, metavar="FILE")
    """Also write the sweep, of any search, to this new SQLite file as an Optuna study with the score of each trial by
    step: `optuna-dashboard sqlite:///FILE` shows it. With several data sets, write a study of each; a confirmation has
    a study of its own."""

    data_root: str | None = option(None, metavar="FOLDER")
    """Folder that holds the official files of data sets. Default: the folder that $DISENTANGLEMENT_LIB_DATA names, or
    else that of the sweep."""

    report: ReportOptions = field(default_factory=ReportOptions)


@dataclass(frozen=True)
class Evaluation:
    """The scores that the evaluations of a trial take.

    Attributes:
        metrics: The names of those of every evaluation; `live` stands for those that are always taken.
        final: The names of those of the last evaluation alone.
        has_factors: Whether scores may look at factors.
    """

    metrics: tuple[str, ...] = (LIVE,)
    final: tuple[str, ...] = ()
    has_factors: bool = True

    def final_of(self, data: FactorImages) -> tuple[str, ...]:
        """Return the scores of a last evaluation alone: of images without factors, those that need none.

        Others are there by default, since a request of them is refused.
        """
        return tuple(name for name in self.final if data.has_factors or not _needs_factors(name))


@dataclass(frozen=True)
class Options:
    """Train VAEs on data sets with known factors, and rank them by a score of disentanglement.

    Each trial trains one model, scores it on 10,000 images drawn from the whole data set, and writes checkpoints, from
    which it can be resumed, scored again and drawn. Options that are not given have the values of a preset.

    Exit codes: 0 success; 1 a trial, the report or the storage failed, or a bug occurred; 2 bad input, nothing started;
    129, 130, 143 interrupted.
    """

    sweep: SweepOptions = field(default_factory=SweepOptions)
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    space: Space = field(default_factory=Space)
    confirm: ConfirmOptions = field(default_factory=ConfirmOptions)
    report: ReportOptions = field(default_factory=ReportOptions)
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)

    @property
    def unused(self) -> dict[str, tuple[str, str]]:
        """The options that do nothing beside the others, each with the option that it needs, by name and in words."""
        is_rotated = any(ends(self.space.axis("rotate_until") or (0,)))
        options = {
            "sampler": ("search", "--search optuna", self.search.search == "optuna"),
            "grace_steps": ("scheduler", "a --scheduler", self.search.scheduler != "none"),
            "rotate_every": ("rotate_until", "--rotate-until", is_rotated),
            "start_steps": ("starts", "--starts of 2 or more", self.space.has_starts),
            "seeds": ("confirm", "--confirm", bool(self.confirm.confirm)),
            **dict.fromkeys(("scores", "top"), ("report", "--report", self.sweep.report)),
            "exact": ("report", "--report", self.sweep.report or not self.report.exact),
            **dict.fromkeys(_OF_UDR, ("select", _UDR_IN_WORDS, self.report.is_udr)),
        }
        return {name: (by, needed) for name, (by, needed, is_used) in options.items() if not is_used}

    @property
    def varied_fields(self) -> tuple[str, ...]:
        """The names of the fields in which trials may differ: kinds of parts, then parameters."""
        kinds = [kind for kind in PARTS if len(self.space.names_of(kind)) > 1]
        axes = (name for branch in self.space.branches() for name in branch.varied_axes)
        return tuple(dict.fromkeys([*kinds, *axes]))

    @property
    def live_scores(self) -> tuple[str, ...]:
        """The names of the scores that every evaluation takes beside the live ones."""
        names = dict.fromkeys((*(self.search.live_scores or ()), self.search.rank_by))
        return tuple(name for name in names if not METRICS[name].is_live)

    @property
    def evaluation(self) -> Evaluation:
        """The scores that evaluations take."""
        has_factors = not self.report.is_label_free
        return Evaluation((LIVE, *self.live_scores), self.final_scores, has_factors=has_factors)

    @property
    def final_scores(self) -> tuple[str, ...]:
        """The names of the scores that are taken of a final model alone."""
        chosen_by = self.report.chosen_by_score
        names = dict.fromkeys([*self._named_final_scores, *([] if chosen_by is None else [chosen_by])])
        return tuple(name for name in names if name not in self.live_scores and not METRICS[name].is_live)

    @property
    def choosing_score(self) -> str | None:
        """The default of `--select`: the first of the final scores that can choose with labels; None if none can."""
        scores = [name for name in self._named_final_scores if name in METRICS and name in rule_names()]
        return next(filter(_needs_factors, scores), None)

    @property
    def _named_final_scores(self) -> tuple[str, ...]:
        """`--final-scores`, or its default."""
        if self.search.final_scores is not None:
            return self.search.final_scores
        if self.report.is_label_free:
            return ()
        return (MigExactPart.name if self.sweep.preset in _SHORT_PRESETS else _EXACT,)

    def check_label_free(self, dataset: str) -> None:
        """Refuse options that need factors.

        Args:
            dataset: The name of a data set without factors.

        Raises:
            InputError: Naming the option and the score.
        """
        scores = {
            "--rank-by": [self.search.rank_by],
            "--select": [self.report.select or ""],
            "--live-scores": self.search.live_scores or (),
            "--final-scores": self.search.final_scores or (),
            "--scores": self.report.scores or (),
            "--exact": [_EXACT] if self.report.exact else [],
        }
        needing = {flag: name for flag, names in scores.items() for name in names if _needs_factors(name)}
        if needing:
            flag, name = next(iter(needing.items()))
            raise InputError(
                f"{dataset} has no factors, but {flag} {name} needs them: choose models without labels, by --select "
                "udr, cross-mig, model-centrality or elbo, and leave out scores that need factors."
            )

    def check_without_order(self, dataset: str) -> None:
        """Refuse scores of a data set of whose factors none has an order.

        Raises:
            InputError: Naming the score.
        """
        for name in self.final_scores:
            if METRICS[name].needs_order:
                raise InputError(
                    f"{name} needs a factor whose values have an order, but {dataset} has none; leave {name} out."
                )

    @property
    def num_seeds(self) -> int:
        """Number of new seeds of each confirmed configuration: `--seeds` or its default."""
        return _NUM_SEEDS if self.confirm.seeds is None else self.confirm.seeds

    @property
    def max_steps(self) -> int:
        """Steps of the longest trial."""
        return max(self._numbers("steps"))

    @property
    def grace_steps(self) -> int:
        """Steps before which no trial is stopped: `--grace-steps`, or its default for the smallest batch size."""
        grace = self.search.grace_steps
        emergence_steps = math.ceil(EMERGENCE_IMAGES / min(self._numbers("batch_size")))
        return min(emergence_steps, math.ceil(self.max_steps / _GRACE_PART)) if grace is None else grace

    def _numbers(self, name: str) -> tuple[int, ...]:
        axis = self.space.axis(name)
        assert axis is not None  # every trial has the parameter
        return tuple(map(int, ends(axis)))

    def check(self) -> None:
        """Refuse options that are wrong on any machine.

        Raises:
            InputError: Naming the option, what must hold, the value, and the fix.
        """
        for group in GROUPS:
            check_limits(getattr(self, group))
        self._check_confirm()
        _check_name(self.sweep.name)
        if self.sweep.retry_failed and self.sweep.resume is None:
            raise InputError("--retry-failed needs --resume, the folder of the sweep whose trials failed.")
        if self.sweep.quiet and self.sweep.verbose:
            raise InputError("--quiet and --verbose exclude each other; give one of them.")
        with errors_naming_flags():
            self.space.check()
        self._check_search()
        _check_live_scores(self.search)
        _check_final_scores(self.search)
        self.report.check()
        self._check_likelihoods()
        self._check_label_free()

    def _check_label_free(self) -> None:
        """Refuse scores that look at factors if models are chosen without labels, and UDR among too few models."""
        select, repeats = self.report.select, self.search.repeats or 1
        if self.report.udr_among == "setting" and repeats < 2:
            raise InputError(f"--udr-among setting needs --repeats of 2 or more, but got {repeats}.")
        if not self.report.is_label_free:
            return
        free = [name for name, metric in METRICS.items() if metric.is_cheap and not metric.needs_factors]
        ranking = [name for name in free if METRICS[name].can_rank()]
        if self.search.rank_by not in ranking:
            raise InputError(
                f"--rank-by must be one of {', '.join(ranking)} with --select {select}, which looks at no factor, but "
                f"got {self.search.rank_by!r}."
            )
        for name in self.search.live_scores or ():
            if name not in free:
                raise InputError(
                    f"--live-scores must be some of {', '.join(free)} with --select {select}, which looks at no "
                    f"factor, but got {name!r}."
                )
        for name in self.search.final_scores or ():
            if _needs_factors(name):
                raise InputError(
                    f"--final-scores must be scores without factors with --select {select}, which looks at no factor, "
                    f"but got {name!r}; analyze.py --scores takes it of trained models."
                )

    def _check_likelihoods(self) -> None:
        """Refuse to rank or choose models of several likelihoods by a likelihood."""
        names = self.space.names_of("likelihood")
        for option_name, score in (("select", self.report.select), ("rank_by", self.search.rank_by)):
            if len(names) > 1 and is_likelihood(score):
                raise InputError(
                    f"{flag(option_name)} {score} needs one --likelihood, since likelihoods of different kinds do not "
                    f"compare, but got {axis_text(names)}."
                )

    def _check_confirm(self) -> None:
        if self.confirm.seeds is not None and not self.confirm.confirm:
            raise InputError(
                f"--seeds {self.confirm.seeds} needs --confirm, the number of configurations to confirm; to train "
                "every configuration of the search with several seeds, give --repeats."
            )

    def _check_search(self) -> None:
        names = self.space.names_of("dataset")
        if self.search.search == "optuna" and len(names) > 1:
            raise InputError(
                f"--search optuna needs one --dataset, or it would learn which data set scores high, but got "
                f"{axis_text(names)}; give --search random, or a sweep for each."
            )
        for name, axis in self.space.with_defaults().axes.items():
            if self.search.search == "grid" and isinstance(axis, Range):
                raise InputError(
                    f"--search grid needs values, but {flag(name)} is the range {axis}; give values, or give --search "
                    "random."
                )
        if self.search.search != "grid" and self.search.trials is None:
            raise InputError(f"--search {self.search.search} needs --trials, the number of configurations to draw.")
        self._check_num_trials()
        for name, (_, needed) in self.unused.items():
            if self.origins.get(name) in ("file", "command line"):
                raise _unused_error(name, needed)

    def _check_num_trials(self) -> None:
        """Refuse more configurations than there are, where each is to be trained once, or with the same seeds."""
        num_points, trials = self.space.num_points, self.search.trials
        if num_points is None or trials is None or trials <= num_points:
            return
        if self.search.search == "grid":
            seeds = "" if self.search.repeats else "; to train each configuration with several seeds, give --repeats"
            raise InputError(
                f"--trials must be at most {num_points}, the number of points of the grid, but got {trials}{seeds}."
            )
        if self.search.repeats is not None:
            raise InputError(
                f"--trials must be at most {num_points} with --repeats, the number of configurations, but got {trials}."
            )


GROUPS: Mapping[str, type] = {
    "sweep": SweepOptions,
    "resources": ResourceOptions,
    "search": SearchOptions,
    "confirm": ConfirmOptions,
    "report": ReportOptions,
}
"""By attribute of `Options`, the class of each group of fixed options. The other options are a trial's parts and
parameters, in `space`."""


_OF_UDR, _UDR_IN_WORDS = ("udr_among", "udr_min_kl"), "--select udr or udr-lasso"

_EXACT = "mig_exact"
"""The score that `--exact` takes."""

_SHORT_PRESETS = ("quick", "seed-study")
"""Presets whose trials are shorter than the exact score."""


def _needs_factors(name: str) -> bool:
    """Return whether a score, or a rule that chooses models, needs factors; False for no name and for `all`."""
    if name in METRICS:
        return METRICS[name].needs_factors
    return name in rule_names() and find_rule(name).needs_factors


def _unused_error(name: str, needed: str) -> InputError:
    return InputError(f"{flag(name)} needs {needed}; leave it out, or give that too.")


def check_limits(group: Any) -> None:
    """Refuse an option outside its limits.

    Raises:
        InputError: Naming the option, its limits and the value.
    """
    for name, item in options_of(type(group)).items():
        item.check(getattr(group, name))


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name must be a folder's name of letters, digits, '.', '-' and '_', but got {name!r}.")


def _check_final_scores(search: SearchOptions) -> None:
    known = [name for name, metric in METRICS.items() if metric.is_always_taken]
    for name in search.final_scores or ():
        if name not in known:
            raise InputError(f"--final-scores must be some of {', '.join(known)}, but got {name!r}.")


def _check_live_scores(search: SearchOptions) -> None:
    ranking = [name for name, metric in METRICS.items() if metric.can_rank()]
    if search.rank_by not in ranking:
        raise InputError(f"--rank-by must be one of {', '.join(ranking)}, but got {search.rank_by!r}.")
    cheap = [name for name, metric in METRICS.items() if metric.is_cheap and metric.is_always_taken]
    for name in search.live_scores or ():
        if name not in cheap:
            hint = "; analyze.py --scores takes it of trained models" if name in METRICS else ""
            raise InputError(f"--live-scores must be some of {', '.join(cheap)}, but got {name!r}{hint}.")
