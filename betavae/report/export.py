"""A model to give away: its weights, its scores, a card that says what they are worth, and a script that draws it."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from betavae.config import TrialConfig
from betavae.files import replacing_folder
from betavae.records.checkpoint import (
    CONFIG_FILE,
    MODEL_FILE,
    SCORES_FILE,
    CheckpointError,
    add_scores,
    check_checkpoint,
)
from betavae.records.sweep import Sweep
from betavae.records.trial import Checkpoint, Trial, ranked
from betavae.report.confirmation import confirmed
from betavae.report.exact_scores import EXACT_SCORE
from betavae.report.scores import check_scores
from betavae.text import markdown

CARD_FILE = "README.md"
SCRIPT_FILE = "traverse.py"


def export_best(sweep: Sweep, output: Path) -> None:
    """Copy the best checkpoint of a sweep's search to a folder of its own, and write its card.

    Args:
        sweep: At least one of its trials has a score.
        output: The folder; it must not exist, or be empty.

    Raises:
        FileExistsError: If the folder holds something.
        CheckpointError: If the best trial has no checkpoint that is whole.
        OSError: If it cannot be written.
    """
    check_export(output)
    trial, checkpoint = ranked(sweep.trials)[0], best_checkpoint(sweep)
    page = files("betavae.report") / "templates"
    card = _card(sweep, trial, checkpoint, template=(page / "card.md").read_text())
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(output) as folder:
        for name in (CONFIG_FILE, MODEL_FILE, SCORES_FILE):
            shutil.copyfile(checkpoint.folder / name, folder / name)
        if EXACT_SCORE in checkpoint.scores:  # which the sweep's own folder may not have kept
            add_scores(folder, {EXACT_SCORE: checkpoint.scores[EXACT_SCORE]})
        (folder / SCRIPT_FILE).write_text((page / SCRIPT_FILE).read_text())
        (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")


def best_checkpoint(sweep: Sweep) -> Checkpoint:
    """The one to export: the best of the search, its weights as they were written.

    Raises:
        CheckpointError: If the best trial has none that is whole, or its scores are not.
    """
    trial = ranked(sweep.trials)[0]
    checkpoint = trial.best_checkpoint
    if checkpoint is None:
        raise CheckpointError(f"{trial.folder} must hold a checkpoint to be exported, but has none that can be read.")
    check_checkpoint(checkpoint.folder, only=(CONFIG_FILE, MODEL_FILE))
    check_scores(checkpoint)
    return checkpoint


def check_export(output: Path) -> None:
    """Refuse a place where nothing may be written.

    Raises:
        FileExistsError: If it holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"A model is exported to a new or an empty folder, but {output} holds something.")


def _card(sweep: Sweep, trial: Trial, checkpoint: Checkpoint, *, template: str) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = markdown  # for all that a sweep's files say in words
    confirmations = confirmed(sweep.trials, sweep.confirming)
    return environment.from_string(template).render(
        config=TrialConfig.read(checkpoint.folder / CONFIG_FILE),
        scores=checkpoint.scores,
        origin=f"{sweep.folder.name}/{checkpoint.folder.relative_to(sweep.folder)}",
        command=sweep.record.get("command", "not recorded"),
        versions=", ".join(f"{name} {value}" for name, value in sweep.record.get("versions", {}).items()),
        num_trials=len(ranked(sweep.trials)),
        median=float(np.median([one.last_score for one in ranked(sweep.trials)])),
        confirmations=[one for one in confirmations if one.config == trial.setting],
    )
