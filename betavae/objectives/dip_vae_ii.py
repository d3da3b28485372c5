"""The objective of the DIP-VAE-II."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from betavae.objectives.base import Batch, Loss, Objective, reconstruction_nats
from betavae.objectives.moments import LAMBDA_D_HELP, covariance, moment_penalty
from betavae.parts import parameter
from betavae.schedules import Weight


@dataclass(frozen=True, kw_only=True)
class DIPVAEII(Objective):
    """Minimise recon + KL + a penalty that draws the covariance of q(z) to the identity.

    That covariance is the covariance of the posterior means plus, on its diagonal, the mean posterior variances.

    Penalty = lambda_od * sum over i != j of cov_ij^2 + lambda_d * sum over i of (cov_ii - 1)^2, with
    lambda_d = lambda_d_factor * lambda_od.

    Source:
        Kumar et al. 2018, arXiv:1711.00848, equation 7. The covariance of a batch is divided by its number of images,
        as in Locatello et al. 2019, arXiv:1811.12359.
    """

    name = "dip-vae-ii"
    terms = ("recon_nats", "kl_nats", "penalty_nats")
    least_batch_size = 2
    derived_help = LAMBDA_D_HELP

    lambda_od: Weight = parameter(10.0, positive=True, log=True)
    """Weight of the squared covariances of different latents. Published runs have 1 to 50."""

    lambda_d_factor: float = parameter(1.0, least=0)
    """Weight of the squared distances of the variances from 1, as a multiple of lambda_od."""

    def derived(self, *, latent_size: int, num_pixels: int) -> dict[str, float]:
        """Return `lambda_d`, the weight of the variances."""
        return {"lambda_d": self.lambda_d_factor * self.lambda_od}

    def loss(self, batch: Batch) -> Loss:
        """Return the loss, with the terms `recon_nats`, `kl_nats` and `penalty_nats`, the weighted penalty."""
        posterior = batch.model.encode(batch.images)
        recon = reconstruction_nats(batch.model, posterior.sample(batch.generator), batch.images)
        kl = posterior.kl().sum(1).mean()
        matrix = covariance(posterior.mean) + torch.diag(posterior.logvar.exp().mean(0))
        penalty = moment_penalty(matrix, lambda_od=self.lambda_od, lambda_d=self.lambda_d_factor * self.lambda_od)
        return Loss(recon + kl + penalty, {"recon_nats": recon, "kl_nats": kl, "penalty_nats": penalty})
