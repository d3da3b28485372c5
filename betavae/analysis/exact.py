"""The exact score of a checkpoint, taken once and kept beside the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

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

    Args:
        checkpoint: Its folder.
        data: The whole set.
        device: Where to encode.
        on_progress: Called with the number of images encoded since the last call.

    Raises:
        CheckpointError: If the checkpoint is damaged.
        OSError: If its folder cannot be written; nothing has been computed then.
    """
    model = load_model(checkpoint, device)
    if not os.access(checkpoint, os.W_OK):
        raise OSError(f"An exact score is kept in its checkpoint, but {checkpoint} cannot be written; use --exact 0.")
    add_scores(checkpoint, {EXACT_SCORE: evaluate_exactly(model, data, device=device, on_progress=on_progress)})
