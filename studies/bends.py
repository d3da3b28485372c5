"""How far the codes of models are bent: what their latents of position and size follow besides position and size.

python studies/bends.py results/beta-vae-relaxed results/beta-tcvae-straight

Encodes every position of the sprites of `position_latents.py`. For each model at the end of its training it prints
standard deviations of posterior means:

- stretch of posX: take the latent that follows posX best, average it over posY, and subtract its means at each posX and
  of each sprite. What is left depends on both: the latent is stretched for some sprites. In steps between two
  neighbouring positions. The same of posY.
- position in size: take the latent that follows the scale best, and average it over the sprites. What is left depends
  on the position alone. In steps between two neighbouring scales.
- width of size: the width of the posteriors of that latent, in the same steps; the mean over the images.

The last row of a sweep has the medians.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from angles import parse_sweeps
from jaxtyping import Float, Int
from position_latents import NUM_SPRITES, sprites

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import DSpritesDataset
from betavae.metrics.representation import Representation, represent
from betavae.records.checkpoint import load_model
from betavae.records.sweep import name_in_sweep
from sweeps.printing import input_errors_end_the_script


def stretch(grid: Float[np.ndarray, "sprites along across latents"]) -> float:
    """Return the stretch of the latent that follows a coordinate best.

    Args:
        grid: Posterior means by sprite, by the coordinate and by the other one.
    """
    along = grid.mean((0, 2))
    latent = _latent_that_follows(along, grid)
    values = grid[..., latent].mean(2)
    bent = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    return float(bent.std() / abs(np.diff(along[:, latent]).mean()))


def position_in_size(
    codes: Representation,
    grid: Float[np.ndarray, "sprites along across latents"],
    scales: Int[np.ndarray, " sprites"],
) -> tuple[float, float]:
    """Return what the latent that follows the scale best has of the position, and the width of its posterior.

    Args:
        codes: The codes of all images.
        grid: Their means by sprite and position.
        scales: The scale of each sprite, by number.

    Returns:
        Standard deviations, in steps between two neighbouring scales.
    """
    of_sprite = grid.mean((1, 2))
    of_scale = np.stack([of_sprite[scales == scale].mean(0) for scale in np.unique(scales)])
    latent = _latent_that_follows(of_scale, grid)
    step = abs(np.polyfit(scales, of_sprite[:, latent], 1)[0])
    widths = 0.0 if codes.logvar is None else np.exp(codes.logvar[:, latent] / 2).mean()
    return float(grid[..., latent].mean(0).std() / step), float(widths / step)


def _latent_that_follows(
    means: Float[np.ndarray, "values latents"], grid: Float[np.ndarray, "sprites along across latents"]
) -> int:
    """Return the latent whose variance is most that of its means at the values of a factor."""
    return int(np.argmax(means.var(0) / np.maximum(grid.var((0, 1, 2)), np.finfo(np.float64).tiny)))


def main() -> None:
    """Print a row for each model, and the medians of each sweep."""
    sweeps = parse_sweeps(__doc__)
    torch.set_num_threads(1)
    data = DSpritesDataset().open()
    factors, _ = sprites(data)
    indices = data.factors.factors_to_indices(factors)
    scales = factors[:, data.factors.column("scale")].reshape(NUM_SPRITES, -1)[:, 0]
    sides = [data.factors.sizes[data.factors.column(name)] for name in data.factors.position or ()]
    print(f"| trial | stretch of posX | of posY | position in size | width of size |\n{'|---' * 5}|")
    for sweep in sweeps:
        rows = []
        for trial in (*sweep.trials, *sweep.confirming):
            if not trial.is_complete or trial.final_checkpoint is None:
                continue
            codes = represent(load_model(trial.final_checkpoint.folder), data, indices=indices)
            grid = codes.mean.astype(np.float64).reshape(NUM_SPRITES, *sides, -1)
            rows.append([stretch(grid), stretch(grid.swapaxes(1, 2)), *position_in_size(codes, grid, scales)])
            print(_row(name_in_sweep(trial), rows[-1]), flush=True)
        if rows:
            print(_row(f"{sweep.folder.name}, median", np.median(rows, axis=0)), flush=True)


def _row(name: str, numbers: Float[np.ndarray, " columns"] | list[float]) -> str:
    return f"| {name} | {' | '.join(f'{number:.2f}' for number in numbers)} |"


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
