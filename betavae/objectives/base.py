"""The interface of an objective: a batch in, a loss in nats per image out."""

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
    """An infinite or nan loss, weight or posterior, from which training cannot continue."""


@dataclass(frozen=True)
class Batch:
    """The input of a loss.

    Attributes:
        model: The model in training.
        images: The images of this step.
        step: Number of steps done before this one.
        generator: Source of every random number; torch's global generator if None.
    """

    model: VAE
    images: Float[Tensor, "images channels height width"]
    step: int = 0
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Loss:
    """A loss and its terms: scalars, in nats per image.

    Attributes:
        total: The minimised loss.
        terms: Terms to report, by name: `kl_nats` as `loss/kl_nats`. The names are the same at every step. Every
            objective has two: `recon_nats`, the negative log likelihood, summed over pixels and channels and averaged
            over images, and `kl_nats`, the KL from the prior, summed over latents and averaged over images, without
            any weight.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """A training objective; its fields are its parameters.

    Attributes:
        terms: The names of the terms of its loss, without the total.
        kl_weight: The name of the parameter that weighs the whole KL; None if no parameter does.
        derived_help: A sentence on each number of `derived`.
    """

    terms: ClassVar[tuple[str, ...]] = ("recon_nats", "kl_nats")
    kl_weight: ClassVar[str | None] = None
    derived_help: ClassVar[str] = ""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Return the loss of a batch. Take every random number from the batch's generator."""

    def derived(self, *, latent_size: int, num_pixels: int) -> dict[str, float]:
        """Return numbers that are derived from the parameters, by name, to show beside them.

        Args:
            latent_size: Number of latents.
            num_pixels: Numbers of an image: channels times height times width.
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
    """Return the negative Bernoulli log likelihood, summed over pixels and channels and averaged over images, in nats.

    A mean over pixels would change the meaning of a weight of the KL, which is summed over latents.
    """
    return F.binary_cross_entropy_with_logits(model.decode(codes), images, reduction="sum") / len(images)
