"""Read the official dSprites file as a stream: 8 MB at a time instead of 3 GB, and without pickles.

Of the file's members only `imgs` and `latents_classes` are opened, or `latents_values` in a file without classes.
Neither may hold objects, so nothing in the file can run code; `metadata`, which is a pickle, is not opened.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from betavae.arrays import ArrayLike, as_bytes, as_integers
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.data.dsprites.render import IMAGE_BYTES, IMAGE_SIDE, PackedImages
from betavae.data.factors import FactorSpace, value_ranks
from betavae.data.npz import NpzFile, open_npz
from betavae.errors import InputError


def official_blocks(npz: Path, factors: FactorSpace = DSPRITES_FACTORS) -> Iterator[PackedImages]:
    """Read, check and pack the images of the official file, in index order.

    Args:
        npz: The file `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`.
        factors: The combinations that the file must hold, without the colour.

    Yields:
        Blocks of packed images.

    Raises:
        InputError: If the file is not as published; the message names the check that failed.
    """
    with open_npz(npz, described="npz") as file:
        _check_order(file, factors)
        check_header(file, "imgs", shape=(factors.size, IMAGE_SIDE, IMAGE_SIDE), dtype=np.dtype(np.uint8))
        for pixels in file.blocks("imgs"):
            check_values(pixels)
            yield np.packbits(pixels).reshape(-1, IMAGE_BYTES)


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


def check_header(file: NpzFile, name: str, *, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """Check the shape and the type of an array.

    Raises:
        InputError: If it has another shape or type.
    """
    header = file.header(name)
    if header.shape != shape:
        raise InputError(f"{name} must have shape {shape}, but has {header.shape}.")
    if header.dtype != dtype:
        raise InputError(f"{name} must be {dtype}, but is {header.dtype}.")


def _check_order(file: NpzFile, factors: FactorSpace) -> None:
    shape = (factors.size, factors.num_factors + 1)
    if "latents_classes" not in file.names and "latents_values" in file.names:
        check_header(file, "latents_values", shape=shape, dtype=np.dtype(np.float64))
        check_classes(value_ranks(file.array("latents_values")), factors)
        return
    check_header(file, "latents_classes", shape=shape, dtype=np.dtype(np.int64))
    check_classes(file.array("latents_classes"), factors)
