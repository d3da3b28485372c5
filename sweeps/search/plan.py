"""What a sweep will try, before anything is started; and what of that a resume may change."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sweeps.options.options import Options, flag
from sweeps.search.axes import AXES, Axis, Range, written
from sweeps.storage.stage_folder import trial_seed

Params = dict[str, Any]

_STUDY = {
    "sweep": ("preset", "name", "results", "seed"),
    "search": ("beta", "latent_size", "lr", "search", "trials", "scheduler", "grace_steps"),
    "trial": (
        "architecture", "objective", "steps", "batch_size", "eval_every", "images", "precision", "compile",
    ),
}  # fmt: skip
"""What makes a study: the options that a resume must leave as they were."""


def planned_trials(options: Options) -> list[Params]:
    """What a grid or a random search will try, in order: beta, latent_size, lr and seed of each trial."""
    axes = {name: getattr(options.search, name) for name in AXES}
    generator = np.random.default_rng(options.sweep.seed)
    draw = _grid_points if options.search.search == "grid" else _random_points
    points = draw(axes, options.search.trials, generator)
    return [point | {"seed": trial_seed(options.sweep.seed, index)} for index, point in enumerate(points)]


def num_trials(options: Options) -> int:
    """Trials of the search in all."""
    return len(planned_trials(options)) if options.search.trials is None else options.search.trials


def num_confirming(options: Options) -> int:
    """Trials of the confirmation in all, if the search has so many configurations."""
    return (options.confirm.confirm or 0) * options.num_seeds


def check_resume(asked: Options, known: Options) -> None:
    """Refuse what would change a study that has begun.

    Args:
        asked: For the resume.
        known: What the sweep was started with, or last resumed with.

    Raises:
        ValueError: Naming the first such option.
    """
    if known.confirm.confirm is not None:
        counts = {
            "confirm": (known.confirm.confirm, asked.confirm.confirm),
            "seeds": (known.num_seeds, asked.num_seeds),
        }
        for name, (was, now) in counts.items():
            if now is None or now < was:
                raise ValueError(f"{flag(name)} may be raised when a sweep is resumed, but was {was}, and got {now}.")
    for group, names in _STUDY.items():
        for name in names:
            was, now = getattr(getattr(known, group), name), getattr(getattr(asked, group), name)
            if was != now and not (name == "trials" and _extends(asked, known)):
                raise ValueError(
                    f"{flag(name)} must stay {_said(was)} in this sweep, but got {_said(now)}; leave it out, or "
                    "start another sweep for that."
                )


def _said(value: Any) -> str:
    return "as it was, not given," if value is None else written(value)


def _extends(asked: Options, known: Options) -> bool:
    """Whether the trials asked for are those that there were to be, and more after them."""
    before = num_trials(known)
    if num_trials(asked) < before:
        return False
    return asked.search.search == "optuna" or planned_trials(asked)[:before] == planned_trials(known)


def _grid_points(
    axes: dict[str, Axis], num_points: int | None, generator: np.random.Generator
) -> list[dict[str, float]]:
    """Every combination once; a draw of them if fewer are asked for; round after round if more."""
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]  # type: ignore[arg-type]
    if num_points is None or num_points >= len(grid):
        return [grid[index % len(grid)] for index in range(num_points or len(grid))]
    return [grid[index] for index in generator.permutation(len(grid))[:num_points]]


def _random_points(
    axes: dict[str, Axis], num_points: int | None, generator: np.random.Generator
) -> list[dict[str, float]]:
    assert num_points is not None  # checked with the options
    return [
        {name: _draw(axis, generator, whole=name == "latent_size") for name, axis in axes.items()}
        for _ in range(num_points)
    ]


def _draw(axis: Axis, generator: np.random.Generator, *, whole: bool) -> float:
    if not isinstance(axis, Range):
        return axis[generator.integers(len(axis))]
    end = axis.high + 1 if whole else axis.high  # each whole number has its share of the logarithmic scale
    value = min(float(np.exp(generator.uniform(np.log(axis.low), np.log(end)))), axis.high)
    return int(value) if whole else value
