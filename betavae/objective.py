"""What training minimises, in nats per image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from betavae.config import Objective
from betavae.model import BetaVAE


@dataclass(frozen=True)
class Loss:
    """A loss and its terms: scalars, in nats per image.

    Attributes:
        total: What is minimised.
        recon: Negative Bernoulli log likelihood, summed over pixels, averaged over images.
        kl: KL from the prior, summed over latents, averaged over images; not yet times beta.
    """

    total: Float[Tensor, ""]
    recon: Float[Tensor, ""]
    kl: Float[Tensor, ""]


def beta_vae_loss(
    model: BetaVAE, images: Float[Tensor, "images 1 64 64"], *, beta: float, generator: torch.Generator | None = None
) -> Loss:
    """The beta-VAE's loss, recon + beta * KL, with one posterior sample per image.

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl.
    """
    posterior = model.encode(images)
    logits = model.decode(posterior.sample(generator))
    # summed over pixels and latents, averaged over images: only then does beta mean what it says
    recon = F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
    kl = posterior.kl().sum(1).mean()
    return Loss(total=recon + beta * kl, recon=recon, kl=kl)


OBJECTIVES: dict[Objective, Callable[..., Loss]] = {"beta-vae": beta_vae_loss}
"""Name -> function of (model, images, *, beta, generator)."""
