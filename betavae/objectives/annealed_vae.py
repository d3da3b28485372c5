"""The objective of the annealed VAE, whose capacity grows."""

from __future__ import annotations

from dataclasses import dataclass

from betavae.objectives.base import Batch, Loss, Objective, reconstruction_nats
from betavae.parts import parameter
from betavae.schedules import Weight


@dataclass(frozen=True, kw_only=True)
class AnnealedVAE(Objective):
    """Minimise recon + gamma * |KL - C|, where the capacity C rises linearly from 0 to c_max nats.

    Source:
        Burgess et al. 2018, arXiv:1804.03599, equation 8.
    """

    name = "annealed-vae"
    terms = ("recon_nats", "kl_nats", "capacity_nats")
    undirected_terms = ("capacity_nats",)

    gamma: Weight = parameter(1000.0, positive=True, log=True)
    """Weight of the distance of the KL from the capacity. Published runs have 1,000."""

    c_max: float = parameter(25.0, least=0)
    """Largest capacity, in nats per image."""

    capacity_steps: int = parameter(100_000, least=1, log=True)
    """Steps over which the capacity rises from 0 to its largest value."""

    def loss(self, batch: Batch) -> Loss:
        """Return the loss, with the terms `recon_nats`, `kl_nats` and `capacity_nats`, the capacity of this step."""
        posterior = batch.model.encode(batch.images)
        recon = reconstruction_nats(batch.model, posterior.sample(batch.generator), batch.images)
        kl = posterior.kl().sum(1).mean()
        capacity = batch.number(self.capacity)
        total = recon + self.gamma * (kl - capacity).abs()
        return Loss(total, {"recon_nats": recon, "kl_nats": kl, "capacity_nats": capacity})

    def capacity(self, step: int) -> float:
        """Return the capacity after `step` steps, in nats per image."""
        return self.c_max * min(step / self.capacity_steps, 1.0)
