"""Sources of a search's configurations: a fixed plan, or an Optuna sampler."""

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
from betavae.parts import Parameter, split_field
from betavae.records.trial import PlannedTrial
from sweeps.options.options import Options, Sampler
from sweeps.search.plan import num_configurations, search_seed, trial_config
from sweeps.search.space import Axis, Branch, Point, Range

_MAX_PROPOSALS = 20
"""Proposals of configurations that are there already, after which a new one is drawn at random."""

_MAX_STARTUP_TRIALS = 10
"""The most configurations that a sampler draws at random before it learns. In a short search, it is a third of all."""


class Draw(Protocol):
    """A source of new trials."""

    def next(self, index: int) -> PlannedTrial:
        """Return the trial with this number."""
        ...

    def begin(self, trial: PlannedTrial) -> None:
        """Add a trial that an earlier run of the sweep has started."""
        ...

    def end(self, index: int, score: float | None) -> None:
        """Add the score of a trial that has ended; None if the trial failed."""
        ...


class PlannedDraw:
    """A fixed plan.

    Args:
        trials: The trials by number.
    """

    def __init__(self, trials: Mapping[int, PlannedTrial]) -> None:
        self._trials = trials

    def next(self, index: int) -> PlannedTrial:
        """Return the trial with this number."""
        return self._trials[index]

    def begin(self, trial: PlannedTrial) -> None:
        """Do nothing: a fixed plan does not learn."""

    def end(self, index: int, score: float | None) -> None:
        """Do nothing: a fixed plan does not learn."""


class OptunaDraw:
    """An Optuna sampler, which learns from the mean score of a configuration over its seeds.

    After a resume, `begin` and `end` of all earlier trials restore the study.

    Args:
        options: The sweep's options.
        num_known_trials: Number of trials that earlier runs of the sweep have started.
    """

    def __init__(self, options: Options, *, num_known_trials: int) -> None:
        self._options, self._branches = options, options.space.branches()
        self._repeats = options.search.repeats or 1
        self._study_numbers: dict[int, int] = {}
        self._points: dict[int, Point] = {}
        self._scores: dict[int, dict[int, float | None]] = {}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        num_startup = min(_MAX_STARTUP_TRIALS, math.ceil(num_configurations(options) / 3))
        # a resumed sampler must not draw its first configurations again; numpy's generator takes 32 bits
        seed = (options.sweep.seed + 7919 * num_known_trials) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = _SAMPLERS[options.search.sampler](num_startup, seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def next(self, index: int) -> PlannedTrial:
        """Return the trial with this number; if it begins a new configuration, ask the sampler for one."""
        number = index // self._repeats
        if number not in self._points:
            trial = self._ask()
            self._points[number] = self._suggest(trial)
            self._study_numbers[number] = trial.number
        return PlannedTrial(index, trial_config(self._points[number], seed=search_seed(self._options, index)))

    def _ask(self) -> optuna.Trial:
        """Ask for a configuration; with `--repeats` for a new one, since the same seeds again would tell nothing."""
        trial = self._study.ask()
        if self._options.search.repeats is None:
            return trial
        for _ in range(_MAX_PROPOSALS):
            if not self._is_known(self._suggest(trial)):
                return trial
            self._study.tell(trial, state=TrialState.FAIL)
            trial = self._study.ask()
        while self._is_known(self._suggest(trial)):  # the sampler insists: draw at random
            self._study.tell(trial, state=TrialState.FAIL)
            trial = optuna.create_study(sampler=RandomSampler(seed=len(self._study.trials))).ask()
            self._suggest(trial)
            self._study.enqueue_trial(trial.params)
            trial = self._study.ask()
        return trial

    def _is_known(self, point: Point) -> bool:
        """Whether a point is a configuration that the search has already."""
        return trial_config(point, seed=0) in {trial_config(known, seed=0) for known in self._points.values()}

    def begin(self, trial: PlannedTrial) -> None:
        """Add the trial's configuration to the study, in state RUNNING."""
        number = trial.index // self._repeats
        if number in self._points:
            return
        self._points[number] = {name: value for name, value in trial.config.to_dict().items() if name != "seed"}
        self._study_numbers[number] = len(self._study.get_trials(deepcopy=False))
        distributions = self._distributions(trial.config)
        params = {name: trial.config.value(split_field(name)[1]) for name in distributions}
        self._study.add_trial(
            optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        )

    def end(self, index: int, score: float | None) -> None:
        """Add the mean score of a configuration to the study once all of its trials have ended."""
        number = index // self._repeats
        scores = self._scores.setdefault(number, {})
        scores[index] = score
        if len(scores) < self._repeats:
            return
        valid_scores = [score for score in scores.values() if score is not None]
        if valid_scores:
            self._study.tell(self._study_numbers[number], float(np.mean(valid_scores)))
        else:
            self._study.tell(self._study_numbers[number], state=TrialState.FAIL)

    def _suggest(self, trial: optuna.Trial) -> Point:
        """Let the sampler choose the parts, then the parameters that these parts own."""
        parts = {}
        for kind in PARTS:
            names = self._options.space.names_of(kind)
            parts[kind] = trial.suggest_categorical(kind, names) if len(names) > 1 else names[0]
        branch = self._branch(parts)
        parameters = parameters_by_name()
        return parts | {
            name: _suggest(trial, branch.axis_names[name], parameters[name], axis) for name, axis in branch.axes.items()
        }

    def _distributions(self, config: TrialConfig) -> dict[str, BaseDistribution]:
        """Return the distributions that `_suggest` would have used for a config."""
        kinds = {kind: self._options.space.names_of(kind) for kind in PARTS}
        parts: dict[str, BaseDistribution] = {
            kind: CategoricalDistribution(names) for kind, names in kinds.items() if len(names) > 1
        }
        branch = self._branch({kind: config.value(kind) for kind in PARTS})
        parameters = parameters_by_name()
        return parts | {
            branch.axis_names[name]: _distribution(parameters[name], axis) for name, axis in branch.varied_axes.items()
        }

    def _branch(self, parts: Mapping[str, str]) -> Branch:
        return next(branch for branch in self._branches if branch.parts == parts)


def _suggest(trial: optuna.Trial, name: str, parameter: Parameter, axis: Axis) -> Any:
    """Return the sampler's value. Optuna needs one distribution per name, so an axis of a part has its own name."""
    if not isinstance(axis, Range):
        return trial.suggest_categorical(name, axis) if len(axis) > 1 else axis[0]
    if parameter.kind is int:
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=parameter.limits.log)
    return trial.suggest_float(name, axis.low, axis.high, log=parameter.limits.log)


def _distribution(parameter: Parameter, axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if parameter.kind is int:
        return IntDistribution(int(axis.low), int(axis.high), log=parameter.limits.log)
    return FloatDistribution(axis.low, axis.high, log=parameter.limits.log)


def _tpe(num_startup: int, seed: int) -> BaseSampler:
    return TPESampler(
        multivariate=True,
        group=True,  # needed for parameters that only some parts own
        constant_liar=True,  # several trials run at once: assume low scores near them, to propose other points
        n_startup_trials=num_startup,
        seed=seed,
    )


def _gp(num_startup: int, seed: int) -> BaseSampler:
    return GPSampler(n_startup_trials=num_startup, seed=seed)


def _qmc(num_startup: int, seed: int) -> BaseSampler:
    # a resume changes the seed, and with it the sequence
    return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


def _random(num_startup: int, seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


_SAMPLERS: Mapping[Sampler, Callable[[int, int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "qmc": _qmc,
    "random": _random,
}
"""For each `--sampler`, a function that makes it from the number of random configurations at the start and a seed."""
