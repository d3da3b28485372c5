"""TensorBoard, while trials run: a folder of events per trial, in the trial's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import tune
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, create_summary_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from betavae.analysis.model_plots import tile
from betavae.analysis.pictures import information_pixels
from betavae.analysis.portrait import latents_by_kl
from betavae.analysis.results import Trial
from betavae.checkpoint import SAMPLES_FILE, SCORES_FILE, CheckpointError, read_scores
from betavae.config import TrialConfig
from betavae.data import DSPRITES_FACTORS
from sweeps.search_folder import SearchFolder
from sweeps.storage import Mirror
from sweeps.trial_folder import TrialFolder, checkpoint_name, is_event_file

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


class _Events:
    """A trial's events, being written."""

    def __init__(self, folder: TrialFolder, *, purge_step: int | None) -> None:
        self.folder = folder
        self.writer = SummaryWriter(str(folder.path), purge_step=purge_step)

    def add(self, *summaries: Summary) -> None:
        """Add what the writer has no name for."""
        for summary in summaries:
            self.writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]

    def flush(self) -> None:
        """Let TensorBoard see them."""
        self.writer.flush()
        _publish(self.folder.mirror)


class Board(tune.Callback):
    """Shows each trial from its start: hyper-parameters, curves, pictures of its checkpoints, and how it ended.

    A trial that goes on from a checkpoint goes on with its curves: what was drawn from that step on is drawn anew.

    Args:
        sweep: The sweep's own folder, for the layout of the curves.
        search_folder: Where the trials are kept.
        known: Trials that have been drawn before.
    """

    def __init__(self, sweep: Mirror, search_folder: SearchFolder, *, known: Sequence[Trial] = ()) -> None:
        self._search_folder = search_folder
        self._open: dict[int, _Events] = {}
        self._drawn = {trial.config.seed: trial.step for trial in known}
        layout = SummaryWriter(str(sweep.local))
        layout.add_custom_scalars(_LAYOUT)
        layout.close()
        _publish(sweep)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show what is trained, with the names of the numbers that will come."""
        self._begin(trial.config).flush()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Add a point to every curve, and the checkpoint's pictures."""
        if "step" not in result:  # Ray's own, of a trial that failed before its first report
            return
        seed, step = trial.config["seed"], result["step"]
        if step <= self._drawn.get(seed, 0):
            self._begin(trial.config, purge_step=step)
        self._drawn[seed] = step
        events = self._open[seed]
        for name, value in result.items():
            if name.startswith(_CURVES):
                events.writer.add_scalar(name, value, step)
        _add_pictures(events, step)
        events.flush()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say how the trial ended, and end its curves."""
        seed = trial.config["seed"]
        if seed not in self._open:  # it ended before it started
            self._begin(trial.config)
        ended, events = self._search_folder.read(seed), self._open.pop(seed)
        if ended.status in _STATUS:
            events.writer.add_text("ending", _describe_ending(ended), ended.step)
            events.add(_end_of_session(_STATUS[ended.status]))
        events.flush()
        events.writer.close()

    def _begin(self, config: dict[str, Any], *, purge_step: int | None = None) -> _Events:
        """Open a file of events, in the place of one that is open."""
        seed = config["seed"]
        if seed in self._open:
            self._open.pop(seed).writer.close()
        self._open[seed] = events = _Events(self._search_folder.trial(seed), purge_step=purge_step)
        experiment, start, _ = hparams(_hyperparameters(config), dict.fromkeys(_METRICS, 0.0))  # type: ignore[no-untyped-call]
        events.add(experiment, start)
        return events


def _hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    trial = TrialConfig.from_dict(config)
    return {name: getattr(trial, name) for name in _HYPERPARAMETERS}


def _add_pictures(events: _Events, step: int) -> None:
    """What the step's checkpoint looks like; nothing where the sweep has let go of it already."""
    name = checkpoint_name(step)
    checkpoint = events.folder.path / name
    events.folder.mirror.pull(lambda file: file in {f"{name}/{SAMPLES_FILE}", f"{name}/{SCORES_FILE}"})
    try:
        scores = read_scores(checkpoint)
        samples = dict(np.load(checkpoint / SAMPLES_FILE))
    except (CheckpointError, OSError):
        return
    latents = latents_by_kl(scores)
    pictures = {
        "reconstructions": tile(np.stack([samples["originals"], samples["reconstructions"]])),
        "traversal_by_kl": tile(samples["traversal"][[latent.index for latent in latents]]),
        "mutual_information": information_pixels(scores, latents),
    }
    for tag, pixels in pictures.items():
        events.writer.add_image(tag, pixels, step, dataformats="HWC"[: pixels.ndim])


def _describe_ending(trial: Trial) -> str:
    if trial.error is not None:
        return f"failed at step {trial.step}: {trial.error}"
    return f"{trial.status} at step {trial.step}, best mig {trial.score:.3f}"


def _end_of_session(status: str) -> Summary:
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=Status.Value(status)))
    return Summary(value=[Summary.Value(tag=SESSION_END_INFO_TAG, metadata=create_summary_metadata(ending))])


def _publish(folder: Mirror) -> None:
    for name in filter(is_event_file, os.listdir(folder.local)):
        folder.push(name)
