"""The interface of a data set: images with known generating factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from betavae.arrays import ArrayLike
from betavae.data.factors import FactorSpace
from betavae.parts import Part

ImageShape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""


class FactorImages(ABC):
    """An open data set: one image for each combination of its factors, in index order.

    Attributes:
        factors: The factors; `factors.indices_to_factors` gives those of an image.
        source: The origin of the images, in a word: `rendered`, `file`.
        fingerprint: SHA-256 of the pixels, in hexadecimal. Scores of different fingerprints are not comparable.
    """

    factors: FactorSpace
    source: str
    fingerprint: str

    def __len__(self) -> int:
        return self.factors.size

    @property
    @abstractmethod
    def image_shape(self) -> ImageShape:
        """Channels, height and width of every image."""

    @abstractmethod
    def images(
        self, indices: ArrayLike, device: str | torch.device = "cpu"
    ) -> Float[Tensor, "n channels height width"]:
        """Return images as float32 on a device, each channel from 0 (black) to 1 (white).

        Args:
            indices: n image numbers, in any order: an array, a tensor or a list.
            device: The device of the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range.
        """

    @abstractmethod
    def verify(self) -> None:
        """Compare the images with the fingerprint.

        Raises:
            ValueError: If the images are others.
            OSError: If the images cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Dataset(Part):
    """The choice of a data set; its fields are its parameters.

    Attributes:
        image_shape: Channels, height and width of every image.
        selections: Parameters that only select images to train on: all others may change the images.
    """

    image_shape: ClassVar[ImageShape]
    selections: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def open(self) -> FactorImages:
        """Open the whole set. Only the first call on a machine may take more than a moment.

        Raises:
            InputError: If a file is missing or wrong.
            OSError: If a file cannot be read, or the cache cannot be written.
        """

    def num_training(self, data: FactorImages) -> int:
        """Return how many images a trial trains on; they are the first in index order."""
        return len(data)
