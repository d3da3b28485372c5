"""Image sets with known generating factors. To add one, write a module here and add a line to `DATASETS`."""

from betavae.data.base import Dataset, FactorImages, ImageShape
from betavae.data.cache import DATA_VARIABLE, data_environment, use_data_root
from betavae.data.cars3d import Cars3DDataset
from betavae.data.dsprites import (
    DSPRITES_FACTORS,
    ColorDSpritesDataset,
    DSprites,
    DSpritesDataset,
    NoisyDSpritesDataset,
)
from betavae.data.factors import NO_FACTORS, FactorSpace
from betavae.data.mpi3d import MPI3DRealDataset, MPI3DRealisticDataset, MPI3DToyDataset
from betavae.data.own_file import FileDataset, open_own_file
from betavae.data.shapes3d import Shapes3DDataset
from betavae.data.smallnorb import SmallNORBDataset
from betavae.data.stored import ArrayImages
from betavae.data.xysquares import XYSquaresDataset
from betavae.parts import Table

__all__ = [
    "DATASETS",
    "DATA_VARIABLE",
    "DSPRITES_FACTORS",
    "NO_FACTORS",
    "ArrayImages",
    "DSprites",
    "DSpritesDataset",
    "Dataset",
    "FactorImages",
    "FactorSpace",
    "ImageShape",
    "data_environment",
    "open_dataset",
    "open_own_file",
    "use_data_root",
]

DATASETS: Table[Dataset] = Table(
    "dataset",
    DSpritesDataset,
    ColorDSpritesDataset,
    NoisyDSpritesDataset,
    XYSquaresDataset,
    Shapes3DDataset,
    MPI3DToyDataset,
    MPI3DRealisticDataset,
    MPI3DRealDataset,
    Cars3DDataset,
    SmallNORBDataset,
    FileDataset,
)


def open_dataset(name: str = DSpritesDataset.name) -> FactorImages:
    """Open a whole data set by name.

    Args:
        name: A name in `DATASETS`.

    Raises:
        InputError: If there is no such data set, or a file is missing or wrong.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    return DATASETS.find(name)().open()
