"""Independent axes of a code, and the rotation of a model's latents onto them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.errors import InputError
from betavae.models import VAE

NUM_IMAGES = 10_000
"""Number of images whose codes decide a rotation. The angle of two uniform latents then has an error of a degree."""

_ANGLES = np.radians(np.arange(-44.5, 45.5, 0.5))
_BINOMIALS = np.array((1, 4, 6, 4, 1))[:, None]
_POWERS = np.arange(5)[:, None]
_WEIGHTS = [  # of the joint cumulants (4, 0) to (0, 4) of a pair in those of the first and of the second, turned
    _BINOMIALS * x ** (4 - _POWERS) * y**_POWERS
    for x, y in ((np.cos(_ANGLES), np.sin(_ANGLES)), (-np.sin(_ANGLES), np.cos(_ANGLES)))
]
_MAX_SWEEPS = 20
_LEAST_GAIN = 1e-4  # less than half a degree of two uniform latents
_NOISE = 24.0  # variance of the fourth cumulant of standard normal values, times their number
_LEAST_SIGNAL = 10.0


def independent_axes(codes: Float[np.ndarray, "images latents"]) -> Float[np.ndarray, "latents latents"]:
    """Return the rotation after which the latents are as independent as their fourth cumulants can tell.

    Each pair of latents is turned by the angle, at most 45 degrees, at which the sum of their squared fourth cumulants
    is largest, until no pair gains, or twenty times. If the code is a rotation of independent values, of which at most
    one has a fourth cumulant of 0, its latents are those values then. A pair whose cumulants are those of a sample of
    Gaussian values, as of two latents that hold nothing, stays. The latents are not scaled.

    Args:
        codes: Posterior means of two or more images.

    Returns:
        An orthogonal matrix of determinant 1: a code z becomes `rotation @ z`.

    Error:
        A quarter of a degree per pair, and that of the sample: of 10,000 uniform values about a degree.

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
    """Return the angle, -pi/4 .. pi/4, that makes two centred latents most independent; 0 if none gains enough."""
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
    contrast = sum((cumulants @ weights) ** 2 for weights in _WEIGHTS)
    best, unturned = int(contrast.argmax()), cumulants[0] ** 2 + cumulants[4] ** 2
    noise = _NOISE / len(first) * max(a, b) ** 4
    is_gain = contrast[best] > unturned * (1 + _LEAST_GAIN) and contrast[best] > _LEAST_SIGNAL * noise
    return float(_ANGLES[best]) if is_gain else 0.0


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
    that are mixed are equal, and nearly the same if they are alike. The means of the gradient that Adam keeps are mixed
    as the weights are, those of its square by the squares of the rotation.

    Args:
        model: The model.
        rotation: An orthogonal matrix.
        adversary: A network that reads the model's codes.
        optimizers: The optimizers of the weights.

    Raises:
        InputError: As `check_layers`.
    """
    states = [optimizer.state for optimizer in optimizers]
    for each in _weights_of_latents(model.encoder, model.decoder, adversary, model.latent_size):
        matrix = torch.as_tensor(rotation, dtype=each.weight.dtype, device=each.weight.device)
        each.weight.copy_(each.mixed(each.weight, matrix, matrix.square()))
        for state in states:
            if each.weight in state:
                mean, square = state[each.weight]["exp_avg"], state[each.weight]["exp_avg_sq"]
                mean.copy_(each.mixed(mean, matrix, matrix.square()))
                square.copy_(each.mixed(square, matrix.square(), matrix.square()))


def check_layers(encoder: nn.Module, decoder: nn.Module, adversary: nn.Module | None, latent_size: int) -> None:
    """Refuse networks without the layers that a rotation changes, by their modules alone.

    Raises:
        InputError: Unless the encoder's last module with weights is a linear layer of 2 * latent_size outputs, and the
            first one of the decoder and of the adversary a linear layer of latent_size inputs.
    """
    list(_weights_of_latents(encoder, decoder, adversary, latent_size))


@torch.no_grad()
def check_rotation(model: VAE, adversary: nn.Module | None) -> None:
    """Refuse a model on the CPU whose latents `rotate_latents` would not rotate: it is tried on a copy.

    Raises:
        InputError: As `check_layers`, or if other layers stand between those layers and the code.
    """
    model, adversary = copy.deepcopy((model, adversary))
    for network in (model, adversary):
        if network is not None:
            network.double()
    generator = torch.Generator().manual_seed(0)
    latents = model.latent_size
    rotation = np.linalg.qr(torch.randn(latents, latents, generator=generator, dtype=torch.float64).numpy())[0]
    turn = torch.from_numpy(rotation)
    for weights in model.parameters():  # biases, too, which are zero at first
        weights.add_(0.01 * torch.randn(weights.shape, generator=generator))
    images = torch.rand(2, *model.image_shape, generator=generator, dtype=torch.float64)
    codes = torch.randn(2, latents, generator=generator, dtype=torch.float64)
    judged = [] if adversary is None else [adversary(codes)]
    before = model.encode(images)
    expected = [before.mean @ turn.T, before.logvar @ turn.square().T, model.decode(codes), *judged]
    rotate_latents(model, rotation, adversary=adversary)
    after, turned = model.encode(images), codes @ turn.T
    judged = [] if adversary is None else [adversary(turned)]
    found = [after.mean, after.logvar, model.decode(turned), *judged]
    if not all(torch.allclose(*pair, rtol=1e-6, atol=1e-9) for pair in zip(expected, found, strict=True)):
        raise InputError(
            "For its latents to be rotated, a model's encoder must return what its last linear layer returns, and its "
            "decoder and the objective's adversary must read the code by their first one, but here something stands "
            "between: leave --rotate-until out."
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

    def mixed(
        self,
        values: Tensor,
        matrix: Float[Tensor, "latents latents"],
        matrix_of_logvars: Float[Tensor, "latents latents"],
    ) -> Tensor:
        """Return values of the shape of the weights, mixed over the latents."""
        if not self.is_output:
            return values @ matrix.T
        means, logvars = values.chunk(2)
        return torch.cat((matrix @ means, matrix_of_logvars @ logvars))


def _weights_of_latents(
    encoder: nn.Module, decoder: nn.Module, adversary: nn.Module | None, latent_size: int
) -> Iterator[_WeightsOfLatents]:
    last = _with_weights(encoder)[-1:]
    if not (last and isinstance(last[0], nn.Linear) and last[0].out_features == 2 * latent_size):
        raise InputError(
            f"For its latents to be rotated, an encoder must end in one linear layer of {2 * latent_size} outputs, the "
            f"means and the log variances, but ends in {last[0] if last else 'no layer with weights'}."
        )
    yield from (_WeightsOfLatents(weight, is_output=True) for weight in last[0].parameters())
    for network, name in ((decoder, "a decoder"), (adversary, "an adversary")):
        if network is None:
            continue
        first = _with_weights(network)[:1]
        if not (first and isinstance(first[0], nn.Linear) and first[0].in_features == latent_size):
            raise InputError(
                f"For the latents to be rotated, {name} must begin with a linear layer of {latent_size} inputs, the "
                f"latents, but begins with {first[0] if first else 'no layer with weights'}."
            )
        yield _WeightsOfLatents(first[0].weight, is_output=False)


def _with_weights(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if next(module.parameters(recurse=False), None) is not None]
