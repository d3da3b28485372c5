"""Training objectives. To add one, write a module here and add its class to `OBJECTIVES`."""

from betavae.objectives.annealed_vae import AnnealedVAE
from betavae.objectives.base import AdamSettings, Batch, Loss, NonFiniteLossError, Objective
from betavae.objectives.beta_tcvae import BetaTCVAE, total_correlation
from betavae.objectives.beta_vae import BetaVAE
from betavae.objectives.dip_vae_i import DIPVAEI
from betavae.objectives.dip_vae_ii import DIPVAEII
from betavae.objectives.factor_vae import FactorVAE
from betavae.parts import Table

__all__ = [
    "DIPVAEI",
    "DIPVAEII",
    "OBJECTIVES",
    "AdamSettings",
    "AnnealedVAE",
    "Batch",
    "BetaTCVAE",
    "BetaVAE",
    "FactorVAE",
    "Loss",
    "NonFiniteLossError",
    "Objective",
    "total_correlation",
]

OBJECTIVES: Table[Objective] = Table("objective", BetaVAE, BetaTCVAE, AnnealedVAE, FactorVAE, DIPVAEI, DIPVAEII)
