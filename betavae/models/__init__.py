"""Variational autoencoders, and the architectures of their networks: adding one is a module here, and a line below."""

from betavae.models.architecture import Architecture
from betavae.models.base import VAE
from betavae.models.burgess import Burgess
from betavae.models.conv3 import Conv3
from betavae.parts import Table

__all__ = ["ARCHITECTURES", "VAE", "Architecture", "Burgess", "Conv3"]

ARCHITECTURES: Table[Architecture] = Table("architecture", Burgess, Conv3)
