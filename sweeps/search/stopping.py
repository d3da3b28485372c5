"""Which trials run on: early stopping that can be told what happened before.

Ray's own schedulers forget everything when the driver ends. These rules decide from the reports of the trials and from
which trials have ended, and from nothing else: after a resume they are told both again, and know what they knew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, PercentilePruner

from betavae.records.trial import Trial
from sweeps.options.options import Options, Scheduler

_KEEP_ONE_OF = 3
"""Of so many trials that reach a rung, one runs on."""


class StoppingRule(Protocol):
    """Decides, report by report, whether a trial is stopped."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Take in a trial's report, and return whether that is its last.

        Args:
            trial: Its number.
            step: Of the report. One that has been taken in before changes nothing.
            score: The higher the better.
        """
        ...

    def ended(self, trial: int) -> None:
        """Take in that a trial has run to its end."""
        ...


class NoStopping:
    """Every trial runs to its end."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Return False: every trial runs to its end."""
        return False

    def ended(self, trial: int) -> None:
        """Do nothing: no decision depends on it."""


class SuccessiveHalving:
    """ASHA: at rungs of grace, grace * keep_one_of, grace * keep_one_of^2 ... steps only the best share runs on.

    A trial is judged when it first reports at or beyond a rung, against those that were there before: no trial waits,
    and the first ones always run on.

    Args:
        grace_steps: The first rung.
        max_steps: Where trials end; no rung lies there or beyond.
        keep_one_of: At a rung, a trial below the best 1 / keep_one_of of those there is stopped.

    Source:
        Li et al. 2020, arXiv:1810.05934; there the best are promoted, here the others are stopped, as Ray does it.
    """

    def __init__(self, *, grace_steps: int, max_steps: int, keep_one_of: int) -> None:
        self._keep_one_of = keep_one_of
        self._rungs: dict[int, dict[int, float]] = {}
        rung = grace_steps
        while rung < max_steps:
            self._rungs[rung] = {}
            rung *= keep_one_of

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Judge the trial at the highest rung that it has reached, once."""
        reached = [rung for rung in self._rungs if rung <= step]
        if not reached or trial in self._rungs[reached[-1]]:
            return False
        scores = self._rungs[reached[-1]]
        others = list(scores.values())
        scores[trial] = score
        return bool(others) and score < float(np.quantile(others, 1 - 1 / self._keep_one_of))

    def ended(self, trial: int) -> None:
        """Do nothing: trials are judged against others that run."""


class MedianStopping:
    """Stops a trial whose best score so far is below the median of the others' mean scores up to the same step.

    Args:
        grace_steps: No trial is stopped before.
        min_others: No trial is stopped while fewer others have reached its step.

    Source:
        Golovin et al. 2017, Google Vizier, section 3.2.2.
    """

    def __init__(self, *, grace_steps: int, min_others: int) -> None:
        self._grace_steps, self._min_others = grace_steps, min_others
        self._scores: dict[int, dict[int, float]] = {}

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Compare the trial with all that have reported at this step or later."""
        own = self._scores.setdefault(trial, {})
        own[step] = score
        others = [
            float(np.mean([value for at, value in scores.items() if at <= step]))
            for other, scores in self._scores.items()
            if other != trial and max(scores) >= step and min(scores) <= step
        ]
        if step < self._grace_steps or len(others) < self._min_others:
            return False
        return max(own.values()) < float(np.median(others))

    def ended(self, trial: int) -> None:
        """Do nothing: trials are judged against others that run."""


class OptunaPruning:
    """Stops the trials that one of Optuna's pruners prunes.

    Args:
        pruner: What decides.
    """

    def __init__(self, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Hyperband assigns brackets by this name and the trial's number
        self._study = optuna.create_study(study_name="sweep", direction="maximize", pruner=pruner)
        self._trials: list[optuna.Trial] = []
        self._last: dict[int, tuple[int, float]] = {}
        self._ended: set[int] = set()

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Report to the study, and ask the pruner."""
        while len(self._trials) <= trial:  # the study numbers its trials as the sweep does
            self._trials.append(self._study.ask())
        if step <= self._last.get(trial, (0, 0.0))[0]:
            return False
        self._last[trial] = step, score
        self._trials[trial].report(score, step)
        return self._trials[trial].should_prune()

    def ended(self, trial: int) -> None:
        """Tell the study: some pruners judge by trials that have ended."""
        if trial in self._last and trial not in self._ended:
            self._study.tell(trial, self._last[trial][1])
            self._ended.add(trial)


def stopping_rule(options: Options) -> StoppingRule:
    """Return the rule of `--scheduler`, which has seen nothing yet."""
    grace = min(options.grace_steps, options.max_steps)
    return _RULES[options.search.scheduler](grace, options.max_steps)


def told(rule: StoppingRule, known: Sequence[Trial]) -> StoppingRule:
    """Tell a rule what trials reported before, and which have ended; what it decided then is in their folders."""
    for trial in known:
        for report in trial.reports:
            rule.stops(trial.index, step=report["step"], score=report[trial.rank_by])
        if trial.status == "finished":
            rule.ended(trial.index)
    return rule


def _hyperband(grace_steps: int, max_steps: int) -> StoppingRule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OptunaPruning(HyperbandPruner(grace_steps, max_steps, _KEEP_ONE_OF))


def _percentile(grace_steps: int, max_steps: int) -> StoppingRule:
    return OptunaPruning(
        PercentilePruner(100 / _KEEP_ONE_OF, n_startup_trials=_KEEP_ONE_OF, n_warmup_steps=grace_steps)
    )


_RULES: Mapping[Scheduler, Callable[[int, int], StoppingRule]] = {
    "none": lambda grace, most: NoStopping(),
    "asha": lambda grace, most: SuccessiveHalving(grace_steps=grace, max_steps=most, keep_one_of=_KEEP_ONE_OF),
    "median": lambda grace, most: MedianStopping(grace_steps=grace, min_others=_KEEP_ONE_OF),
    "hyperband": _hyperband,
    "percentile": _percentile,
}
"""By name: a function of the grace and of the steps of the longest trial."""
