"""Variational autoencoders, and the architectures of their networks."""

from betavae.models.architectures import ARCHITECTURES, ImageShape
from betavae.models.base import VAE

__all__ = ["ARCHITECTURES", "VAE", "ImageShape"]
