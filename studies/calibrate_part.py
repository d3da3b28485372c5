"""How near `mig_exact_part` is to `mig_exact`, on the models of sweeps of which both can be known.

python studies/calibrate_part.py results/methods-small

It takes `mig_exact_part` of every checkpoint that holds `mig_exact`, which needs the images, and stores nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.evaluation import take_score
from betavae.metrics import Score
from betavae.records.checkpoint import load_model
from betavae.records.sweep import read_sweep
from sweeps.printing import input_errors_end_the_script

EXACT, PART = "mig_exact", "mig_exact_part"


def pairs_of(folder: Path) -> list[tuple[str, Score, Score]]:
    """Return the name of each checkpoint that holds the exact score, that score, and the score of the part."""
    sweep = read_sweep(folder)
    pairs: list[tuple[str, Score, Score]] = []
    data: dict[str, FactorImages] = {}
    for trial in (*sweep.trials, *sweep.confirming):
        checkpoints = {
            each.folder: each for each in (trial.best_checkpoint, trial.final_checkpoint) if each is not None
        }
        for known in checkpoints.values():
            if EXACT in known.scores:
                dataset = trial.config.dataset
                if dataset.name not in data:
                    data[dataset.name] = dataset.open()
                part = take_score(PART, load_model(known.folder), data[dataset.name], dataset=dataset)
                name = f"{known.folder.parent.name}/{known.folder.name}"
                pairs.append((name, known.scores[EXACT], part))
                print(f"{name}  {known.scores[EXACT].value:.4f}  {part.value:.4f}", flush=True)
    return pairs


def main() -> None:
    """Print each model's scores, and how far they are apart in all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of sweeps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pairs = [pair for folder in arguments.folders for pair in pairs_of(folder)]
    if not pairs:
        raise InputError(f"a checkpoint must hold {EXACT}, but none does; take it by analyze.py --scores {EXACT}.")
    whole = np.array([exact.value for _, exact, _ in pairs])
    part = np.array([of_part.value for _, _, of_part in pairs])
    gaps = [of_part.by_factor[name] - gap for _, exact, of_part in pairs for name, gap in exact.by_factor.items()]
    apart = part - whole
    print(f"{len(pairs)} models; rank correlation {spearmanr(whole, part).statistic:.4f}")
    print(f"part minus whole: {apart.mean():+.5f} on average, {apart.min():+.5f} to {apart.max():+.5f}")
    print(f"of a factor's gap: {min(gaps):+.5f} to {max(gaps):+.5f}")


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
