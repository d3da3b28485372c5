"""The beta-VAE's two networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from betavae.config import Architecture
from betavae.gaussian import DiagonalGaussian


class BetaVAE(nn.Module):
    """An encoder to a diagonal Gaussian posterior and a decoder to Bernoulli logits.

    It behaves the same in `train()` and `eval()`: write `posterior.mean` or `posterior.sample(generator)`.

    Args:
        latent_size: Number of latents.
        architecture: `burgess` (Burgess et al. 2018, arXiv:1804.03599) or `conv3` (the seed study's).
        generator: Source of the initial weights, on the CPU; torch's global one if None.
    """

    def __init__(
        self, latent_size: int, *, architecture: Architecture = "burgess", generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.encoder, self.decoder = ARCHITECTURES[architecture](latent_size)
        self.apply(lambda module: _initialize(module, generator))
        # faster convolutions on CPUs and on tensor cores; torch's stub lacks this overload
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Float[Tensor, "images 1 64 64"]) -> DiagonalGaussian:
        """The posterior of each image's code."""
        mean, logvar = self.encoder(images).float().chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar)

    def decode(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, "images 1 64 64"]:
        """Logit of every pixel being white."""
        logits: Tensor = self.decoder(codes)
        return logits.float()


def _initialize(module: nn.Module, generator: torch.Generator | None) -> None:
    """Glorot uniform weights, zero biases: with them training leaves its plateau soonest."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight, generator=generator)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


class Upsample(nn.ConvTranspose2d):
    """A transposed convolution that doubles height and width (kernel 4, stride 2, padding 1).

    The bias is added apart: as an argument of the convolution its gradient makes the weight's much slower on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (images, in_channels, h, w) to (images, out_channels, 2h, 2w)."""
        y = F.conv_transpose2d(x, self.weight, None, stride=2, padding=1)
        return y + self._bias_of(y)

    def _bias_of(self, y: Tensor) -> Tensor:
        assert self.bias is not None
        return self.bias.view(1, -1, 1, 1).to(y.dtype)


class UpsampleToPixels(Upsample):
    """The same map, computed as one matrix product to a pixel's 16 taps and their overlap-add.

    With a single output channel a general transposed convolution leaves most of a CPU's vector lanes idle.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (images, in_channels, h, w) to (images, 1, 2h, 2w)."""
        height, width = x.shape[2:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        taps = F.linear(pixels, self.weight.flatten(1).t())
        y = F.fold(taps.transpose(1, 2), (2 * height, 2 * width), kernel_size=4, stride=2, padding=1)
        return y + self._bias_of(y)


def _burgess(latent_size: int) -> tuple[nn.Module, nn.Module]:
    """Four 32-channel convolutions and two 256-unit layers, mirrored."""
    encoder = nn.Sequential(
        _downsample(1, 32), nn.ReLU(),
        _downsample(32, 32), nn.ReLU(),
        _downsample(32, 32), nn.ReLU(),
        _downsample(32, 32), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 256), nn.ReLU(),
        nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, 2 * latent_size),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent_size, 256), nn.ReLU(),
        nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, 32 * 4 * 4), nn.ReLU(),
        nn.Unflatten(1, (32, 4, 4)),
        Upsample(32, 32), nn.ReLU(),
        Upsample(32, 32), nn.ReLU(),
        Upsample(32, 32), nn.ReLU(),
        UpsampleToPixels(32),
    )  # fmt: skip
    return encoder, decoder


def _conv3(latent_size: int) -> tuple[nn.Module, nn.Module]:
    """Three convolutions of 32, 64 and 128 channels and one linear layer, mirrored."""
    encoder = nn.Sequential(
        _downsample(1, 32), nn.ReLU(),
        _downsample(32, 64), nn.ReLU(),
        _downsample(64, 128), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * 8 * 8, 2 * latent_size),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent_size, 128 * 8 * 8), nn.ReLU(),
        nn.Unflatten(1, (128, 8, 8)),
        Upsample(128, 64), nn.ReLU(),
        Upsample(64, 32), nn.ReLU(),
        UpsampleToPixels(32),
    )  # fmt: skip
    return encoder, decoder


def _downsample(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)


ARCHITECTURES: dict[Architecture, Callable[[int], tuple[nn.Module, nn.Module]]] = {
    "burgess": _burgess,
    "conv3": _conv3,
}
"""Latent size -> (images to 2 * latent_size numbers, codes to logits)."""
