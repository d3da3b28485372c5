"""Independent axes of a code, and the rotation of a model's latents onto them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.data import ImageShape
from betavae.errors import InputError
from betavae.models import VAE, Architecture

NUM_IMAGES = 10_000
"""Number of images whose codes decide a rotation: the angle of two latents then has an error of about a degree."""

_ANGLES = np.radians(np.arange(0, 90, 0.5))
_LEAST_GAIN = 1e-6
_MAX_SWEEPS = 20


def independent_axes(codes: Float[np.ndarray, "images latents"]) -> Float[np.ndarray, "latents latents"]:
    """Return the rotation after which the latents are as independent as their fourth cumulants can tell.

    Each pair of latents is turned by the angle at which the sum of their squared fourth cumulants is largest, until no
    pair gains. If the code is a rotation of independent values, of which at most one is Gaussian, its latents are those
    values then. The latents are not scaled.

    Args:
        codes: Posterior means of two or more images.

    Returns:
        An orthogonal matrix of determinant 1: a code z becomes `rotation @ z`.

    Error:
        Half a degree per pair, and that of the sample.

    Source:
        Comon 1994, "Independent component analysis, a new concept?", Signal Processing 36.
    """
    values = codes.astype(np.float64)
    values -= values.mean(0)
    num_latents = values.shape[1]
    rotation = np.eye(num_latents)
    for _ in range(_MAX_SWEEPS):
        has_turned = False
        for first in range(num_latents):
            for second in range(first + 1, num_latents):
                angle = _best_angle(values[:, first], values[:, second])
                if angle:
                    pair, has_turned = [first, second], True
                    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                    values[:, pair] = values[:, pair] @ turn.T
                    rotation[pair] = turn @ rotation[pair]
        if not has_turned:
            break
    return rotation


def _best_angle(first: Float[np.ndarray, " images"], second: Float[np.ndarray, " images"]) -> float:
    """Return the angle, 0 .. pi/2, that makes two centred latents most independent; 0 if none gains anything."""
    products = np.stack((first * first, first * second, second * second))
    a, ab, b = products.mean(1)
    fourth = products @ products.T / len(first)
    cumulants = np.array(
        (
            fourth[0, 0] - 3 * a * a,
            fourth[0, 1] - 3 * a * ab,
            fourth[0, 2] - a * b - 2 * ab * ab,
            fourth[1, 2] - 3 * b * ab,
            fourth[2, 2] - 3 * b * b,
        )
    )
    cos, sin = np.cos(_ANGLES), np.sin(_ANGLES)
    contrast = _fourth_cumulant(cumulants, cos, sin) ** 2 + _fourth_cumulant(cumulants, -sin, cos) ** 2
    best = int(contrast.argmax())
    return float(_ANGLES[best]) if contrast[best] > contrast[0] * (1 + _LEAST_GAIN) else 0.0


def _fourth_cumulant(
    cumulants: Float[np.ndarray, " 5"], x: Float[np.ndarray, " angles"], y: Float[np.ndarray, " angles"]
) -> Float[np.ndarray, " angles"]:
    """Return the fourth cumulant of x * first + y * second, of the joint cumulants from (4, 0) to (0, 4)."""
    powers = np.stack((x**4, 4 * x**3 * y, 6 * x**2 * y**2, 4 * x * y**3, y**4))
    fourth: Float[np.ndarray, " angles"] = np.einsum("i,ij->j", cumulants, powers)
    return fourth


@torch.no_grad()
def rotate_latents(
    model: VAE,
    rotation: Float[np.ndarray, "latents latents"],
    *,
    adversary: nn.Module | None = None,
    optimizers: Iterable[torch.optim.Optimizer] = (),
) -> None:
    """Rotate the latents of a model by changing its weights in place: z becomes `rotation @ z`.

    The posterior means are rotated, and the decoder and the adversary undo it, so that reconstructions of the means
    stay the same. A posterior has independent latents, before and after: each log variance becomes the mean of the log
    variances, weighted by the squares of the rotation's row. So the loss is the same if the variances of the latents
    that are mixed are equal, and nearly the same if they are alike. The means of the gradient and of its square that
    Adam keeps follow.

    Args:
        model: The model.
        rotation: An orthogonal matrix.
        adversary: A network that reads the model's codes; see `check_adversary`.
        optimizers: The optimizers of the weights.

    Raises:
        InputError: If the encoder does not end in a linear layer, or the decoder does not begin with one.
    """
    states = [optimizer.state for optimizer in optimizers]
    for each in _weights_of_latents(model, adversary):
        matrix = torch.as_tensor(rotation, dtype=each.weight.dtype, device=each.weight.device)
        each.weight.copy_(each.mixed(each.weight, matrix))
        for state in states:
            if each.weight in state:
                mean, square = state[each.weight]["exp_avg"], state[each.weight]["exp_avg_sq"]
                mean.copy_(each.mixed(mean, matrix))
                square.copy_(each.mixed(square, matrix.square()))


def check_rotation(architecture: Architecture, image_shape: ImageShape) -> None:
    """Refuse an architecture whose latents `rotate_latents` would not rotate: it is tried on a small model.

    Raises:
        InputError: If its encoder does not end in a linear layer, or its decoder does not begin with one.
    """
    generator = torch.Generator().manual_seed(0)
    model = VAE(2, architecture=architecture, image_shape=image_shape, generator=generator).eval()
    images, codes = torch.rand(2, *image_shape, generator=generator), torch.randn(2, 2, generator=generator)
    rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    turn = torch.tensor(rotation, dtype=torch.float32)
    with torch.no_grad():
        expected = model.encode(images).mean @ turn.T, model.decode(codes)
        rotate_latents(model, rotation)
        found = model.encode(images).mean, model.decode(codes @ turn.T)
    if not all(torch.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in zip(expected, found, strict=True)):
        raise InputError(
            "The last layer with weights of the encoder must return the means and log variances, and the first of the "
            "decoder must read the code, for its latents to be rotated."
        )


def check_adversary(adversary: nn.Module, latent_size: int) -> None:
    """Refuse an adversary whose first layer does not read a code of so many latents.

    Raises:
        InputError: If it does not begin with a linear layer of so many inputs.
    """
    first = _first_with_weights(adversary)
    if not isinstance(first, nn.Linear) or first.in_features != latent_size:
        raise InputError(
            f"The adversary must begin with a linear layer of {latent_size} inputs, the latents, for these to be "
            f"rotated, but begins with {first}."
        )


@dataclass(frozen=True)
class _WeightsOfLatents:
    """Weights that belong to single latents.

    Attributes:
        weight: The weights.
        is_output: Whether their rows are the means and then the log variances of an encoder's latents; otherwise their
            columns are the latents of a network's input.
    """

    weight: Tensor
    is_output: bool

    def mixed(self, values: Tensor, matrix: Float[Tensor, "latents latents"]) -> Tensor:
        """Return values of the shape of the weights, mixed as the latents are."""
        if not self.is_output:
            return values @ matrix.T
        means, logvars = values.chunk(2)
        return torch.cat((matrix @ means, matrix.square() @ logvars))


def _weights_of_latents(model: VAE, adversary: nn.Module | None) -> Iterator[_WeightsOfLatents]:
    last = [module for module in model.encoder.modules() if _has_weights(module)][-1]
    if not isinstance(last, nn.Linear):
        raise InputError(f"The encoder must end in a linear layer for its latents to be rotated, but ends in {last}.")
    yield from (_WeightsOfLatents(weight, is_output=True) for weight in last.parameters())
    first = _first_with_weights(model.decoder)
    if not isinstance(first, nn.Linear):
        raise InputError(
            f"The decoder must begin with a linear layer for its latents to be rotated, but begins with {first}."
        )
    yield _WeightsOfLatents(first.weight, is_output=False)
    if adversary is not None:
        weight = _first_with_weights(adversary).weight
        assert isinstance(weight, Tensor)
        yield _WeightsOfLatents(weight, is_output=False)


def _first_with_weights(network: nn.Module) -> nn.Module:
    return next(module for module in network.modules() if _has_weights(module))


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
