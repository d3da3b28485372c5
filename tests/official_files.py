"""Small files in the layout of the official ones, with random images."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

from betavae.data.cars3d import cars3d_factors, open_cars3d
from betavae.data.factors import FactorSpace
from betavae.data.mpi3d import MPI3D, open_mpi3d
from betavae.data.shapes3d import SHAPES3D, open_shapes3d
from betavae.data.smallnorb import SMALLNORB_FACTORS, open_smallnorb
from betavae.data.sources import Published, digests_of
from betavae.data.stored import ArrayImages

NORB_PARTS = ("5x46789x9x18x6x2x96x96-training", "5x01235x9x18x6x2x96x96-testing")


def small(factors: FactorSpace, sizes: tuple[int, ...]) -> FactorSpace:
    """Return the same factors with fewer values each."""
    values = [row[:size] for row, size in zip(factors.values, sizes, strict=True)]
    return FactorSpace(
        factors.names, values, categorical=factors.categorical, cyclic=factors.cyclic, lines=factors.lines
    )


def as_published(published: Published, path: Path, name: str, cache: Path) -> Published:
    """Return the description of a set whose published file is a small one."""
    return replace(published, md5={name: digests_of(path, folder=cache).md5})


def random_images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


SHAPES3D_SIZES = (2, 3, 2, 2, 2, 2)


def write_shapes3d(root: Path, *, order: np.ndarray | None = None) -> np.ndarray:
    """Write a small `3dshapes.h5`, with the images in another order if one is given; return the images in order."""
    from betavae.data.shapes3d import SHAPES3D_FACTORS

    factors = small(SHAPES3D_FACTORS, SHAPES3D_SIZES)
    images = random_images(factors.size, 64, 64, 3)
    indices = factors.indices_to_factors(np.arange(factors.size))
    columns = [np.array(values, float)[column] for values, column in zip(factors.values, indices.T, strict=True)]
    labels, order = np.stack(columns, axis=1), np.arange(factors.size) if order is None else order
    (root / "3dshapes").mkdir(parents=True)
    with h5py.File(root / "3dshapes" / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images[order], compression="gzip")
        file.create_dataset("labels", data=labels[order])
    return images


def open_small_shapes3d(root: Path, cache: Path) -> ArrayImages:
    from betavae.data.shapes3d import SHAPES3D_FACTORS

    path = root / "3dshapes" / "3dshapes.h5"
    published = as_published(SHAPES3D, path, "3dshapes/3dshapes.h5", cache) if path.is_file() else SHAPES3D
    return open_shapes3d(root, factors=small(SHAPES3D_FACTORS, SHAPES3D_SIZES), published=published, cache=cache)


MPI3D_SIZES = (2, 2, 2, 2, 2, 3, 2)


def write_mpi3d(
    root: Path, kind: str = "toy", sizes: tuple[int, ...] = MPI3D_SIZES, **arrays: np.ndarray
) -> np.ndarray:
    images = random_images(int(np.prod(sizes)), 64, 64, 3)
    (root / f"mpi3d_{kind}").mkdir(parents=True)
    np.savez_compressed(root / f"mpi3d_{kind}" / f"mpi3d_{kind}.npz", **({"images": images} | arrays))
    return images


def open_small_mpi3d(root: Path, cache: Path, kind: str = "toy") -> ArrayImages:
    from betavae.data.mpi3d import MPI3D_FACTORS

    name = f"mpi3d_{kind}/mpi3d_{kind}.npz"
    path = root / name
    published = as_published(MPI3D[kind], path, name, cache) if path.is_file() else MPI3D[kind]
    factors = [small(MPI3D_FACTORS, MPI3D_SIZES), small(MPI3D_FACTORS, (1, *MPI3D_SIZES[1:]))]
    return open_mpi3d(root, published, factors=factors, cache=cache)


NUM_CARS = 3


def write_cars3d(root: Path) -> np.ndarray:
    """Write some cars; return their images of 128 x 128, by car, elevation and azimuth."""
    # smooth, so that scaling keeps them apart
    coarse = random_images(NUM_CARS, 4, 24, 8, 8, 3)
    images = coarse.repeat(16, axis=3).repeat(16, axis=4)
    (root / "cars").mkdir(parents=True)
    for number, name in enumerate(("001", "010", "2")):  # in alphabetical order
        stored = np.transpose(images[number], (2, 3, 4, 1, 0))
        savemat(root / "cars" / f"car_{name}_mesh.mat", {"im": np.ascontiguousarray(stored)}, do_compression=True)
    return images


def open_small_cars3d(root: Path, cache: Path) -> ArrayImages:
    return open_cars3d(root, num_cars=NUM_CARS, cache=cache)


NORB_SIZES = (5, 2, 3, 2)
NORB_FACTORS = small(SMALLNORB_FACTORS, NORB_SIZES)
NUM_INSTANCES = 4  # two in each part


def norb_bytes(array: np.ndarray) -> bytes:
    """Return an array in NORB's binary format."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[array.dtype.name]
    sizes = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<ii{len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


def write_smallnorb(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the six files in no order; return factors and instance, and the first camera's images, of 96 x 96."""
    generator = np.random.default_rng(1)
    (root / "small_norb").mkdir(parents=True)
    tables, pictures = [], []
    for part, instances in zip(NORB_PARTS, ((4, 6), (0, 1)), strict=True):
        grid = NORB_FACTORS.indices_to_factors(np.arange(NORB_FACTORS.size))
        table = np.concatenate([np.hstack([grid, np.full((len(grid), 1), each)]) for each in instances])
        table = table[generator.permutation(len(table))].astype(np.int32)
        coarse = generator.integers(0, 256, (len(table), 2, 6, 6), dtype=np.uint8)
        pairs = coarse.repeat(16, axis=2).repeat(16, axis=3)
        category, elevation, azimuth, lighting, instance = table.T
        info = np.stack([instance, elevation, 2 * azimuth, lighting], axis=1)
        for kind, array in (("dat", pairs), ("cat", category), ("info", info)):
            path = root / "small_norb" / f"smallnorb-{part}-{kind}.mat"
            path.write_bytes(norb_bytes(np.ascontiguousarray(array)))
        tables.append(table)
        pictures.append(pairs[:, 0])
    return np.concatenate(tables), np.concatenate(pictures)


def open_small_smallnorb(root: Path, cache: Path) -> ArrayImages:
    return open_smallnorb(root, factors=NORB_FACTORS, num_instances=NUM_INSTANCES, cache=cache)


def write_own_file(path: Path, *, num_images: int = 70, **arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    """Write a file of one's own, part of a grid of three factors; None leaves an array out."""
    generator = np.random.default_rng(2)
    content: dict[str, np.ndarray | None] = {
        "images": random_images(num_images, 64, 64, 3),
        "factors": np.stack([generator.permuted(np.arange(num_images) % size) for size in (3, 4, 5)], axis=1),
        "names": np.array(["kind", "size", "angle"]),
    }
    kept = {name: array for name, array in (content | arrays).items() if array is not None}
    np.savez(path, **kept)
    return kept


def _open_written(write: Callable[[Path], object], open_small: Callable[[Path, Path], ArrayImages]):
    def opened(folder: Path) -> ArrayImages:
        write(folder / "root")
        (folder / "cache").mkdir()
        return open_small(folder / "root", folder / "cache")

    return opened


SMALL_SETS: dict[str, Callable[[Path], ArrayImages]] = {
    "shapes3d": _open_written(write_shapes3d, open_small_shapes3d),
    "mpi3d-toy": _open_written(write_mpi3d, open_small_mpi3d),
    "mpi3d-realistic": _open_written(
        lambda root: write_mpi3d(root, "realistic"), lambda root, cache: open_small_mpi3d(root, cache, "realistic")
    ),
    "mpi3d-real": _open_written(
        lambda root: write_mpi3d(root, "real"), lambda root, cache: open_small_mpi3d(root, cache, "real")
    ),
    "cars3d": _open_written(write_cars3d, open_small_cars3d),
    "smallnorb": _open_written(write_smallnorb, open_small_smallnorb),
}
"""By name of a data set of official files: write small ones into a folder, and open them."""

assert cars3d_factors(NUM_CARS).size == NUM_CARS * 96
