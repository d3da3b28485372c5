"""Image sets with known generating factors. To add one, write a module here and add a line to `DATASETS`."""

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
    "open_dataset",
]

DATASETS: Table[Dataset] = Table("dataset", DSpritesDataset)


def open_dataset(name: str = DSpritesDataset.name) -> FactorImages:
    """Open a whole data set by name.

    Args:
        name: A name in `DATASETS`.

    Raises:
        InputError: If there is no such data set, or a file is missing or wrong.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    return DATASETS.find(name)().open()
