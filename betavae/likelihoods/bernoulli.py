"""The likelihood of black and white pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from betavae.likelihoods.base import Likelihood, Weights


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Likelihood):
    """Each pixel is white with a probability whose logit the decoder gives.

    A pixel between black and white, x in 0..1, costs the cross-entropy - x log p - (1 - x) log(1 - p). This is the
    usual loss, but no likelihood: its integral over x is not 1.
    """

    name = "bernoulli"

    def nats(
        self,
        outputs: Float[Tensor, "images channels height width"],
        images: Float[Tensor, "images channels height width"],
        weights: Weights,
    ) -> Float[Tensor, " images"]:
        """Return the cross-entropy of each image, summed over pixels and channels, in nats."""
        return F.binary_cross_entropy_with_logits(outputs, images, reduction="none").flatten(1).sum(1)

    def mean_nats(
        self,
        outputs: Float[Tensor, "images channels height width"],
        images: Float[Tensor, "images channels height width"],
        weights: Weights,
    ) -> Float[Tensor, ""]:
        """Return the mean of `nats`, from one sum over all images: the last bits of earlier results depend on it."""
        return F.binary_cross_entropy_with_logits(outputs, images, reduction="sum") / len(images)

    def pixels(
        self, outputs: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Return the probability of each pixel and channel being 1."""
        return torch.sigmoid(outputs)
