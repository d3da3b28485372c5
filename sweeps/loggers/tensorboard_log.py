"""TensorBoard, while trials run: a folder of events per trial, in the trial's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, create_summary_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard.summary import custom_scalars, hparams, image, scalar, text

from betavae.columns import shown_fields
from betavae.config import TrialConfig
from betavae.metrics import live_metrics
from betavae.records.checkpoint import SAMPLES_FILE, SCORES_FILE, CheckpointError, read_samples, read_scores
from betavae.records.trial import PlannedTrial, Trial
from betavae.report.model_plots import tile
from betavae.report.pictures import information_pixels
from betavae.report.portrait import latents_by_kl
from sweeps.loggers.base import LogContext, Logger, Report
from sweeps.loggers.event_file import EventFile
from sweeps.storage.mirror import Mirror
from sweeps.storage.trial_folder import TrialFolder, checkpoint_name, is_event_file

_ALWAYS = ("architecture", "objective", "seed", "steps")
"""Hyper-parameters that the HParams tab has of every sweep, beside what trials differ in."""

_STATUS = {"finished": "STATUS_SUCCESS", "failed": "STATUS_FAILURE", "stopped": "STATUS_UNKNOWN"}
"""What the HParams tab calls a trial that has ended; it has no word for one that was stopped."""


class TensorBoardLog(Logger):
    """Shows each trial from its start: hyper-parameters, curves, pictures of its checkpoints, and how it ended.

    A trial that is resumed from a checkpoint continues its curves: what was drawn from that step on is drawn anew. A
    trial whose curves cannot be drawn loses its further ones.

    Args:
        context: The stage.
    """

    name = "tensorboard"

    def __init__(self, context: LogContext) -> None:
        super().__init__(context)
        self._open: dict[int, EventFile] = {}
        self._drawn = {trial.index: trial.step for trial in context.known}
        self._lost: set[int] = set()

    def __enter__(self) -> TensorBoardLog:
        """Write the layout of the curves."""
        events = EventFile(self.context.sweep.local)
        events.add(custom_scalars(_layout(self.context.stage.rank_by)))  # type: ignore[no-untyped-call]
        events.flush()
        _push_events(self.context.sweep)
        return self

    def started(self, trial: PlannedTrial) -> None:
        """Show what is trained."""
        self._lost.discard(trial.index)
        with self._drawing(trial.index):
            self._begin(trial)

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Add a point to every curve, and the checkpoint's pictures."""
        if trial.index not in self._lost:
            with self._drawing(trial.index):
                self._draw(trial, report)

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Write how the trial ended, and close its file."""
        if trial.index in self._lost or outcome is None:
            return
        with self._drawing(trial.index):
            if trial.index not in self._open:  # it ended before it started
                self._begin(trial)
            if outcome.status in _STATUS:
                ending = text("ending", _describe_ending(outcome))  # type: ignore[no-untyped-call]
                self._open[trial.index].add(ending, step=outcome.step)
                self._open[trial.index].add(_end_of_session(_STATUS[outcome.status]))
        self._open.pop(trial.index)

    @contextmanager
    def _drawing(self, index: int) -> Iterator[None]:
        """Publish what is drawn of a trial; give its curves up if that cannot be done."""
        try:
            yield
            self._open[index].flush()
            _push_events(self.context.stage.trial(index).mirror)
        except Exception:
            self._lost.add(index)
            self._open.pop(index, None)
            raise

    def _draw(self, trial: PlannedTrial, report: Report) -> None:
        index, step = trial.index, report["step"]
        if step <= self._drawn.get(index, 0):
            self._begin(trial, purge_step=step)
        self._drawn[index] = step
        for name, value in report.items():
            if name != "step" and isinstance(value, (int, float)):
                self._open[index].add(scalar(name, value), step=step)  # type: ignore[no-untyped-call]
        for tag, pixels in _pictures(self.context.stage.trial(index), step).items():
            picture = image(tag, pixels, dataformats="HWC"[: pixels.ndim])  # type: ignore[no-untyped-call]
            self._open[index].add(picture, step=step)

    def _begin(self, trial: PlannedTrial, *, purge_step: int | None = None) -> None:
        """Begin a file of events, in the place of an earlier one."""
        index = trial.index
        self._open[index] = EventFile(self.context.stage.trial(index).path, purge_step=purge_step)
        metrics = dict.fromkeys(self._compared(trial.config), 0.0)
        experiment, start, _ = hparams(_hyperparameters(trial.config), metrics)  # type: ignore[no-untyped-call]
        self._open[index].add(experiment, start)

    def _compared(self, config: TrialConfig) -> list[str]:
        """Return the reported numbers that the HParams tab compares trials by."""
        rank_by = self.context.stage.rank_by
        factors = [f"{rank_by}/{name}" for name in self.context.factor_names]
        losses = [f"loss/{term}" for term in config.objective.terms]
        return list(dict.fromkeys((rank_by, *factors, *live_metrics(), *losses)))


def _layout(rank_by: str) -> dict[str, dict[str, list[Any]]]:
    """Return the charts of the Custom Scalars tab."""
    return {
        rank_by: {"mean": ["Multiline", [f"^{rank_by}$"]], "by factor": ["Multiline", [f"^{rank_by}/"]]},
        "loss": {name: ["Multiline", [f"^loss/{name}_nats$"]] for name in ("total", "recon", "kl")},
        "latents": {"active": ["Multiline", ["^active_units$"]]},
        "speed": {"images per second": ["Multiline", ["^images_per_second$"]]},
    }


def _hyperparameters(config: TrialConfig) -> dict[str, Any]:
    """Return what a trial tries; the HParams tab sorts these by name, and shows the first five."""
    values = {name: config.value(name) for name in config.to_dict() if name in (*shown_fields([config]), *_ALWAYS)}
    return values | config.derived()


def _pictures(folder: TrialFolder, step: int) -> dict[str, np.ndarray]:
    """Return pictures of the step's checkpoint; none where the sweep has deleted it already, or it is damaged."""
    name = checkpoint_name(step)
    folder.mirror.pull(lambda file: file in {f"{name}/{SAMPLES_FILE}", f"{name}/{SCORES_FILE}"})
    try:
        scores, samples = read_scores(folder.path / name), read_samples(folder.path / name)
        latents = latents_by_kl(scores)
        return {
            "reconstructions": tile(np.stack([samples["originals"], samples["reconstructions"]])),
            "traversal_by_kl": tile(samples["traversal"][[latent.index for latent in latents]]),
            "mutual_information": information_pixels(scores, latents),
        }
    except (CheckpointError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _describe_ending(trial: Trial) -> str:
    if trial.error is not None:
        return f"failed at step {trial.step}: {trial.error}"
    return f"{trial.status} at step {trial.step}, best {trial.rank_by} {trial.score:.3f}"


def _end_of_session(status: str) -> Summary:
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=Status.Value(status)))
    return Summary(value=[Summary.Value(tag=SESSION_END_INFO_TAG, metadata=create_summary_metadata(ending))])


def _push_events(folder: Mirror) -> None:
    for name in filter(is_event_file, os.listdir(folder.local)):
        folder.push(name)
