"""Stopping rules, which stop trials early and can be restored after a resume.

The state of Ray's own schedulers is lost when the driver ends. These rules decide from the trials' reports and from
which trials have finished, and from nothing else: `replay_trials` restores a rule from the trials' folders.
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
"""The reduction factor: one of this many trials at a rung continues."""


class StoppingRule(Protocol):
    """Decides at each report of a trial whether to stop the trial."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Add a report, and return whether to stop the trial. Adding a report twice changes nothing.

        Args:
            trial: The trial's number.
            step: The report's step.
            score: The report's score; higher is better.
        """
        ...

    def ended(self, trial: int) -> None:
        """Add that a trial has run all its steps."""
        ...


class NoStopping:
    """Stops no trial."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Return False: every trial runs all its steps."""
        return False

    def ended(self, trial: int) -> None:
        """Do nothing: no decision depends on other trials."""


class SuccessiveHalving:
    """ASHA: at rungs of grace, grace * keep_one_of, grace * keep_one_of^2 ... steps, only the best trials continue.

    A trial is compared at its first report at or beyond a rung, with the trials that reached the rung before it: no
    trial waits, and the first trial at a rung always continues.

    Args:
        grace_steps: The first rung.
        max_steps: The most steps of a trial; all rungs lie below.
        keep_one_of: The reduction factor: a trial stops if it is below the best 1 / keep_one_of at its rung.

    Source:
        Li et al. 2020, arXiv:1810.05934. The paper promotes the best trials; this rule stops the others, as Ray does.
    """

    def __init__(self, *, grace_steps: int, max_steps: int, keep_one_of: int) -> None:
        self._keep_one_of = keep_one_of
        self._rungs: dict[int, dict[int, float]] = {}
        rung = grace_steps
        while rung < max_steps:
            self._rungs[rung] = {}
            rung *= keep_one_of

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Compare the trial once at the highest rung that it has reached; return False for later reports there."""
        reached_rungs = [rung for rung in self._rungs if rung <= step]
        if not reached_rungs or trial in self._rungs[reached_rungs[-1]]:
            return False
        scores = self._rungs[reached_rungs[-1]]
        others = list(scores.values())
        scores[trial] = score
        return bool(others) and score < float(np.quantile(others, 1 - 1 / self._keep_one_of))

    def ended(self, trial: int) -> None:
        """Do nothing: decisions depend on reports alone."""


class MedianStopping:
    """Stops a trial whose best score so far is below the median of the other trials' mean scores up to the same step.

    Args:
        grace_steps: No trial is stopped before this step.
        min_others: No trial is stopped before this many other trials have reached its step.

    Source:
        Golovin et al. 2017, Google Vizier, section 3.2.2.
    """

    def __init__(self, *, grace_steps: int, min_others: int) -> None:
        self._grace_steps, self._min_others = grace_steps, min_others
        self._scores: dict[int, dict[int, float]] = {}

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Compare the trial with all trials that have reported at this step or later."""
        trial_scores = self._scores.setdefault(trial, {})
        trial_scores[step] = score
        other_means = [
            float(np.mean([value for other_step, value in scores.items() if other_step <= step]))
            for other, scores in self._scores.items()
            if other != trial and max(scores) >= step and min(scores) <= step
        ]
        if step < self._grace_steps or len(other_means) < self._min_others:
            return False
        return max(trial_scores.values()) < float(np.median(other_means))

    def ended(self, trial: int) -> None:
        """Do nothing: decisions depend on reports alone."""


class OptunaPruning:
    """Stops the trials that an Optuna pruner prunes.

    Args:
        pruner: The pruner.
    """

    def __init__(self, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # the name is fixed: Hyperband derives a trial's bracket from it and the trial's number
        self._study = optuna.create_study(study_name="sweep", direction="maximize", pruner=pruner)
        self._trials: list[optuna.Trial] = []
        self._latest: dict[int, tuple[int, float]] = {}
        self._finished_trials: set[int] = set()

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Add the report to the study, and return the pruner's decision."""
        while len(self._trials) <= trial:  # so that study and sweep have the same numbers
            self._trials.append(self._study.ask())
        if step <= self._latest.get(trial, (0, 0.0))[0]:
            return False
        self._latest[trial] = step, score
        self._trials[trial].report(score, step)
        return self._trials[trial].should_prune()

    def ended(self, trial: int) -> None:
        """Complete the trial in the study: some pruners compare with completed trials."""
        if trial in self._latest and trial not in self._finished_trials:
            self._study.tell(trial, self._latest[trial][1])
            self._finished_trials.add(trial)


class StoppingRules:
    """A stopping rule for each data set: a trial is compared with trials of its own data set alone.

    Args:
        make_rule: Makes a rule without any reports.
    """

    def __init__(self, make_rule: Callable[[], StoppingRule]) -> None:
        self._make_rule = make_rule
        self._rules: dict[str, StoppingRule] = {}

    def of(self, dataset: str) -> StoppingRule:
        """Return the rule of a data set."""
        if dataset not in self._rules:
            self._rules[dataset] = self._make_rule()
        return self._rules[dataset]


def stopping_rules(options: Options) -> StoppingRules:
    """Return the rules of `--scheduler`, without any reports."""
    grace = min(options.grace_steps, options.max_steps)
    return StoppingRules(lambda: _RULES[options.search.scheduler](grace, options.max_steps))


def replay_trials(rules: StoppingRules, trials: Sequence[Trial]) -> StoppingRules:
    """Add the reports and ends of earlier trials to the rules of their data sets, and return the rules.

    Their decisions are ignored here: the trials' folders hold those that were taken.
    """
    for trial in trials:
        rule = rules.of(trial.config.dataset.name)
        for report in trial.reports:
            rule.stops(trial.index, step=report["step"], score=report[trial.rank_by])
        if trial.status == "finished":
            rule.ended(trial.index)
    return rules


def _hyperband(grace_steps: int, max_steps: int) -> StoppingRule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OptunaPruning(HyperbandPruner(grace_steps, max_steps, _KEEP_ONE_OF))


def _percentile(grace_steps: int, max_steps: int) -> StoppingRule:
    return OptunaPruning(
        PercentilePruner(100 / _KEEP_ONE_OF, n_startup_trials=_KEEP_ONE_OF, n_warmup_steps=grace_steps)
    )


_RULES: Mapping[Scheduler, Callable[[int, int], StoppingRule]] = {
    "none": lambda grace, steps: NoStopping(),
    "asha": lambda grace, steps: SuccessiveHalving(grace_steps=grace, max_steps=steps, keep_one_of=_KEEP_ONE_OF),
    "median": lambda grace, steps: MedianStopping(grace_steps=grace, min_others=_KEEP_ONE_OF),
    "hyperband": _hyperband,
    "percentile": _percentile,
}
"""For each `--scheduler`, a function that makes a rule from the grace steps and the most steps of a trial."""
