"""XYSquares: three squares on a field, drawn when they are needed.

Source:
    Michlo 2021, github.com/nmichlo/disent: the data set of that name, with squares of 8 pixels in steps of 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from betavae.arrays import ArrayLike, as_index_tensor
from betavae.data.base import Dataset, FactorImages, ImageShape
from betavae.data.factors import FactorSpace

_SQUARE = 8  # pixels of a side
_PLACES = 8  # on each axis, side by side
_SIDE = _PLACES * _SQUARE
_CHANNELS = ("R", "G", "B")

XYSQUARES_FINGERPRINT = "19306a1cfc9210f0f2b713789300e79017c64f9fd00d7626c8c90fbdd64c33ff"
"""SHA-256 of the pixels of all images, as `XYSquares.packed` returns them."""

XYSQUARES_FACTORS = FactorSpace(
    names=[f"{axis}_{channel}" for channel in _CHANNELS for axis in "xy"],
    values=[range(_PLACES)] * 6,
)


class XYSquares(FactorImages):
    """A red, a green and a blue square, each at one of 8 x 8 places; where two overlap, their colours add up.

    Two places never share a pixel in part, so that the squared distance of two images does not grow with the distance
    of their squares.
    """

    factors = XYSQUARES_FACTORS
    source = "drawn"
    fingerprint = XYSQUARES_FINGERPRINT
    image_shape: ImageShape = (len(_CHANNELS), _SIDE, _SIDE)

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> Float[Tensor, "n 3 64 64"]:
        """Return images as float32, 0 (black) or 1, on a device.

        Args:
            indices: n image numbers, in any order: an array, a tensor or a list. Negative numbers count from the end.
            device: The device of the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range.
        """
        places = self._places(as_index_tensor("indices", indices, size=len(self), device=device)).to(torch.float32)
        return places.repeat_interleave(_SQUARE, 2).repeat_interleave(_SQUARE, 3)

    def verify(self) -> None:
        """Do nothing: the images are drawn anew at every call, and no file can change them."""

    def packed(self, start: int, stop: int) -> UInt8[np.ndarray, "n 3 64 8"]:
        """Return images in index order, packed as `np.packbits` packs their rows."""
        places = self._places(torch.arange(start, stop))
        bits = 255 * places.to(torch.uint8)  # eight pixels of a row are one byte
        packed: np.ndarray = bits.repeat_interleave(_SQUARE, 2).numpy()
        return packed

    def _places(self, numbers: Tensor) -> Bool[Tensor, "n 3 8 8"]:
        """Return whether the square of a channel is in a row and a column of places."""
        scales = _PLACES ** torch.arange(5, -1, -1, device=numbers.device)
        factors = (numbers[:, None] % len(self) // scales % _PLACES).view(-1, len(_CHANNELS), 2)
        axis = torch.arange(_PLACES, device=numbers.device)
        is_column, is_row = (factors[:, :, each, None] == axis for each in (0, 1))
        return is_row[:, :, :, None] & is_column[:, :, None, :]


@dataclass(frozen=True, kw_only=True)
class XYSquaresDataset(Dataset):
    """A red, a green and a blue square at 8 x 8 places each: 262,144 images of 64 x 64, in three channels."""

    name = "xysquares"
    is_published = True
    image_shape = XYSquares.image_shape

    def open(self) -> XYSquares:
        """Return the whole set; nothing is read."""
        return XYSquares()
