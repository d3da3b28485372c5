"""TensorBoard, while trials run: a folder of events per trial, in the trial's own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ray import tune
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, create_summary_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard.summary import custom_scalars, hparams, image, scalar, text

from betavae.config import TrialConfig
from betavae.data import DSPRITES_FACTORS
from betavae.records.checkpoint import SAMPLES_FILE, SCORES_FILE, CheckpointError, read_samples, read_scores
from betavae.records.trial import Trial
from betavae.report.model_plots import tile
from betavae.report.pictures import information_pixels
from betavae.report.portrait import latents_by_kl
from betavae.text import one_line
from sweeps.loggers.event_file import EventFile
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import SearchFolder
from sweeps.storage.trial_folder import TrialFolder, checkpoint_name, is_event_file

_CURVES = ("mig", "loss/", "active_units", "images_per_second")
_METRICS = (
    "mig",
    *(f"mig/{name}" for name in DSPRITES_FACTORS.names),
    "loss/recon_nats",
    "loss/kl_nats",
    "active_units",
)
"""What the HParams tab compares trials by."""

_HYPERPARAMETERS = ("beta", "beta_norm", "latent_size", "lr", "architecture", "objective", "seed", "steps")
"""The HParams tab sorts them by name and shows the first five: lr is the fifth."""

_LAYOUT = {
    "MIG": {"mean": ["Multiline", ["^mig$"]], "by factor": ["Multiline", ["^mig/"]]},
    "loss": {name: ["Multiline", [f"^loss/{name}_nats$"]] for name in ("total", "recon", "kl")},
    "latents": {"active": ["Multiline", ["^active_units$"]]},
    "speed": {"images per second": ["Multiline", ["^images_per_second$"]]},
}
_STATUS = {"finished": "STATUS_SUCCESS", "failed": "STATUS_FAILURE", "stopped": "STATUS_UNKNOWN"}
"""What the HParams tab calls a trial that has ended; it has no word for one that was stopped."""


class Board(tune.Callback):
    """Shows each trial from its start: hyper-parameters, curves, pictures of its checkpoints, and how it ended.

    A trial that goes on from a checkpoint goes on with its curves: what was drawn from that step on is drawn anew.
    Curves that cannot be drawn cost a warning and the trial's further curves, never the trial.

    Args:
        sweep: The sweep's own folder, for the layout of the curves.
        search_folder: Where the trials are kept.
        known: Trials that have been drawn before.
    """

    def __init__(self, sweep: Mirror, search_folder: SearchFolder, *, known: Sequence[Trial] = ()) -> None:
        self._search_folder = search_folder
        self._open: dict[int, EventFile] = {}
        self._drawn = {trial.config.seed: trial.step for trial in known}
        self._lost: set[int] = set()
        self._warned_of: set[object] = set()
        try:
            _write_layout(sweep)
        except Exception as error:  # as in `_attempt`
            self._warn("no layout of TensorBoard's curves", error)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show what is trained, with the names of the numbers that will come."""
        self._attempt(trial, self._show_start)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Add a point to every curve, and the checkpoint's pictures."""
        if "step" in result:  # else it is Ray's own, of a trial that failed before its first report
            self._attempt(trial, lambda config: self._show_report(config, result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how the trial ended, and end its curves."""
        self._attempt(trial, self._show_ending)

    def _attempt(self, trial: Any, draw: Callable[[dict[str, Any]], None]) -> None:
        """Draw something of a trial whose curves have not failed before."""
        seed = trial.config["seed"]
        if seed in self._lost:
            return
        try:
            draw(trial.config)
        except Exception as error:  # of any kind: Ray takes it for a failure of the trial, or of the sweep
            self._lost.add(seed)
            self._open.pop(seed, None)
            self._warn(f"no more TensorBoard curves of trial {self._search_folder.index(seed):04}", error)

    def _warn(self, loss: str, error: Exception) -> None:
        """Say once why curves are missing: a full disk takes those of every trial."""
        kind = (type(error), getattr(error, "errno", None))
        if kind in self._warned_of:
            return
        self._warned_of.add(kind)
        reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        line = f"warning: {loss}: {reason}; the sweep goes on (not said again of other trials)"
        with contextlib.suppress(OSError, ValueError):  # nobody reads it
            print(one_line(line), file=sys.stderr, flush=True)

    def _show_start(self, config: dict[str, Any]) -> None:
        self._begin(config)
        self._publish(config["seed"])

    def _show_report(self, config: dict[str, Any], result: dict[str, Any]) -> None:
        seed, step = config["seed"], result["step"]
        if step <= self._drawn.get(seed, 0):
            self._begin(config, purge_step=step)
        self._drawn[seed] = step
        for name, value in result.items():
            if name.startswith(_CURVES) and isinstance(value, (int, float)):
                self._open[seed].add(scalar(name, value), step=step)  # type: ignore[no-untyped-call]
        for tag, pixels in _pictures(self._search_folder.trial(seed), step).items():
            picture = image(tag, pixels, dataformats="HWC"[: pixels.ndim])  # type: ignore[no-untyped-call]
            self._open[seed].add(picture, step=step)
        self._publish(seed)

    def _show_ending(self, config: dict[str, Any]) -> None:
        seed = config["seed"]
        if seed not in self._open:  # it ended before it started
            self._begin(config)
        ended = self._search_folder.read(seed)
        if ended.status in _STATUS:
            ending = text("ending", _describe_ending(ended))  # type: ignore[no-untyped-call]
            self._open[seed].add(ending, step=ended.step)
            self._open[seed].add(_end_of_session(_STATUS[ended.status]))
        self._publish(seed)
        self._open.pop(seed)

    def _begin(self, config: dict[str, Any], *, purge_step: int | None = None) -> None:
        """Begin a file of events, in the place of an earlier one."""
        seed = config["seed"]
        self._open[seed] = events = EventFile(self._search_folder.trial(seed).path, purge_step=purge_step)
        experiment, start, _ = hparams(_hyperparameters(config), dict.fromkeys(_METRICS, 0.0))  # type: ignore[no-untyped-call]
        events.add(experiment, start)

    def _publish(self, seed: int) -> None:
        """Let TensorBoard see a trial's events."""
        self._open[seed].flush()
        _push_events(self._search_folder.trial(seed).mirror)


def _write_layout(sweep: Mirror) -> None:
    events = EventFile(sweep.local)
    events.add(custom_scalars(_LAYOUT))  # type: ignore[no-untyped-call]
    events.flush()
    _push_events(sweep)


def _hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    trial = TrialConfig.from_dict(config)
    return {name: getattr(trial, name) for name in _HYPERPARAMETERS}


def _pictures(folder: TrialFolder, step: int) -> dict[str, np.ndarray]:
    """What the step's checkpoint looks like; empty where the sweep has let go of it already, or it is damaged."""
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
    return f"{trial.status} at step {trial.step}, best mig {trial.score:.3f}"


def _end_of_session(status: str) -> Summary:
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=Status.Value(status)))
    return Summary(value=[Summary.Value(tag=SESSION_END_INFO_TAG, metadata=create_summary_metadata(ending))])


def _push_events(folder: Mirror) -> None:
    for name in filter(is_event_file, os.listdir(folder.local)):
        folder.push(name)
