"""The adapter between Ray and loggers: Ray's callbacks call the loggers' methods."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from betavae.config import TrialConfig
from betavae.metrics import METRICS
from betavae.records.trial import PlannedTrial
from betavae.text import one_line
from sweeps.loggers import LOGGERS, Logger, chosen_loggers
from sweeps.loggers.base import LogContext
from sweeps.printing import without_credentials

_OTHER_NAMES = ("step", "loss", "weight", "start", "images_per_second")
"""Names that trials report beside scores, without the part after a slash."""


class RayLoggers(TrialProgressCallback):  # with a callback of this class, Ray prints no progress of its own
    """Calls all loggers of a sweep for the events of Ray's trials.

    Args:
        context: The stage.
        loggers: Loggers by name; None for the loggers that the options choose.
    """

    def __init__(self, context: LogContext, loggers: dict[str, Logger] | None = None) -> None:
        super().__init__(metric=context.stage.rank_by)
        self._context = context
        self._warnings: set[object] = set()
        self._loggers = dict(loggers or {})
        if loggers is None:
            for name in chosen_loggers(context.options.sweep):
                self._call(name, None, partial(self._make, name))

    def _make(self, name: str) -> None:
        self._loggers[name] = LOGGERS[name](self._context)

    def __enter__(self) -> RayLoggers:
        for name, logger in self._loggers.items():
            self._call(name, None, logger.__enter__)
        return self

    def __exit__(self, *exception: object) -> None:
        for name, logger in self._loggers.items():
            self._call(name, None, partial(logger.__exit__, None, None, None))

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Ray pickles its callbacks before it starts, and never reads them."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Call `started` of all loggers."""
        self._call_loggers(trial, lambda logger, planned_trial: logger.started(planned_trial))

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Call `reported` of all loggers; ignore Ray's own result of a trial that failed before its first report."""
        if "step" in result:
            report = _report_of(result)
            self._call_loggers(trial, lambda logger, planned_trial: logger.reported(planned_trial, report))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Call `ended` of all loggers."""
        try:
            outcome = self._context.stage.read(trial.config["index"])
        except (ValueError, OSError):  # reported at the end of the sweep, which reads all folders again
            outcome = None
        self._call_loggers(trial, lambda logger, planned_trial: logger.ended(planned_trial, outcome))

    def _call_loggers(self, trial: Any, call: Callable[[Logger, PlannedTrial], None]) -> None:
        values = dict(trial.config)
        index = values.pop("index")
        planned_trial = PlannedTrial(index, TrialConfig.from_dict(values))
        for name, logger in self._loggers.items():
            self._call(name, index, lambda logger=logger: call(logger, planned_trial))  # type: ignore[misc]

    def _call(self, name: str, index: int | None, call: Callable[[], object]) -> None:
        """Call a logger, and warn if it raises."""
        try:
            call()
        except Exception as error:  # of any kind: Ray would let the trial or the sweep fail
            self._warn(name, index, error)

    def _warn(self, name: str, index: int | None, error: Exception) -> None:
        """Warn that a log is incomplete, once for each logger and kind of error: a full disk affects all trials."""
        kind = (name, type(error), getattr(error, "errno", None))
        if kind in self._warnings or self._context.options.sweep.quiet:
            return
        self._warnings.add(kind)
        log = f"the {name} log" if index is None else f"the {name} log of trial {index:04}"
        reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        problem = f"{log} is incomplete: {without_credentials(reason)}"
        line = f"warning: {problem}; the sweep continues (this warning is not repeated)"
        with contextlib.suppress(OSError, ValueError):  # the output is closed
            print(one_line(line), file=sys.stderr, flush=True)


def _report_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trial's own report, without the values that Ray adds to a result."""
    return {name: value for name, value in result.items() if name.partition("/")[0] in (*METRICS, *_OTHER_NAMES)}
