"""The network of the seed study."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.models.architecture import Architecture
from betavae.models.layers import Upsample, channels_of, downsample, upsample_to_image


@dataclass(frozen=True, kw_only=True)
class Conv3(Architecture):
    """The seed study's network: three convolutions of 32, 64 and 128 channels and one linear layer, mirrored."""

    name = "conv3"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder for images of 64 x 64 with 1 or 3 channels.

        Raises:
            InputError: If the images have another shape.
        """
        channels = channels_of(image_shape)
        encoder = nn.Sequential(
            downsample(channels, 32), nn.ReLU(),
            downsample(32, 64), nn.ReLU(),
            downsample(64, 128), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * 8 * 8, 2 * latent_size),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(latent_size, 128 * 8 * 8), nn.ReLU(),
            nn.Unflatten(1, (128, 8, 8)),
            Upsample(128, 64), nn.ReLU(),
            Upsample(64, 32), nn.ReLU(),
            upsample_to_image(32, channels),
        )  # fmt: skip
        return encoder, decoder
