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

    With a single output channel a general transposed convolution leaves most of a CPU's vector lanes idle. On a GPU the
    gradient of the overlap-add has a kernel for each image, so there the map is a convolution to four channels, which
    are four pixels.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 1)
        self._taps: Tensor
        self.register_buffer("_taps", _pixel_taps(), persistent=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (images, in_channels, h, w) to (images, 1, 2h, 2w)."""
        if x.is_cuda:
            return self._by_convolution(x)
        height, width = x.shape[2:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        taps = F.linear(pixels, self.weight.flatten(1).t())
        y = F.fold(taps.transpose(1, 2), (2 * height, 2 * width), kernel_size=4, stride=2, padding=1)
        return y + self._bias_of(y)

    def _by_convolution(self, x: Tensor) -> Tensor:
        """Map by a convolution to the four pixels of each input, each of which depends on 3 x 3 inputs at most."""
        kernel = self.weight.flatten(1) @ self._taps
        y = F.pixel_shuffle(F.conv2d(x, kernel.view(-1, 4, 3, 3).transpose(0, 1), padding=1), 2)
        return y + self._bias_of(y)


def _pixel_taps() -> Tensor:
    """Return which tap acts where, (taps, pixels times inputs): 1 if a pixel takes this tap of an input, else 0.

    The 4 x 4 taps, the 2 x 2 pixels and the 3 x 3 inputs around them are in order, row by row.
    """
    tap_of = {(0, 0): 3, (0, 1): 1, (1, 1): 2, (1, 2): 0}  # by pixel and input, along one axis
    taps = torch.zeros(4, 4, 2, 2, 3, 3)
    for (row, above), k in tap_of.items():
        for (column, left), m in tap_of.items():
            taps[k, m, row, column, above, left] = 1
    return taps.view(16, 36)
