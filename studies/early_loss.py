"""How far the loss early in training tells the score at its end: what a choice among several starts relies on.

python studies/early_loss.py results/beta-vae-relaxed results/beta-tcvae-straight --step 2000

For each trial that ran all its steps it prints the loss in its report of `--step`, which is the mean over the steps
since the report before, and `--score` at the end; then Spearman's rank correlation of both over the trials of a sweep,
with the two-sided p of a permutation test. A choice by the loss needs a negative one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.stats import permutation_test, spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.records.sweep import name_in_sweep, read_sweep
from betavae.records.trial import Trial

_LOSS = "loss/total_nats"


def losses_and_scores(trials: list[Trial], *, step: int, score: str) -> dict[str, tuple[float, float]]:
    """Return the loss at a step, in nats per image, and the score at the end, of each trial that has both."""
    found = {}
    for trial in trials:
        losses = [float(report[_LOSS]) for report in trial.reports if report["step"] == step]
        final = trial.final_score(score)
        if trial.status == "finished" and losses and final is not None:
            found[name_in_sweep(trial)] = (losses[0], final)
    return found


def rank_correlation(losses: Float[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]) -> tuple[float, float]:
    """Return Spearman's rank correlation, and its p by 20,000 permutations."""
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
    parser.add_argument("--step", type=int, default=2_000)
    parser.add_argument("--score", default="mig_exact")
    options = parser.parse_args()
    for folder in options.folders:
        sweep = read_sweep(folder)
        found = losses_and_scores([*sweep.trials, *sweep.confirming], step=options.step, score=options.score)
        if len(found) < 3:
            sys.exit(f"{folder} must hold three trials with a report of step {options.step} and {options.score}.")
        print(f"{folder.name}\n\n| trial | loss up to step {options.step} (nats) | {options.score} |\n|---|---|---|")
        for name, (loss, score) in sorted(found.items(), key=lambda item: item[1]):
            print(f"| {name} | {loss:.1f} | {score:.3f} |")
        correlation, p = rank_correlation(*np.array(list(found.values())).T)
        print(f"\nrank correlation {correlation:.2f}, p = {p:.4f}, {len(found)} trials\n")


if __name__ == "__main__":
    main()
