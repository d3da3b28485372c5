"""Small NORB: toys seen by a camera from many sides in several lights, from the official files.

Source:
    LeCun et al. 2004, cs.nyu.edu/~ylclab/data/norb-v1.0-small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from betavae.data.base import Dataset, ImageShape
from betavae.data.cache import Pixels
from betavae.data.factors import FactorSpace
from betavae.data.resized import SIDE, resized
from betavae.data.sources import Published, converted, data_root
from betavae.data.stored import ArrayImages
from betavae.errors import InputError

_IMAGE_SHAPE: ImageShape = (1, SIDE, SIDE)
_STORED_SIDE = 96
_NUM_CAMERAS = 2
_BLOCK_IMAGES = 1000
_LEAST_SIZES = 3  # a header holds at least three sizes, whatever the number of axes

_TYPES: dict[int, np.dtype[Any]] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
"""The types of entries, by the magic number of a file."""

_FOLDER = "small_norb"
_PARTS = ("5x46789x9x18x6x2x96x96-training", "5x01235x9x18x6x2x96x96-testing")

SMALLNORB = Published(
    name="smallnorb",
    files=f"the six files {_FOLDER}/smallnorb-...-{{training,testing}}-{{dat,cat,info}}.mat",
    address="cs.nyu.edu/~ylclab/data/norb-v1.0-small",
    size="the six files (0.9 GB, unpacked by gunzip)",
    md5={},
)

SMALLNORB_FACTORS = FactorSpace(
    names=("category", "elevation", "azimuth", "lighting"),
    values=(
        ("animal", "human", "airplane", "truck", "car"),
        range(30, 75, 5),  # degrees above the horizon
        range(0, 360, 20),
        range(6),
    ),
    categorical=("category", "lighting"),
    cyclic=("azimuth",),
    lines="category",
)


@dataclass(frozen=True)
class _Toys:
    """What the files say of their images, in the order of the files.

    Attributes:
        factors: Factor indices, one row per image.
        instances: The number of the toy in its category.
    """

    factors: Int[np.ndarray, "images factors"]
    instances: Int[np.ndarray, " images"]

    @property
    def order(self) -> Int[np.ndarray, " images"]:
        """Image numbers in the order of the factors, then of the instance."""
        order: Int[np.ndarray, " images"] = np.lexsort((self.instances, *self.factors.T[::-1]))
        return order


def open_smallnorb(
    root: Path, *, factors: FactorSpace = SMALLNORB_FACTORS, num_instances: int = 10, cache: Path | None = None
) -> ArrayImages:
    """Open the six files below the folder `small_norb` of a folder.

    Training and test images are put together. Of two cameras, the first counts; its images, of 96 x 96 pixels, are
    scaled to 64 x 64 by Pillow's Lanczos filter. The images are in order of their factors. Each combination has ten
    images, one of each toy of its category: the toy is no factor.

    Args:
        root: The folder.
        factors: The combinations that the files must hold.
        num_instances: Number of images of each combination, in both parts together.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If a file is missing or not as published.
        OSError: If a file cannot be read, or the cache cannot be written.
    """
    paths = {(part, kind): root / _FOLDER / f"smallnorb-{part}-{kind}.mat" for part in _PARTS for kind in _KINDS}
    for path in paths.values():
        if not path.is_file():
            raise SMALLNORB.missing(f"there is no file {path}")
    toys = _read_toys(paths, factors, num_instances)
    return converted(
        SMALLNORB.name,
        list(paths.values()),
        lambda: _blocks([paths[part, "dat"] for part in _PARTS], toys),
        shape=(len(toys.instances), SIDE, SIDE, 1),
        factors=factors,
        labels=toys.factors[toys.order],
        cache=cache,
    )


_KINDS = ("dat", "cat", "info")


def _read_toys(paths: dict[tuple[str, str], Path], factors: FactorSpace, num_instances: int) -> _Toys:
    rows = []
    for part in _PARTS:
        category = _array(paths[part, "cat"])
        info = _array(paths[part, "info"])
        if category.ndim != 1 or info.shape != (len(category), 4):
            raise InputError(
                f"{paths[part, 'info']} must have shape ({len(category)}, 4), as many rows as {paths[part, 'cat'].name}"
                f", but has {info.shape}."
            )
        instance, elevation, azimuth, lighting = info.T
        rows.append(np.stack([category, elevation, azimuth // 2, lighting, instance], axis=1))  # azimuth: 0, 2 .. 34
    table = np.concatenate(rows).astype(np.int64)
    labels, instances = table[:, :-1], table[:, -1]
    try:
        combinations = factors.factors_to_indices(labels)
    except ValueError as error:
        raise InputError(
            f"The files below {paths[_PARTS[0], 'cat'].parent} must be Small NORB, but: {error}"
        ) from error
    counts = np.bincount(combinations, minlength=factors.size)
    if (counts != num_instances).any():
        wrong = int(np.flatnonzero(counts != num_instances)[0])
        raise InputError(
            f"The files below {paths[_PARTS[0], 'cat'].parent} must hold {num_instances} images of each combination of "
            f"factors, but hold {counts[wrong]} of {factors.indices_to_factors([wrong])[0].tolist()}."
        )
    return _Toys(labels, instances)


def _blocks(paths: list[Path], toys: _Toys) -> Iterator[Pixels]:
    """Read, check and scale the images, in the order of the factors."""
    parts = [_array(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.shape[1:] != (_NUM_CAMERAS, _STORED_SIDE, _STORED_SIDE) or part.dtype != np.uint8:
            raise InputError(
                f"{path} must hold bytes of shape (images, {_NUM_CAMERAS}, {_STORED_SIDE}, {_STORED_SIDE}), but holds "
                f"{part.dtype} of shape {part.shape}."
            )
    if sum(map(len, parts)) != len(toys.instances):
        raise InputError(
            f"The -dat files must hold {len(toys.instances)} images, as many as the -cat files, but hold "
            f"{sum(map(len, parts))}."
        )
    images = np.concatenate([resized(part[:, 0]) for part in parts])[..., None]
    order = toys.order
    for start in range(0, len(order), _BLOCK_IMAGES):
        yield images[order[start : start + _BLOCK_IMAGES]]


def _array(path: Path) -> np.ndarray:
    """Map an array in the binary format of NORB: little-endian, a magic number, the number of axes, sizes, entries.

    Raises:
        InputError: If the file is of another format, or its size is another than its header says.
    """
    size = path.stat().st_size
    words = np.fromfile(path, "<i4", count=min(2 + 8, size // 4))
    if len(words) < 2 + _LEAST_SIZES or int(words[0]) not in _TYPES or not 1 <= words[1] <= len(words) - 2:
        raise InputError(
            f"{path} must be in the binary format of NORB, of bytes or int32, but begins with {words[:2].tolist()}: "
            "unpack it by gunzip, or get it again."
        )
    dtype, num_axes = _TYPES[int(words[0])], int(words[1])
    shape = tuple(words[2 : 2 + num_axes].tolist())
    offset = 4 * (2 + max(_LEAST_SIZES, num_axes))
    expected = offset + math.prod(shape) * dtype.itemsize
    if min(shape) < 1 or size != expected:
        raise InputError(f"{path} must have {expected} bytes, as its header says, but has {size}: get it again.")
    mapped: np.ndarray = np.memmap(path, dtype, "r", offset, shape)
    return mapped


@dataclass(frozen=True, kw_only=True)
class SmallNORBDataset(Dataset):
    """Toys of five kinds in six lights: 48,600 grey images of 64 x 64, from the official files."""

    name = SMALLNORB.name
    is_published = True
    image_shape = _IMAGE_SHAPE

    def open(self) -> ArrayImages:
        """Open the files below $DISENTANGLEMENT_LIB_DATA by `open_smallnorb`."""
        return open_smallnorb(data_root(SMALLNORB))
