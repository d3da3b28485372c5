"""The exact score of a checkpoint, taken once and kept beside the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from betavae.data import DSprites
from betavae.evaluation import evaluate_exactly
from betavae.records.checkpoint import load_model
from betavae.records.sweep import Sweep

EXACT_SCORE = "mig_exact"
"""Its name in `scores.json`."""


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
    """Add exact scores that a sweep's folder could not keep to the sweep as it was read, so that a report shows them.

    Args:
        sweep: As it was read.
        scores: By checkpoint, its `mig_exact`.
    """
    for trial in (*sweep.trials, *sweep.confirming):
        for checkpoint in (trial.best_checkpoint, trial.final_checkpoint):
            if checkpoint is not None and checkpoint.folder in scores:
                checkpoint.scores[EXACT_SCORE] = scores[checkpoint.folder]
