"""What training minimises: adding an objective is a module beside these, and a line here."""

from betavae.objectives.base import Batch, Loss, NonFiniteLossError, Objective
from betavae.objectives.beta_tcvae import BetaTCVAE, total_correlation
from betavae.objectives.beta_vae import BetaVAE
from betavae.parts import Table

__all__ = [
    "OBJECTIVES",
    "Batch",
    "BetaTCVAE",
    "BetaVAE",
    "Loss",
    "NonFiniteLossError",
    "Objective",
    "total_correlation",
]

OBJECTIVES: Table[Objective] = Table("objective", BetaVAE, BetaTCVAE)
