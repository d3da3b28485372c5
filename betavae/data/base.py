"""What every data set gives: images whose generating factors are known."""

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
        factors: What image i shows: `factors.indices_to_factors`.
        source: Where the images come from, in a word: `rendered`, `file`.
        fingerprint: SHA-256 of the pixels, in hexadecimal: scores of two fingerprints do not compare.
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
        """Return images as float32, 0 (black) to 1 (white), on a device.

        Args:
            indices: n image numbers, in any order: an array, a tensor or a list.
            device: Where to put the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range.
        """

    @abstractmethod
    def verify(self) -> None:
        """See that the images are still those of the fingerprint.

        Raises:
            ValueError: If they are not.
            OSError: If they cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Dataset(Part):
    """Which data set a trial trains on; its fields are its parameters.

    Attributes:
        image_shape: Channels, height and width of every image.
    """

    image_shape: ClassVar[ImageShape]

    @abstractmethod
    def open(self) -> FactorImages:
        """Open the whole set, quickly where that has been done on this machine before.

        Raises:
            InputError: If its files are missing or wrong.
            OSError: If a file cannot be read, or the cache cannot be written.
        """

    def num_training(self, data: FactorImages) -> int:
        """Return how many images a trial trains on: the first so many in index order."""
        return len(data)
