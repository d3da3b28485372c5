"""Read the official dSprites file as a stream: 4 MB at a time instead of 3 GB, and without pickles.

Of the file's members only `imgs` and `latents_classes` are opened. Neither may hold objects, so nothing in the file can
run code; `metadata`, which is a pickle, is not opened.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from betavae.arrays import ArrayLike, as_bytes, as_integers
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.data.dsprites.render import IMAGE_BYTES, IMAGE_SIDE, PackedImages
from betavae.data.factors import FactorSpace
from betavae.errors import InputError

BLOCK_IMAGES = 1024


def official_blocks(npz: Path, factors: FactorSpace = DSPRITES_FACTORS) -> Iterator[PackedImages]:
    """Read, check and pack the images of the official file, in index order.

    Args:
        npz: The file `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`.
        factors: The combinations that the file must hold, without the colour.

    Yields:
        Blocks of up to 1024 packed images.

    Raises:
        InputError: If the file is not as published; the message names the check that failed.
    """
    try:
        with zipfile.ZipFile(npz) as archive:
            _check_order(archive, factors)
            yield from _packed_images(archive, factors.size)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"npz must be the official dSprites file, but {npz} is damaged ({error}); download it again."
        ) from error


def check_classes(classes: ArrayLike, factors: FactorSpace) -> None:
    """Check that images are in index order.

    Args:
        classes: Factor indices of each image, (images, 1 + factors), after a column for the colour.
        factors: The combinations that the rows must list in order.

    Raises:
        InputError: If `classes` is no matrix of integers of that shape, the colour varies, or a row is out of order.
    """
    classes = as_integers("latents_classes", classes, num_axes=2)
    if classes.shape != (expected := (factors.size, factors.num_factors + 1)):
        raise InputError(f"latents_classes must have shape {expected}, but got {classes.shape}.")
    if classes[:, 0].any():
        raise InputError("latents_classes must have colour 0 in every row, but it varies: this is not dSprites.")
    wrong = np.flatnonzero((classes[:, 1:] != factors.indices_to_factors(np.arange(factors.size))).any(axis=1))
    if wrong.size:
        raise InputError(f"latents_classes must be in index order, but row {wrong[0]} is {classes[wrong[0]].tolist()}.")


def check_values(pixels: ArrayLike) -> None:
    """Check that pixels are black or white.

    Raises:
        InputError: If a pixel is neither 0 nor 1.
    """
    largest = as_bytes("imgs", pixels).max(initial=0)
    if largest > 1:
        raise InputError(f"imgs must hold 0 and 1 only, but holds {largest}.")


def _check_order(archive: zipfile.ZipFile, factors: FactorSpace) -> None:
    shape = (factors.size, factors.num_factors + 1)
    blocks = _array_blocks(archive, "latents_classes", shape=shape, dtype=np.dtype(np.int64))
    check_classes(np.concatenate(list(blocks)), factors)


def _packed_images(archive: zipfile.ZipFile, num_images: int) -> Iterator[PackedImages]:
    shape = (num_images, IMAGE_SIDE, IMAGE_SIDE)
    for pixels in _array_blocks(archive, "imgs", shape=shape, dtype=np.dtype(np.uint8)):
        check_values(pixels)
        yield np.packbits(pixels).reshape(-1, IMAGE_BYTES)


def _array_blocks(
    archive: zipfile.ZipFile, name: str, *, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> Iterator[np.ndarray]:
    """Yield an array in blocks of rows, after a check of its header."""
    if f"{name}.npy" not in archive.namelist():
        raise InputError(f"npz must hold {name}, but holds {archive.namelist()}.")
    with archive.open(f"{name}.npy") as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise InputError(f"{name} must be in npy format (1, 0), but is in {version}.")
        _check_header(name, np.lib.format.read_array_header_1_0(file), shape=shape, dtype=dtype)
        for start in range(0, shape[0], BLOCK_IMAGES):
            block_shape = (min(BLOCK_IMAGES, shape[0] - start), *shape[1:])
            content = file.read(math.prod(block_shape) * dtype.itemsize)
            yield np.frombuffer(content, dtype=dtype).reshape(block_shape)


def _check_header(
    name: str,
    header: tuple[tuple[int, ...], bool, np.dtype[np.generic]],
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
) -> None:
    found_shape, column_major, found_dtype = header
    if found_shape != shape or column_major:
        order = "column-major" if column_major else "row-major"
        raise InputError(f"{name} must have shape {shape}, row-major, but has {found_shape}, {order}.")
    if found_dtype != dtype:
        raise InputError(f"{name} must be {dtype}, but is {found_dtype}.")
