"""3D Shapes, from its official file.

Source:
    Burgess and Kim 2018, github.com/google-deepmind/3d-shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from betavae.data.base import Dataset, ImageShape
from betavae.data.cache import Pixels
from betavae.data.factors import FactorSpace, value_ranks
from betavae.data.sources import Published, converted, data_root
from betavae.data.stored import ArrayImages
from betavae.errors import InputError

_IMAGE_SHAPE: ImageShape = (3, 64, 64)
_BLOCK_IMAGES = 1000

_FILE = Path("3dshapes", "3dshapes.h5")

SHAPES3D = Published(
    name="shapes3d",
    files=str(_FILE),
    address="github.com/google-deepmind/3d-shapes",
    size="3dshapes.h5 (5.9 GB of pixels, compressed)",
    md5={str(_FILE): "099a2078d58cec4daad0702c55d06868"},
)


def _evenly(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(start, stop, count))


_HUES = _evenly(0.0, 0.9, 10)  # a hue of 1 would be that of 0

SHAPES3D_FACTORS = FactorSpace(
    names=("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
    values=(_HUES, _HUES, _HUES, _evenly(0.75, 1.25, 8), range(4), _evenly(-30.0, 30.0, 15)),
    categorical=("shape",),
    cyclic=("floor_hue", "wall_hue", "object_hue"),
    lines="shape",
)


def open_shapes3d(
    root: Path, *, factors: FactorSpace = SHAPES3D_FACTORS, published: Published = SHAPES3D, cache: Path | None = None
) -> ArrayImages:
    """Open the file `3dshapes/3dshapes.h5` below a folder.

    Args:
        root: The folder.
        factors: The combinations that the file must hold, in index order.
        published: The hash that the file must have.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If the file is missing or not the published one, or h5py is not installed.
        OSError: If the file cannot be read, or the cache cannot be written.
    """
    path = root / _FILE
    if not path.is_file():
        raise published.missing(f"there is no file {path}")
    _h5py()  # before the file is hashed
    return converted(
        published.name,
        [path],
        lambda: _blocks(path, factors),
        shape=(factors.size, *_IMAGE_SHAPE[1:], _IMAGE_SHAPE[0]),
        factors=factors,
        md5={root / name: md5 for name, md5 in published.md5.items()},
        cache=cache,
    )


def _blocks(path: Path, factors: FactorSpace) -> Iterator[Pixels]:
    """Read and check the images, in index order."""
    shape = (factors.size, *_IMAGE_SHAPE[1:], _IMAGE_SHAPE[0])
    with _open_hdf5(path) as file:
        images, labels = (_array(file, path, name) for name in ("images", "labels"))
        if images.shape != shape or images.dtype != np.uint8:
            raise InputError(
                f"images of {path} must be uint8 of shape {shape}, but are {images.dtype} of shape {images.shape}."
            )
        check_order(path, labels[:], factors)
        for start in range(0, len(images), _BLOCK_IMAGES):
            yield np.ascontiguousarray(images[start : start + _BLOCK_IMAGES])


def check_order(path: Path, labels: np.ndarray, factors: FactorSpace) -> None:
    """Check that images are in index order, by the values of their factors.

    Args:
        path: The file, for the message.
        labels: Entry [i, k] is the value of factor k of image i; larger indices have larger values.
        factors: The factors.

    Raises:
        InputError: If the labels are of another shape, or a row is out of order.
    """
    if labels.shape != (factors.size, factors.num_factors):
        raise InputError(
            f"labels of {path} must have shape {(factors.size, factors.num_factors)}, but have {labels.shape}."
        )
    wrong = np.flatnonzero((value_ranks(labels) != factors.indices_to_factors(np.arange(factors.size))).any(axis=1))
    if wrong.size:
        raise InputError(f"labels of {path} must be in index order, but row {wrong[0]} is {labels[wrong[0]].tolist()}.")


def _h5py() -> ModuleType:
    try:
        import h5py  # an extra: no other data set needs it
    except ImportError as error:
        raise InputError(
            f"shapes3d needs the package h5py, which reads {_FILE.name}, but it is not installed: pip install h5py."
        ) from error
    module: ModuleType = h5py
    return module


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Any]:
    try:
        with _h5py().File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} must be an HDF5 file, but is damaged ({error}): get it again.") from error


def _array(file: Any, path: Path, name: str) -> Any:
    if name not in file:
        raise InputError(f"{path} must hold {name}, but holds {', '.join(file) or 'nothing'}.")
    return file[name]


@dataclass(frozen=True, kw_only=True)
class Shapes3DDataset(Dataset):
    """A shape in a room: 480,000 images of 64 x 64, in three channels, from the official file."""

    name = SHAPES3D.name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the file below $DISENTANGLEMENT_LIB_DATA by `open_shapes3d`."""
        return open_shapes3d(data_root(SHAPES3D))
