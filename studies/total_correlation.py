"""What a batch's estimate of the total correlation says of a turned code: is it lower once the code is turned back?

python studies/total_correlation.py results/beta-tcvae

Of every model that trained to its end: the estimate with its two position latents turned, less the estimate with them
on posX and posY. A model that is turned is compared with itself turned back; one that is not, with itself turned away.
Positive: this term of the loss turns the code onto the axes. Negative: it holds it off them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from angles import asked_folders, models_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import DSprites
from betavae.gaussian import DiagonalGaussian
from betavae.objectives import total_correlation
from betavae.records.sweep import name_in_sweep

BATCH_SIZES = (16, 64, 128, 256, 1024)
MIN_DEGREES = 10
"""A model that is turned by less is compared with itself turned away."""

DEGREES_AWAY = 35
NUM_BATCHES = 600
"""Of 16 images; of larger ones fewer, so that as many images are seen, twenty at least."""


def turned(posterior: DiagonalGaussian, latents: tuple[int, int], degrees: int) -> DiagonalGaussian:
    """Turn two latents, in units of their standard deviations.

    Error:
        The two are taken as independent after the turn too, which holds where their variances are alike.
    """
    pair = list(latents)
    angle = np.radians(degrees)
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
    """Print each model's mean difference and its standard error, batch size by batch size."""
    folders = asked_folders(__doc__)
    data = DSprites.open()
    print(f"| trial | beta | degrees | {' | '.join(f'{size:,} images' for size in BATCH_SIZES)} |")
    print("|---" * (3 + len(BATCH_SIZES)) + "|")
    for folder in folders:
        for model in models_of(folder, data):
            means, logvars = (torch.from_numpy(values) for values in (model.posteriors.mean, model.posteriors.logvar))
            as_it_is, turn = DiagonalGaussian(means, logvars), model.rotation
            is_turned = abs(turn.degrees) >= MIN_DEGREES
            other = turned(as_it_is, turn.latents, turn.degrees if is_turned else DEGREES_AWAY)
            before, after = (as_it_is, other) if is_turned else (other, as_it_is)
            cells = []
            for batch_size in BATCH_SIZES:
                found = differences(before, after, batch_size=batch_size)
                cells.append(f"{found.mean():+.3f} ± {found.std(ddof=1) / np.sqrt(len(found)):.3f}")
            trial = model.trial
            degrees = f"{turn.degrees}" if is_turned else f"{turn.degrees}, turned away by {DEGREES_AWAY}"
            row = [name_in_sweep(trial), f"{trial.config.beta:g}", degrees, *cells]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
