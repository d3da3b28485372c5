"""What loggers show of a trial: its hyper-parameters, numbers and pictures, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.records.checkpoint import (
    SAMPLES_FILE,
    SCORES_FILE,
    CheckpointError,
    checkpoint_name,
    read_samples,
    read_scores,
)
from betavae.records.trial import Trial
from betavae.report.model_plots import tile
from betavae.report.pictures import information_pixels
from betavae.report.portrait import latents_by_kl
from sweeps.storage.trial_folder import TrialFolder


def derived_hyperparameters(config: TrialConfig) -> dict[str, float]:
    """Return numbers that follow from a configuration, such as `beta_norm`.

    Of a parameter that changes over training, which is text itself: `beta_start` and `beta_end`.
    """
    starts = {f"{name}_start": schedule.start for name, schedule in config.schedules.items()}
    ends = {f"{name}_end": schedule.end for name, schedule in config.schedules.items()}
    return starts | ends | config.derived()


def numbers_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a report by name, without its step."""
    return {name: value for name, value in report.items() if name != "step" and isinstance(value, (int, float))}


def pictures_of(folder: TrialFolder, step: int) -> dict[str, np.ndarray]:
    """Return the pictures of a step's checkpoint; none if the checkpoint has been deleted since, or is damaged.

    Each is of bytes: (height, width), or (height, width, 3).
    """
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


def describe_ending(trial: Trial) -> str:
    """Return how and at which step a trial ended, with its error or its best score."""
    if trial.error is not None:
        return f"failed at step {trial.step}: {trial.error}"
    return f"{trial.status} at step {trial.step}, best {trial.rank_by} {trial.score:.3f}"
