"""The interface of an architecture: an encoder and a decoder."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.parts import Part


@dataclass(frozen=True, kw_only=True)
class Architecture(Part):
    """The choice of a VAE's networks; its fields are its parameters."""

    @abstractmethod
    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return a new encoder and a new decoder.

        The encoder maps each image to 2 * latent_size numbers: the means, then the log variances. The decoder maps each
        code to numbers of the image's shape, which the likelihood reads: logits for a Bernoulli, means for a Gaussian.

        Args:
            latent_size: Number of latents.
            image_shape: Channels, height and width of an image.

        Raises:
            InputError: If the architecture does not take images of this shape.
        """
