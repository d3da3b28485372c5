"""The objective of the beta-VAE."""

from __future__ import annotations

from dataclasses import dataclass

from betavae.objectives.base import BETA_NORM_HELP, Batch, Loss, Objective, normalized_beta, reconstruction_nats
from betavae.parts import parameter
from betavae.schedules import Weight


@dataclass(frozen=True, kw_only=True)
class BetaVAE(Objective):
    """Minimise recon + beta * KL, with one posterior sample per image.

    Source:
        Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl.
    """

    name = "beta-vae"
    kl_weight = "beta"
    derived_help = BETA_NORM_HELP

    beta: Weight = parameter(4.0, positive=True, log=True)
    """Weight of the KL; 1 is the plain VAE."""

    def derived(self, *, latent_size: int, num_pixels: int) -> dict[str, float]:
        """Return `beta_norm`, the beta of a loss that is averaged over pixels and latents."""
        return {"beta_norm": normalized_beta(self.beta, latent_size=latent_size, num_pixels=num_pixels)}

    def loss(self, batch: Batch) -> Loss:
        """Return the loss, with the terms `recon_nats` and `kl_nats`."""
        posterior = batch.model.encode(batch.images)
        recon = reconstruction_nats(batch.model, posterior.sample(batch.generator), batch.images)
        kl = posterior.kl().sum(1).mean()
        return Loss(recon + self.beta * kl, {"recon_nats": recon, "kl_nats": kl})
