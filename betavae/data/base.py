"""The interface of a data set: images with known generating factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from betavae.arrays import ArrayLike
from betavae.data.factors import NO_FACTORS, FactorSpace
from betavae.parts import Part

ImageShape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""


class FactorImages(ABC):
    """An open data set: images with known factors.

    By default it holds one image for each combination of its factors, in index order. A set of other images overrides
    `__len__` and `factors_of`.

    Attributes:
        factors: The factors; `NO_FACTORS` if they are not known.
        source: The origin of the images, in a word: `rendered`, `file`.
        fingerprint: SHA-256 of the pixels, in hexadecimal. Scores of different fingerprints are not comparable.
    """

    factors: FactorSpace
    source: str
    fingerprint: str

    def __len__(self) -> int:
        return self.factors.size

    @property
    def is_verified_fast(self) -> bool:
        """Whether `verify` takes less than about a second, so that every evaluation of a trial may call it."""
        return True

    @property
    def has_factors(self) -> bool:
        """Whether the factors are known; if not, only scores without labels can be taken."""
        return self.factors is not NO_FACTORS

    def factors_of(self, indices: ArrayLike) -> Int[np.ndarray, "n factors"]:
        """Return the factors of images.

        Args:
            indices: n image numbers, 0 .. the number of images - 1: an array, a tensor or a list.

        Returns:
            Entry [i, k] in 0 .. V_k - 1: the index of a value of factor k.

        Raises:
            ValueError: If the indices are not a vector of integers, or one is out of range.
        """
        return self.factors.indices_to_factors(indices)

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

    def training_images(
        self, indices: ArrayLike, device: str | torch.device = "cpu", *, seed: int, step: int
    ) -> Float[Tensor, "n channels height width"]:
        """Return images to train on: those of `images`, unless a set draws colours or noise anew at every step.

        What is drawn depends on the seed, the number of the image and the step alone.

        Args:
            indices: As for `images`.
            device: As for `images`.
            seed: The trial's seed.
            step: Number of steps done before this one.

        Raises:
            ValueError: As `images`.
            IndexError: As `images`.
        """
        return self.images(indices, device)

    def can_be_captured(self, device: str | torch.device) -> bool:
        """Return whether a CUDA graph may hold `training_images` for indices on a device.

        It may if the images are the same at every step, and made on the device alone without a wait of the host.
        """
        return False

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
        selections: Parameters that only select images to train on: all others may change the images.
        is_published: Whether others know the images by the set's name, so that a model's card lists it as a data set.
    """

    selections: ClassVar[tuple[str, ...]] = ()
    is_published: ClassVar[bool] = False

    @property
    @abstractmethod
    def image_shape(self) -> ImageShape:
        """Channels, height and width of every image. A subclass may define a class attribute instead."""

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

    def public_values(self) -> dict[str, Any]:
        """Return the values of the parameters for a model that is given away: without folders of this machine."""
        return self.values()
