"""What a sweep will try, before anything is started; and what of that a resume may change."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.records.trial import PlannedTrial
from sweeps.options.fields import flag, options_of
from sweeps.options.options import GROUPS, MAX_SEEDS, MAX_TRIALS, SEEDS_PER_SWEEP, Options
from sweeps.search.space import Point, Space, complete, draw_point, written

_FIRST_CONFIRMING = MAX_TRIALS
"""The first of a sweep's seeds that its confirmation uses: the search uses those before."""


def planned_trials(options: Options) -> list[PlannedTrial]:
    """Return the trials of a grid or a random search, by number: each configuration with all of its seeds.

    Raises:
        InputError: If more configurations are asked for than a grid has.
    """
    points, repeats = _points(options), options.search.repeats or 1
    planned = [(point, repeat) for point in points for repeat in range(repeats)]
    return [
        PlannedTrial(index, trial_config(point, seed=search_seed(options, index)))
        for index, (point, _) in enumerate(planned)
    ]


def trial_config(point: Point, *, seed: int) -> TrialConfig:
    """Return the config of a point of a space."""
    return TrialConfig.from_dict({**complete(point), "seed": seed})


def search_seed(options: Options, index: int) -> int:
    """Return the seed of a trial of the search: its own, or with `--repeats` one that all configurations share."""
    number = index if options.search.repeats is None else index % options.search.repeats
    return options.sweep.seed * SEEDS_PER_SWEEP + number


def starting_order(options: Options) -> Sequence[int]:
    """Return the trials' numbers in the order in which they start.

    A plan starts every configuration once before any has its second seed. A search that learns needs all seeds of a
    configuration first.
    """
    count, repeats = num_trials(options), options.search.repeats or 1
    if options.search.search == "optuna":
        return range(count)
    return sorted(range(count), key=lambda index: (index % repeats, index))


def confirming_trials(options: Options, chosen: Sequence[TrialConfig]) -> dict[int, PlannedTrial]:
    """Return the trials of a confirmation by number, in the order in which they start.

    Every configuration gets the same seeds, and all have their first before any has its second. A trial's number stays
    the same when more configurations or more seeds are asked for.
    """
    planned = {}
    for number, (choice, config) in itertools.product(range(options.num_seeds), enumerate(chosen)):
        index = choice * MAX_SEEDS + number
        point = {**config.to_dict(), "seed": confirming_seed(options, index)}
        planned[index] = PlannedTrial(index, TrialConfig.from_dict(point))
    return planned


def confirming_seed(options: Options, index: int) -> int:
    """Return the seed of a trial of the confirmation."""
    return options.sweep.seed * SEEDS_PER_SWEEP + _FIRST_CONFIRMING + index % MAX_SEEDS


def num_trials(options: Options) -> int:
    """Return the number of trials of the search."""
    return num_configurations(options) * (options.search.repeats or 1)


def num_configurations(options: Options) -> int:
    """Return the number of configurations of the search."""
    return options.search.trials or len(_points(options))


def num_confirming(options: Options) -> int:
    """Return the number of trials of the confirmation, if the search has so many configurations."""
    return (options.confirm.confirm or 0) * options.num_seeds


def check_resume(asked: Options, known: Options) -> None:
    """Refuse what would change a study that has begun.

    Args:
        asked: For the resume.
        known: What the sweep was started with, or last resumed with.

    Raises:
        InputError: Naming the first such option.
    """
    for group in GROUPS:
        for name, each in options_of(type(getattr(known, group))).items():
            was, now = getattr(getattr(known, group), name), getattr(getattr(asked, group), name)
            if each.rules.resume == "fixed" and was != now:
                raise _changed(name, was, now)
    axes = [known.space.resolved().axes, asked.space.resolved().axes]
    for name in dict.fromkeys([*axes[0], *axes[1]]):
        if axes[0].get(name) != axes[1].get(name):
            raise _changed(name, axes[0].get(name), axes[1].get(name))
    if known.search.trials != asked.search.trials and not _extends(asked, known):
        raise _changed("trials", known.search.trials, asked.search.trials)
    _check_confirmation(asked, known)


def _check_confirmation(asked: Options, known: Options) -> None:
    if known.confirm.confirm is None:
        return
    counts = {"confirm": (known.confirm.confirm, asked.confirm.confirm), "seeds": (known.num_seeds, asked.num_seeds)}
    for name, (was, now) in counts.items():
        if now is None or now < was:
            raise InputError(f"{flag(name)} may be raised when a sweep is resumed, but was {was}, and got {now}.")


def _changed(name: str, was: Any, now: Any) -> InputError:
    return InputError(
        f"{flag(name)} must stay {_shown(was)} in this sweep, but got {_shown(now)}; leave it out, or start another "
        "sweep for that."
    )


def _shown(value: Any) -> str:
    return "as it was, not given," if value is None else written(value)


def _extends(asked: Options, known: Options) -> bool:
    """Whether the trials asked for are those that there were to be, and more after them."""
    before = num_trials(known)
    if num_trials(asked) < before:
        return False
    return asked.search.search == "optuna" or planned_trials(asked)[:before] == planned_trials(known)


def _points(options: Options) -> list[Point]:
    generator = np.random.default_rng(options.sweep.seed)
    if options.search.search == "grid":
        return _grid_points(options.space, options.search.trials, generator)
    assert options.search.trials is not None  # checked with the options
    return [draw_point(options.space, generator) for _ in range(options.search.trials)]


def _grid_points(space: Space, num_points: int | None, generator: np.random.Generator) -> list[Point]:
    """Return every combination once; a draw of them if fewer are asked for."""
    grid = [point for branch in space.branches() for point in branch.points()]
    if num_points is None or num_points == len(grid):
        return grid
    if num_points > len(grid):
        raise InputError(
            f"--trials must be at most {len(grid)}, the points of the grid, but got {num_points}; to train each "
            "configuration with several seeds give --repeats."
        )
    return [grid[index] for index in generator.permutation(len(grid))[:num_points]]
