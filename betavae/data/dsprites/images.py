"""dSprites as packed bits: memory-mapped from a per-user cache, unpacked in batches on the device that uses them."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from betavae.arrays import ArrayLike, as_byte_tensor, as_bytes
from betavae.data.base import ImageShape
from betavae.data.cache import (
    DATA_VARIABLE,
    cache_folder,
    ensure_cached,
    folder_from_environment,
    load_cached,
    sha256_of_file,
    with_progress,
)
from betavae.data.dsprites.official import official_blocks
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.data.dsprites.render import (
    IMAGE_BYTES,
    IMAGE_SIDE,
    RENDERED_FINGERPRINT,
    PackedImages,
    render_blocks,
)
from betavae.data.factors import FactorSpace
from betavae.data.stored import StoredImages
from betavae.errors import InputError

IMAGE_SHAPE: ImageShape = (1, IMAGE_SIDE, IMAGE_SIDE)

OFFICIAL_FILE = Path("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz")
"""Path of the official file below $DISENTANGLEMENT_LIB_DATA."""


@dataclass(frozen=True, eq=False)
class DSprites(StoredImages):
    """Binary 64x64 images of three shapes, one per combination of the factors, in index order.

    `DSprites.open` returns the whole set. The constructor makes a small set of your own.

    Attributes:
        packed: Pixels, (images, 512) uint8, row by row as `np.packbits` packs them; read-only and mapped if opened.
            Lists, tensors and other integers become a uint8 array.
        factors: The factors; `factors.indices_to_factors` gives those of an image.
        source: "rendered" from the published geometry, or "file" for the official file. The rendered set is not
            bit-identical to the file: an estimated 50 to 75 of the 737,280 images differ by one pixel.
        fingerprint: SHA-256 of `packed`, in hexadecimal.
        path: The cache file behind `packed`; None if there is none.

    Raises:
        ValueError: If `packed` is not bytes, or does not have one row of 512 bytes per combination.

    Source:
        Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset (Apache-2.0).
    """

    packed: PackedImages = field(repr=False)
    factors: FactorSpace = field(repr=False)
    source: Literal["rendered", "file"]
    fingerprint: str
    path: Path | None = None
    _device_copies: dict[torch.device, Tensor | None] = field(init=False, repr=False)

    def __init__(
        self,
        packed: ArrayLike,
        factors: FactorSpace,
        source: Literal["rendered", "file"],
        fingerprint: str,
        path: Path | None = None,
    ) -> None:
        values: tuple[object, ...] = (as_bytes("packed", packed), factors, source, fingerprint, path, {})
        for attribute, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, attribute.name, value)  # the class is frozen
        if self.packed.shape != (self.factors.size, IMAGE_BYTES):
            raise ValueError(f"packed must have shape {(self.factors.size, IMAGE_BYTES)}, but got {self.packed.shape}.")

    @property
    def stored(self) -> PackedImages:
        """The packed pixels."""
        return self.packed

    @property
    def image_shape(self) -> ImageShape:
        """One channel, 64 rows, 64 columns."""
        return IMAGE_SHAPE

    @classmethod
    def open(cls, *, cache: str | Path | None = None, npz: str | Path | None = None) -> "DSprites":
        """Open the whole set: 737,280 images, 377 MB mapped from the cache, which is filled on first use.

        The first call renders the images (a few seconds) or reads the official file (about ten), under a lock; other
        processes wait for it. A later call takes milliseconds: it compares the cached file's size and modification time
        with its record. Only if these differ, it hashes the file, and makes it again if it is wrong. Damage that
        changes neither, or happens while the file is in use, is found by `verify` alone.

        Args:
            cache: The cache folder. None: $BETAVAE_CACHE, or else the platform's cache folder of the user.
            npz: The official file, read in place of rendering. None: the file
                `dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz` below $DISENTANGLEMENT_LIB_DATA. The images
                are rendered if the variable is not set, or that folder has no folder `dsprites`.

        Raises:
            OSError: If the cache folder must be written and cannot be, or is a file, or the user has no home folder.
            InputError: If $DISENTANGLEMENT_LIB_DATA is set and does not hold the official file, or the file is not as
                published; the message names the check that failed.
        """
        folder = cache_folder() if cache is None else Path(cache).expanduser().absolute()
        official = _official_file_from_environment() if npz is None else Path(npz).expanduser()
        return _open_rendered(folder) if official is None else _open_official(folder, official)

    def decoded(self, rows: UInt8[Tensor, "n 512"]) -> Float[Tensor, "n 1 64 64"]:
        """Return the images of packed rows, 0 (black) or 1 (white), by `unpacked_images`."""
        return unpacked_images(rows)

    def decoded_on_host(self, rows: UInt8[np.ndarray, "n 512"]) -> Float[Tensor, "n 1 64 64"]:
        """Return the same as `decoded` by NumPy, seven times faster on a CPU."""
        bits = torch.from_numpy(np.unpackbits(rows, axis=1))
        return bits.view(-1, 1, IMAGE_SIDE, IMAGE_SIDE).to(torch.float32)


def unpacked_images(packed: ArrayLike) -> Float[Tensor, "n 1 64 64"]:
    """Return packed images as float32, 0 or 1, on their own device; the host does not wait.

    Args:
        packed: Pixels, (n, 512), row by row, eight to a byte, the leftmost in the highest bit.

    Raises:
        ValueError: If `packed` is not n rows of 512 bytes.
    """
    rows = as_byte_tensor("packed", packed)
    if rows.ndim != 2 or rows.shape[1] != IMAGE_BYTES:
        raise ValueError(f"packed must have shape (n, {IMAGE_BYTES}), but got {tuple(rows.shape)}.")
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=rows.device)
    bits = (rows[:, :, None] >> shifts) & 1
    return bits.reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE).to(torch.float32)


def _official_file_from_environment() -> Path | None:
    """Return the official file; None if no folder of data sets is named, or it has no folder `dsprites`."""
    root = folder_from_environment(DATA_VARIABLE)
    if root is None:
        return None
    path = root / OFFICIAL_FILE
    if path.is_file():
        return path
    holds_other_sets = root.is_dir() and not path.parent.exists() and not (root / path.name).exists()
    if holds_other_sets:
        return None
    came = f"{root} is {'no folder' if root.exists() else 'not there'}" if not root.is_dir() else f"there is no {path}"
    raise InputError(
        f"--data-root or ${DATA_VARIABLE} must be the folder that holds {OFFICIAL_FILE}, but {came}. Name that folder, "
        "or none to use rendered dSprites."
    )


def _open_rendered(folder: Path) -> DSprites:
    path = folder / f"dsprites-rendered-{RENDERED_FINGERPRINT[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: with_progress(render_blocks(), "Rendering dSprites", num_rows=DSPRITES_FACTORS.size),
        shape=(DSPRITES_FACTORS.size, IMAGE_BYTES),
        source="rendered",
        fingerprint=RENDERED_FINGERPRINT,
    )
    return DSprites(load_cached(path), DSPRITES_FACTORS, "rendered", record.sha256, path)


def _open_official(folder: Path, npz: Path, factors: FactorSpace = DSPRITES_FACTORS) -> DSprites:
    if not npz.is_file():
        raise InputError(f"npz must be the official dSprites file, but there is no file {npz}.")
    # Named by content: a moved file keeps its cache, and a changed file gets another.
    path = folder / f"dsprites-file-{sha256_of_file(npz)[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: with_progress(official_blocks(npz, factors), f"Reading {npz}", num_rows=factors.size),
        shape=(factors.size, IMAGE_BYTES),
        source="file",
    )
    return DSprites(load_cached(path), factors, "file", record.sha256, path)
