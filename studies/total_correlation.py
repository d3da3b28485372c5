"""What a batch's estimate of the total correlation says of a turned code: is it lower once the code is turned back?

python studies/total_correlation.py results/beta-tcvae

Of every model that trained to its end and is turned: the estimate as the model is, less the estimate when its two
position latents are turned onto posX and posY. Positive: the loss would turn it back. Negative: it holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from betavae.analysis.results import Trial, name_in_sweep, read_sweep
from betavae.analysis.rotation import Rotation, best_rotation
from betavae.checkpoint import load_model
from betavae.data import DSprites
from betavae.evaluation import evaluation_rows
from betavae.gaussian import DiagonalGaussian
from betavae.metrics.representation import represent
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


def rows_of(trial: Trial, data: DSprites) -> Iterator[str]:
    """The table's row, if the model is turned: the mean difference and its standard error, batch size by batch size."""
    if not trial.is_complete or trial.final_checkpoint is None:
        return
    indices = evaluation_rows(len(data))
    codes = represent(load_model(trial.final_checkpoint.folder), data, indices=indices)
    columns = [data.factors.names.index(name) for name in ("posX", "posY")]
    rotation = best_rotation(codes.mean, data.factors.indices_to_factors(indices), columns=columns)
    if abs(rotation.degrees) < MIN_DEGREES:
        return
    before = DiagonalGaussian(torch.from_numpy(codes.mean), torch.from_numpy(codes.logvar))
    after = turned(before, rotation)
    cells = []
    for batch_size in BATCH_SIZES:
        found = differences(before, after, batch_size=batch_size)
        cells.append(f"{found.mean():+.3f} ± {found.std(ddof=1) / np.sqrt(len(found)):.3f}")
    yield f"| {name_in_sweep(trial)} | {trial.config.beta:g} | {rotation.degrees} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    data = DSprites.open()
    print(f"| trial | beta | degrees | {' | '.join(f'{size:,} images' for size in BATCH_SIZES)} |")
    print("|---" * (3 + len(BATCH_SIZES)) + "|")
    for folder in sys.argv[1:]:
        sweep = read_sweep(Path(folder))
        for trial in (*sweep.trials, *sweep.confirming):
            for row in rows_of(trial, data):
                print(row, flush=True)


if __name__ == "__main__":
    main()
