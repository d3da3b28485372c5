"""Image sets whose generating factors are known: adding one is a module here, and a line below."""

from betavae.data.base import Dataset, FactorImages, ImageShape
from betavae.data.cache import data_environment
from betavae.data.dsprites import DSPRITES_FACTORS, DSprites, DSpritesDataset
from betavae.data.factors import FactorSpace
from betavae.parts import Table

__all__ = [
    "DATASETS",
    "DSPRITES_FACTORS",
    "DSprites",
    "DSpritesDataset",
    "Dataset",
    "FactorImages",
    "FactorSpace",
    "ImageShape",
    "data_environment",
]

DATASETS: Table[Dataset] = Table("dataset", DSpritesDataset)
