"""What a batch's estimate of the total correlation says of a turned code: is it lower once the code is turned back?

python studies/total_correlation.py results/beta-tcvae

Of every model that trained to its end and is turned: the estimate as the model is, less the estimate when its two
position latents are turned onto posX and posY. Positive: the loss would turn it back. Negative: it holds it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from angles import models_of

from betavae.analysis.results import name_in_sweep
from betavae.analysis.rotation import Rotation
from betavae.data import DSprites
from betavae.gaussian import DiagonalGaussian
from betavae.objective import total_correlation

BATCH_SIZES = (16, 64, 256, 1024)
MIN_DEGREES = 10
NUM_BATCHES = 600
"""Of 16 images; of larger ones fewer, so that as many images are seen, twenty at least."""


def turned(posterior: DiagonalGaussian, rotation: Rotation) -> DiagonalGaussian:
    """Turn two latents back, in units of their standard deviations.

    Error:
        The two are taken as independent after the turn too, which holds where their variances are alike.
    """
    pair = list(rotation.latents)
    angle = np.radians(rotation.degrees)
    turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    scale = posterior.mean[:, pair].std(0)
    mean, variance = posterior.mean.clone(), posterior.logvar.exp()
    mean[:, pair] = (mean[:, pair] / scale) @ turn * scale
    variance[:, pair] = (variance[:, pair] / scale**2) @ turn**2 * scale**2
    return DiagonalGaussian(mean, variance.log())


def differences(before: DiagonalGaussian, after: DiagonalGaussian, *, batch_size: int) -> np.ndarray:
    """Estimate before less estimate after, in nats, on the same images and noise: one per batch."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(max(20, NUM_BATCHES * BATCH_SIZES[0] // batch_size)):
        drawn = torch.randperm(len(before.mean), generator=generator)[:batch_size]
        noise_seed = int(torch.randint(2**31, (), generator=generator))
        of_batch = []
        for whole in (before, after):
            posterior = DiagonalGaussian(whole.mean[drawn], whole.logvar[drawn])
            codes = posterior.sample(torch.Generator().manual_seed(noise_seed))
            of_batch.append(float(total_correlation(posterior, codes)))
        found.append(of_batch[0] - of_batch[1])
    return np.array(found)


def main() -> None:
    """Print the mean difference and its standard error of each turned model, batch size by batch size."""
    data = DSprites.open()
    print(f"| trial | beta | degrees | {' | '.join(f'{size:,} images' for size in BATCH_SIZES)} |")
    print("|---" * (3 + len(BATCH_SIZES)) + "|")
    for folder in sys.argv[1:]:
        for model in models_of(Path(folder), data):
            if abs(model.rotation.degrees) < MIN_DEGREES:
                continue
            means, logvars = (torch.from_numpy(values) for values in (model.posteriors.mean, model.posteriors.logvar))
            before = DiagonalGaussian(means, logvars)
            after = turned(before, model.rotation)
            cells = []
            for batch_size in BATCH_SIZES:
                found = differences(before, after, batch_size=batch_size)
                cells.append(f"{found.mean():+.3f} ± {found.std(ddof=1) / np.sqrt(len(found)):.3f}")
            trial = model.trial
            row = [name_in_sweep(trial), f"{trial.config.beta:g}", f"{model.rotation.degrees}", *cells]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
