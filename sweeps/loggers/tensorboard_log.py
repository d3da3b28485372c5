"""The TensorBoard logger, which writes event files to each trial's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, create_summary_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard.summary import custom_scalars, hparams, image, scalar, text

from betavae.columns import BEST, FINAL, report_column, shown_fields
from betavae.config import PARTS, TrialConfig
from betavae.metrics import METRICS, live_metrics
from betavae.objectives import OBJECTIVES
from betavae.parts import parameters_of
from betavae.records.trial import PlannedTrial, Trial
from sweeps.loggers.base import LogContext, Logger, Report
from sweeps.loggers.contents import derived_hyperparameters, describe_ending, numbers_of, pictures_of
from sweeps.loggers.event_file import EventFile
from sweeps.search.space import Space, ends
from sweeps.storage.mirror import Mirror
from sweeps.storage.trial_folder import is_event_file

_COMMON_FIELDS = (*PARTS, "seed", "steps")
"""Hyper-parameters that the HParams tab always has, beside a config's main fields and what the sweep tries."""

_STATUS = {"finished": "STATUS_SUCCESS", "failed": "STATUS_FAILURE", "stopped": "STATUS_UNKNOWN"}
"""The HParams tab's status of an ended trial. The tab has no status for a stopped trial."""


class TensorBoardLog(Logger):
    """Writes the hyper-parameters of each trial, its curves, the pictures of its checkpoints, and its outcome.

    A trial that resumes from a checkpoint replaces its curves from the checkpoint's step on. After an error, nothing
    more is written for the trial until it starts again.

    Args:
        context: The stage.
    """

    name = "tensorboard"

    def __init__(self, context: LogContext) -> None:
        super().__init__(context)
        self._files: dict[int, EventFile] = {}
        self._latest_steps = {trial.index: trial.step for trial in context.known_trials}
        self._failed_logs: set[int] = set()

    def __enter__(self) -> TensorBoardLog:
        """Write the layout of the curves."""
        events = EventFile(self.context.sweep.local)
        events.add(custom_scalars(_layout(self.context)))  # type: ignore[no-untyped-call]
        events.flush()
        _push_events(self.context.sweep)
        return self

    def started(self, trial: PlannedTrial) -> None:
        """Begin an event file with the trial's hyper-parameters."""
        self._failed_logs.discard(trial.index)
        with self._published_file(trial.index):
            self._begin_file(trial)

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Add a point to every curve, and the checkpoint's pictures."""
        if trial.index not in self._failed_logs:
            with self._published_file(trial.index):
                self._add_report(trial, report)

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Write the trial's outcome, and close its file."""
        if trial.index in self._failed_logs or outcome is None:
            return
        with self._published_file(trial.index):
            if trial.index not in self._files:  # the trial ended before `started`
                self._begin_file(trial)
            if outcome.status in _STATUS:
                ending = text("ending", describe_ending(outcome))  # type: ignore[no-untyped-call]
                self._files[trial.index].add(ending, step=outcome.step)
                for name, value in self._final_scores(outcome).items():
                    self._files[trial.index].add(scalar(name, value), step=outcome.step)  # type: ignore[no-untyped-call]
                self._files[trial.index].add(_end_of_session(_STATUS[outcome.status]))
        self._files.pop(trial.index)

    @contextmanager
    def _published_file(self, index: int) -> Iterator[None]:
        """Flush and push a trial's event file after a block; after an error, write no more for the trial."""
        try:
            yield
            self._files[index].flush()
            _push_events(self.context.stage.trial(index).mirror)
        except Exception:
            self._failed_logs.add(index)
            self._files.pop(index, None)
            raise

    def _add_report(self, trial: PlannedTrial, report: Report) -> None:
        index, step = trial.index, report["step"]
        if step <= self._latest_steps.get(index, 0):
            self._begin_file(trial, purge_step=step)
        self._latest_steps[index] = step
        for name, value in numbers_of(report).items():
            self._files[index].add(scalar(name, value), step=step)  # type: ignore[no-untyped-call]
        for tag, pixels in pictures_of(self.context.stage.trial(index), step).items():
            picture = image(tag, pixels, dataformats="HWC"[: pixels.ndim])  # type: ignore[no-untyped-call]
            self._files[index].add(picture, step=step)

    def _begin_file(self, trial: PlannedTrial, *, purge_step: int | None = None) -> None:
        """Begin a new event file for a trial, in place of the current one."""
        index = trial.index
        self._files[index] = EventFile(self.context.stage.trial(index).path, purge_step=purge_step)
        metrics = dict.fromkeys(self._compared_numbers(trial.config), 0.0)
        values = _hyperparameters(trial.config, self.context.options.varied_fields)
        experiment, start, _ = hparams(values, metrics)  # type: ignore[no-untyped-call]
        self._files[index].add(experiment, start)

    def _final_scores(self, outcome: Trial) -> dict[str, float]:
        """Return the scores of the last evaluation, and the best ranking score: a point each, to compare trials."""
        if not outcome.reports:
            return {}
        last, rank_by = outcome.reports[-1], self.context.stage.rank_by
        names = dict.fromkeys((rank_by, *_live_scores(self.context), *self.context.options.final_scores))
        return {f"{FINAL}{name}": last[name] for name in names if name in last} | {f"{BEST}{rank_by}": outcome.score}

    def _compared_numbers(self, config: TrialConfig) -> list[str]:
        """Return the names of the reported numbers that the HParams tab shows."""
        rank_by = self.context.stage.rank_by
        names = self.context.factor_names if _has_factors(rank_by) else ()
        factors = [f"{rank_by}/{name}" for name in names]
        losses = [f"loss/{term}" for term in config.objective.terms]
        return list(dict.fromkeys((rank_by, *factors, *_live_scores(self.context), *losses)))


def _live_scores(context: LogContext) -> list[str]:
    has_factors, of_part = context.options.evaluation.has_factors, _trains_on_part(context.options.space)
    live = [
        name
        for name, metric in live_metrics().items()
        if (has_factors or not metric.needs_factors) and (of_part or metric.is_always_taken)
    ]
    return [*live, *context.options.live_scores]


def _trains_on_part(space: Space) -> bool:
    """Return whether some trial trains on selected images of its data set."""
    return any(
        name in space.axes and set(ends(space.axes[name])) != {parameters_of(type(dataset))[name].default}
        for dataset in space.datasets().values()
        for name in dataset.selections
    )


def _has_factors(name: str) -> bool:
    """Return whether a score looks at factors, and may have a value for each."""
    return METRICS[name].needs_factors


def _layout(context: LogContext) -> dict[str, dict[str, list[Any]]]:
    """Return the charts of the Custom Scalars tab, by group: scores, their factors, the loss, weights that change."""
    rank_by = context.stage.rank_by
    scores = dict.fromkeys((rank_by, *_live_scores(context)))
    objectives = [OBJECTIVES[name] for name in context.options.space.names_of("objective")]
    losses = dict.fromkeys(["loss/total_nats", *(f"loss/{term}" for each in objectives for term in each.terms)])
    weights = [*context.options.space.scheduled_names(), *context.options.space.learnt_names()]
    return {
        **{name: _score_charts(name, context.factor_names) for name in scores},
        "loss": {report_column(name).symbol: _chart(f"^{name}$") for name in losses},
        **({"weight": {name: _chart(f"^weight/{name}$") for name in weights}} if weights else {}),
        **({"start": {"losses of the starts": _chart("^start/.*$")}} if context.options.space.has_starts else {}),
        "speed": {"images per second": _chart("^images_per_second$")},
    }


def _score_charts(name: str, factors: Sequence[str]) -> dict[str, list[Any]]:
    """Return a chart of a score, and one for each factor: the lines of a chart are trials, too many for all factors."""
    by_factor = {factor: _chart(f"^{name}/{re.escape(factor)}$") for factor in factors if _has_factors(name)}
    return {"mean": _chart(f"^{name}$"), **by_factor}


def _chart(pattern: str) -> list[Any]:
    return ["Multiline", [pattern]]


def _hyperparameters(config: TrialConfig, tried: Sequence[str]) -> dict[str, Any]:
    """Return what a trial tries, and derived numbers. The HParams tab sorts them by name, and shows five."""
    names = (*shown_fields([config]), *tried, *_COMMON_FIELDS)
    values = {name: config.value(name) for name in config.to_dict() if name in names}
    return values | derived_hyperparameters(config)


def _end_of_session(status: str) -> Summary:
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=Status.Value(status)))
    return Summary(value=[Summary.Value(tag=SESSION_END_INFO_TAG, metadata=create_summary_metadata(ending))])


def _push_events(folder: Mirror) -> None:
    for name in filter(is_event_file, os.listdir(folder.local)):
        folder.push(name)
