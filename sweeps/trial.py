"""The Ray trainable: a config in, a training run advanced, scored, saved and reported."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.extensions import load_extensions
from betavae.files import is_disk_full
from betavae.process import prepare_process
from betavae.records.checkpoint import read_history
from betavae.records.trial import describe_fields, differing_fields
from betavae.training import NonFiniteLossError, TrainingRun
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import MAX_DEATHS, MAX_ERRORS, UNWRITTEN, LostTrialError, TrialFolder


class TrialDiedError(RuntimeError):
    """A trial whose process has died again and again at one place, with no exception that would say why."""


class OtherConfigError(InputError):
    """A trial whose checkpoint was trained with other values than it is to be trained with."""


class OtherDataError(InputError):
    """Images that are not those of the sweep, or that have changed while a trial trained on them."""


_FINAL_ERRORS = (NonFiniteLossError, TrialDiedError, OtherConfigError, OtherDataError)
"""Errors after which a trial is not tried again in the same sweep."""


def train_trial(config: dict[str, Any], *, stage_folder: StageFolder, fingerprints: Mapping[str, str]) -> None:
    """Train one trial to its end, from its latest whole checkpoint if it has one.

    What is wrong with the trial itself is written down in its folder, and the trial ends: to Ray it has not failed. So
    Ray may start a trial again as often as machines are lost. Where nothing can be written down, the driver is told.

    Args:
        config: The trial's number as `index`, and the parameters of TrialConfig by name.
        stage_folder: Where the trials are kept.
        fingerprints: SHA-256 of the images to train on, by data set.
    """
    prepare_process()
    values = dict(config)
    folder = stage_folder.trial(values.pop("index"))
    try:
        with folder.held() as held:
            error = _error_to_retry(values, held, fingerprints)
    except (OSError, ValueError) as unwritten:  # the second: this machine has no safe folder for copies
        explained = _explained(unwritten)
        tune.report({UNWRITTEN: f"Trial {folder.name} could not use its folder: {explained}"})
        return
    if error is not None:
        raise error  # to Ray, which starts a new process


def _error_to_retry(
    values: Mapping[str, Any], folder: TrialFolder, fingerprints: Mapping[str, str]
) -> Exception | None:
    """Train, and return the error after which the trial should be tried again; None if it ended, or failed for good.

    Raises:
        OSError: If an error cannot be written down.
    """
    try:
        load_extensions()
        _train(TrialConfig.from_dict(values), folder, fingerprints)
    except _FINAL_ERRORS as error:
        folder.fail(error, would_recur=isinstance(error, NonFiniteLossError))
    except LostTrialError as error:
        return error  # the folder is no longer this process's
    except Exception as error:  # whatever it is, it must not end the sweep
        if folder.note_error(error) < MAX_ERRORS:
            return error
        folder.fail(_explained(error), would_recur=False)
    return None


def device_of_trial() -> str:
    """The GPU that Ray gave this trial; the CPU if it gave none, or one that exists for Ray alone."""
    resources = tune.get_context().get_trial_resources()
    has_gpu = resources is not None and resources.required_resources.get("GPU", 0) > 0
    return "cuda" if has_gpu and torch.cuda.is_available() else "cpu"


def _train(config: TrialConfig, folder: TrialFolder, fingerprints: Mapping[str, str]) -> None:
    device = device_of_trial()
    data = _open_data(config, fingerprints[config.dataset.name])
    run = _start_or_resume(config, folder, data, device=device)
    while run.step < config.steps:
        loss = run.advance(min(config.eval_every, config.steps - run.step))
        scores = run.evaluate()
        _check_unchanged(data)
        report = {"step": run.step, **scores.numbers(), **loss.numbers()}
        folder.commit(run, scores=scores, report=report)
        tune.report(report)


def _open_data(config: TrialConfig, fingerprint: str) -> FactorImages:
    """Open the images here, and refuse those that are not the sweep's."""
    try:
        data = config.dataset.open()
    except ValueError as error:  # such as a folder of the driver's that this machine does not have
        raise OtherDataError(f"{socket.gethostname()}: {error}") from error
    if data.fingerprint != fingerprint:
        raise OtherDataError(
            f"A trial must train on the sweep's images, of SHA-256 {fingerprint[:12]}..., but {socket.gethostname()} "
            f"has {data.source} ones, of {data.fingerprint[:12]}...: set DISENTANGLEMENT_LIB_DATA there as it is where "
            "the sweep was started."
        )
    return data


def _check_unchanged(data: FactorImages) -> None:
    """Read all images again before a score of them is kept: a fraction of a second."""
    try:
        data.verify()
    except (ValueError, OSError) as error:  # overwritten, or cut short
        raise OtherDataError(f"The images changed while the trial trained on them. {error}") from error


def _start_or_resume(config: TrialConfig, folder: TrialFolder, data: FactorImages, *, device: str) -> TrainingRun:
    checkpoint, reports = folder.resume_point(), folder.reports
    step = reports[-1]["step"] if reports else 0
    deaths = folder.note_start(step=step, node=_this_node())
    if deaths >= MAX_DEATHS:
        raise TrialDiedError(
            f"The trial's process died {deaths} times after step {step} on one machine, without an error of its own: "
            "was it out of memory? Give it more, or a smaller batch size."
        )
    if checkpoint is None:
        return TrainingRun.start(config, data, device=device)
    _check_config(config, checkpoint)
    tune.report(reports[-1])  # the process may have died between writing it and saying it
    return TrainingRun.load(checkpoint, data, device=device)


def _this_node() -> str:
    """The name that Ray gives to this machine."""
    return str(ray.get_runtime_context().get_node_id())


def _check_config(config: TrialConfig, checkpoint: Path) -> None:
    """Refuse to go on from a checkpoint under other values."""
    trained = read_history(checkpoint).config
    if names := differing_fields(config, trained):
        raise OtherConfigError(
            f"{checkpoint.name} was trained with {describe_fields(trained, names)}, but the trial is to be trained "
            f"with {describe_fields(config, names)}."
        )


def _explained(error: Exception) -> Exception:
    """The error, in words where the system's own mislead."""
    if is_disk_full(error):
        explained = OSError(
            f"The disk is full ({error}). The trial's earlier checkpoints are intact: free some space, then use "
            "--resume with --retry-failed."
        )
        explained.__cause__ = error
        return explained
    return error
