"""Where the configurations of a search come from: a plan, or Optuna."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.parts import Parameter
from betavae.records.trial import PlannedTrial
from sweeps.options.options import Options, Sampler
from sweeps.search.plan import num_configurations, search_seed, trial_config
from sweeps.search.space import Axis, Branch, Point, Range

_MAX_STARTUP_TRIALS = 10
"""The first configurations are drawn at random: a third of them, at most so many, so that a short search learns too."""


class Draw(Protocol):
    """Where new trials come from."""

    def next(self, index: int) -> PlannedTrial:
        """Return the trial of that number."""
        ...

    def begin(self, trial: PlannedTrial) -> None:
        """Take in a trial that an earlier run has begun."""
        ...

    def end(self, index: int, score: float | None) -> None:
        """Take in the score of a trial that has ended; None if it failed."""
        ...


class PlannedDraw:
    """A plan made beforehand.

    Args:
        planned: The trials by number.
    """

    def __init__(self, planned: Mapping[int, PlannedTrial]) -> None:
        self._planned = planned

    def next(self, index: int) -> PlannedTrial:
        """Return the trial of that number."""
        return self._planned[index]

    def begin(self, trial: PlannedTrial) -> None:
        """Do nothing: a fixed plan does not learn."""

    def end(self, index: int, score: float | None) -> None:
        """Do nothing: a fixed plan does not learn."""


class OptunaDraw:
    """One of Optuna's samplers, which learns the mean score of a configuration over its seeds.

    After a resume it is told again everything that it knew.

    Args:
        options: The sweep's.
        num_known: How many trials an earlier run has begun.
    """

    def __init__(self, options: Options, *, num_known: int) -> None:
        self._options, self._branches = options, options.space.branches()
        self._repeats = options.search.repeats or 1
        self._study_numbers: dict[int, int] = {}
        self._points: dict[int, Point] = {}
        self._scores: dict[int, dict[int, float | None]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        startup = min(_MAX_STARTUP_TRIALS, math.ceil(num_configurations(options) / 3))
        # after a resume it must not draw its first configurations again; numpy's generator takes 32 bits
        seed = (options.sweep.seed + 7919 * num_known) % 2**32
        self._study = optuna.create_study(
            direction="maximize", sampler=_SAMPLERS[options.search.sampler](startup, seed)
        )

    def next(self, index: int) -> PlannedTrial:
        """Return the trial of that number, of the configuration that the sampler proposes."""
        number = index // self._repeats
        if number not in self._points:
            trial = self._study.ask()
            self._points[number] = self._suggest(trial)
            self._study_numbers[number] = trial.number
        return PlannedTrial(index, trial_config(self._points[number], seed=search_seed(self._options, index)))

    def begin(self, trial: PlannedTrial) -> None:
        """Add the trial's configuration to the study, as one that runs."""
        number = trial.index // self._repeats
        if number in self._points:
            return
        self._points[number] = {name: value for name, value in trial.config.to_dict().items() if name != "seed"}
        self._study_numbers[number] = len(self._study.get_trials(deepcopy=False))
        distributions = self._distributions(trial.config)
        params = {name: trial.config.value(name) for name in distributions}
        self._study.add_trial(
            optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        )

    def end(self, index: int, score: float | None) -> None:
        """Tell the sampler the mean score of a configuration when all of its trials have ended."""
        number = index // self._repeats
        scores = self._scores.setdefault(number, {})
        scores[index] = score
        if len(scores) < self._repeats:
            return
        known = [score for score in scores.values() if score is not None]
        if known:
            self._study.tell(self._study_numbers[number], float(np.mean(known)))
        else:
            self._study.tell(self._study_numbers[number], state=TrialState.FAIL)

    def _suggest(self, trial: optuna.Trial) -> Point:
        """Ask for the parts, then for the parameters that they have."""
        parts = {}
        for kind in PARTS:
            names = self._options.space.names_of(kind)
            parts[kind] = trial.suggest_categorical(kind, names) if len(names) > 1 else names[0]
        branch = self._branch(parts)
        known = parameters_by_name()
        return {**parts, **{name: _suggest(trial, known[name], axis) for name, axis in branch.axes.items()}}

    def _distributions(self, config: TrialConfig) -> dict[str, BaseDistribution]:
        """Return the distributions of what `_suggest` would have asked for."""
        kinds = {kind: self._options.space.names_of(kind) for kind in PARTS}
        parts: dict[str, BaseDistribution] = {
            kind: CategoricalDistribution(names) for kind, names in kinds.items() if len(names) > 1
        }
        branch = self._branch({kind: config.value(kind) for kind in PARTS})
        known = parameters_by_name()
        return parts | {name: _distribution(known[name], axis) for name, axis in branch.tried.items()}

    def _branch(self, parts: Mapping[str, str]) -> Branch:
        return next(branch for branch in self._branches if branch.parts == parts)


def _suggest(trial: optuna.Trial, parameter: Parameter, axis: Axis) -> Any:
    if not isinstance(axis, Range):
        return trial.suggest_categorical(parameter.name, axis) if len(axis) > 1 else axis[0]
    if parameter.kind is int:
        return trial.suggest_int(parameter.name, int(axis.low), int(axis.high), log=parameter.limits.log)
    return trial.suggest_float(parameter.name, axis.low, axis.high, log=parameter.limits.log)


def _distribution(parameter: Parameter, axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if parameter.kind is int:
        return IntDistribution(int(axis.low), int(axis.high), log=parameter.limits.log)
    return FloatDistribution(axis.low, axis.high, log=parameter.limits.log)


def _tpe(startup: int, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            multivariate=True,
            group=True,  # parameters of different parts are told apart
            constant_liar=True,  # several trials run at once: the liar keeps them apart
            n_startup_trials=startup,
            seed=seed,
        )


def _gp(startup: int, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return GPSampler(n_startup_trials=startup, seed=seed)


def _qmc(startup: int, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # after a resume the seed is another: so is the sequence
        return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


def _random(startup: int, seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


_SAMPLERS: Mapping[Sampler, Callable[[int, int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "qmc": _qmc,
    "random": _random,
}
"""By name: a function of the number of random configurations at the start, and of the seed."""
