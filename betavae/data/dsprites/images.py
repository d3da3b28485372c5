"""dSprites as packed bits: memory-mapped from a per-user cache, unpacked in batches on the device that uses them."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from betavae.arrays import ArrayLike, as_byte_tensor, as_bytes, as_index_tensor, as_indices
from betavae.bars import tracked
from betavae.data.base import FactorImages, ImageShape
from betavae.data.cache import (
    DATA_VARIABLE,
    cache_folder,
    check_mapped,
    ensure_cached,
    folder_from_environment,
    load_cached,
    say,
    sha256_of_file,
)
from betavae.data.dsprites.official import official_blocks
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.data.dsprites.render import (
    IMAGE_BYTES,
    IMAGE_SIDE,
    NUM_BLOCKS,
    RENDERED_FINGERPRINT,
    PackedImages,
    render_blocks,
)
from betavae.data.factors import FactorSpace
from betavae.errors import InputError

IMAGE_SHAPE: ImageShape = (1, IMAGE_SIDE, IMAGE_SIDE)

OFFICIAL_FILE = Path("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz")
"""Path of the official file below $DISENTANGLEMENT_LIB_DATA."""

_VERIFIED_IMAGES = 2**14
"""Number of images that are hashed at a time: 8 MiB."""


@dataclass(frozen=True, eq=False)
class DSprites(FactorImages):
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
    _device_copies: dict[torch.device, Tensor] = field(init=False, repr=False)

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
            npz: The official file, read in place of rendering. None: the file below $DISENTANGLEMENT_LIB_DATA, the
                folder that holds `dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`, if the variable is set.

        Raises:
            OSError: If the cache folder must be written and cannot be, or is a file, or the user has no home folder.
            InputError: If $DISENTANGLEMENT_LIB_DATA is set and does not hold the official file, or the file is not as
                published; the message names the check that failed.
        """
        folder = cache_folder() if cache is None else Path(cache).expanduser().absolute()
        official = _official_file_from_environment() if npz is None else Path(npz).expanduser()
        return _open_rendered(folder) if official is None else _open_official(folder, official)

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> Float[Tensor, "n 1 64 64"]:
        """Return images as float32, 0 (black) or 1 (white), on a device.

        On the CPU, images are read from the map. The first call for another device copies the whole packed set to it
        (377 MB). After that no pixels are copied between devices, nor indices that are on the device already, and the
        host does not wait.

        Args:
            indices: n image numbers, in any order: an array, a tensor or a list. Negative numbers count from the end.
            device: The device of the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range; for indices on a GPU, PyTorch's device-side assertion instead.
            OSError: If the cache file has been truncated since it was opened.
        """
        if torch.device(device).type == "cpu":
            rows = as_indices("indices", indices, size=len(self))
            check_mapped(self.packed, self.path)
            return _unpacked_on_host(self.packed[rows])
        packed = self._packed_on(device)
        return unpacked_images(packed[as_index_tensor("indices", indices, size=len(self), device=packed.device)])

    def verify(self) -> None:
        """Hash all pixels, in a fraction of a second if they are in memory, and compare with the fingerprint.

        The hash is of the cache file as it is now. Copies on other devices are not checked: they hold the file as it
        was at the first call of `images` for the device.

        Raises:
            ValueError: If they differ: the cache file has changed since it was written.
            OSError: If the cache file has been truncated since it was opened.
        """
        digest = hashlib.sha256()
        for start in range(0, len(self), _VERIFIED_IMAGES):
            check_mapped(self.packed, self.path)
            digest.update(np.ascontiguousarray(self.packed[start : start + _VERIFIED_IMAGES]).data)
        if digest.hexdigest() != self.fingerprint:
            fix = (
                f"the file has been overwritten, and scores taken since are wrong: delete {self.path} and open it again"
                if self.path
                else "pass the right fingerprint"
            )
            raise ValueError(f"The pixels must have SHA-256 {self.fingerprint}, but have {digest.hexdigest()}; {fix}.")

    def __reduce__(self) -> NoReturn:
        # A worker would be sent 377 MB that it could map.
        raise TypeError(
            "A DSprites cannot be pickled or copied; call DSprites.open() in the worker: it shares the memory."
        )

    def _packed_on(self, device: str | torch.device) -> UInt8[Tensor, "images 512"]:
        key = torch.empty(0, device=device).device  # "cuda" and "cuda:0" are one device, and hold one copy
        if key not in self._device_copies:
            check_mapped(self.packed, self.path)
            self._device_copies[key] = torch.tensor(self.packed, device=key)
        return self._device_copies[key]


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


def _unpacked_on_host(packed: UInt8[np.ndarray, "n 512"]) -> Float[Tensor, "n 1 64 64"]:
    """Return the same as `unpacked_images` by NumPy, seven times faster on a CPU."""
    bits = torch.from_numpy(np.unpackbits(packed, axis=1))
    return bits.view(-1, 1, IMAGE_SIDE, IMAGE_SIDE).to(torch.float32)


def _official_file_from_environment() -> Path | None:
    root = folder_from_environment(DATA_VARIABLE)
    if root is None:
        return None
    path = root / OFFICIAL_FILE
    if not path.is_file():
        came = f"{root} is a file" if root.is_file() else f"there is no {path}"
        raise InputError(
            f"${DATA_VARIABLE} must be the folder that holds {OFFICIAL_FILE}, but {came}. Set it to that folder, or "
            "unset it to use rendered dSprites."
        )
    return path


def _open_rendered(folder: Path) -> DSprites:
    path = folder / f"dsprites-rendered-{RENDERED_FINGERPRINT[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: _with_progress(render_blocks(), "Rendering dSprites, once per machine"),
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
        lambda: _with_progress(official_blocks(npz, factors), f"Reading {npz}, once per machine"),
        shape=(factors.size, IMAGE_BYTES),
        source="file",
    )
    return DSprites(load_cached(path), factors, "file", record.sha256, path)


def _with_progress(blocks: Iterable[PackedImages], description: str) -> Iterable[PackedImages]:
    """Return the blocks, with a bar on a terminal; elsewhere write one line."""
    if not sys.stderr.isatty():
        say(f"{description} ...")
    return tracked(blocks, description, total=NUM_BLOCKS)
