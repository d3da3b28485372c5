"""Compares searches over many repeats, replayed on trials that grid searches trained to their end.

python studies/search_replay.py results/grid-*

Each repeat searches with the lab's own draws and stopping rules until it has spent the steps of `--rounds` grids. A
replayed trial reports what a trained trial of the same configuration reported, of a seed drawn at random.

Error: all repeats share the same few trained seeds, so that their spread says how a search may run on these trials, and
nothing of new ones. TPE chooses among the grid's values here, as categories; in a sweep it may have ranges.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from search_cost import QUARTER, History

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.config import TrialConfig
from betavae.records.sweep import read_sweep
from betavae.records.trial import PlannedTrial, Trial
from sweeps.options.options import Options, SearchOptions, SweepOptions
from sweeps.printing import input_errors_end_the_script
from sweeps.search.draws import Draw, OptunaDraw
from sweeps.search.space import Axis, Space
from sweeps.search.stopping import NoStopping, StoppingRule, SuccessiveHalving

AXES = ("beta", "latent_size", "lr")
"""Parameters that the grid searches vary."""

NUM_REPEATS = 300
_KEEP_ONE_OF = 3
_SHARES = (QUARTER, 0.5, 1.0)

Point = tuple[float, ...]
"""A configuration: its values of AXES."""

Curve = tuple[tuple[int, float], ...]
"""The reports of one trial: steps and `mig`."""


@dataclass(frozen=True)
class Table:
    """Trials that ran to their end, by configuration: every combination of some values.

    Attributes:
        curves: Of each configuration, one per seed.
        steps: Of each trial.
        rounds: Number of seeds of each configuration that a grid search would train.
    """

    curves: Mapping[Point, Sequence[Curve]]
    steps: int
    rounds: int = 1

    @property
    def budget(self) -> int:
        """Steps of a grid search."""
        return self.rounds * len(self.curves) * self.steps

    @property
    def axes(self) -> list[tuple[float, ...]]:
        """The values of each of AXES."""
        return [tuple(sorted(set(values))) for values in zip(*self.curves, strict=True)]

    def num_trials(self, grace: int | None) -> int:
        """Return about how many trials the budget is enough for, if the intended share runs on at each rung."""
        if grace is None:
            return self.rounds * len(self.curves)
        rungs = [*itertools.takewhile(lambda rung: rung < self.steps, _rungs(grace)), self.steps]
        steps_each: float = sum(
            gained / _KEEP_ONE_OF**level for level, gained in enumerate(np.diff([0, *rungs]).tolist())
        )
        return math.ceil(self.budget / steps_each)


def read_table(trials: Sequence[Trial]) -> Table:
    """Group the trials that ran to their end by their configuration.

    Raises:
        ValueError: If they differ in more than AXES and the seed, or some combination of their values is missing.
    """
    curves: dict[Point, list[Curve]] = {}
    complete = [trial for trial in trials if trial.is_complete]
    others = {tuple((name, value) for name, value in _flat(trial) if name not in AXES) for trial in complete}
    if len(others) != 1:
        raise ValueError(f"The trials must be of one study, but are of {len(others)}.")
    for trial in complete:
        point = _point(trial.config)
        curves.setdefault(point, []).append(tuple((report["step"], report["mig"]) for report in trial.reports))
    table = Table(curves, complete[0].config.steps)
    missing = set(itertools.product(*table.axes)) - set(curves)
    if missing:
        raise ValueError(f"Every configuration must have a trial that ran to its end, but {sorted(missing)} have none.")
    return table


def replay(table: Table, draw: Draw, rule: StoppingRule, *, generator: np.random.Generator) -> History:
    """Return one search, trial after trial, until the budget is spent."""
    spent, best, begun = [0], [0.0], [0]
    for index in itertools.count():
        curves = table.curves[_point(draw.next(index).config)]
        before, own_best = 0, 0.0
        for step, score in curves[int(generator.integers(len(curves)))]:
            own_best = max(own_best, score)
            spent.append(spent[-1] + step - before)
            best.append(max(best[-1], score))
            begun.append(index + 1)
            before = step
            if rule.stops(index, step=step, score=score):
                break
        else:
            rule.ended(index)
        draw.end(index, own_best)
        if spent[-1] >= table.budget:
            break
    return History(np.array(spent), np.array(best), np.array(begun))


class PointDraw:
    """Gives configurations one after the other, whatever they score.

    Args:
        points: The configurations.
    """

    def __init__(self, points: Iterator[Point]) -> None:
        self._points = points

    def next(self, index: int) -> PlannedTrial:
        """Return a trial of the next configuration."""
        return PlannedTrial(index, TrialConfig.from_dict(dict(zip(AXES, next(self._points), strict=True))))

    def begin(self, trial: PlannedTrial) -> None:
        """Do nothing: a fixed plan does not learn."""

    def end(self, index: int, score: float | None) -> None:
        """Do nothing: a fixed plan does not learn."""


def grid_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """Return every configuration once, in random order, round after round."""
    generator, points = np.random.default_rng(seed), list(table.curves)
    rounds = (generator.permutation(len(points)) for _ in itertools.count())
    return PointDraw(points[index] for order in rounds for index in order)


def random_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """Return configurations drawn with replacement."""
    generator, points = np.random.default_rng(seed), list(table.curves)
    return PointDraw(points[generator.integers(len(points))] for _ in itertools.count())


def tpe_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """Return TPE for as many trials as the budget is enough for: it draws the first third of them at random."""
    axes: dict[str, Axis] = dict(zip(AXES, table.axes, strict=True))
    search = SearchOptions(search="optuna", trials=table.num_trials(grace))
    return OptunaDraw(Options(sweep=SweepOptions(seed=seed), search=search, space=Space(axes)), num_known_trials=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=NUM_REPEATS)
    parser.add_argument("--rounds", type=int, default=1, help="seeds of each configuration that the grid search trains")
    arguments = parser.parse_args()
    try:
        table = read_table([trial for folder in arguments.folders for trial in read_sweep(folder).trials])
        table = replace(table, rounds=arguments.rounds)
    except ValueError as error:
        parser.error(str(error))
    graces = [None, *(step for step, _ in next(iter(table.curves.values()))[0][:-1])]
    draws = {"grid": grid_draw, "random": random_draw, "TPE": tpe_draw}
    histories = {
        name if grace is None else f"{name} + ASHA from {grace:,}": _repeat(table, draw, grace, arguments.repeats)
        for name, draw in draws.items()
        for grace in graces
    }
    goal = float(np.median([history.best_at(table.budget) for history in histories["grid"]]))
    print(f"{arguments.repeats} repeats of {table.budget:,} steps; the grid's best, in the median: {goal:.3f}.\n")
    print("| search | trials | best after a quarter | after half | after all | reach it in a quarter | in all |")
    print("|---|---|---|---|---|---|---|")
    for name, repeats in histories.items():
        print(f"| {name} | {' | '.join(_cells(repeats, table=table, goal=goal))} |")


def _flat(trial: Trial) -> Iterator[tuple[str, object]]:
    """Give the parameters of a trial by name, without its seed."""
    return ((name, value) for name, value in trial.config.to_dict().items() if name != "seed")


def _point(config: TrialConfig) -> Point:
    return tuple(config.value(name) for name in AXES)


def _repeat(table: Table, draw: Callable[..., Draw], grace: int | None, num_repeats: int) -> list[History]:
    return [
        replay(table, draw(table, seed, grace=grace), _rule(table, grace), generator=np.random.default_rng([1, seed]))
        for seed in range(num_repeats)
    ]


def _rule(table: Table, grace: int | None) -> StoppingRule:
    if grace is None:
        return NoStopping()
    return SuccessiveHalving(grace_steps=grace, max_steps=table.steps, keep_one_of=_KEEP_ONE_OF)


def _rungs(grace: int) -> Iterator[int]:
    return (grace * _KEEP_ONE_OF**level for level in itertools.count())


def _cells(repeats: Sequence[History], *, table: Table, goal: float) -> list[str]:
    """Return the number of trials, the best scores as medians with quartiles, and how often the goal was reached."""
    cells = [f"{np.median([one.begun_at(table.budget) for one in repeats]):.0f}"]
    for share in _SHARES:
        low, middle, high = np.quantile([one.best_at(share * table.budget) for one in repeats], (0.25, 0.5, 0.75))
        cells.append(f"{middle:.3f} ({low:.3f} .. {high:.3f})")
    for share in (QUARTER, 1.0):
        reached = np.mean([one.best_at(share * table.budget) >= goal for one in repeats])
        cells.append(f"{reached:.0%}")
    return cells


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
