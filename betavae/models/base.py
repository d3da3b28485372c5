"""A variational autoencoder with the encoder and the decoder of an architecture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.data import ImageShape
from betavae.gaussian import DiagonalGaussian
from betavae.likelihoods import Bernoulli, Likelihood
from betavae.models.architecture import Architecture
from betavae.models.burgess import Burgess
from betavae.models.layers import initialize


class VAE(nn.Module):
    """An encoder to a diagonal Gaussian posterior, a decoder, and the likelihood of pixels given its outputs.

    It behaves the same in `train()` and `eval()`: write `posterior.mean` or `posterior.sample(generator)`.

    Args:
        latent_size: Number of latents.
        architecture: The architecture of its networks; that of Burgess et al. if None.
        likelihood: The likelihood of an image's pixels; Bernoulli if None.
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
        likelihood: Likelihood | None = None,
        image_shape: ImageShape = (1, 64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.latent_size, self.image_shape = latent_size, image_shape
        self.encoder, self.decoder = (architecture or Burgess()).networks(latent_size, image_shape)
        self.likelihood = likelihood or Bernoulli()
        self.likelihood_weights = nn.ParameterDict(self.likelihood.initial_weights())
        self.apply(lambda module: initialize(module, generator))
        # faster convolutions on CPUs and on tensor cores; torch's stub lacks this overload
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Float[Tensor, "images channels height width"]) -> DiagonalGaussian:
        """Return the posterior of the code of each image."""
        mean, logvar = _at_least_float32(self.encoder(images)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar)

    def decode(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, "images channels height width"]:
        """Return the decoder's outputs, in float32 at least, from which the likelihood follows.

        They are the logit of each pixel and channel being 1 for a Bernoulli likelihood, and its mean for a Gaussian.
        """
        return _at_least_float32(self.decoder(codes))

    def pixels(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, "images channels height width"]:
        """Return the expected pixels of each code's image, in 0..1."""
        return self.likelihood.pixels(self.decode(codes))

    def reconstruction_nats(
        self, codes: Float[Tensor, "images latents"], images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, " images"]:
        """Return the negative log likelihood of each image given its code, summed over pixels and channels, in nats."""
        return self.likelihood.nats(self.decode(codes), images, dict(self.likelihood_weights.items()))

    def mean_reconstruction_nats(
        self, codes: Float[Tensor, "images latents"], images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, ""]:
        """Return the mean of `reconstruction_nats` over images, the first term of a loss."""
        return self.likelihood.mean_nats(self.decode(codes), images, dict(self.likelihood_weights.items()))

    def learnt_values(self) -> dict[str, float]:
        """Return the present values of the likelihood's parameters that are learnt, by name.

        Reading them waits for the device.
        """
        values = self.likelihood.learnt_values(dict(self.likelihood_weights.items()))
        return {name: float(value.detach()) for name, value in values.items()}


def _at_least_float32(outputs: Tensor) -> Tensor:
    """Return outputs of bfloat16 in float32, and all others as they are."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
