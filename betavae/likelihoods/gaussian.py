"""The likelihood of grey or coloured pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from betavae.likelihoods.base import Likelihood, Weights
from betavae.parts import parameter

_LOG_SCALE = "log_pixel_scale"


@dataclass(frozen=True, kw_only=True)
class Gaussian(Likelihood):
    r"""Each pixel has a normal density around the decoder's output, with one standard deviation for all.

    An image of D pixels and channels, with a sum of squared residuals S, costs
    D (log scale + log(2 pi) / 2) + S / (2 scale^2) nats. This is a density, so it may be negative, and it does not
    compare with a Bernoulli likelihood.

    Error:
        Where a decoder reproduces all images exactly, a learnt scale falls without end: a density has no largest value.
        Pixels of 8 bits are known to 1/256, so a scale below about 0.002 means nothing.

    Source:
        The learnt scale: Rybkin et al. 2021, arXiv:2006.13202 (sigma-VAE), without their lower limit of the scale.
    """

    name = "gaussian"

    pixel_scale: float = parameter(0.1, positive=True, log=True)
    """Standard deviation of a pixel, where black is 0 and white 1. A learnt one is 0.08 after 64,000 images of
    dSprites."""

    learn_pixel_scale: bool = False
    """Learn the standard deviation with the networks, one for all pixels, starting from pixel_scale."""

    def initial_weights(self) -> dict[str, Tensor]:
        """Return the natural logarithm of the scale if it is learnt, else nothing."""
        return {_LOG_SCALE: torch.tensor(math.log(self.pixel_scale))} if self.learn_pixel_scale else {}

    def learnt_values(self, weights: Weights) -> dict[str, Tensor]:
        """Return `pixel_scale` if it is learnt, else nothing."""
        return {"pixel_scale": weights[_LOG_SCALE].exp()} if self.learn_pixel_scale else {}

    def nats(
        self,
        outputs: Float[Tensor, "images channels height width"],
        images: Float[Tensor, "images channels height width"],
        weights: Weights,
    ) -> Float[Tensor, " images"]:
        """Return the negative log density of each image, in nats."""
        squares = F.mse_loss(outputs, images, reduction="none").flatten(1).sum(1)
        constant = 0.5 * math.log(2 * math.pi)
        if self.learn_pixel_scale:
            log_scale = weights[_LOG_SCALE]
            return images[0].numel() * (log_scale + constant) + 0.5 * torch.exp(-2 * log_scale) * squares
        return images[0].numel() * (math.log(self.pixel_scale) + constant) + squares / (2 * self.pixel_scale**2)

    def pixels(
        self, outputs: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Return the decoder's outputs, the means of the pixels, limited to 0..1."""
        return outputs.clamp(0, 1)
