"""Variational autoencoders. To add an architecture, write a module here and add its class to `ARCHITECTURES`."""

from betavae.models.architecture import Architecture
from betavae.models.base import VAE
from betavae.models.burgess import Burgess
from betavae.models.conv3 import Conv3
from betavae.parts import Table

__all__ = ["ARCHITECTURES", "VAE", "Architecture", "Burgess", "Conv3"]

ARCHITECTURES: Table[Architecture] = Table("architecture", Burgess, Conv3)
