"""How searches compare over many repeats, replayed on trials that grid searches trained to their end.

python studies/search_replay.py results/grid-*

Each repeat searches with the lab's own draws and stopping rules until it has spent the steps of `--rounds` grids. A
trial then reports what a trained one of its setting did report, of a seed drawn at random.

Error: repeats share the same few trained seeds, so their spread says how a search may go on these trials, and nothing
of new ones. TPE chooses among the grid's values here, as categories; in a sweep it may have ranges.
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

from sweeps.search.axes import AXES

from betavae.records.sweep import read_sweep
from betavae.records.trial import Trial
from sweeps.options.options import Options, SearchOptions, SweepOptions
from sweeps.search.plan import Params
from sweeps.search.ray_search import Draw, OptunaDraw
from sweeps.search.stopping import NoStopping, StoppingRule, SuccessiveHalving

NUM_REPEATS = 300
_KEEP_ONE_OF = 3
_SHARES = (QUARTER, 0.5, 1.0)

Point = tuple[float, ...]
"""A setting: beta, latent size and learning rate."""

Curve = tuple[tuple[int, float], ...]
"""What one trial reported: steps and `mig`."""


@dataclass(frozen=True)
class Table:
    """Trials that ran to their end, by setting: every combination of some values.

    Attributes:
        curves: Of each setting, one per seed.
        steps: Of each trial.
        rounds: How many seeds of each setting a grid search would try.
    """

    curves: Mapping[Point, Sequence[Curve]]
    steps: int
    rounds: int = 1

    @property
    def budget(self) -> int:
        """Steps of that grid search."""
        return self.rounds * len(self.curves) * self.steps

    @property
    def axes(self) -> list[tuple[float, ...]]:
        """The values of each hyper-parameter."""
        return [tuple(sorted(set(values))) for values in zip(*self.curves, strict=True)]

    def num_trials(self, grace: int | None) -> int:
        """About how many trials a search spends its budget on, if at each rung the share goes on that should."""
        if grace is None:
            return self.rounds * len(self.curves)
        rungs = [*itertools.takewhile(lambda rung: rung < self.steps, _rungs(grace)), self.steps]
        steps_each: float = sum(
            gained / _KEEP_ONE_OF**level for level, gained in enumerate(np.diff([0, *rungs]).tolist())
        )
        return math.ceil(self.budget / steps_each)


def read_table(trials: Sequence[Trial]) -> Table:
    """The trials that ran to their end, by setting.

    Raises:
        ValueError: If they differ in more than what a search varies, or some combination of their values is missing.
    """
    curves: dict[Point, list[Curve]] = {}
    complete = [trial for trial in trials if trial.is_complete]
    shared = {replace(trial.setting, beta=1.0, latent_size=1, lr=1.0) for trial in complete}  # what no axis varies
    if len(shared) != 1:
        raise ValueError(f"The trials must be those of one study, but are of {len(shared)}.")
    for trial in complete:
        point = tuple(getattr(trial.config, name) for name in AXES)
        curves.setdefault(point, []).append(tuple((report["step"], report["mig"]) for report in trial.reports))
    table = Table(curves, complete[0].config.steps)
    missing = set(itertools.product(*table.axes)) - set(curves)
    if missing:
        raise ValueError(f"Every setting must have a trial that ran to its end, but {sorted(missing)} have none.")
    return table


def replay(table: Table, draw: Draw, rule: StoppingRule, *, generator: np.random.Generator) -> History:
    """One search, trial after trial, until the budget is spent."""
    spent, best, begun = [0], [0.0], [0]
    for index in itertools.count():
        params = draw.next(index)
        curves = table.curves[tuple(params[name] for name in AXES)]
        before, own_best = 0, 0.0
        for step, score in curves[int(generator.integers(len(curves)))]:
            own_best = max(own_best, score)
            spent.append(spent[-1] + step - before)
            best.append(max(best[-1], score))
            begun.append(index + 1)
            before = step
            if rule.stops(index, step=step, score=score):
                break
        draw.end(index, own_best)
        if spent[-1] >= table.budget:
            break
    return History(np.array(spent), np.array(best), np.array(begun))


class PointDraw:
    """Settings one after the other, whatever they score."""

    def __init__(self, points: Iterator[Point]) -> None:
        self._points = points

    def next(self, index: int) -> Params:
        """The next one."""
        return dict(zip(AXES, next(self._points), strict=True))

    def begin(self, index: int, params: Params) -> None:
        """Do nothing: a fixed plan does not learn."""

    def end(self, index: int, score: float | None) -> None:
        """Do nothing: a fixed plan does not learn."""


def grid_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """Every setting once, in random order, round after round."""
    generator, points = np.random.default_rng(seed), list(table.curves)
    rounds = (generator.permutation(len(points)) for _ in itertools.count())
    return PointDraw(points[index] for order in rounds for index in order)


def random_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """Settings drawn with replacement."""
    generator, points = np.random.default_rng(seed), list(table.curves)
    return PointDraw(points[generator.integers(len(points))] for _ in itertools.count())


def tpe_draw(table: Table, seed: int, *, grace: int | None = None) -> Draw:
    """TPE, told of as many trials as a search of this budget has: its first third is drawn at random."""
    beta, latent_size, lr = table.axes
    asked = SearchOptions(beta, latent_size, lr, search="optuna", trials=table.num_trials(grace))
    return OptunaDraw(Options(sweep=SweepOptions(seed=seed), search=asked), num_known=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=NUM_REPEATS)
    parser.add_argument("--rounds", type=int, default=1, help="seeds of each setting that the grid search tries")
    arguments = parser.parse_args()
    try:
        table = read_table([trial for folder in arguments.folders for trial in read_sweep(folder).trials])
        table = replace(table, rounds=arguments.rounds)
    except ValueError as error:
        parser.error(str(error))
    graces = [None, *(step for step, _ in next(iter(table.curves.values()))[0][:-1])]
    draws = {"grid": grid_draw, "random": random_draw, "TPE": tpe_draw}
    found = {
        name if grace is None else f"{name} + ASHA from {grace:,}": _repeat(table, draw, grace, arguments.repeats)
        for name, draw in draws.items()
        for grace in graces
    }
    goal = float(np.median([history.best_at(table.budget) for history in found["grid"]]))
    print(f"{arguments.repeats} repeats of {table.budget:,} steps; the grid's best, in the median: {goal:.3f}.\n")
    print("| search | trials | best after a quarter | after half | after all | reach it in a quarter | in all |")
    print("|---|---|---|---|---|---|---|")
    for name, repeats in found.items():
        print(f"| {name} | {' | '.join(_cells(repeats, table=table, goal=goal))} |")


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
    """Medians with quartiles of what was found, and how often the goal was."""
    cells = [f"{np.median([one.begun_at(table.budget) for one in repeats]):.0f}"]
    for share in _SHARES:
        low, middle, high = np.quantile([one.best_at(share * table.budget) for one in repeats], (0.25, 0.5, 0.75))
        cells.append(f"{middle:.3f} ({low:.3f} .. {high:.3f})")
    for share in (QUARTER, 1.0):
        reached = np.mean([one.best_at(share * table.budget) >= goal for one in repeats])
        cells.append(f"{reached:.0%}")
    return cells


if __name__ == "__main__":
    main()
