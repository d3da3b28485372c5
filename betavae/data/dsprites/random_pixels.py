"""dSprites in random colours, and on random noise: both are drawn anew at every step of training.

Source:
    Locatello et al. 2019, arXiv:1811.12359, appendix H.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from betavae.arrays import ArrayLike, as_index_tensor
from betavae.data.base import Dataset, FactorImages, ImageShape
from betavae.data.draws import SCORED, Draw, uniform, uniform_bytes
from betavae.data.dsprites.images import IMAGE_SHAPE, DSprites

_COLOR_SHAPE: ImageShape = (3, *IMAGE_SHAPE[1:])


class RandomSprites(FactorImages):
    """Sprites of dSprites, completed by random numbers to images of three channels.

    The numbers of an image follow from the trial's seed, the image and the step. Images that are scored or shown have
    one draw each, the same for every model.

    Args:
        sprites: Black and white images of one channel.

    Attributes:
        recipe: What is done to the sprites: part of the fingerprint.
    """

    recipe: ClassVar[str]

    def __init__(self, sprites: FactorImages) -> None:
        self.sprites, self.factors, self.source = sprites, sprites.factors, sprites.source
        self.fingerprint = hashlib.sha256(f"{self.recipe} {sprites.fingerprint}".encode()).hexdigest()

    @property
    def image_shape(self) -> ImageShape:
        """Three channels, and the sides of the sprites."""
        _, height, width = self.sprites.image_shape
        return 3, height, width

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> Float[Tensor, "n 3 height width"]:
        """Return images as float32, each with its one draw for scores, on a device.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range.
        """
        return self._drawn(indices, device, SCORED)

    def training_images(
        self, indices: ArrayLike, device: str | torch.device = "cpu", *, seed: int, step: int
    ) -> Float[Tensor, "n 3 height width"]:
        """Return images as float32, each drawn for a step of a trial, on a device.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range.
        """
        return self._drawn(indices, device, Draw(seed, step, is_training=True))

    def verify(self) -> None:
        """Compare the sprites with their fingerprint, as `DSprites.verify`."""
        self.sprites.verify()

    @abstractmethod
    def completed(
        self, sprites: Float[Tensor, "n 1 height width"], images: Int[Tensor, " n"], draw: Draw
    ) -> Float[Tensor, "n 3 height width"]:
        """Return images made of sprites.

        Args:
            sprites: 0 or 1.
            images: Their numbers, 0 .. the number of images - 1.
            draw: What the random numbers follow from.
        """

    def _drawn(self, indices: ArrayLike, device: str | torch.device, draw: Draw) -> Float[Tensor, "n 3 height width"]:
        numbers = as_index_tensor("indices", indices, size=len(self), device=device)
        return self.completed(self.sprites.images(numbers, device), numbers % len(self), draw)


class ColorDSprites(RandomSprites):
    """Each sprite in a random colour, whose red, green and blue are uniform in 0.5 .. 1, on black."""

    recipe = "color-dsprites"

    def completed(
        self, sprites: Float[Tensor, "n 1 height width"], images: Int[Tensor, " n"], draw: Draw
    ) -> Float[Tensor, "n 3 height width"]:
        """Return the sprites times a colour each."""
        return sprites * (0.5 + 0.5 * uniform(images, 3, draw))[:, :, None, None]


class NoisyDSprites(RandomSprites):
    """Each sprite in white on noise: every pixel and channel is uniform in 0 .. 1, in steps of 1 / 255."""

    recipe = "noisy-dsprites"

    def completed(
        self, sprites: Float[Tensor, "n 1 height width"], images: Int[Tensor, " n"], draw: Draw
    ) -> Float[Tensor, "n 3 height width"]:
        """Return the larger of sprite and noise: a sprite stays white."""
        shape = (len(sprites), 3, *sprites.shape[2:])
        noise = uniform_bytes(images, math.prod(shape[1:]), draw).to(torch.float32).div_(255)
        return torch.maximum(sprites, noise.view(shape))


@dataclass(frozen=True, kw_only=True)
class ColorDSpritesDataset(Dataset):
    """dSprites in a random colour, which is no factor: 737,280 sprites of 64 x 64 pixels, in three channels."""

    name = "color-dsprites"
    is_published = True
    image_shape = _COLOR_SHAPE

    def open(self) -> ColorDSprites:
        """Open the whole set, with the sprites of `DSprites.open`."""
        return ColorDSprites(DSprites.open())


@dataclass(frozen=True, kw_only=True)
class NoisyDSpritesDataset(Dataset):
    """dSprites on random noise, which is no factor: 737,280 sprites of 64 x 64 pixels, in three channels."""

    name = "noisy-dsprites"
    is_published = True
    image_shape = _COLOR_SHAPE

    def open(self) -> NoisyDSprites:
        """Open the whole set, with the sprites of `DSprites.open`."""
        return NoisyDSprites(DSprites.open())
