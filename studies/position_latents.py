"""What the position latents of models vary with, beside the position.

python studies/position_latents.py results/beta-tcvae-relaxed

Encodes every position of 80 sprites of dSprites: shapes, scales and orientations drawn with seed 0. For each model at
the end of its training it prints, of the latent that follows posX best and of that which follows posY best, standard
deviations as shares of the distance between two neighbouring positions: of the posterior mean around its mean at a
position; of the part of this that the sprite explains; of the rest; and of the posterior itself. The rows of "pixels"
are those of the centre of mass of the white pixels, which no model has seen.

Before that it prints `mig_exact_part` of three latents that know the centre of mass and the size exactly: its column
and row, and the square root of the number of white pixels, each with a posterior of the same width. And it prints `mig`
of their means: as they are, and with normal distributions in the same order, to which the KL draws every latent.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from angles import parse_sweeps
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import DSpritesDataset, FactorImages
from betavae.evaluation import take_score
from betavae.metrics.base import drawn_rows
from betavae.metrics.mig import mutual_information_gap
from betavae.metrics.mig_part import MigExactPart
from betavae.metrics.representation import Encoder, Representation, represent
from betavae.records.checkpoint import load_model
from betavae.records.sweep import name_in_sweep
from sweeps.printing import input_errors_end_the_script

NUM_SPRITES, SEED = 80, 0

STEP = 32 / 31
"""Pixels between two neighbouring positions."""

WIDTHS = (0.1, 0.2, 0.4, 0.8)
"""Widths of the posteriors of the code that knows the centre of mass, as shares of a step."""


def sprites(data: FactorImages) -> tuple[Int[np.ndarray, "images factors"], Int[np.ndarray, " images"]]:
    """Return the factors of every position of some sprites, and the sprite of each, by number."""
    space = data.factors
    assert space.position is not None
    columns = [space.column(name) for name in space.position]
    sizes = [space.sizes[column] for column in columns]
    drawn = np.random.default_rng(SEED).integers(space.sizes, size=(NUM_SPRITES, len(space.sizes)))
    places = np.stack(np.unravel_index(np.arange(sizes[0] * sizes[1]), sizes), axis=1)
    factors = np.repeat(drawn, len(places), axis=0)
    factors[:, columns] = np.tile(places, (NUM_SPRITES, 1))
    return factors, np.repeat(np.arange(NUM_SPRITES), len(places))


def deviations(
    codes: Representation, places: Int[np.ndarray, " images"], of_sprite: Int[np.ndarray, " images"]
) -> tuple[int, list[float]]:
    """Return the latent that follows one coordinate best, and its standard deviations; see the module."""
    around = np.stack([latent - _group_means(latent, places) for latent in codes.mean.T.astype(np.float64)], axis=1)
    shares = around.var(0) / np.maximum(codes.mean.var(0), np.finfo(np.float64).tiny)
    latent = int(np.argmin(shares))
    rest = around[:, latent] - _group_means(around[:, latent], of_sprite)
    by_place = [codes.mean[places == place, latent].mean() for place in range(places.max() + 1)]
    step = abs(by_place[-1] - by_place[0]) / (len(by_place) - 1)
    numbers = [around[:, latent].std(), (around[:, latent] - rest).std(), rest.std()]
    numbers.append(0.0 if codes.logvar is None else np.exp(codes.logvar[:, latent] / 2).mean())
    return latent, [float(number / step) for number in numbers]


def centres_of_mass(data: FactorImages, indices: Int[np.ndarray, " images"]) -> Float[np.ndarray, "images 2"]:
    """Return the column and the row of the centre of the white pixels of each image."""
    return represent(lambda images: _centre(images)[:, :2], data, indices=indices).mean


def centre_code(width: float) -> Encoder:
    """Return an encoder to the centre of the white pixels and the square root of their number, all in pixels.

    Args:
        width: Standard deviation of the posteriors, in pixels.
    """

    def encode(images: Float[Tensor, "images 1 height width"]) -> tuple[Tensor, Tensor]:
        means = _centre(images)
        return means, torch.full_like(means, 2 * math.log(width))

    return encode


def normal_marginals(means: Float[np.ndarray, "rows latents"]) -> Float[np.ndarray, "rows latents"]:
    """Return means in the same order, latent by latent, whose distributions are normal."""
    normal: np.ndarray = norm.ppf((rankdata(means, axis=0) - 0.5) / len(means))
    return normal


def _centre(images: Float[Tensor, "images 1 height width"]) -> Float[Tensor, "images 3"]:
    pixels = images[:, 0]
    total = pixels.sum((1, 2))
    columns, rows = (torch.arange(size, dtype=pixels.dtype) for size in (pixels.shape[2], pixels.shape[1]))
    return torch.stack([(pixels.sum(1) @ columns) / total, (pixels.sum(2) @ rows) / total, total.sqrt()], dim=1)


def main() -> None:
    """Print a row for each model and coordinate."""
    sweeps = parse_sweeps(__doc__)
    torch.set_num_threads(1)
    data = DSpritesDataset().open()
    print(f"| width of the posterior, steps | mig_exact_part | each gap |\n{'|---' * 3}|")
    for width in WIDTHS:
        score = take_score(MigExactPart.name, centre_code(width * STEP), data)
        print(
            f"| {width} | {score.value:.3f} | {', '.join(f'{gap:.2f}' for gap in score.by_factor.values())} |",
            flush=True,
        )
    print(f"\n| means | mig | each gap |\n{'|---' * 3}|")
    drawn = drawn_rows(data).indices
    means = represent(_centre, data, indices=drawn).mean.astype(np.float64)
    for words, values in (("as they are", means), ("normal", normal_marginals(means))):
        mig = mutual_information_gap(values, data.factors.indices_to_factors(drawn))
        print(f"| {words} | {mig.score:.3f} | {', '.join(f'{gap:.2f}' for gap in mig.gaps)} |", flush=True)
    print(f"\n| trial | factor | latent | around its mean | by the sprite | the rest | posterior |\n{'|---' * 7}|")
    for sweep in sweeps:
        factors, of_sprite = sprites(data)
        indices = data.factors.factors_to_indices(factors)
        centres = Representation(centres_of_mass(data, indices), logvar=None)
        for name in data.factors.position or ():
            print(_row("pixels", name, centres, factors[:, data.factors.column(name)], of_sprite))
        for trial in (*sweep.trials, *sweep.confirming):
            if not trial.is_complete or trial.final_checkpoint is None:
                continue
            codes = represent(load_model(trial.final_checkpoint.folder), data, indices=indices)
            for name in data.factors.position or ():
                row = _row(name_in_sweep(trial), name, codes, factors[:, data.factors.column(name)], of_sprite)
                print(row, flush=True)


def _row(
    trial: str,
    factor: str,
    codes: Representation,
    places: Int[np.ndarray, " images"],
    of_sprite: Int[np.ndarray, " images"],
) -> str:
    latent, numbers = deviations(codes, places, of_sprite)
    return f"| {trial} | {factor} | {latent} | {' | '.join(f'{number:.2f}' for number in numbers)} |"


def _group_means(
    values: Float[np.ndarray, " images"], groups: Int[np.ndarray, " images"]
) -> Float[np.ndarray, " images"]:
    """Return for each value the mean of its group."""
    means: np.ndarray = (np.bincount(groups, values) / np.bincount(groups))[groups]
    return means


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
