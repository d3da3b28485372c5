"""The network of Burgess et al. 2018, arXiv:1804.03599."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.models.architecture import Architecture
from betavae.models.layers import Upsample, channels_of, downsample, upsample_to_image


@dataclass(frozen=True, kw_only=True)
class Burgess(Architecture):
    """The usual network of the literature: four 32-channel convolutions and two 256-unit layers, mirrored.

    Source:
        Burgess et al. 2018, arXiv:1804.03599.
    """

    name = "burgess"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder for images of 64 x 64 with 1 or 3 channels.

        Raises:
            InputError: If the images have another shape.
        """
        channels = channels_of(image_shape)
        encoder = nn.Sequential(
            downsample(channels, 32), nn.ReLU(),
            downsample(32, 32), nn.ReLU(),
            downsample(32, 32), nn.ReLU(),
            downsample(32, 32), nn.ReLU(),
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
            upsample_to_image(32, channels),
        )  # fmt: skip
        return encoder, decoder
