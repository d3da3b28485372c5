"""Variational autoencoders. To add an architecture, write a module here and add its class to `ARCHITECTURES`."""

from betavae.models.architecture import Architecture
from betavae.models.base import VAE
from betavae.models.burgess import Burgess
from betavae.models.conv3 import Conv3
from betavae.models.conv64 import Conv64
from betavae.models.mlp import MLP
from betavae.parts import Table

__all__ = ["ARCHITECTURES", "MLP", "VAE", "Architecture", "Burgess", "Conv3", "Conv64"]

ARCHITECTURES: Table[Architecture] = Table("architecture", Burgess, Conv3, Conv64, MLP)
