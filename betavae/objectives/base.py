"""What every objective is given and returns, in nats per image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from betavae.models import VAE
from betavae.parts import Part


class NonFiniteLossError(ArithmeticError):
    """A loss that is infinite or nan, or weights or posteriors that are: training cannot continue from there."""


@dataclass(frozen=True)
class Batch:
    """All that a loss may use.

    Attributes:
        model: What is trained.
        images: Of this step.
        step: Steps done before this one.
        generator: Source of every random number; torch's global one if None.
    """

    model: VAE
    images: Float[Tensor, "images channels height width"]
    step: int = 0
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Loss:
    """A loss and its terms: scalars, in nats per image.

    Attributes:
        total: What is minimised.
        terms: By name, what is reported beside it: a term `kl_nats` as `loss/kl_nats`. Every objective has two:
            `recon_nats`, the negative log likelihood summed over pixels and averaged over images, and `kl_nats`, the
            KL from the prior summed over latents and averaged over images, not times any weight.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """What training minimises; its fields are its parameters.

    Attributes:
        terms: Names of the terms of its loss, without the total.
        kl_weight: The parameter that weighs the whole KL, by name; None if the KL has no weight, or only a part of it.
        derived_help: What the numbers of `derived` are, in a sentence each.
    """

    terms: ClassVar[tuple[str, ...]] = ("recon_nats", "kl_nats")
    kl_weight: ClassVar[str | None] = None
    derived_help: ClassVar[str] = ""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Return the loss of a batch, with every random number from the batch's generator."""

    def derived(self, *, latent_size: int, num_pixels: int) -> dict[str, float]:
        """Return numbers that follow from the parameters, by name; tables and TensorBoard show them beside these.

        Args:
            latent_size: Number of latents.
            num_pixels: Numbers in one image: channels times height times width.
        """
        return {}


BETA_NORM_HELP = "beta norm: the beta of a loss that is averaged over pixels and latents."


def normalized_beta(beta: float, *, latent_size: int, num_pixels: int) -> float:
    """Return beta for a loss that is averaged over pixels and latents: beta * z / (C * H * W).

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl.
    """
    return beta * latent_size / num_pixels


def reconstruction_nats(
    model: VAE, codes: Float[Tensor, "images latents"], images: Float[Tensor, "images channels height width"]
) -> Float[Tensor, ""]:
    """Return the negative Bernoulli log likelihood, summed over pixels and averaged over images.

    Only where it is summed as the KL is does a weight between the two mean what it says.
    """
    return F.binary_cross_entropy_with_logits(model.decode(codes), images, reduction="sum") / len(images)
