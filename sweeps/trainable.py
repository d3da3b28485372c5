"""The Ray trainable: train one trial; score, save and report it at every evaluation."""

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
from sweeps.options.options import Evaluation
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import MAX_DEATHS, MAX_ERRORS, WRITE_FAILURE, LostTrialError, TrialFolder


class TrialDiedError(RuntimeError):
    """The trial's process has died repeatedly at the same step, without an exception."""


class ConfigMismatchError(InputError):
    """The trial's checkpoint was trained with other values than the trial has."""


class DataMismatchError(InputError):
    """The images are not those of the sweep, or have changed during training."""


class MissingGpuError(InputError):
    """Ray gave the trial a GPU that torch cannot use."""


_FINAL_ERRORS = (NonFiniteLossError, TrialDiedError, ConfigMismatchError, DataMismatchError, MissingGpuError)
"""Errors after which the sweep does not retry a trial."""


EVALUATION = Evaluation()
"""The scores that are always taken."""


def train_trial(
    config: dict[str, Any],
    *,
    stage_folder: StageFolder,
    fingerprints: Mapping[str, str],
    evaluation: Evaluation = EVALUATION,
) -> None:
    """Train one trial for all its steps, from its latest undamaged checkpoint if it has one.

    A trial's own errors are recorded in its folder, and the function returns, so that Ray counts no failure. Ray's
    number of restarts is unlimited, for machines that are lost. An error that cannot be recorded is reported to the
    driver.

    Args:
        config: The trial's number as `index`, and the parameters of TrialConfig by name.
        stage_folder: The folder of the trials.
        fingerprints: SHA-256 of the images to train on, by data set.
        evaluation: The scores that evaluations take.
    """
    prepare_process(num_threads=threads_of_trial())
    values = dict(config)
    folder = stage_folder.trial(values.pop("index"))
    try:
        with folder.held() as locked_folder:
            error = _error_to_retry(values, locked_folder, fingerprints, evaluation)
    except (OSError, ValueError) as folder_error:  # ValueError: this machine's folder for copies is not private
        reason = _with_explanation(folder_error)
        tune.report({WRITE_FAILURE: f"Trial {folder.name} could not use its folder: {reason}"})
        return
    if error is not None:
        raise error  # Ray restarts the trial in a new process


def _error_to_retry(
    values: Mapping[str, Any], folder: TrialFolder, fingerprints: Mapping[str, str], evaluation: Evaluation
) -> Exception | None:
    """Train, and return the error after which to retry the trial; None if the trial ended or failed for good.

    Raises:
        OSError: If an error cannot be recorded.
    """
    try:
        load_extensions()
        _train(TrialConfig.from_dict(values), folder, fingerprints, evaluation)
    except _FINAL_ERRORS as error:
        folder.fail(error, would_recur=isinstance(error, NonFiniteLossError))
    except LostTrialError as error:
        return error  # this process may not write to the folder any more
    except Exception as error:  # no error of one trial may end the sweep
        if folder.note_error(error) < MAX_ERRORS:
            return error
        folder.fail(_with_explanation(error), would_recur=False)
    return None


def device_of_trial() -> str:
    """Return `cuda` if Ray gave this trial a GPU, else `cpu`.

    Raises:
        MissingGpuError: If torch finds no GPU: on a CPU the trial would take many times as long, and nobody would know.
    """
    if not _resources_of_trial().get("GPU", 0):
        return "cpu"
    if not torch.cuda.is_available():
        raise MissingGpuError(
            f"A trial must find the GPU that it was given, but on {socket.gethostname()} torch {torch.__version__} "
            "finds none: install a build of PyTorch for that machine's GPU and driver, or train on CPUs (--num-gpus 0)."
        )
    return "cuda"


def threads_of_trial() -> int:
    """Return the number of CPU cores that Ray gave this trial."""
    return max(1, int(_resources_of_trial().get("CPU", 1)))


def _resources_of_trial() -> Mapping[str, float]:
    resources = tune.get_context().get_trial_resources()
    return {} if resources is None else resources.required_resources


def _train(config: TrialConfig, folder: TrialFolder, fingerprints: Mapping[str, str], evaluation: Evaluation) -> None:
    device = device_of_trial()
    data = _open_data(config, fingerprints[config.dataset.name])
    run = _start_or_resume(config, folder, data, device=device)
    while run.step < config.steps:
        loss = run.advance(config.next_evaluation(run.step) - run.step)
        final = evaluation.final_of(data) if run.step >= config.steps else ()
        scores = run.evaluate((*evaluation.metrics, *final), has_factors=evaluation.has_factors)
        if data.is_verified_fast or run.step >= config.steps:
            _check_unchanged(data)
        report = {"step": run.step, **scores.numbers(), **loss.numbers()}
        folder.commit(run, scores=scores, report=report)
        tune.report(report)


def _open_data(config: TrialConfig, fingerprint: str) -> FactorImages:
    """Open the images on this machine, and refuse images that are not the sweep's."""
    try:
        data = config.dataset.open()
    except ValueError as error:  # for instance, this machine lacks a folder that the driver has
        raise DataMismatchError(f"{socket.gethostname()}: {error}") from error
    if data.fingerprint != fingerprint:
        raise DataMismatchError(
            f"A trial must train on the sweep's images, of SHA-256 {fingerprint[:12]}..., but {socket.gethostname()} "
            f"has {data.source} images of SHA-256 {data.fingerprint[:12]}...: give that machine the same source of "
            f"{config.dataset.name} as the machine that started the sweep."
        )
    return data


def _check_unchanged(data: FactorImages) -> None:
    """Check all images again before a score of them is stored."""
    try:
        data.verify()
    except (ValueError, OSError) as error:  # the file was overwritten or truncated
        raise DataMismatchError(f"The images changed while the trial trained on them. {error}") from error


def _start_or_resume(config: TrialConfig, folder: TrialFolder, data: FactorImages, *, device: str) -> TrainingRun:
    checkpoint, reports = folder.resume_point(), folder.reports
    step = reports[-1]["step"] if reports else 0
    deaths = folder.note_start(step=step, node=_this_node())
    if deaths >= MAX_DEATHS:
        raise TrialDiedError(
            f"The trial's process died {deaths} times after step {step} on one machine, without an exception, perhaps "
            "for lack of memory: give the process more memory, or take a smaller batch size."
        )
    if checkpoint is None:
        return TrainingRun.start(config, data, device=device)
    _check_config(config, checkpoint)
    tune.report(reports[-1])  # again: the earlier process may have died between writing and reporting it
    return TrainingRun.load(checkpoint, data, device=device)


def _this_node() -> str:
    """Return Ray's names of this machine and of the driver: a trial that ends with its driver has not died."""
    context = ray.get_runtime_context()
    return f"{context.get_node_id()}/{context.get_job_id()}"


def _check_config(config: TrialConfig, checkpoint: Path) -> None:
    """Refuse to resume from a checkpoint with other values.

    Raises:
        ConfigMismatchError: Naming the values of checkpoint and trial.
    """
    checkpoint_config = read_history(checkpoint).config
    if names := differing_fields(config, checkpoint_config):
        raise ConfigMismatchError(
            f"A trial must resume from its own checkpoint, but {checkpoint.name} was trained with "
            f"{describe_fields(checkpoint_config, names)}, and the trial has {describe_fields(config, names)}."
        )


def _with_explanation(error: Exception) -> Exception:
    """Return an error with the fix in its message if the disk is full; any other error unchanged."""
    if is_disk_full(error):
        full_disk = OSError(
            f"The disk is full ({error}). The trial's earlier checkpoints are intact: free some space, then use "
            "--resume with --retry-failed."
        )
        full_disk.__cause__ = error
        return full_disk
    return error
