"""Choosing models without labels."""

from betavae.selection.centrality import Autoencoder, ModelCentrality, model_centrality
from betavae.selection.udr import UDR, udr

__all__ = ["UDR", "Autoencoder", "ModelCentrality", "model_centrality", "udr"]
