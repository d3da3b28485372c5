"""Initial weights, and convolutions that halve and double the sides of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from betavae.errors import InputError

_SIDE = 64
_CHANNELS = (1, 3)


def initialize(module: nn.Module, generator: torch.Generator | None) -> None:
    """Set Glorot uniform weights and zero biases, with which training leaves its plateau soonest."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight, generator=generator)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def channels_of(image_shape: tuple[int, int, int]) -> int:
    """Return the number of channels of images that are 64 x 64 with 1 or 3 channels.

    Raises:
        InputError: If the images have another shape.
    """
    channels, height, width = image_shape
    if (height, width) != (_SIDE, _SIDE) or channels not in _CHANNELS:
        raise InputError(
            f"Images must be {_SIDE} x {_SIDE} with 1 or 3 channels, but are {height} x {width} with {channels}; scale "
            "them, or choose --architecture mlp, which takes any size."
        )
    return channels


def sixteenths_of(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return height and width after four halvings.

    Raises:
        InputError: If a side is no multiple of 16.
    """
    channels, height, width = image_shape
    if height % 16 or width % 16:
        raise InputError(
            f"Images must have sides that are multiples of 16, but are {height} x {width} with {channels} "
            f"{'channel' if channels == 1 else 'channels'}; scale or pad them, or choose --architecture mlp."
        )
    return height // 16, width // 16


def upsample_to_image(in_channels: int, channels: int) -> nn.Module:
    """Return the last layer of a decoder, which doubles height and width and returns the image's channels."""
    return UpsampleToPixels(in_channels) if channels == 1 else Upsample(in_channels, channels)


def downsample(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a convolution that halves height and width (kernel 4, stride 2, padding 1)."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)


class Upsample(nn.ConvTranspose2d):
    """A transposed convolution that doubles height and width (kernel 4, stride 2, padding 1).

    The bias is added afterwards: as an argument of the convolution, it would slow the gradient of the weights on a CPU.
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
    """The map of `Upsample` to one channel, as a matrix product to the 16 taps of each pixel and their overlap-add.

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
