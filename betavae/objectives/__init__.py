"""Training objectives. To add one, write a module here and add its class to `OBJECTIVES`."""

from betavae.objectives.base import AdamSettings, Batch, Loss, NonFiniteLossError, Objective
from betavae.objectives.beta_tcvae import BetaTCVAE, total_correlation
from betavae.objectives.beta_vae import BetaVAE
from betavae.parts import Table

__all__ = [
    "OBJECTIVES",
    "AdamSettings",
    "Batch",
    "BetaTCVAE",
    "BetaVAE",
    "Loss",
    "NonFiniteLossError",
    "Objective",
    "total_correlation",
]

OBJECTIVES: Table[Objective] = Table("objective", BetaVAE, BetaTCVAE)
