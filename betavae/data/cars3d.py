"""Cars3D: car models seen from all around, from the official files.

Source:
    Fidler et al. 2012 and Reed et al. 2015, scottreed.info.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from betavae.data.base import Dataset, ImageShape
from betavae.data.cache import Pixels
from betavae.data.factors import FactorSpace
from betavae.data.resized import SIDE, resized
from betavae.data.sources import Published, converted, data_root
from betavae.data.stored import ArrayImages
from betavae.errors import InputError

_IMAGE_SHAPE: ImageShape = (3, SIDE, SIDE)
_NUM_ELEVATIONS, _NUM_AZIMUTHS, _NUM_CARS = 4, 24, 183
_STORED_SHAPE = (128, 128, 3, _NUM_AZIMUTHS, _NUM_ELEVATIONS)

_FOLDER, _PATTERN = "cars", "car_*_mesh.mat"

CARS3D = Published(
    name="cars3d",
    files=f"the {_NUM_CARS} files {_FOLDER}/{_PATTERN}",
    address="www.scottreed.info/files/nips2015-analogy-data.tar.gz",
    size="the folder data/cars (0.9 GB of pixels)",
    md5={},
)


def cars3d_factors(num_cars: int = _NUM_CARS) -> FactorSpace:
    """Return the factors of some cars.

    Args:
        num_cars: Number of cars.
    """
    return FactorSpace(
        names=("elevation", "azimuth", "object_type"),
        values=(range(_NUM_ELEVATIONS), [360 / _NUM_AZIMUTHS * k for k in range(_NUM_AZIMUTHS)], range(num_cars)),
        categorical=("object_type",),
        cyclic=("azimuth",),
        lines="elevation",
    )


def open_cars3d(root: Path, *, num_cars: int = _NUM_CARS, cache: Path | None = None) -> ArrayImages:
    """Open the files `cars/car_*_mesh.mat` below a folder.

    The object type is the place of a file among the names in alphabetical order. The images, of 128 x 128 pixels, are
    scaled to 64 x 64 by Pillow's Lanczos filter.

    Args:
        root: The folder.
        num_cars: Number of files.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If a file is missing or not as published.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    paths = sorted((root / _FOLDER).glob(_PATTERN))
    if not paths:
        raise CARS3D.missing(f"there is no file {root / _FOLDER / _PATTERN}")
    if len(paths) != num_cars:
        raise InputError(f"{root / _FOLDER} must hold {num_cars} files {_PATTERN}, but holds {len(paths)}.")
    factors = cars3d_factors(num_cars)
    return converted(
        CARS3D.name,
        paths,
        lambda: _blocks(paths),
        shape=(factors.size, SIDE, SIDE, 3),
        factors=factors,
        cache=cache,
    )


def _blocks(paths: Sequence[Path]) -> Iterator[Pixels]:
    """Read all cars, then yield the images in index order: those of one elevation and azimuth at a time."""
    pixels = np.empty((_NUM_ELEVATIONS, _NUM_AZIMUTHS, len(paths), SIDE, SIDE, 3), np.uint8)
    for number, path in enumerate(paths):
        pixels[:, :, number] = _read_car(path)
    for of_elevation in pixels:
        yield from of_elevation


def _read_car(path: Path) -> UInt8[np.ndarray, "elevations azimuths 64 64 3"]:
    """Return the images of a car, scaled."""
    from scipy.io import loadmat  # here: it takes a tenth of a second

    try:
        content = loadmat(path, variable_names=["im"])
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything: struct.error, TypeError, ValueError, zlib.error
        raise InputError(f"{path} must be a MATLAB file, but is damaged ({error}): get it again.") from error
    stored = content.get("im", np.empty(0))
    if stored.shape != _STORED_SHAPE or stored.dtype != np.uint8:
        raise InputError(
            f"{path} must hold im, uint8 of shape {_STORED_SHAPE}, but it is {stored.dtype} of shape {stored.shape}."
        )
    views = np.transpose(stored, (4, 3, 0, 1, 2))
    return resized(views.reshape(-1, *views.shape[2:])).reshape(*views.shape[:2], SIDE, SIDE, 3)


@dataclass(frozen=True, kw_only=True)
class Cars3DDataset(Dataset):
    """183 cars from 24 sides and 4 heights: 17,568 images of 64 x 64, in three channels, from the official files."""

    name = CARS3D.name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the files below $DISENTANGLEMENT_LIB_DATA by `open_cars3d`."""
        return open_cars3d(data_root(CARS3D))
