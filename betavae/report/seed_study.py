"""The study that this lab corrects: what it published, what its protocol gives here, and the same models done right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from betavae.config import NUM_IMAGES, TrialConfig
from betavae.evaluation import SEED_STUDY_ROWS
from betavae.records.trial import Trial
from betavae.report.settings import setting_values, settings_of

PUBLISHED: Mapping[float, Mapping[str, float]] = {
    1.0: {"mig": 0.0108, "shape": 0.0, "scale": 0.0, "orientation": 0.0013, "posX": 0.0195, "posY": 0.0331},
    3.0: {"mig": 0.0198, "shape": 0.0, "scale": 0.0, "orientation": 0.0010, "posX": 0.0502, "posY": 0.0480},
    10.0: {"mig": 0.0138, "shape": 0.0, "scale": 0.0, "orientation": 0.0000, "posX": 0.0492, "posY": 0.0196},
}
"""By beta: its MIG, and the gap of each factor. One seed each."""

_OWN_IMAGES = 10_000
"""Images that it trained on: the first in file order."""

_IMAGES_OF_ONE_SCALE = 40 * 32 * 32
"""The first so many images in file order are squares of one scale, at every orientation and position."""

_OWN_ROWS = "mig_seed_study"


@dataclass(frozen=True)
class Reproduced:
    """One configuration under the seed study's protocol: medians over its seeds, each at the end of its training.

    Attributes:
        config: With seed 0, whatever the trials' seeds.
        trials: Those that ran to their end.
        published: By name, `mig` or a factor: what the study published for this; empty if it was something else.
        own_rows: By name: scored as the study did, on the first images.
        whole_set: By name: the same models' `mig` on the whole set.
    """

    config: TrialConfig
    trials: tuple[Trial, ...]
    published: Mapping[str, float]
    own_rows: Mapping[str, float]
    whole_set: Mapping[str, float]

    @property
    def num_seeds(self) -> int:
        """How many trials ran to their end."""
        return len(self.trials)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {
            "config": setting_values(self.config),
            "seeds": [trial.config.seed for trial in self.trials],
            "mig_own_rows": [trial.reports[-1][_OWN_ROWS] for trial in self.trials],
            "mig_whole_set": [trial.last_score for trial in self.trials],
            "published": dict(self.published),
            "own_rows": dict(self.own_rows),
            "whole_set": dict(self.whole_set),
        }


def reproduced(trials: Sequence[Trial]) -> list[Reproduced]:
    """Each configuration that was trained on the first images only, by beta; empty for a study of the whole set."""
    scored = [trial for trial in trials if trial.is_complete and _OWN_ROWS in trial.reports[-1]]
    found = [
        Reproduced(
            setting.config,
            setting.trials,
            PUBLISHED.get(setting.config.beta, {}) if _is_as_published(setting.config) else {},
            own_rows=medians(setting.trials, _OWN_ROWS),
            whole_set=medians(setting.trials, "mig"),
        )
        for setting in settings_of(scored)
    ]
    return sorted(found, key=lambda one: one.config.beta)


def explain(found: Sequence[Reproduced]) -> str:
    """Why its zeros are an artefact, in three sentences; in two where what was trained on varies in more.

    Args:
        found: At least one.
    """
    images = max(one.config.images for one in found)
    shape, scale = (max(one.whole_set[name] for one in found) for name in ("shape", "scale"))
    said = (
        f"The seed study scored the first {SEED_STUDY_ROWS:,} images in file order, which are all squares of the "
        "smallest scale: shape and scale do not vary there, have no entropy, and were counted as 0, whatever the model "
        f"knows of them. On the whole set the same models have gaps of up to {shape:.4f} for shape and {scale:.4f} for "
        f"scale."
    )
    if images > _IMAGES_OF_ONE_SCALE:
        return said
    return (
        f"{said} What stays low is the models' own: they were trained on the first {images:,} of {NUM_IMAGES:,} "
        "images, and nothing in those made them learn what never varies there."
    )


def medians(trials: Sequence[Trial], score: str) -> dict[str, float]:
    """Over trials at the end of their training: a score that they report as `mig`, and its gaps, factor by factor."""
    last = [trial.reports[-1] for trial in trials]
    factors = [name.removeprefix(f"{score}/") for name in last[0] if name.startswith(f"{score}/")]
    names = {"mig": score} | {factor: f"{score}/{factor}" for factor in factors}
    return {name: float(np.median([report[key] for report in last])) for name, key in names.items()}


def _is_as_published(config: TrialConfig) -> bool:
    """Whether it is the study's own in all but beta, seed and how long it trains."""
    tried = (config.architecture, config.objective, config.latent_size, config.images, config.batch_size, config.lr)
    return tried == ("conv3", "beta-vae", 64, _OWN_IMAGES, 64, 1e-3)
