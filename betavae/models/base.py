"""A variational autoencoder with the encoder and the decoder of an architecture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.data import ImageShape
from betavae.gaussian import DiagonalGaussian
from betavae.models.architecture import Architecture
from betavae.models.burgess import Burgess
from betavae.models.layers import initialize


class VAE(nn.Module):
    """An encoder to a diagonal Gaussian posterior and a decoder to Bernoulli logits.

    It behaves the same in `train()` and `eval()`: write `posterior.mean` or `posterior.sample(generator)`.

    Args:
        latent_size: Number of latents.
        architecture: The architecture of its networks; that of Burgess et al. if None.
        image_shape: Channels, height and width of an image.
        generator: Source of the initial weights, on the CPU; torch's global generator if None.

    Raises:
        InputError: If the architecture does not take images of this shape.
    """

    def __init__(
        self,
        latent_size: int,
        *,
        architecture: Architecture | None = None,
        image_shape: ImageShape = (1, 64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.latent_size, self.image_shape = latent_size, image_shape
        self.encoder, self.decoder = (architecture or Burgess()).networks(latent_size, image_shape)
        self.apply(lambda module: initialize(module, generator))
        # faster convolutions on CPUs and on tensor cores; torch's stub lacks this overload
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Float[Tensor, "images channels height width"]) -> DiagonalGaussian:
        """Return the posterior of the code of each image."""
        mean, logvar = _at_least_float32(self.encoder(images)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar)

    def decode(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, "images channels height width"]:
        """Return the logit of every pixel and channel being 1."""
        return _at_least_float32(self.decoder(codes))


def _at_least_float32(outputs: Tensor) -> Tensor:
    """Return outputs of bfloat16 in float32, and all others as they are."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
