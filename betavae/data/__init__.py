"""Image sets with known generating factors. To add one, write a module here and add a line to `DATASETS`."""

from typing import Any

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


def open_dataset(name: str = DSpritesDataset.name, **parameters: Any) -> FactorImages:
    """Open a data set by name.

    Args:
        name: A name in `DATASETS`.
        parameters: The data set's parameters by name. A parameter that selects images to train on, such as `images` of
            dSprites, has no effect here: the whole set is opened.

    Raises:
        InputError: If there is no such data set or parameter, a value is impossible, or a file is missing or wrong.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    return DATASETS.find(name).from_values(parameters).open()
