"""Reconstructions and traversals of a model, as arrays of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from betavae.arrays import ArrayLike, as_float_tensor
from betavae.data import FactorImages
from betavae.models import VAE

TRAVERSAL_RANGE = 2.0
"""A traversal runs from minus to plus this many standard deviations of the prior."""

_NUM_RECONSTRUCTIONS = 8
_SAMPLE_SEED = 0


@dataclass(frozen=True)
class Samples:
    """Reconstructions and a traversal of one model; a pixel is 0 .. 255, from black to white in each channel.

    Attributes:
        originals: Images of the data set.
        reconstructions: The decoder's images of their posterior means.
        traversal: Row j: the first original's code with latent j moved over -TRAVERSAL_RANGE .. TRAVERSAL_RANGE.
    """

    originals: UInt8[np.ndarray, "images height width channels"]
    reconstructions: UInt8[np.ndarray, "images height width channels"]
    traversal: UInt8[np.ndarray, "latents columns height width channels"]


@torch.no_grad()
def traverse(
    model: VAE, code: ArrayLike, *, values: ArrayLike
) -> Float[Tensor, "latents columns channels height width"]:
    """Decode a code with one latent at a time set to each of `values`.

    Args:
        model: On any device.
        code: The values of the other latents: an array, a tensor or a list, one number per latent of the model.
        values: The values of the latent that moves, in standard deviations of the prior: a vector, as the code.

    Returns:
        Entry [j, i]: the image with latent j at value i, as the expected value of each pixel and channel, in 0..1.

    Raises:
        ValueError: If either is no vector of real numbers, or the code has not one per latent.
    """
    like = next(model.parameters())
    start, moved = as_float_tensor("code", code, like=like), as_float_tensor("values", values, like=like)
    if start.shape != (model.latent_size,) or moved.ndim != 1:
        raise ValueError(
            f"code must be a vector of {model.latent_size} numbers, the model's latents, and values a vector, but got "
            f"shapes {tuple(start.shape)} and {tuple(moved.shape)}."
        )
    rows = torch.eye(len(start), dtype=torch.bool, device=start.device)
    codes = torch.where(rows[:, None, :], moved[None, :, None], start)
    pixels = model.pixels(codes.flatten(0, 1))
    return pixels.view(len(start), len(moved), *pixels.shape[1:])


@torch.no_grad()
def draw_samples(
    model: VAE, data: FactorImages, *, device: torch.device | str = "cpu", num_columns: int = 7
) -> Samples:
    """Reconstruct and traverse the same few images, whatever the model and the step.

    Args:
        model: On `device`.
        data: The whole set.
        device: Where to compute.
        num_columns: Values of each latent in the traversal.
    """
    count = min(_NUM_RECONSTRUCTIONS, len(data))
    indices = np.random.default_rng(_SAMPLE_SEED).choice(len(data), count, replace=False)
    originals = data.images(indices, device)
    codes = model.encode(originals).mean
    values = torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, num_columns, device=codes.device)
    return Samples(
        originals=_to_bytes(originals),
        reconstructions=_to_bytes(model.pixels(codes)),
        traversal=_to_bytes(traverse(model, codes[0], values=values)),
    )


def _to_bytes(
    images: Float[Tensor, "*batch channels height width"],
) -> UInt8[np.ndarray, "*batch height width channels"]:
    return (255 * images).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
