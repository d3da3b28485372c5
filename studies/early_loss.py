"""How well the loss early in training predicts the score at the end, which a choice among several starts relies on.

python studies/early_loss.py results/beta-vae-relaxed results/beta-tcvae-straight --steps 1000 2000 3000

Prints a row for each trial that ran all its steps: the losses in its reports of `--steps`, each the mean over the steps
since the report before, and `--score` at the end. The last row has Spearman's rank correlation of the losses with the
score, and the two-sided p of a permutation test. A choice by the loss needs a negative correlation.
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

from betavae.records.sweep import name_in_sweep, read_sweep
from betavae.records.trial import Trial

_LOSS = "loss/total_nats"


def losses_and_score(trial: Trial, *, steps: Sequence[int], score: str) -> list[float] | None:
    """Return a trial's losses at some steps, in nats per image, and its score at the end; None if it lacks any."""
    losses = {int(report["step"]): float(report[_LOSS]) for report in trial.reports}
    final = trial.final_score(score)
    if trial.status != "finished" or final is None or not losses.keys() >= set(steps):
        return None
    return [*(losses[step] for step in steps), final]


def rank_correlation(losses: Float[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]) -> tuple[float, float]:
    """Return Spearman's rank correlation, and its p by all permutations, or by 20,000."""
    test = permutation_test(
        (losses,),
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
    parser.add_argument("--steps", nargs="+", type=int, required=True)
    parser.add_argument("--score", default="mig_exact")
    options = parser.parse_args()
    for folder in options.folders:
        sweep = read_sweep(folder)
        trials = {name_in_sweep(trial): trial for trial in (*sweep.trials, *sweep.confirming)}
        rows = {
            name: losses_and_score(trial, steps=options.steps, score=options.score) for name, trial in trials.items()
        }
        found = {name: row for name, row in rows.items() if row is not None}
        if len(found) < 3:
            sys.exit(f"{folder} must hold three trials or more with reports of these steps and {options.score}.")
        print(f"{folder.name}\n\n| trial | {' | '.join(map(str, options.steps))} | {options.score} |")
        print("|---" * (len(options.steps) + 2) + "|")
        for name, row in sorted(found.items(), key=lambda item: -item[1][-1]):
            print(f"| {name} | {' | '.join(f'{loss:.1f}' for loss in row[:-1])} | {row[-1]:.3f} |")
        *losses, scores = np.array(list(found.values())).T
        cells = (f"{value:.2f} (p = {p:.3f})" for value, p in (rank_correlation(each, scores) for each in losses))
        print(f"| rank correlation | {' | '.join(cells)} | |\n")


if __name__ == "__main__":
    main()
