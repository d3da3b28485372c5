"""Checkpoint folders: write, check and read all that resuming, scoring and drawing a trial needs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.files import read_json, replace_json, sync_folder, temporary_beside, write_json
from betavae.metrics import Codes, Score, Scores
from betavae.models import VAE
from betavae.records.weights import MODEL_FILE, read_weights, stored_name, write_weights

CONFIG_FILE = "config.json"
TRAINING_FILE = "training.pt"
SCORES_FILE = "scores.json"
SAMPLES_FILE = "samples.npz"
CODES_FILE = "codes.npz"
REPORT_FILE = "report.json"
MANIFEST_FILE = "manifest.json"
"""SHA-256 of every other file except the scores, which are added to later and hold a checksum of themselves."""

_CHECKSUM = "checksum"
_EARLIER = "earlier"
_LISTED_FILES = (CONFIG_FILE, MODEL_FILE, TRAINING_FILE, REPORT_FILE, SAMPLES_FILE, CODES_FILE)
"""Files that a manifest must list."""

_MAX_REASON = 400
"""The most characters of an error's text that a message quotes."""

_DAMAGE = (OSError, ValueError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError)
"""Errors that reading a truncated or corrupted file can raise."""


class CheckpointError(InputError):
    """A checkpoint folder with a file that is missing or damaged."""


@dataclass(frozen=True)
class History:
    """The trial of a checkpoint, up to the checkpoint's step.

    Attributes:
        config: The trial's configuration.
        reports: The trial's reports, in order.
    """

    config: TrialConfig
    reports: tuple[dict[str, Any], ...]


def checkpoint_name(step: int) -> str:
    """Return the name of the checkpoint folder of a step."""
    return f"checkpoint_{step:09}"


def checkpoint_folders(trial: Path) -> list[Path]:
    """Return the checkpoint folders of a trial's folder, by step."""
    return sorted(trial.glob("checkpoint_*"))


def write_checkpoint(
    folder: Path,
    *,
    config: TrialConfig,
    model: VAE,
    training: Mapping[str, Any],
    scores: Scores,
    report: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]] = (),
    samples: Mapping[str, np.ndarray],
) -> None:
    """Write a checkpoint folder, whole or not at all.

    Args:
        folder: A folder that does not exist or is empty.
        config: The trial's configuration.
        model: The model; its weights have a file of their own.
        training: All else that a resume needs, in tensors and plain values, which load without pickles.
        scores: The scores of this model at this step, with the codes that were scored.
        report: The trial's report at this step.
        earlier: The trial's reports before it, from which a damaged record can be restored.
        samples: Images of the model, by name.

    Raises:
        FileExistsError: If `folder` exists and is not empty.
        OSError: If the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    temporary.mkdir()  # its mode follows the umask, unlike that of mkdtemp's folder
    try:
        write_json(temporary / CONFIG_FILE, config.to_dict())
        write_weights(temporary / MODEL_FILE, model)
        _save(temporary / TRAINING_FILE, dict(training))
        write_json(temporary / REPORT_FILE, {**report, _EARLIER: list(earlier)})
        np.savez_compressed(temporary / SAMPLES_FILE, allow_pickle=False, **samples)
        assert scores.codes is not None
        np.savez_compressed(temporary / CODES_FILE, allow_pickle=False, **vars(scores.codes))
        write_json(temporary / MANIFEST_FILE, {path.name: _sha256(path) for path in sorted(temporary.iterdir())})
        write_json(temporary / SCORES_FILE, _with_checksum(scores.to_dict()))
        for path in temporary.iterdir():
            _sync_file(path)
        sync_folder(temporary)
        _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)


def check_checkpoint(folder: Path, *, only: Collection[str] | None = None) -> None:
    """Compare every byte of a checkpoint with what was written.

    Args:
        folder: The checkpoint folder.
        only: Files to check beside the scores; all if None. The file of the weights has the name that this version
            writes, also where the folder is of an earlier version.

    Raises:
        CheckpointError: If a file is missing, truncated or changed; the message names the file.
    """
    _check_files(folder, _LISTED_FILES if only is None else only)
    read_scores(folder)


def read_history(folder: Path) -> History:
    """Read the configuration and the reports of a checkpoint's trial, after a check of their bytes.

    Raises:
        CheckpointError: If a file is damaged, or the folder is no checkpoint.
    """
    _check_files(folder, (CONFIG_FILE, REPORT_FILE))
    try:
        report = read_json(folder / REPORT_FILE)
        return History(TrialConfig.read(folder / CONFIG_FILE), (*report.pop(_EARLIER), report))
    except _DAMAGE as error:
        raise CheckpointError(f"{folder} must hold the reports of its trial, but: {_first_line(error)}") from error


def read_training(folder: Path, *, device: torch.device | str) -> dict[str, Any]:
    """Read what a resume needs beside the weights, onto a device.

    Raises:
        OSError: If the file cannot be read.
    """
    state: dict[str, Any] = torch.load(folder / TRAINING_FILE, map_location=device, weights_only=True)
    return state


def load_model(folder: Path | str, device: torch.device | str = "cpu") -> VAE:
    """Return the model of a checkpoint folder, with its weights, on `device`.

    Raises:
        CheckpointError: If the folder is no checkpoint or is damaged.
    """
    folder = Path(folder)
    try:
        config = TrialConfig.read(folder / CONFIG_FILE)
        model = VAE(
            config.latent_size,
            architecture=config.architecture,
            likelihood=config.likelihood,
            image_shape=config.dataset.image_shape,
        )
        model.load_state_dict(read_weights(folder))
    except _DAMAGE as error:
        raise CheckpointError(f"{folder} must hold a model, but: {_first_line(error)}") from error
    return model.to(device)


def copy_model(folder: Path, output: Path) -> None:
    """Copy a checkpoint's configuration and weights to another folder, to be given away.

    The configuration names no folder of this machine. Weights of an earlier version become safetensors.

    Raises:
        InputError: If the configuration is damaged.
        CheckpointError: If the weights of an earlier version are damaged.
        OSError: If a file is missing, or cannot be read or written.
    """
    write_json(output / CONFIG_FILE, TrialConfig.read(folder / CONFIG_FILE).public_dict())
    if stored_name(folder, MODEL_FILE) == MODEL_FILE:
        shutil.copyfile(folder / MODEL_FILE, output / MODEL_FILE)
    else:
        write_weights(output / MODEL_FILE, load_model(folder))


def read_scores(folder: Path) -> Scores:
    """Read the scores of a checkpoint folder, without the codes.

    Raises:
        CheckpointError: If the scores are missing or damaged.
    """
    try:
        scores: dict[str, Any] = read_json(folder / SCORES_FILE)
        if not isinstance(scores, dict) or scores.pop(_CHECKSUM) != _checksum(scores):
            raise ValueError("its content is not what was written.")
        return Scores.from_dict(scores)
    except _DAMAGE as error:
        raise CheckpointError(f"{folder} must hold {SCORES_FILE}, but: {_first_line(error)}") from error


def read_samples(folder: Path) -> dict[str, np.ndarray]:
    """Read the images of a checkpoint folder, by name.

    Raises:
        CheckpointError: If the images are missing or damaged.
    """
    return _read_arrays(folder, SAMPLES_FILE)


def read_codes(folder: Path) -> Codes:
    """Read the codes of a checkpoint folder: the posteriors of the images that were scored.

    Raises:
        CheckpointError: If the codes are missing or damaged.
    """
    try:
        return Codes(**_read_arrays(folder, CODES_FILE))
    except TypeError as error:
        raise CheckpointError(f"{folder} must hold {CODES_FILE}, but: {_first_line(error)}") from error


def _read_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    try:
        with np.load(folder / name, allow_pickle=False) as arrays:
            return dict(arrays)
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error, AttributeError) as error:  # a single array is no archive
        raise CheckpointError(f"{folder} must hold {name}, but: {_first_line(error)}") from error


def add_scores(folder: Path, scores: Mapping[str, Score]) -> None:
    """Add scores to a checkpoint, all or none; a score replaces the score of its name.

    Raises:
        CheckpointError: If the checkpoint's scores are missing or damaged.
        OSError: If the folder cannot be written.
    """
    replace_json(folder / SCORES_FILE, _with_checksum(read_scores(folder).with_scores(scores).to_dict()))


def _check_files(folder: Path, names: Collection[str]) -> None:
    try:
        manifest = read_json(folder / MANIFEST_FILE)
        for name in (stored_name(folder, name) for name in names):
            if name not in manifest:
                raise ValueError(f"{MANIFEST_FILE} does not list {name}.")
            if _sha256(folder / name) != manifest[name]:
                raise ValueError(f"{name} is not what was written.")
    except _DAMAGE as error:
        raise CheckpointError(f"{folder} must be whole, but: {_first_line(error)}") from error


def _save(path: Path, state: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()  # written to a file by torch, an error would not say why
    torch.save(state, buffer)
    path.write_bytes(buffer.getbuffer())


def _with_checksum(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {**scores, _CHECKSUM: _checksum(scores)}


def _checksum(scores: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, with the second if the first only announces it, cut where it is long.

    A file that was changed decides the text of some errors.
    """
    first, second, *_ = [*str(error).split("\n", 2), ""]
    line = f"{first} {second.strip()}" if first.endswith(":") else first
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}..."


def _rename(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)  # replaces an empty folder, refuses any other
    except OSError as error:
        if folder.exists():
            raise FileExistsError(f"{folder} exists already; a checkpoint is never overwritten.") from error
        raise


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
