"""The plan of a sweep: its trials with their seeds, and which options a resume may change."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.parts import split_field
from betavae.records.trial import PlannedTrial
from sweeps.options.fields import flag, options_of
from sweeps.options.options import GROUPS, MAX_SEEDS, MAX_TRIALS, SEEDS_PER_SWEEP, Options
from sweeps.search.space import Point, Space, axis_text, draw_point, with_eval_every

_FIRST_CONFIRMING = MAX_TRIALS
"""Offset of the confirmation's seeds among a sweep's seeds. The search uses the seeds below it."""


def planned_trials(options: Options) -> list[PlannedTrial]:
    """Return the trials of a grid or a random search, by number: each configuration with all of its seeds."""
    points, repeats = _points(options), options.search.repeats or 1
    return [
        PlannedTrial(index, trial_config(points[index // repeats], seed=search_seed(options, index)))
        for index in range(len(points) * repeats)
    ]


def trial_config(point: Point, *, seed: int) -> TrialConfig:
    """Return the config of a point of a space."""
    return TrialConfig.from_dict({**with_eval_every(point), "seed": seed})


def search_seed(options: Options, index: int) -> int:
    """Return the seed of a trial of the search. With `--repeats`, all configurations have the same seeds."""
    number = index if options.search.repeats is None else index % options.search.repeats
    return options.sweep.seed * SEEDS_PER_SWEEP + number


def starting_order(options: Options) -> Sequence[int]:
    """Return the trials' numbers in the order in which they start.

    A fixed plan starts every configuration once before it starts any with a second seed. Optuna learns from the mean
    over a configuration's seeds, and so starts all seeds of a configuration first.
    """
    count, repeats = num_trials(options), options.search.repeats or 1
    if options.search.search == "optuna":
        return range(count)
    return sorted(range(count), key=lambda index: (index % repeats, index))


def confirming_trials(options: Options, configs: Sequence[TrialConfig]) -> dict[int, PlannedTrial]:
    """Return the trials of a confirmation by number, in the order in which they start.

    All configurations have the same seeds; every configuration starts once before any starts with a second seed. A
    trial keeps its number when `--confirm` or `--seeds` is raised.
    """
    trials = {}
    for number, (rank, config) in itertools.product(range(options.num_seeds), enumerate(configs)):
        index = rank * MAX_SEEDS + number
        point = {**config.to_dict(), "seed": confirming_seed(options, index)}
        trials[index] = PlannedTrial(index, TrialConfig.from_dict(point))
    return trials


def confirming_seed(options: Options, index: int) -> int:
    """Return the seed of a trial of the confirmation."""
    return options.sweep.seed * SEEDS_PER_SWEEP + _FIRST_CONFIRMING + index % MAX_SEEDS


def num_trials(options: Options) -> int:
    """Return the number of trials of the search."""
    return num_configurations(options) * (options.search.repeats or 1)


def num_configurations(options: Options) -> int:
    """Return the number of configurations of the search."""
    return options.search.trials or len(_points(options))


def num_confirming_trials(options: Options) -> int:
    """Return the most trials that the confirmation can have: fewer if the search has fewer configurations."""
    return len(options.space.names_of("dataset")) * (options.confirm.confirm or 0) * options.num_seeds


def check_resume(new: Options, old: Options) -> None:
    """Refuse a resume that would change the study.

    Args:
        new: The options of the resume.
        old: The options of the sweep's start or of its last resume.

    Raises:
        InputError: Naming the first such option.
    """
    for group, kind in GROUPS.items():
        for name, option in options_of(kind).items():
            old_value, new_value = getattr(getattr(old, group), name), getattr(getattr(new, group), name)
            if option.rules.resume == "fixed" and old_value != new_value:
                raise _change_error(name, old_value, new_value)
    axes = [old.space.with_defaults().axes, new.space.with_defaults().axes]
    names = dict.fromkeys([*axes[0], *axes[1]])
    parameters_of_parts = {own_name for part, own_name in map(split_field, names) if part}
    for name in names:
        if name in parameters_of_parts:  # its axes of parts are compared instead
            continue
        old_axis, new_axis = (each.get(name, each.get(split_field(name)[1])) for each in axes)
        if old_axis != new_axis:
            raise _change_error(name, old_axis, new_axis)
    if old.search.trials != new.search.trials and not _extends(new, old):
        raise _change_error("trials", old.search.trials, new.search.trials)
    _check_confirmation(new, old)


def _check_confirmation(new: Options, old: Options) -> None:
    if not old.confirm.confirm:
        return
    counts = {"confirm": (old.confirm.confirm, new.confirm.confirm), "seeds": (old.num_seeds, new.num_seeds)}
    for name, (old_count, new_count) in counts.items():
        if new_count is None or new_count < old_count:
            raise InputError(f"{flag(name)} must be at least {old_count}, as in this sweep, but got {new_count}.")


def _change_error(name: str, old_value: Any, new_value: Any) -> InputError:
    return InputError(
        f"{flag(name)} must stay {_option_text(old_value)} in this sweep, but got {_option_text(new_value)}; leave it "
        "out, or start a new sweep."
    )


def _option_text(value: Any) -> str:
    return "unset" if value is None else axis_text(value)


def _extends(new: Options, old: Options) -> bool:
    """Return whether the new trials are the old trials and perhaps more after them."""
    num_old = num_trials(old)
    if num_trials(new) < num_old:
        return False
    return new.search.search == "optuna" or planned_trials(new)[:num_old] == planned_trials(old)


def _points(options: Options) -> list[Point]:
    generator = np.random.default_rng(options.sweep.seed)
    if options.search.search == "grid":
        return _grid_points(options.space, options.search.trials, generator)
    assert options.search.trials is not None  # Options.check
    points: list[Point] = []
    while len(points) < options.search.trials:
        point = draw_point(options.space, generator)
        if options.search.repeats is None or point not in points:  # again with the same seeds it would tell nothing
            points.append(point)
    return points


def _grid_points(space: Space, num_points: int | None, generator: np.random.Generator) -> list[Point]:
    """Return all points of a grid, or the first `num_points` of a random order."""
    grid = [point for branch in space.branches() for point in branch.points()]
    if num_points is None:
        return grid
    assert num_points <= len(grid)  # Options.check
    return [grid[index] for index in generator.permutation(len(grid))[:num_points]]
