"""Choosing models without labels."""

from betavae.selection.centrality import Autoencoder, ModelCentrality, model_centrality
from betavae.selection.cross_mig import CrossMIG, cross_mig
from betavae.selection.udr import UDR, udr

__all__ = ["UDR", "Autoencoder", "CrossMIG", "ModelCentrality", "cross_mig", "model_centrality", "udr"]
