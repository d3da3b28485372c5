"""What training minimises, in nats per image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from betavae.config import Objective
from betavae.gaussian import DiagonalGaussian
from betavae.models import VAE


class NonFiniteLossError(ArithmeticError):
    """A loss that is infinite or nan, or weights or posteriors that are: training cannot continue from there."""


@dataclass(frozen=True)
class Loss:
    """A loss and its terms: scalars, in nats per image.

    Attributes:
        total: What is minimised.
        recon: Negative Bernoulli log likelihood, summed over pixels, averaged over images.
        kl: KL from the prior, summed over latents, averaged over images; not times beta.
    """

    total: Float[Tensor, ""]
    recon: Float[Tensor, ""]
    kl: Float[Tensor, ""]


def beta_vae_loss(
    model: VAE, images: Float[Tensor, "images 1 64 64"], *, beta: float, generator: torch.Generator | None = None
) -> Loss:
    """The beta-VAE's loss, recon + beta * KL, with one posterior sample per image.

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl.
    """
    posterior = model.encode(images)
    recon = _reconstruction(model, posterior.sample(generator), images)
    kl = posterior.kl().sum(1).mean()
    return Loss(total=recon + beta * kl, recon=recon, kl=kl)


def beta_tcvae_loss(
    model: VAE, images: Float[Tensor, "images 1 64 64"], *, beta: float, generator: torch.Generator | None = None
) -> Loss:
    """The beta-TCVAE's loss, recon + KL + (beta - 1) * TC: of the KL, beta weighs the total correlation alone.

    Source:
        Chen et al. 2018, arXiv:1802.04942, equation 4 with alpha = gamma = 1.
    """
    posterior = model.encode(images)
    codes = posterior.sample(generator)
    recon = _reconstruction(model, codes, images)
    kl = posterior.kl().sum(1).mean()
    return Loss(total=recon + kl + (beta - 1) * total_correlation(posterior, codes), recon=recon, kl=kl)


def total_correlation(posterior: DiagonalGaussian, codes: Float[Tensor, "images latents"]) -> Float[Tensor, ""]:
    """Estimate KL(q(z) || prod_j q(z_j)) in nats, with the images' aggregate posterior as q.

    Args:
        posterior: Of the images.
        codes: A sample of each image's posterior.

    Error:
        Right where the images are all there are. Of a batch it is a biased estimate for the whole set. Chen et al.'s
        minibatch weights 1 / (num_images * batch_size), in place of 1 / batch_size here, add the constant
        (latents - 1) * log(num_images), which has no gradient; so the number of images is not asked for.

    Source:
        Chen et al. 2018, arXiv:1802.04942, appendix C.1.
    """
    # entry [i, k, j]: log density of code i's latent j in the posterior of image k
    log_density = posterior.log_density(codes[:, None])
    log_joint = torch.logsumexp(log_density.sum(2), 1) - math.log(len(codes))
    log_marginals = torch.logsumexp(log_density, 1) - math.log(len(codes))
    return (log_joint - log_marginals.sum(1)).mean()


def _reconstruction(
    model: VAE, codes: Float[Tensor, "images latents"], images: Float[Tensor, "images 1 64 64"]
) -> Float[Tensor, ""]:
    # summed over pixels, averaged over images, as the KL over latents: only then does beta mean what it says
    return F.binary_cross_entropy_with_logits(model.decode(codes), images, reduction="sum") / len(images)


OBJECTIVES: dict[Objective, Callable[..., Loss]] = {"beta-vae": beta_vae_loss, "beta-tcvae": beta_tcvae_loss}
"""Name -> function of (model, images, *, beta, generator)."""
