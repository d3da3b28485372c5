"""Which trials are tried, and which go on: search space, search algorithm, scheduler."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from betavae.analysis.results import SEARCH_FOLDER
from sweeps.cluster import Resources
from sweeps.options import Axis, Options, Range

METRIC = "mig"
"""What search and scheduler maximise."""

_KEEP_BEST = 3
"""Of so many trials that reach a rung, ASHA lets one go on."""

_MAX_STARTUP_TRIALS = 10
"""TPE draws its first trials at random: a third of them, at most so many, so that a short search learns too."""

_SEEDS_PER_SWEEP = 1_000_000


def trial_seed(sweep_seed: int, index: int) -> int:
    """Seed of a sweep's trial 0, 1, ...: no two trials of one sweep, and of two sweeps, share one."""
    return sweep_seed * _SEEDS_PER_SWEEP + index


def planned_trials(options: Options) -> list[dict[str, Any]]:
    """What a grid or a random search will try, in order: beta, latent_size, lr and seed of each trial."""
    axes = {name: getattr(options.search, name) for name in ("beta", "latent_size", "lr")}
    generator = np.random.default_rng(options.sweep.seed)
    draw = _grid_points if options.search.search == "grid" else _random_points
    points = draw(axes, options.search.trials, generator)
    return [point | {"seed": trial_seed(options.sweep.seed, index)} for index, point in enumerate(points)]


def num_trials(options: Options) -> int:
    """Trials in all."""
    return len(planned_trials(options)) if options.search.trials is None else options.search.trials


def run_search(
    options: Options,
    folder: Path,
    *,
    trainable: Callable[[dict[str, Any]], None],
    resources: Resources,
    callbacks: Sequence[tune.Callback],
) -> tune.ResultGrid:
    """Run every trial of a sweep, in a Ray that has been started.

    Args:
        options: Checked.
        folder: The sweep's, absolute; Ray's experiment goes below it.
        trainable: Called once per trial in a process of its own.
        resources: What one trial takes, and how many run at a time.
        callbacks: Told of every report, after it is written down.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources.per_trial),
        param_space=options.trial_values(),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=num_trials(options),
            max_concurrent_trials=resources.num_concurrent,
            search_alg=_search_algorithm(options),
            scheduler=_scheduler(options),
            reuse_actors=True,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name=SEARCH_FOLDER,
            storage_path=str(folder),
            verbose=0,
            callbacks=[JsonLoggerCallback(), *callbacks],  # type: ignore[no-untyped-call]
            # the best and the latest
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=METRIC, checkpoint_score_order="max"
            ),
        ),
    )
    return tuner.fit()


class PlannedSearch(Searcher):
    """Gives out a list of configurations, in order."""

    def __init__(self, configs: Sequence[dict[str, Any]]) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._configs, self._num_given = list(configs), 0

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next configuration; Ray asks for `num_samples`, so for as many as there are."""
        self._num_given += 1
        return self._configs[self._num_given - 1]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A list learns nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Write how far the list was given out."""
        Path(checkpoint_path).write_text(json.dumps({"num_given": self._num_given, "configs": self._configs}))

    def restore(self, checkpoint_path: str) -> None:
        """Go on with the list where it was saved."""
        state = json.loads(Path(checkpoint_path).read_text())
        self._num_given, self._configs = state["num_given"], state["configs"]


class SeededOptunaSearch(OptunaSearch):
    """Optuna's suggestions, each with a trial seed of its own, which the sampler must not learn from."""

    def __init__(self, *, sweep_seed: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sweep_seed, self._num_given = sweep_seed, 0

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The sampler's next configuration."""
        suggestion = super().suggest(trial_id)
        if suggestion is None:
            return None
        self._num_given += 1
        return suggestion | {"seed": trial_seed(self._sweep_seed, self._num_given - 1)}


def _search_algorithm(options: Options) -> Searcher:
    if options.search.search != "optuna":
        return PlannedSearch(planned_trials(options))
    axes = {name: getattr(options.search, name) for name in ("beta", "latent_size", "lr")}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(
        multivariate=True,
        constant_liar=True,  # several trials run at once: the liar keeps them apart
        n_startup_trials=min(_MAX_STARTUP_TRIALS, math.ceil(num_trials(options) / 3)),
        seed=options.sweep.seed,
    )
    space = {name: _distribution(axis, whole=name == "latent_size") for name, axis in axes.items()}
    return SeededOptunaSearch(sweep_seed=options.sweep.seed, space=space, metric=METRIC, mode="max", sampler=sampler)


def _scheduler(options: Options) -> TrialScheduler:
    grace = min(options.grace_steps, options.trial.steps)
    if options.search.scheduler == "asha":
        return ASHAScheduler(
            time_attr="step", max_t=options.trial.steps, grace_period=grace, reduction_factor=_KEEP_BEST
        )
    if options.search.scheduler == "median":
        return MedianStoppingRule(time_attr="step", grace_period=grace, min_samples_required=_KEEP_BEST)
    return FIFOScheduler()  # type: ignore[no-untyped-call]


def _distribution(axis: Axis, *, whole: bool) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if whole:
        return IntDistribution(int(axis.low), int(axis.high), log=True)
    return FloatDistribution(axis.low, axis.high, log=True)


def _grid_points(
    axes: dict[str, Axis], num_points: int | None, generator: np.random.Generator
) -> list[dict[str, float]]:
    """Every combination once; a draw of them if fewer are asked for; round after round if more."""
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]  # type: ignore[arg-type]
    if num_points is None or num_points >= len(grid):
        return [grid[index % len(grid)] for index in range(num_points or len(grid))]
    return [grid[index] for index in generator.permutation(len(grid))[:num_points]]


def _random_points(
    axes: dict[str, Axis], num_points: int | None, generator: np.random.Generator
) -> list[dict[str, float]]:
    assert num_points is not None  # checked with the options
    return [
        {name: _draw(axis, generator, whole=name == "latent_size") for name, axis in axes.items()}
        for _ in range(num_points)
    ]


def _draw(axis: Axis, generator: np.random.Generator, *, whole: bool) -> float:
    if not isinstance(axis, Range):
        return axis[generator.integers(len(axis))]
    end = axis.high + 1 if whole else axis.high  # each whole number has its share of the logarithmic scale
    value = min(float(np.exp(generator.uniform(np.log(axis.low), np.log(end)))), axis.high)
    return int(value) if whole else value


def _trial_folder(trial: Any) -> str:
    """Ray's default name holds the whole config, and grows past what file systems take."""
    return f"trial_{trial.trial_id}"
