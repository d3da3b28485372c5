"""Which trials go on: early stopping that can be told what happened before.

Ray's own schedulers forget everything when the driver ends. These decide from what each trial reported, and nothing
else, so that after a resume they are told the old reports again and know what they knew.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.storage.stage_folder import SearchFolder

_WAITING = (Trial.PENDING, Trial.PAUSED)
"""What Ray calls a trial that may run; the first kind goes first."""


class StoppingRule(Protocol):
    """Decides, report by report, whether a trial is stopped."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Take a trial's report in, and say whether that is its last.

        Args:
            trial: Which one, by its seed.
            step: Of the report. One that has been taken in before changes nothing.
            score: The higher the better.
        """
        ...


class NoStopping:
    """Every trial runs to its end."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        """Return False: every trial runs to its end."""
        return False


class SuccessiveHalving:
    """ASHA: at rungs of grace, grace * keep_one_of, grace * keep_one_of^2 ... steps only the best share goes on.

    A trial is judged when it first reports at or beyond a rung, against those that were there before: nobody waits, and
    the first ones always go on.

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
        """Judge the trial at the highest rung it has reached, once."""
        reached = [rung for rung in self._rungs if rung <= step]
        if not reached or trial in self._rungs[reached[-1]]:
            return False
        scores = self._rungs[reached[-1]]
        others = list(scores.values())
        scores[trial] = score
        return bool(others) and score < float(np.quantile(others, 1 - 1 / self._keep_one_of))


class MedianStopping:
    """Stops a trial whose best score so far is below the median of the others' mean scores up to the same step.

    Args:
        grace_steps: No trial is stopped before.
        min_others: Nor while fewer other trials have come as far.

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


class RuleScheduler(FIFOScheduler):
    """Ray's scheduler, first in first out, that stops the trials that a rule stops.

    Args:
        rule: What decides.
        metric: The reported number that it decides by.
        search_folder: Where it is written down that a trial was stopped.
    """

    def __init__(self, rule: StoppingRule, *, metric: str, search_folder: SearchFolder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rule, self._score, self._folder = rule, metric, search_folder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ask the rule; the last report ends the trial anyway."""
        if self._score not in result:  # Ray's own, of a trial that failed before its first report
            return TrialScheduler.CONTINUE
        seed, step = trial.config["seed"], result["step"]
        if not self._rule.stops(seed, step=step, score=result[self._score]) or step >= trial.config["steps"]:
            return TrialScheduler.CONTINUE
        self._folder.trial(seed).stop(step)
        return TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits, among those that have not ended: Ray's own looks through all there were, every time."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status in _WAITING]
        return min(waiting, key=lambda trial: (_WAITING.index(trial.status), trial.trial_id), default=None)
