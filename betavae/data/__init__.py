"""Image sets whose generating factors are known: dSprites, packed to one bit a pixel."""

from betavae.data.cache import data_environment
from betavae.data.dsprites import DSprites
from betavae.data.factors import DSPRITES_FACTORS, FactorSpace

__all__ = ["DSPRITES_FACTORS", "DSprites", "FactorSpace", "data_environment"]
