"""MPI3D, a robot arm that holds an object: rendered simply, rendered realistically, and photographed.

Source:
    Gondal et al. 2019, arXiv:1906.03292, github.com/rr-learning/disentanglement_dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from betavae.data.base import Dataset, ImageShape
from betavae.data.cache import Pixels
from betavae.data.factors import FactorSpace
from betavae.data.npz import open_npz
from betavae.data.sources import Published, converted, data_root
from betavae.data.stored import ArrayImages
from betavae.errors import InputError

_IMAGE_SHAPE: ImageShape = (3, 64, 64)


def _factors(*sizes: int) -> FactorSpace:
    """Return the factors with the indices of their values: the file holds no others."""
    return FactorSpace(
        names=(
            "object_color", "object_shape", "object_size", "camera_height", "background_color", "first_dof",
            "second_dof",
        ),
        values=[range(size) for size in sizes],
        categorical=("object_color", "object_shape", "background_color"),
        lines="object_size",
    )  # fmt: skip


MPI3D_FACTORS = _factors(6, 6, 2, 3, 3, 40, 40)

OLDER_TOY_FACTORS = _factors(4, 4, 2, 3, 3, 40, 40)
"""The factors of the first file of `mpi3d-toy` that was published."""


def _published(kind: str, md5: str) -> Published:
    return Published(
        name=f"mpi3d-{kind}",
        files=str(_file(kind)),
        address="github.com/rr-learning/disentanglement_dataset",
        size=f"mpi3d_{kind}.npz (12.7 GB of pixels)",
        md5={str(_file(kind)): md5},
    )


def _file(kind: str) -> Path:
    return Path(f"mpi3d_{kind}", f"mpi3d_{kind}.npz")


MPI3D = {
    "toy": _published("toy", "55889cb7c7dfc655d6e0277beee88868"),
    "realistic": _published("realistic", "59a6225b88b635365f70c91b3e52f70f"),
    "real": _published("real", "0f33f609918fb5c97996692f91129802"),
}
"""The three sets, by kind."""


def open_mpi3d(
    root: Path,
    published: Published,
    *,
    factors: Sequence[FactorSpace] = (MPI3D_FACTORS,),
    cache: Path | None = None,
) -> ArrayImages:
    """Open a file such as `mpi3d_toy/mpi3d_toy.npz` below a folder.

    Args:
        root: The folder.
        published: The set. The hash is that of a file with the first of `factors`; of others none was published.
        factors: The combinations that the file may hold, in index order.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If the file is missing or not the published one.
        OSError: If the file cannot be read, or the cache cannot be written.
    """
    (name, md5), *_ = published.md5.items()
    path = root / name
    if not path.is_file():
        raise published.missing(f"there is no file {path}")
    found = _factors_of_file(path, factors)
    return converted(
        published.name,
        [path],
        lambda: _blocks(path),
        shape=(found.size, *_IMAGE_SHAPE[1:], _IMAGE_SHAPE[0]),
        factors=found,
        md5={path: md5} if found is factors[0] else {},
        cache=cache,
    )


def _factors_of_file(path: Path, factors: Sequence[FactorSpace]) -> FactorSpace:
    """Return the factors whose number of combinations is the number of images."""
    with open_npz(path, described=str(path)) as file:
        header = file.header("images")
    shapes = [(each.size, *_IMAGE_SHAPE[1:], _IMAGE_SHAPE[0]) for each in factors]
    if header.shape not in shapes or header.dtype != np.uint8:
        raise InputError(
            f"images of {path} must be uint8 of shape {' or '.join(map(str, shapes))}, but are {header.dtype} of shape "
            f"{header.shape}."
        )
    return factors[shapes.index(header.shape)]


def _blocks(path: Path) -> Iterator[Pixels]:
    with open_npz(path, described=str(path)) as file:
        yield from file.blocks("images")


@dataclass(frozen=True, kw_only=True)
class MPI3DToyDataset(Dataset):
    """A robot arm, rendered simply: 1,036,800 images of 64 x 64, in three channels, from the official file.

    An older file of 460,800 images, with 4 colours and 4 shapes, is read too.
    """

    name = MPI3D["toy"].name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the file below $DISENTANGLEMENT_LIB_DATA by `open_mpi3d`."""
        published = MPI3D["toy"]
        return open_mpi3d(data_root(published), published, factors=(MPI3D_FACTORS, OLDER_TOY_FACTORS))


@dataclass(frozen=True, kw_only=True)
class MPI3DRealisticDataset(Dataset):
    """A robot arm, rendered realistically: 1,036,800 images of 64 x 64, in three channels, from the official file."""

    name = MPI3D["realistic"].name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the file below $DISENTANGLEMENT_LIB_DATA by `open_mpi3d`."""
        return open_mpi3d(data_root(MPI3D["realistic"]), MPI3D["realistic"])


@dataclass(frozen=True, kw_only=True)
class MPI3DRealDataset(Dataset):
    """A robot arm, photographed: 1,036,800 images of 64 x 64, in three channels, from the official file."""

    name = MPI3D["real"].name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the file below $DISENTANGLEMENT_LIB_DATA by `open_mpi3d`."""
        return open_mpi3d(data_root(MPI3D["real"]), MPI3D["real"])
