"""The interface of an objective: a batch in, a loss in nats per image out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
        step: Number of steps done before this one. While a CUDA graph is captured there is none: see `number`.
        generator: Source of every random number; torch's global generator if None.
        adversary: The objective's adversary; None if the objective has none.
        second_images: The function behind `more_images`.
        of_step: The function behind `number`.
    """

    model: VAE
    images: Float[Tensor, "images channels height width"]
    step: int = 0
    generator: torch.Generator | None = None
    adversary: nn.Module | None = None
    second_images: Callable[[], Float[Tensor, "images channels height width"]] | None = None
    of_step: Callable[[Callable[[int], float]], Tensor | float] | None = None

    def more_images(self) -> Float[Tensor, "images channels height width"]:
        """Return a second batch of the same size: the images of this step in another order of the trial's seed.

        Raises:
            ValueError: If the batch was made without `second_images`.
        """
        if self.second_images is None:
            raise ValueError("more_images needs a batch with second_images, but this batch has none; pass a function.")
        return self.second_images()

    def number(self, function: Callable[[int], float]) -> Float[Tensor, ""]:
        """Return a number that changes with the step, on the device of the images.

        A loss that is captured as a CUDA graph runs in Python once, so whatever it computed from `step` would stay as
        it was then. A number that is taken here is computed anew for every step.

        Args:
            function: The number after so many steps. It depends on the step alone.
        """
        value = function(self.step) if self.of_step is None else self.of_step(function)
        return value if isinstance(value, Tensor) else self.images.new_full((), value)


@dataclass(frozen=True)
class Loss:
    """A loss and its terms: scalars.

    Attributes:
        total: The minimised loss.
        terms: Terms to report, by name: `kl_nats` as `loss/kl_nats`. The names are the same at every step. A name ends
            in `_nats` if the term is in nats per image. Every
            objective has two: `recon_nats`, the negative log likelihood, summed over pixels and channels and averaged
            over images, and `kl_nats`, the KL from the prior, summed over latents and averaged over images, without
            any weight.
        adversary: The loss that the adversary minimises, which is one of the terms, too; None without an adversary.
            Its gradient reaches the adversary's weights alone, and the gradient of the total the model's alone.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
    adversary: Float[Tensor, ""] | None = None


@dataclass(frozen=True)
class AdamSettings:
    """The settings of an adversary's optimizer.

    Attributes:
        lr: Learning rate.
        betas: Decay rates of the means of the gradient and of its square.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """A training objective; its fields are its parameters.

    Attributes:
        terms: The names of the terms of its loss, without the total.
        undirected_terms: Those of the terms that are neither better higher nor better lower.
        least_batch_size: The smallest batch from which the loss can be taken.
        relative_cost: Time of a step as a multiple of that of a beta-VAE, roughly: it selects the trial that a dry run
            measures.
        kl_weight: The name of the parameter that weighs the whole KL; None if no parameter does.
        derived_help: A sentence on each number of `derived`.
    """

    terms: ClassVar[tuple[str, ...]] = ("recon_nats", "kl_nats")
    undirected_terms: ClassVar[tuple[str, ...]] = ()
    least_batch_size: ClassVar[int] = 1
    relative_cost: ClassVar[float] = 1.0
    kl_weight: ClassVar[str | None] = None
    derived_help: ClassVar[str] = ""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Return the loss of a batch. Take every random number from the batch's generator."""

    def adversary(self, latent_size: int, generator: torch.Generator | None) -> nn.Module | None:
        """Return a new network that is trained against the model, on the CPU; None if the objective has none.

        Args:
            latent_size: Number of latents.
            generator: Source of its initial weights.
        """
        return None

    def adversary_adam(self) -> AdamSettings:
        """Return the settings of the adversary's Adam, which takes one step per step of training."""
        return AdamSettings()

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
    """Return the negative log likelihood, summed over pixels and channels and averaged over images, in nats.

    A mean over pixels would change the meaning of a weight of the KL, which is summed over latents.
    """
    return model.mean_reconstruction_nats(codes, images)
