"""Gaussians with a diagonal covariance: the posterior of a code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, exp(logvar)), one per image; no latent depends on another.

    Attributes:
        mean: Posterior means: the codes that scores are taken of.
        logvar: Natural logarithm of the variances.
    """

    mean: Float[Tensor, "images latents"]
    logvar: Float[Tensor, "images latents"]

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "images latents"]:
        """Draw one code per image, differentiable in mean and logvar (the reparameterisation of Kingma and Welling).

        Args:
            generator: Source of the noise, on the device of `mean`; torch's global one if None.
        """
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def log_density(self, codes: Float[Tensor, "*batch _images latents"]) -> Float[Tensor, "*batch images latents"]:
        """Log density of each latent, in nats; codes with an axis of 1 for the images meet every image's posterior."""
        squares = (codes - self.mean).square() * torch.exp(-self.logvar)
        return -0.5 * (math.log(2 * math.pi) + self.logvar + squares)

    def kl(self) -> Float[Tensor, "images latents"]:
        """KL divergence from the standard normal prior, per latent, in nats."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)
