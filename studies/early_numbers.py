"""How well a number early in training predicts the score at the end.

python studies/early_numbers.py results/beta-vae-relaxed results/beta-tcvae-straight --steps 1000 2000 3000
python studies/early_numbers.py results/methods-small --number mig --steps 500 1000 1500

Prints a row for each trial that ran all its steps: `--number` in its reports of `--steps`, and `--score` at the end.
The last row has Spearman's rank correlation of the number with the score, and the two-sided p of a permutation test. A
loss is the mean over the steps since the report before, in nats per image: the choice among several starts relies on
it, and needs a negative correlation. Early stopping relies on a score, and needs a positive one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.stats import permutation_test, spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.errors import InputError
from betavae.records.sweep import name_in_sweep, read_sweep
from betavae.records.trial import Trial
from sweeps.printing import input_errors_end_the_script


def numbers_and_score(trial: Trial, number: str, *, steps: Sequence[int], score: str) -> list[float] | None:
    """Return a number of a trial's reports at some steps, and its score at the end; None if it lacks any."""
    reported = {int(report["step"]): float(report[number]) for report in trial.reports if number in report}
    final = trial.final_score(score)
    if trial.status != "finished" or final is None or not reported.keys() >= set(steps):
        return None
    return [*(reported[step] for step in steps), final]


def rank_correlation(early: Float[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]) -> tuple[float, float]:
    """Return Spearman's rank correlation, and its p by all permutations, or by 20,000."""
    test = permutation_test(
        (early,),
        lambda order: spearmanr(order, scores).statistic,
        permutation_type="pairings",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    )
    return float(test.statistic), float(test.pvalue)


def main() -> None:
    """Print the table of each sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--steps", nargs="+", type=int, required=True, help="steps of reports")
    parser.add_argument("--number", default="loss/total_nats", help="a number of the reports (default: %(default)s)")
    parser.add_argument("--score", default="mig_exact", help="a score of the final models (default: %(default)s)")
    options = parser.parse_args()
    for folder in options.folders:
        sweep = read_sweep(folder)
        trials = {name_in_sweep(trial): trial for trial in (*sweep.trials, *sweep.confirming)}
        rows = {
            name: numbers_and_score(trial, options.number, steps=options.steps, score=options.score)
            for name, trial in trials.items()
        }
        found = {name: row for name, row in rows.items() if row is not None}
        if len(found) < 3:
            raise InputError(
                f"{folder} must hold three trials or more with {options.number} at these steps and {options.score}, "
                f"but has {len(found)}."
            )
        decimals = 1 if options.number.startswith("loss/") else 3
        print(f"{folder.name}\n\n| trial | {' | '.join(map(str, options.steps))} | {options.score} |")
        print("|---" * (len(options.steps) + 2) + "|")
        for name, row in sorted(found.items(), key=lambda item: -item[1][-1]):
            print(f"| {name} | {' | '.join(f'{value:.{decimals}f}' for value in row[:-1])} | {row[-1]:.3f} |")
        *numbers, scores = np.array(list(found.values())).T
        cells = (f"{value:.2f} (p = {p:.3f})" for value, p in (rank_correlation(each, scores) for each in numbers))
        print(f"| rank correlation | {' | '.join(cells)} | |\n")


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
