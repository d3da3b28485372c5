"""How searches compare over many repeats, replayed on trials that grid searches trained to their end.

python studies/search_replay.py results/grid-*

Each repeat searches with the lab's own code until it has spent the steps of one grid. What a trial would report is what
a trained one of its setting did report, of a seed drawn at random: hundreds of repeats for the training of three.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from search_cost import QUARTER, History

from betavae.analysis.results import Trial, read_sweep
from sweeps.axes import AXES
from sweeps.options import Options, SearchOptions, SweepOptions
from sweeps.schedulers import NoStopping, StoppingRule, SuccessiveHalving
from sweeps.search import Draw, OptunaDraw, PlannedDraw

NUM_REPEATS = 300
_KEEP_ONE_OF = 3
_SHARES = (QUARTER, 0.5, 1.0)

Point = tuple[float, ...]
"""A setting: beta, latent size and learning rate."""

Curve = tuple[tuple[int, float], ...]
"""What one trial reported: steps and `mig`."""


@dataclass(frozen=True)
class Table:
    """Trials that ran to their end, by setting.

    Attributes:
        curves: Of each setting, one per seed.
        steps: Of each trial.
    """

    curves: Mapping[Point, Sequence[Curve]]
    steps: int

    @property
    def budget(self) -> int:
        """Steps of a grid search of all settings with one seed each."""
        return len(self.curves) * self.steps

    def axis(self, name: str) -> tuple[float, ...]:
        """The values of one hyper-parameter."""
        return tuple(sorted({point[AXES.index(name)] for point in self.curves}))


def read_table(trials: Sequence[Trial]) -> Table:
    """The trials that ran to their end, by setting.

    Raises:
        ValueError: If there are none, or they differ in how many steps they ran.
    """
    curves: dict[Point, list[Curve]] = {}
    steps = {trial.config.steps for trial in trials if trial.is_complete}
    if len(steps) != 1:
        raise ValueError(f"All trials must have run for as many steps as one another, but ran {sorted(steps)}.")
    for trial in trials:
        if trial.is_complete:
            point = tuple(getattr(trial.config, name) for name in AXES)
            curves.setdefault(point, []).append(tuple((report["step"], report["mig"]) for report in trial.reports))
    return Table(curves, steps.pop())


def replay(table: Table, draw: Draw, rule: StoppingRule, *, generator: np.random.Generator) -> History:
    """One search, trial after trial, until the budget is spent."""
    spent, best = [0], [0.0]
    index = 0
    while spent[-1] < table.budget:
        params = draw.next(index)
        curves = table.curves[tuple(params[name] for name in AXES)]
        before, own_best = 0, 0.0
        for step, score in curves[int(generator.integers(len(curves)))]:
            own_best = max(own_best, score)
            spent.append(spent[-1] + step - before)
            best.append(max(best[-1], score))
            before = step
            if rule.stops(index, step=step, score=score):
                break
        draw.end(index, own_best)
        index += 1
    return History(np.array(spent), np.array(best))


def grid_draw(table: Table, seed: int) -> Draw:
    """Every setting once, in random order, round after round."""
    points = list(table.curves)
    orders = [np.random.default_rng([seed, number]).permutation(len(points)) for number in range(_KEEP_ONE_OF * 4)]
    return _planned([points[index] for order in orders for index in order])


def random_draw(table: Table, seed: int) -> Draw:
    """Settings drawn with replacement."""
    points = list(table.curves)
    drawn = np.random.default_rng(seed).integers(len(points), size=_KEEP_ONE_OF * 4 * len(points))
    return _planned([points[index] for index in drawn])


def tpe_draw(table: Table, seed: int) -> Draw:
    """TPE over the values of the grid."""
    beta, latent_size, lr = map(table.axis, AXES)
    asked = SearchOptions(beta, latent_size, lr, search="optuna", trials=2 * len(table.curves))
    return OptunaDraw(Options(sweep=SweepOptions(seed=seed), search=asked), num_known=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=NUM_REPEATS)
    arguments = parser.parse_args()
    table = read_table([trial for folder in arguments.folders for trial in read_sweep(folder).trials])
    grids = _repeat(table, grid_draw, None, arguments.repeats)
    goal = float(np.median([history.best_at(table.budget) for history in grids]))
    print(f"{arguments.repeats} repeats of {table.budget:,} steps; the grid's best, in the median: {goal:.3f}.\n")
    print("| search | best after a quarter | after half | after all | reach the grid's best in a quarter | in all |")
    print("|---|---|---|---|---|---|")
    draws = {"grid": grid_draw, "random": random_draw, "TPE": tpe_draw}
    graces = [step for step, _ in next(iter(table.curves.values()))[0][:-1]]
    for name, draw in draws.items():
        for grace in (None, *graces):
            repeats = _repeat(table, draw, grace, arguments.repeats)
            label = name if grace is None else f"{name} + ASHA from {grace:,}"
            print(f"| {label} | {' | '.join(_cells(repeats, table=table, goal=goal))} |", flush=True)


def _repeat(table: Table, draw: Callable[[Table, int], Draw], grace: int | None, num_repeats: int) -> list[History]:
    return [
        replay(
            table,
            draw(table, seed),
            NoStopping()
            if grace is None
            else SuccessiveHalving(grace_steps=grace, max_steps=table.steps, keep_one_of=_KEEP_ONE_OF),
            generator=np.random.default_rng([1, seed]),
        )
        for seed in range(num_repeats)
    ]


def _cells(repeats: Sequence[History], *, table: Table, goal: float) -> list[str]:
    """Medians with quartiles of what was found, and how often the goal was."""
    cells = []
    for share in _SHARES:
        low, middle, high = np.quantile([one.best_at(share * table.budget) for one in repeats], (0.25, 0.5, 0.75))
        cells.append(f"{middle:.3f} ({low:.3f} .. {high:.3f})")
    for share in (QUARTER, 1.0):
        reached = np.mean([one.best_at(share * table.budget) >= goal for one in repeats])
        cells.append(f"{reached:.0%}")
    return cells


def _planned(points: Sequence[Point]) -> Draw:
    return PlannedDraw({index: dict(zip(AXES, point, strict=True)) for index, point in enumerate(points)})


if __name__ == "__main__":
    main()
