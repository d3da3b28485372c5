"""A sweep in words: its trials, its configurations, and the importance of its hyper-parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float

from betavae.columns import compared_fields, field_column, field_value, report_column, shown_fields
from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.parts import split_field
from betavae.records.sweep import Sweep
from betavae.records.trial import Status, Trial

Importances = Mapping[str, Mapping[str, Float[np.ndarray, " repeats"]]]
"""By evaluator, by hyper-parameter: one importance per repeat; in each repeat they sum to 1."""

CHANCE = "a random number"
"""A hyper-parameter that no score depends on, to compare importances with."""


def varied_fields(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the fields in which trials differ, without the seed, as `compared_fields` does."""
    return compared_fields([trial.config for trial in trials])


def describe_config(config: TrialConfig, names: Sequence[str]) -> str:
    """Return these fields of a configuration in words: `beta = 8, lr = 0.001`.

    Args:
        config: A field that its parts do not have is left out.
        names: The fields, as `gamma` or as `factor-vae.gamma`; if empty, those of the objective, the latents and the
            learning rate.
    """
    values = {name: field_value(config, name) for name in names or shown_fields([config])}
    columns = [(field_column(split_field(name)[1]), value) for name, value in values.items() if value is not None]
    return ", ".join(f"{column.label} = {column.write(value)}" for column, value in columns)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 trial`, `2 trials`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def score_label(trials: Sequence[Trial]) -> str:
    """Return the label of the score that ranks these trials; at least one."""
    return report_column(trials[0].rank_by).label


def describe_state(sweep: Sweep) -> str:
    """Return how many trials there are, and how many ended in each way."""
    state = f"{counted(len(sweep.trials), 'trial')}: {_count_endings(sweep.trials)}."
    if sweep.confirming:
        state += f" {len(sweep.confirming)} that confirm: {_count_endings(sweep.confirming)}."
    return state if sweep.has_ended else f"{state} The sweep has not ended: it is running, or was interrupted."


def describe_training(trials: Sequence[Trial], data: Mapping[str, FactorImages]) -> str:
    """Warn of trials that were trained on a part of their data set; return nothing if there are none.

    Args:
        trials: Any.
        data: The whole sets, by the name of the data set.

    Raises:
        ParameterError: If a data set has fewer images than a trial was trained on.
    """
    parts: dict[tuple[str, int], set[int]] = {}
    for dataset in {trial.config.dataset for trial in trials}:
        if dataset.name in data:
            images = data[dataset.name]
            parts.setdefault((dataset.name, len(images)), set()).add(dataset.num_training(images))
    sentences = []
    for (name, size), counts in sorted(parts.items()):
        if min(counts) < size:
            few = " or ".join(f"{count:,}" for count in sorted(counts) if count < size)
            sentences.append(
                f"Trained on the first {few} of {size:,} images of {name} in file order, which do not vary as the "
                "whole set does. The scores are of the whole set, and so of images that such a model has never seen."
            )
    return " ".join(sentences)


def describe_importance(importances: Importances, *, num_trials: int) -> str:
    """Return which hyper-parameters stand out from chance in every evaluator; nothing without importances."""
    if not importances:
        return ""
    names = [name for name in next(iter(importances.values())) if name != CHANCE]
    certain = [
        name for name in names if all(by_name[name].mean() > by_name[CHANCE].max() for by_name in importances.values())
    ]
    chance = max(by_name[CHANCE].max() for by_name in importances.values())
    labels = ", ".join(field_column(name).label for name in certain) or "no hyper-parameter"
    verb = "stand out" if len(certain) > 1 else "stands out"
    return (
        f"By both evaluators, {labels} {verb} from chance in these {num_trials} trials: a random number gets up to "
        f"{chance:.0%} of the importance. Trials that were stopped early count with the score they had. With one seed "
        "per setting, the luck of the seed counts as the setting's."
    )


def _count_endings(trials: Sequence[Trial]) -> str:
    counts = Counter(trial.status for trial in trials)
    return ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status])
