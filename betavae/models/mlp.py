"""The fully connected network of the beta-VAE and the beta-TCVAE papers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from betavae.data import ImageShape
from betavae.models.architecture import Architecture

_WIDTH = 1200


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    """The fully connected network of the beta-VAE paper: layers of 1,200 units, two in the encoder, three back.

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl, table 1, row 1 (dSprites); Chen et al. 2018,
        arXiv:1802.04942; `fc_encoder` and `fc_decoder` of disentanglement_lib.
    """

    name = "mlp"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return an encoder, with ReLU, and a decoder, with tanh, for images of any shape."""
        num_pixels = math.prod(image_shape)
        encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(num_pixels, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, 2 * latent_size),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(latent_size, _WIDTH), nn.Tanh(),
            nn.Linear(_WIDTH, _WIDTH), nn.Tanh(),
            nn.Linear(_WIDTH, _WIDTH), nn.Tanh(),
            nn.Linear(_WIDTH, num_pixels),
            nn.Unflatten(1, image_shape),
        )  # fmt: skip
        return encoder, decoder
