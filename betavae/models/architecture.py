"""What an architecture gives: an encoder and a decoder."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.parts import Part


@dataclass(frozen=True, kw_only=True)
class Architecture(Part):
    """The networks of a VAE; its fields are its parameters."""

    @abstractmethod
    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return a new encoder and a new decoder.

        The encoder maps images to 2 * latent_size numbers each: means, then log variances. The decoder maps codes to
        logits of the images' shape.

        Raises:
            InputError: If the architecture is not made for such images.
        """
