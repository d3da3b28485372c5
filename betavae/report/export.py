"""A model to give away: its weights, its scores, a card that describes them, a script that draws it, and ONNX files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.files import replacing_folder
from betavae.records.checkpoint import (
    CONFIG_FILE,
    SCORES_FILE,
    CheckpointError,
    add_scores,
    check_checkpoint,
    copy_model,
    load_model,
)
from betavae.records.sweep import Sweep
from betavae.records.trial import Checkpoint, Trial, ranked
from betavae.records.weights import MODEL_FILE
from betavae.report.card import CARD_FILE, card_text
from betavae.report.onnx_files import OnnxError, missing_packages, write_onnx

SCRIPT_FILE = "traverse.py"

_NUM_COMPARED = 4
"""The number of images on which ONNX files are compared with torch."""


@dataclass(frozen=True)
class Export:
    """The outcome of `export_best`.

    Attributes:
        cards: The cards of the exported models.
        problems: A sentence for each reason why models have no ONNX files.
    """

    cards: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def export_best(sweep: Sweep, output: Path, *, data: Mapping[str, FactorImages]) -> Export:
    """Copy the best checkpoint of a sweep's search to a folder of its own, and write its card and its ONNX files.

    Of a sweep with several data sets, the best checkpoint of each goes to a folder of the data set's name. A data set
    without a score is left out. Without the packages of the extra `onnx`, or for networks that ONNX cannot express, all
    but the ONNX files is written.

    Args:
        sweep: At least one of its trials has a score.
        output: The folder; it must not exist, or be empty.
        data: The whole data sets, by name; those of the best trials among them.

    Raises:
        FileExistsError: If the folder holds something.
        InputError: If the data set of a best trial is not in `data`.
        CheckpointError: If a best trial has no checkpoint that is whole.
        OSError: If it cannot be written.
    """
    check_export(output)
    parts = sweep.by_dataset()
    checkpoints = best_checkpoints(sweep)  # all, before any is written
    for name in checkpoints:
        if name not in data:
            known = ", ".join(data) or "none"
            raise InputError(f"The data sets must hold {name}, of the best trial, but hold {known}.")
    missing = missing_packages()
    problems = [_describe_missing(missing)] if missing else []
    folders = {name: output / name if len(parts) > 1 else output for name in checkpoints}
    for name, checkpoint in checkpoints.items():
        problem = _export(parts[name], checkpoint, folders[name], data=data[name], with_onnx=not missing)
        problems += [] if problem is None else [problem]
    return Export(tuple(folder / CARD_FILE for folder in folders.values()), tuple(problems))


def _export(sweep: Sweep, checkpoint: Checkpoint, output: Path, *, data: FactorImages, with_onnx: bool) -> str | None:
    """Export the best checkpoint of the trials of one data set; return why the model has no ONNX files, if it could."""
    trial, problem = ranked(sweep.trials)[0], None
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(output) as folder:
        copy_model(checkpoint.folder, folder)
        shutil.copyfile(checkpoint.folder / SCORES_FILE, folder / SCORES_FILE)
        if checkpoint.folder in trial.unkept:
            add_scores(folder, trial.unkept[checkpoint.folder])
        if with_onnx:
            problem = _write_onnx(folder, data)
        script = files("betavae.report") / "templates" / SCRIPT_FILE
        (folder / SCRIPT_FILE).write_text(script.read_text())
        card = card_text(sweep, trial, checkpoint, data=data, has_onnx=with_onnx and problem is None)
        (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")
    return problem


def _write_onnx(folder: Path, data: FactorImages) -> str | None:
    """Write the networks of a folder's model as ONNX files; return why they cannot be written, if so."""
    images = data.images(np.linspace(0, len(data) - 1, _NUM_COMPARED).astype(np.int64))
    try:
        write_onnx(folder, load_model(folder), images)
    except OnnxError as error:
        return f"The exported model has no ONNX files: {error}"
    return None


def _describe_missing(packages: Sequence[str]) -> str:
    return (
        f"The export has no ONNX files, which need {' and '.join(packages)}: 'pip install {' '.join(packages)}', and "
        "export again."
    )


def best_checkpoints(sweep: Sweep) -> dict[str, Checkpoint]:
    """Return the checkpoints to export, by data set: the best of the search, if the weights are as they were written.

    Raises:
        CheckpointError: If the best trial of a data set has no checkpoint that is whole.
    """
    trials = {name: ranked(part.trials) for name, part in sweep.by_dataset().items()}
    return {name: _whole_checkpoint(scored[0]) for name, scored in trials.items() if scored}


def _whole_checkpoint(trial: Trial) -> Checkpoint:
    checkpoint = trial.chosen_checkpoint
    if checkpoint is None:
        wanted = "a checkpoint" if trial.choice is None else "a checkpoint of the end"
        raise CheckpointError(f"{trial.folder} must hold {wanted} to be exported, but has none that can be read.")
    check_checkpoint(checkpoint.folder, only=(CONFIG_FILE, MODEL_FILE))
    return checkpoint


def check_export(output: Path) -> None:
    """Refuse a place where nothing may be written.

    Raises:
        FileExistsError: If it holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"A model is exported to a new or an empty folder, but {output} holds something.")
