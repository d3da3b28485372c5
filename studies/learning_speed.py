"""What `burgess` and `mlp` learn in the same time of one core, with batches of several sizes.

python studies/learning_speed.py > learning_speed.md

A row is printed after each quarter of a training's time, without the time of evaluations.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

import torch

from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.models import ARCHITECTURES
from betavae.objectives import BetaTCVAE
from betavae.process import prepare_process
from betavae.training import TrainingRun

NETWORKS = ("burgess", "mlp")
BATCH_SIZES = (128, 512, 2048)
SEEDS = (1, 2)
SECONDS = 200.0
NUM_EVALUATIONS = 4
IMAGES_PER_ADVANCE = 4_096


def train(config: TrialConfig, data: FactorImages) -> None:
    """Train for `SECONDS` of processor time, and print what the model has learnt."""
    run, used = TrainingRun.start(config, data), 0.0
    for evaluation in range(1, NUM_EVALUATIONS + 1):
        while used < SECONDS * evaluation / NUM_EVALUATIONS:
            begin = time.process_time()
            loss = run.advance(IMAGES_PER_ADVANCE // config.batch_size)
            used += time.process_time() - begin
        is_last = evaluation == NUM_EVALUATIONS
        scores = run.evaluate(["live", "mig_exact"] if is_last else "live")
        exact = f"{scores['mig_exact'].value:.3f}" if is_last else ""
        print(
            f"| {config.architecture.name} | {config.batch_size:,} | {config.seed} | {used:.0f} | {run.step:,} "
            f"| {run.step * config.batch_size:,} | {loss.terms['recon_nats']:.1f} "
            f"| {scores['mig'].value:.3f} | {exact} |",
            flush=True,
        )


def main() -> None:
    """Train each network with each batch size and seed."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    prepare_process()
    torch.set_num_threads(1)
    print("| network | batch | seed | seconds | steps | images | recon (nats) | `mig` | `mig_exact` |")
    print("|---|---|---|---|---|---|---|---|---|")
    for seed, batch_size, network in product(SEEDS, BATCH_SIZES, NETWORKS):
        config = TrialConfig(
            objective=BetaTCVAE(beta=6.0),
            architecture=ARCHITECTURES[network](),
            latent_size=10,
            lr=1e-3,
            batch_size=batch_size,
            seed=seed,
        )
        train(config, config.dataset.open())


if __name__ == "__main__":
    main()
