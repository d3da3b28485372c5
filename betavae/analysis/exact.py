"""The exact score of a checkpoint, taken once and kept beside the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from betavae.analysis.results import Sweep
from betavae.checkpoint import add_scores, load_model
from betavae.data import DSprites
from betavae.evaluation import evaluate_exactly

EXACT_SCORE = "mig_exact"
"""Its name in `scores.json`."""


def add_exact_score(
    checkpoint: Path,
    data: DSprites,
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Encode the whole set, and add `mig_exact` to the checkpoint's scores.

    Args and errors of its own are those of `take_exact_score`.

    Raises:
        OSError: If the checkpoint's folder cannot be written.
    """
    score = take_exact_score(checkpoint, data, device=device, on_progress=on_progress)
    add_scores(checkpoint, {EXACT_SCORE: score})


def take_exact_score(
    checkpoint: Path,
    data: DSprites,
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Encode the whole set, and return what `scores.json` holds as `mig_exact`.

    Args:
        checkpoint: Its folder.
        data: The whole set.
        device: Where to encode.
        on_progress: Called with the number of images encoded since the last call.

    Raises:
        CheckpointError: If the checkpoint is damaged.
    """
    return evaluate_exactly(load_model(checkpoint, device), data, device=device, on_progress=on_progress)


def show_exact_scores(sweep: Sweep, scores: Mapping[Path, dict[str, Any]]) -> None:
    """Have a sweep that has been read show exact scores that its folder could not keep.

    Args:
        sweep: As it was read.
        scores: By checkpoint, its `mig_exact`.
    """
    for trial in (*sweep.trials, *sweep.confirming):
        for checkpoint in (trial.best_checkpoint, trial.final_checkpoint):
            if checkpoint is not None and checkpoint.folder in scores:
                checkpoint.scores[EXACT_SCORE] = scores[checkpoint.folder]
