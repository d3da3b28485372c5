"""Whether a batch's estimate of the total correlation is lower once a rotated code is rotated back onto the axes.

python studies/total_correlation.py results/beta-tcvae

For every model that trained to its end: the estimate with its two position latents rotated, less the estimate with
them on the axes. A model that is rotated is compared with itself rotated back; any other with itself rotated away.
A positive difference means that this term of the loss rotates the code onto the axes, a negative one that it keeps the
code off them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from angles import models_of, parse_sweeps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.columns import field_column
from betavae.gaussian import DiagonalGaussian
from betavae.objectives import total_correlation
from betavae.records.sweep import name_in_sweep
from sweeps.printing import input_errors_end_the_script

BATCH_SIZES = (16, 64, 128, 256, 1024)
MIN_DEGREES = 10
"""A model that is rotated by less is compared with itself rotated away."""

DEGREES_AWAY = 35
NUM_BATCHES = 600
"""Batches of 16 images; of larger ones fewer, so that as many images are seen, but at least 20."""


def rotated(posterior: DiagonalGaussian, latents: tuple[int, int], degrees: int) -> DiagonalGaussian:
    """Rotate two latents, in units of their standard deviations.

    Error:
        The two are taken as independent after the rotation too, which holds where their variances are alike.
    """
    pair = list(latents)
    angle = np.radians(degrees)
    matrix = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    scale = posterior.mean[:, pair].std(0)
    mean, variance = posterior.mean.clone(), posterior.logvar.exp()
    mean[:, pair] = (mean[:, pair] / scale) @ matrix * scale
    variance[:, pair] = (variance[:, pair] / scale**2) @ matrix**2 * scale**2
    return DiagonalGaussian(mean, variance.log())


def differences(before: DiagonalGaussian, after: DiagonalGaussian, *, batch_size: int) -> np.ndarray:
    """Return the estimate before less the estimate after, in nats, on the same images and noise: one per batch."""
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(max(20, NUM_BATCHES * BATCH_SIZES[0] // batch_size)):
        rows = torch.randperm(len(before.mean), generator=generator)[:batch_size]
        noise_seed = int(torch.randint(2**31, (), generator=generator))
        estimates = []
        for whole in (before, after):
            posterior = DiagonalGaussian(whole.mean[rows], whole.logvar[rows])
            codes = posterior.sample(torch.Generator().manual_seed(noise_seed))
            estimates.append(float(total_correlation(posterior, codes)))
        values.append(estimates[0] - estimates[1])
    return np.array(values)


def main() -> None:
    """Print each model's mean difference and its standard error, batch size by batch size."""
    sweeps, beta = parse_sweeps(__doc__), field_column("beta")
    print(f"| trial | beta | degrees | {' | '.join(f'{size:,} images' for size in BATCH_SIZES)} |")
    print("|---" * (3 + len(BATCH_SIZES)) + "|")
    for sweep in sweeps:
        for model in models_of(sweep):
            posterior = DiagonalGaussian(torch.from_numpy(model.codes.mean), torch.from_numpy(model.codes.logvar))
            rotation = model.rotation
            is_rotated = abs(rotation.degrees) >= MIN_DEGREES
            other = rotated(posterior, rotation.latents, rotation.degrees if is_rotated else DEGREES_AWAY)
            before, after = (posterior, other) if is_rotated else (other, posterior)
            cells = []
            for batch_size in BATCH_SIZES:
                values = differences(before, after, batch_size=batch_size)
                cells.append(f"{values.mean():+.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}")
            degrees = f"{rotation.degrees}" if is_rotated else f"{rotation.degrees}, rotated away by {DEGREES_AWAY}"
            row = [name_in_sweep(model.trial), beta.write(model.trial.config.value("beta")), degrees, *cells]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
