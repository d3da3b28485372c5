"""Gaussians with a diagonal covariance, as posteriors of codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, exp(logvar)) of each image, with independent latents.

    Attributes:
        mean: Posterior means: the codes.
        logvar: Natural logarithm of the variances.
    """

    mean: Float[Tensor, "images latents"]
    logvar: Float[Tensor, "images latents"]

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "images latents"]:
        """Draw one code per image, differentiable in mean and logvar.

        Args:
            generator: Source of the noise, on the device of `mean`; torch's global generator if None.

        Source:
            The reparameterisation of Kingma and Welling 2014, arXiv:1312.6114.
        """
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def log_density(self, codes: Float[Tensor, "*batch _images latents"]) -> Float[Tensor, "*batch images latents"]:
        """Return the log density of each latent of codes, in nats.

        Args:
            codes: One code per posterior, or an axis of 1 for the images to pair a code with every posterior.
        """
        squares = (codes - self.mean).square() * torch.exp(-self.logvar)
        return -0.5 * (math.log(2 * math.pi) + self.logvar + squares)

    def kl(self) -> Float[Tensor, "images latents"]:
        """Return the KL divergence from the standard normal prior of each latent, in nats."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)
