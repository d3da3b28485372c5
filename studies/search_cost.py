"""The best score that searches reach for the steps they spend: the figure and the tables of docs/results.md.

python studies/search_cost.py results/grid-* results/random-* results/tpe-asha-* --figure docs/search.png

Sweeps of one kind are repeats. The grid searches set the goal: their best score, and the steps that they spent. What
another sweep does after so many steps does not count.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, Integer
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.columns import field_column
from betavae.records.sweep import Sweep, read_sweep
from betavae.records.trial import Trial
from betavae.report.palette import RC_PARAMS
from sweeps.options.recorded import options_from_dict, recorded_options
from sweeps.printing import input_errors_end_the_script
from sweeps.search.space import axis_text

COLORS = {"grid": "#767676", "random": "#0072B2"}
OTHER_COLORS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
QUARTER = 0.25


@dataclass(frozen=True)
class History:
    """One sweep, report by report in the order of time.

    Attributes:
        spent: Training steps of all trials together.
        best: The highest `mig` of any trial so far: selected with labels, in every kind of search.
        begun: Number of trials that have reported so far.
    """

    spent: Integer[np.ndarray, " reports"]
    best: Float[np.ndarray, " reports"]
    begun: Integer[np.ndarray, " reports"]

    def best_at(self, steps: float) -> float:
        """Return the best score when so many steps were spent; 0 before the first report."""
        return float(np.max(self.best[self.spent <= steps], initial=0.0))

    def begun_at(self, steps: int) -> int:
        """Return the number of trials that had reported when so many steps were spent."""
        return int(np.max(self.begun[self.spent <= steps], initial=0))

    def steps_to(self, score: float) -> int | None:
        """Return the steps spent when `score` was first reached; None if it never was."""
        reached = np.flatnonzero(self.best >= score)
        return int(self.spent[reached[0]]) if len(reached) else None


def read_history(sweep: Sweep) -> History:
    """Order the reports of a sweep's trials by the times in their event files.

    Raises:
        ValueError: If a trial has reports, and no curve of them.
    """
    reports = sorted(itertools.chain.from_iterable(map(_timed_steps, sweep.trials)), key=lambda report: report.time)
    scores = np.array([report.score for report in reports])
    begun = np.cumsum([report.is_first for report in reports])
    return History(np.cumsum([report.steps for report in reports]), np.maximum.accumulate(scores), begun)


def kind_of(sweep: Sweep) -> str:
    """Return what repeats have in common: `grid over beta 1 2 4, z 5`, or `optuna + asha from 750 over beta 1..32`."""
    options = options_from_dict(recorded_options(sweep.record))
    search = options.search
    sampler = f" ({search.sampler})" if search.search == "optuna" and search.sampler != "tpe" else ""
    rule = f" + {search.scheduler} from {options.grace_steps}" if search.scheduler != "none" else ""
    axes = {
        field_column(name).symbol: options.space.axis(name) or options.space.names_of(name)
        for name in options.varied_fields
    }
    over = ", ".join(f"{symbol} {axis_text(axis)}" for symbol, axis in axes.items())
    repeats = f", {search.repeats} seeds each" if search.repeats else ""
    return f"{search.search}{sampler}{rule} over {over}{repeats}"


def rank_correlations(trials: Sequence[Trial]) -> dict[int, tuple[float, int]]:
    """Return by step Spearman's correlation of `mig` with `mig` at each trial's end, and the number of trials.

    Args:
        trials: Of searches that stop none: early stopping keeps the trials whose early score was high.
    """
    scores = [{report["step"]: report["mig"] for report in trial.reports} for trial in trials if trial.is_complete]
    if not scores:
        return {}
    ends = [max(own) for own in scores]
    last = [own[end] for own, end in zip(scores, ends, strict=True)]
    steps = sorted(step for step in set.intersection(*map(set, scores)) if step < min(ends))
    return {step: (float(spearmanr([own[step] for own in scores], last)[0]), len(scores)) for step in steps}


def draw(histories: Mapping[str, Sequence[History]], *, limit: int) -> Figure:
    """Draw the best MIG so far against steps spent: a thin line per repeat, a thick one for their median."""
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    others = itertools.cycle(OTHER_COLORS)
    colors = dict(COLORS)
    names = [kind.partition(" over ")[0] for kind in histories]
    at = np.linspace(0, limit, 400)
    for kind, repeats in histories.items():
        color = colors.pop(kind.partition(" ")[0], None) or next(others)
        curves = np.array([[history.best_at(steps) for steps in at] for history in repeats])
        axes.step(at, curves.T, where="post", color=color, linewidth=0.7, alpha=0.5)
        name = kind.partition(" over ")[0]
        label = f"{name if names.count(name) == 1 else kind}: median of {len(repeats)}"
        axes.step(at, np.median(curves, axis=0), where="post", color=color, linewidth=2.2, label=label)
    axes.axvline(QUARTER * limit, color=RC_PARAMS["text.color"], linestyle=":", linewidth=1)
    axes.annotate("a quarter", (QUARTER * limit, 0.005), xytext=(3, 0), textcoords="offset points", fontsize=8)
    axes.set_xlim(0, limit)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training steps spent, all trials together")
    axes.set_ylabel("best MIG so far")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="lower right")
    return figure


def main() -> None:
    """Print the tables, save the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--figure", required=True, type=Path)
    arguments = parser.parse_args()
    sweeps: dict[str, list[Sweep]] = {}
    for folder in arguments.folders:
        sweep = read_sweep(folder)
        if not sweep.has_ended:
            parser.error(f"{folder} must have run to its end")
        known = sweeps.setdefault(kind_of(sweep), [])
        if known and known[0].record["options"]["space"] != sweep.record["options"]["space"]:
            parser.error(f"{folder} and {known[0].folder} must be repeats, but their trials have other parameters")
        known.append(sweep)
    grid = next((kind for kind in sweeps if kind.startswith("grid ")), None)
    if grid is None:
        parser.error("one of the sweeps must be a grid search, which sets the goal")
    try:
        histories = {kind: [read_history(sweep) for sweep in repeats] for kind, repeats in sweeps.items()}
    except ValueError as error:
        parser.error(str(error))
    limit = int(min(history.spent[-1] for history in histories[grid]))
    goal = float(np.median([history.best_at(limit) for history in histories[grid]]))
    print(f"The grid's best, in the median: {goal:.3f}, for {limit:,} steps.\n")
    print("| search | trials by then | best after a quarter | after half | after all | steps to the grid's best |")
    print("|---|---|---|---|---|---|")
    for kind, repeats in histories.items():
        best = [_written([history.best_at(share * limit) for history in repeats]) for share in (QUARTER, 0.5, 1)]
        steps = [history.steps_to(goal) for history in repeats]
        reached = ", ".join("never" if step is None or step > limit else f"{step:,}" for step in steps)
        begun = ", ".join(str(history.begun_at(limit)) for history in repeats)
        print(f"| {kind} | {begun} | {' | '.join(best)} | {reached} |")
    print("\n| step | rank correlation with the end | trials |\n|---|---|---|")
    whole = [
        trial
        for sweep in itertools.chain.from_iterable(sweeps.values())
        if sweep.record["options"]["search"]["scheduler"] == "none"
        for trial in sweep.trials
    ]
    for step, (correlation, count) in rank_correlations(whole).items():
        print(f"| {step:,} | {correlation:.2f} | {count} |")
    with matplotlib.rc_context(RC_PARAMS):
        draw(histories, limit=limit).savefig(arguments.figure, dpi=200, facecolor="white")


@dataclass(frozen=True)
class _Report:
    """One report of a trial.

    Attributes:
        time: When it came, in seconds since 1970.
        steps: Optimizer steps since the trial's report before, of all its networks.
        score: `mig`.
        is_first: Whether it is the trial's first.
    """

    time: float
    steps: int
    score: float
    is_first: bool


def _timed_steps(trial: Trial) -> list[_Report]:
    events = EventAccumulator(str(trial.folder), size_guidance={SCALARS: 0})
    events.Reload()
    if trial.reports and "mig" not in events.Tags()[SCALARS]:
        raise ValueError(
            f"{trial.folder} must hold TensorBoard's curves, which tell when a trial reported, but has none."
        )
    # by step: a trial that was resumed may have written a report twice
    reports = {event.step: event for event in events.Scalars("mig")} if trial.reports else {}
    before = 0
    timed = []
    for step in sorted(reports):
        spent = trial.config.updates_until(step) - trial.config.updates_until(before)
        timed.append(_Report(reports[step].wall_time, spent, reports[step].value, is_first=before == 0))
        before = step
    return timed


def _written(scores: Sequence[float]) -> str:
    return f"{np.median(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})"


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
