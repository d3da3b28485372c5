"""The scores of networks that have never been trained: what a study must be above.

python studies/untrained.py
python studies/untrained.py --scores mig_exact_part
python studies/untrained.py --architecture conv3 -z 64 --images 10000

Prints the least, the median and the highest of each score over networks with different initial weights, and of each
mean over factors all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.config import TrialConfig
from betavae.metrics.registry import LIVE
from betavae.training import TrainingRun


def main() -> None:
    """Score untrained networks of one architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="burgess")
    parser.add_argument("-z", "--latent-size", type=int, default=10)
    parser.add_argument(
        "--images", type=int, help="images that the models would be trained on, the first; all if not given"
    )
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--scores", nargs="*", default=[], help="scores to take beside those of every evaluation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    values = {"architecture": arguments.architecture, "latent_size": arguments.latent_size}
    if arguments.images is not None:
        values["images"] = arguments.images
    data = TrialConfig.from_dict(values).dataset.open()
    scores: dict[str, list[float]] = {}
    for seed in range(arguments.networks):
        run = TrainingRun.start(TrialConfig.from_dict({**values, "seed": seed}), data)
        for name, value in run.evaluate([LIVE, *arguments.scores]).numbers().items():
            scores.setdefault(name, []).append(value)
    print(f"{arguments.networks} untrained networks, {arguments.architecture}, {arguments.latent_size} latents")
    for name, each in scores.items():
        every = "" if "/" in name else "   " + " ".join(f"{value:.4f}" for value in sorted(each))
        print(f"{name:24}  {min(each):.4f}  {np.median(each):.4f}  {max(each):.4f}{every}")


if __name__ == "__main__":
    main()
