"""The study that this lab corrects: its published scores, the scores of its protocol here, and the whole set's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from betavae.columns import order_of
from betavae.config import TrialConfig
from betavae.data import DSPRITES_FACTORS, DSpritesDataset
from betavae.metrics.information_gaps import SEED_STUDY_ROWS, Mig, MigSeedStudy
from betavae.records.trial import Trial
from betavae.report.settings import setting_values, settings_of

PUBLISHED: Mapping[float, Mapping[str, float]] = {
    1.0: {"mig": 0.0108, "shape": 0.0, "scale": 0.0, "orientation": 0.0013, "posX": 0.0195, "posY": 0.0331},
    3.0: {"mig": 0.0198, "shape": 0.0, "scale": 0.0, "orientation": 0.0010, "posX": 0.0502, "posY": 0.0480},
    10.0: {"mig": 0.0138, "shape": 0.0, "scale": 0.0, "orientation": 0.0000, "posX": 0.0492, "posY": 0.0196},
}
"""By beta: its MIG, and the gap of each factor. One seed each."""

_PUBLISHED_CONFIG = {
    "architecture": "conv3",
    "likelihood": "bernoulli",
    "objective": "beta-vae",
    "latent_size": 64,
    "images": 10_000,
    "batch_size": 64,
    "lr": 1e-3,
    "rotate_until": 0,
    "starts": 1,
}
"""The study's configuration in all but beta, seed and steps; its images were the first in file order."""

_IMAGES_OF_ONE_SCALE = 40 * 32 * 32
"""The first so many images in file order are squares of one scale, at every orientation and position."""


@dataclass(frozen=True)
class Reproduced:
    """One configuration under the seed study's protocol: medians over its seeds, each at the end of its training.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        trials: Those that ran to their end.
        published: The study's numbers of this configuration, by factor, and by `mig`; empty if it published none.
        own_rows: By the same names: scored as the study did, on the first images.
        whole_set: By the same names: `mig` of the same models on the whole set.
    """

    config: TrialConfig
    trials: tuple[Trial, ...]
    published: Mapping[str, float]
    own_rows: Mapping[str, float]
    whole_set: Mapping[str, float]

    @property
    def num_seeds(self) -> int:
        """Number of trials that ran to their end."""
        return len(self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "config": setting_values(self.config),
            "seeds": [trial.config.seed for trial in self.trials],
            "mig_own_rows": [trial.reports[-1][MigSeedStudy.name] for trial in self.trials],
            "mig_whole_set": [trial.reports[-1][Mig.name] for trial in self.trials],
            "published": dict(self.published),
            "own_rows": dict(self.own_rows),
            "whole_set": dict(self.whole_set),
        }


def reproduced(trials: Sequence[Trial]) -> list[Reproduced]:
    """Return each configuration that was trained on the first images of dSprites only, by beta."""
    scored = [trial for trial in trials if _is_of_the_study(trial)]
    reproductions = [
        Reproduced(
            setting.config,
            setting.trials,
            _published(setting.config),
            own_rows=medians(setting.trials, MigSeedStudy.name),
            whole_set=medians(setting.trials, Mig.name),
        )
        for setting in settings_of(scored)
    ]
    return sorted(reproductions, key=lambda setting: order_of(setting.config.value("beta") or 0.0))


def explain(reproductions: Sequence[Reproduced]) -> str:
    """Return why the study's zeros are an artefact, in three sentences; in two where the training images vary in more.

    Args:
        reproductions: At least one.
    """
    num_images = max(setting.config.value("images") for setting in reproductions)
    shape, scale = (max(setting.whole_set[name] for setting in reproductions) for name in ("shape", "scale"))
    artefact = (
        f"The seed study scored the first {SEED_STUDY_ROWS:,} images in file order, which are all squares of the "
        "smallest scale: shape and scale do not vary there, have no entropy, and were counted as 0, whatever the model "
        f"knows of them. On the whole set the same models have gaps of up to {shape:.4f} for shape and {scale:.4f} for "
        f"scale."
    )
    if num_images > _IMAGES_OF_ONE_SCALE:
        return artefact
    return (
        f"{artefact} Gaps that are low on the whole set too are due to training: the models saw the first "
        f"{num_images:,} of {DSPRITES_FACTORS.size:,} images alone, and cannot learn what never varies there."
    )


def medians(trials: Sequence[Trial], score: str) -> dict[str, float]:
    """Return the medians of a score and of its gaps over trials at the end of their training.

    Args:
        trials: At least one.
        score: The name under which they report it.

    Returns:
        The score as `mig`, and each gap by its factor.
    """
    last = [trial.reports[-1] for trial in trials]
    factors = [name.removeprefix(f"{score}/") for name in last[0] if name.startswith(f"{score}/")]
    names = {"mig": score} | {factor: f"{score}/{factor}" for factor in factors}
    return {name: float(np.median([report[key] for report in last])) for name, key in names.items()}


def _is_of_the_study(trial: Trial) -> bool:
    """Whether a trial has both scores at the end of its training on images of dSprites."""
    is_scored = trial.is_complete and {MigSeedStudy.name, Mig.name} <= trial.reports[-1].keys()
    return is_scored and isinstance(trial.config.dataset, DSpritesDataset)


def _published(config: TrialConfig) -> Mapping[str, float]:
    is_published = all(config.value(name) == value for name, value in _PUBLISHED_CONFIG.items())
    return PUBLISHED.get(config.value("beta"), {}) if is_published else {}
