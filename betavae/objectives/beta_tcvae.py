"""The objective of the beta-TCVAE, and an estimate of the total correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from betavae.gaussian import DiagonalGaussian
from betavae.objectives.base import BETA_NORM_HELP, Batch, Loss, Objective, normalized_beta, reconstruction_nats
from betavae.parts import parameter
from betavae.schedules import Weight


@dataclass(frozen=True, kw_only=True)
class BetaTCVAE(Objective):
    """Minimise recon + alpha * KL + (beta - alpha) * TC: beta weighs the total correlation, alpha the rest of the KL.

    Source:
        Chen et al. 2018, arXiv:1802.04942, equation 4 with gamma = alpha. Their beta-TCVAE has alpha = gamma = 1.
    """

    name = "beta-tcvae"
    least_batch_size = 2
    derived_help = BETA_NORM_HELP

    beta: Weight = parameter(4.0, positive=True, log=True)
    """Weight of the total correlation. It is estimated from one batch, which should have 128 images or more."""
    alpha: Weight = parameter(1.0, positive=True, log=True, is_shown_if_set=True)
    """Weight of the other parts of the KL: the mutual information of images and codes, and the KL of each latent's
    aggregate posterior from the prior. With alpha equal to beta, the loss is that of a beta-VAE."""

    def derived(self, *, latent_size: int, num_pixels: int) -> dict[str, float]:
        """Return `beta_norm`, the beta of a loss that is averaged over pixels and latents."""
        return {"beta_norm": normalized_beta(self.beta, latent_size=latent_size, num_pixels=num_pixels)}

    def loss(self, batch: Batch) -> Loss:
        """Return the loss, with the terms `recon_nats` and `kl_nats`."""
        posterior = batch.model.encode(batch.images)
        codes = posterior.sample(batch.generator)
        recon = reconstruction_nats(batch.model, codes, batch.images)
        kl = posterior.kl().sum(1).mean()
        total = recon + self.alpha * kl + (self.beta - self.alpha) * total_correlation(posterior, codes)
        return Loss(total, {"recon_nats": recon, "kl_nats": kl})


def total_correlation(posterior: DiagonalGaussian, codes: Float[Tensor, "images latents"]) -> Float[Tensor, ""]:
    """Estimate KL(q(z) || prod_j q(z_j)) in nats, where q is the aggregate posterior of the images.

    Args:
        posterior: The posteriors of the images.
        codes: A sample of each posterior.

    Error:
        Unbiased for the given images alone; biased for a set of which they are a batch. The weights of Chen et al.,
        1 / (num_images * batch_size) in place of 1 / batch_size here, add the constant (latents - 1) * log(num_images),
        which has no gradient, so this function does not take the number of images.

    Source:
        Chen et al. 2018, arXiv:1802.04942, appendix C.1.
    """
    # entry [i, k, j]: log density of code i's latent j in the posterior of image k
    log_density = posterior.log_density(codes[:, None])
    log_joint = torch.logsumexp(log_density.sum(2), 1) - math.log(len(codes))
    log_marginals = torch.logsumexp(log_density, 1) - math.log(len(codes))
    return (log_joint - log_marginals.sum(1)).mean()
