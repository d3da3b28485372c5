"""The one place where loggers meet Ray: its callbacks become the loggers' calls."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from betavae.config import TrialConfig
from betavae.metrics import METRICS
from betavae.records.trial import PlannedTrial
from betavae.text import one_line
from sweeps.loggers import LOGGERS, Logger
from sweeps.loggers.base import LogContext

_OTHERS = ("step", "loss", "images_per_second")
"""What trials report beside scores, up to a slash."""


class RayLoggers(TrialProgressCallback):  # where there is one, Ray prints no lines of its own
    """Tells every logger of a sweep what Ray's trials do.

    Args:
        context: The stage.
        loggers: By name; those that the sweep asks for if None.
    """

    def __init__(self, context: LogContext, loggers: dict[str, Logger] | None = None) -> None:
        super().__init__(metric=context.stage.rank_by)
        self._context = context
        self._loggers = _asked_loggers(context) if loggers is None else loggers
        self._warned_of: set[object] = set()
        self._stack = ExitStack()

    def __enter__(self) -> RayLoggers:
        for name, logger in self._loggers.items():
            self._attempt(name, None, lambda logger=logger: self._stack.enter_context(logger))  # type: ignore[misc]
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray writes its callbacks down before it starts, and reads them nowhere."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell the loggers that a trial starts."""
        self._tell(trial, lambda logger, planned: logger.started(planned))

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Tell the loggers a report; leave out Ray's own, of a trial that failed before its first report."""
        if "step" in result:
            report = _reported(result)
            self._tell(trial, lambda logger, planned: logger.reported(planned, report))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell the loggers how a trial ended."""
        try:
            outcome = self._context.stage.read(trial.config["index"])
        except (ValueError, OSError):  # the sweep names it at its end, when it reads all folders again
            outcome = None
        self._tell(trial, lambda logger, planned: logger.ended(planned, outcome))

    def _tell(self, trial: Any, call: Callable[[Logger, PlannedTrial], None]) -> None:
        values = dict(trial.config)
        index = values.pop("index")
        planned = PlannedTrial(index, TrialConfig.from_dict(values))
        for name, logger in self._loggers.items():
            self._attempt(name, index, lambda logger=logger: call(logger, planned))  # type: ignore[misc]

    def _attempt(self, name: str, index: int | None, call: Callable[[], object]) -> None:
        """Call a logger, and warn if it raises."""
        try:
            call()
        except Exception as error:  # of any kind: Ray takes it for a failure of the trial, or of the sweep
            self._warn(name, index, error)

    def _warn(self, name: str, index: int | None, error: Exception) -> None:
        """Say once why a log is incomplete: a full disk takes those of every trial."""
        kind = (name, type(error), getattr(error, "errno", None))
        if kind in self._warned_of or self._context.options.sweep.quiet:
            return
        self._warned_of.add(kind)
        what = f"the {name} log" if index is None else f"the {name} log of trial {index:04}"
        reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        line = f"warning: {what} is incomplete: {reason}; the sweep goes on (not said again of other trials)"
        with contextlib.suppress(OSError, ValueError):  # nobody reads it
            print(one_line(line), file=sys.stderr, flush=True)


def _asked_loggers(context: LogContext) -> dict[str, Logger]:
    names = context.options.sweep.loggers
    return {name: LOGGERS[name](context) for name in (LOGGERS if names is None else names)}


def _reported(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial reported itself, without what Ray adds."""
    return {name: value for name, value in result.items() if name.partition("/")[0] in (*METRICS, *_OTHERS)}
