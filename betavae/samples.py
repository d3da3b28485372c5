"""Pictures a model makes: reconstructions and traversals, as arrays."""

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
"""A traversal goes from minus to plus this many standard deviations of the prior."""

_NUM_RECONSTRUCTIONS = 8
_SAMPLE_SEED = 0


@dataclass(frozen=True)
class Samples:
    """A few pictures of one model; pixels are probabilities of white, 0 .. 255.

    Attributes:
        originals: Images of the data set.
        reconstructions: What the decoder makes of their posterior means.
        traversal: Row j: the first original's code with latent j moved over -TRAVERSAL_RANGE .. TRAVERSAL_RANGE.
    """

    originals: UInt8[np.ndarray, "images 64 64"]
    reconstructions: UInt8[np.ndarray, "images 64 64"]
    traversal: UInt8[np.ndarray, "latents columns 64 64"]


@torch.no_grad()
def traverse(model: VAE, code: ArrayLike, *, values: ArrayLike) -> Float[Tensor, "latents columns 64 64"]:
    """Probability of white when one latent at a time takes each of `values`.

    Args:
        model: On any device.
        code: Where the other latents stay: an array, a tensor or a list, one number per latent of the model.
        values: What the moved latent takes, in standard deviations of the prior: a vector, as the code.

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
    probabilities = torch.sigmoid(model.decode(codes.flatten(0, 1)))
    return probabilities.view(len(start), len(moved), *probabilities.shape[2:])


@torch.no_grad()
def draw_samples(
    model: VAE, data: FactorImages, *, device: torch.device | str = "cpu", num_columns: int = 7
) -> Samples:
    """Reconstruct and traverse the same few images, whatever the model and the step."""
    indices = np.random.default_rng(_SAMPLE_SEED).choice(len(data), _NUM_RECONSTRUCTIONS, replace=False)
    originals = data.images(indices, device)
    codes = model.encode(originals).mean
    values = torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, num_columns, device=codes.device)
    return Samples(
        originals=_to_bytes(originals[:, 0]),
        reconstructions=_to_bytes(torch.sigmoid(model.decode(codes))[:, 0]),
        traversal=_to_bytes(traverse(model, codes[0], values=values)),
    )


def _to_bytes(probabilities: Tensor) -> np.ndarray:
    return (255 * probabilities).round().to(torch.uint8).cpu().numpy()
