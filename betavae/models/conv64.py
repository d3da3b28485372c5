"""The convolutional network of disentanglement_lib."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.models.architecture import Architecture
from betavae.models.layers import Upsample, downsample, sixteenths_of, upsample_to_image


@dataclass(frozen=True, kw_only=True)
class Conv64(Architecture):
    """The network of disentanglement_lib: four convolutions of 32, 32, 64 and 64 channels and a 256-unit layer.

    Kernels of the encoder are 4, 4, 2 and 2 wide, those of the decoder 4; each layer halves or doubles the sides.
    TensorFlow's padding `same` is 1 at each side for a kernel of 4 and stride 2, and 0 for a kernel of 2.

    Source:
        Locatello et al. 2019, arXiv:1811.12359; `conv_encoder` and `deconv_decoder` of disentanglement_lib.
    """

    name = "conv64"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder for images whose sides are multiples of 16.

        Raises:
            InputError: If the images have other sides.
        """
        channels = image_shape[0]
        height, width = sixteenths_of(image_shape)
        encoder = nn.Sequential(
            downsample(channels, 32), nn.ReLU(),
            downsample(32, 32), nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=2, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=2, stride=2), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * height * width, 256), nn.ReLU(),
            nn.Linear(256, 2 * latent_size),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(latent_size, 256), nn.ReLU(),
            nn.Linear(256, 64 * height * width), nn.ReLU(),
            nn.Unflatten(1, (64, height, width)),
            Upsample(64, 64), nn.ReLU(),
            Upsample(64, 32), nn.ReLU(),
            Upsample(32, 32), nn.ReLU(),
            upsample_to_image(32, channels),
        )  # fmt: skip
        return encoder, decoder
