"""dSprites as packed bits, memory-mapped from a per-user cache, with batches unpacked where they are used."""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from betavae.data.cache import cache_folder, ensure_cached, load_cached, say, sha256_of_file
from betavae.data.factors import DSPRITES_FACTORS, FactorSpace
from betavae.data.official import official_blocks
from betavae.data.render import IMAGE_BYTES, IMAGE_SIDE, NUM_BLOCKS, RENDERED_FINGERPRINT, PackedImages, render_blocks
from betavae.progress import tracked

OFFICIAL_FILE = Path("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz")
"""Where the official file lies below $DISENTANGLEMENT_LIB_DATA."""


@dataclass(frozen=True, eq=False)
class DSprites:
    """Binary 64x64 images of three shapes, one per combination of the factors, in index order.

    `DSprites.open` gives the whole set. Give the fields to make a small set of your own.

    Attributes:
        packed: Pixels, (images, 512) uint8, row by row as `np.packbits` packs them. Read-only and mapped when opened.
        factors: What index i shows: `factors.indices_to_factors`.
        source: "rendered" from the published geometry, or read from the official "file". The rendered set is not
            bit-identical to the file: an estimated 50 to 75 of the 737,280 images differ by one pixel.
        fingerprint: SHA-256 of `packed`, in hexadecimal.
        path: The cache file behind `packed`, if there is one.

    Raises:
        ValueError: If `packed` does not have one row of 512 bytes per combination.

    Source:
        Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset (Apache-2.0).
    """

    packed: PackedImages = field(repr=False)
    factors: FactorSpace = field(repr=False)
    source: Literal["rendered", "file"]
    fingerprint: str
    path: Path | None = None
    _device_copies: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.packed.shape != (self.factors.size, IMAGE_BYTES):
            raise ValueError(f"packed must have shape {(self.factors.size, IMAGE_BYTES)}, but got {self.packed.shape}.")

    @classmethod
    def open(cls, *, cache: str | Path | None = None, npz: str | Path | None = None) -> "DSprites":
        """Open the whole set: 737,280 images, 377 MB mapped from the cache, which is filled on first use.

        The first open renders (a few seconds) or reads the official file (about ten), under a lock; processes that
        open at once wait for the one that does. A later open takes milliseconds: it looks at the cached file's size
        and modification time alone, and only where these have changed does it hash the file, and make it again if it
        is wrong. Damage that leaves both as they were is found by `verify` alone.

        Args:
            cache: The cache folder. None: $BETAVAE_CACHE, or else the user's cache folder of the platform.
            npz: The official file, used in place of rendering. None: the file in $DISENTANGLEMENT_LIB_DATA, the folder
                that holds `dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`, if that is set and has it.

        Raises:
            OSError: If the cache folder cannot be written, and has to be.
            ValueError: If the official file is not as published; the message names the check that failed.
        """
        folder = cache_folder() if cache is None else Path(cache)
        official = _official_file_from_environment() if npz is None else Path(npz)
        return _open_rendered(folder) if official is None else _open_official(folder, official)

    def __len__(self) -> int:
        return len(self.packed)

    def images(self, indices: np.ndarray | Tensor, device: str | torch.device = "cpu") -> Float[Tensor, "n 1 64 64"]:
        """Return images as float32, 0 (black) or 1 (white), on a device.

        On the CPU they come from the map. The first call for another device copies the whole packed set there (377 MB);
        after that neither pixels nor, if they are there already, indices cross over, and the host does not wait.

        Args:
            indices: n image numbers, in any order; negative ones count from the end.
            device: Where to put the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range. On a GPU, PyTorch's device-side assertion instead.
        """
        _check_indices(indices)
        if torch.device(device).type == "cpu":
            return _unpacked_on_host(self.packed[indices.numpy(force=True) if isinstance(indices, Tensor) else indices])
        packed = self._packed_on(device)
        rows = indices if isinstance(indices, Tensor) else torch.tensor(indices)
        return unpacked_images(packed[rows.to(packed.device, torch.int64)])

    def verify(self) -> None:
        """Hash all pixels (a fraction of a second when they are in memory) and compare with the fingerprint.

        Raises:
            ValueError: If they differ: the cache file has changed since it was written.
        """
        actual = hashlib.sha256(np.ascontiguousarray(self.packed).data).hexdigest()
        if actual != self.fingerprint:
            fix = f"delete {self.path} and open it again" if self.path else "pass the right fingerprint"
            raise ValueError(f"The pixels must have SHA-256 {self.fingerprint}, but have {actual}; {fix}.")

    def __reduce__(self) -> NoReturn:
        # Else every worker would be sent 377 MB that it could map.
        raise TypeError(
            "A DSprites cannot be pickled or copied; call DSprites.open() in the worker: it shares the memory."
        )

    def _packed_on(self, device: str | torch.device) -> UInt8[Tensor, "images 512"]:
        key = torch.empty(0, device=device).device  # "cuda" and "cuda:0" are one device, and hold one copy
        if key not in self._device_copies:
            self._device_copies[key] = torch.tensor(self.packed, device=key)
        return self._device_copies[key]


def unpacked_images(packed: UInt8[Tensor, "n 512"]) -> Float[Tensor, "n 1 64 64"]:
    """Unpack images on the device that they are on, without the host waiting.

    Args:
        packed: Pixels row by row, eight to a byte, the leftmost in the highest bit.

    Returns:
        float32 images of 0 and 1.
    """
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed[:, :, None] >> shifts) & 1
    return bits.reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE).to(torch.float32)


def _unpacked_on_host(packed: UInt8[np.ndarray, "n 512"]) -> Float[Tensor, "n 1 64 64"]:
    """Do the same seven times faster on a CPU, by NumPy's own unpacking."""
    bits = torch.from_numpy(np.unpackbits(packed, axis=1))
    return bits.view(-1, 1, IMAGE_SIDE, IMAGE_SIDE).to(torch.float32)


def _check_indices(indices: np.ndarray | Tensor) -> None:
    if isinstance(indices, Tensor):
        integral = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    else:
        integral = indices.dtype.kind in "iu"
    if not integral or indices.ndim != 1:
        shape = tuple(indices.shape)
        raise ValueError(f"indices must be a vector of integers, but got {indices.dtype} of shape {shape}.")


def _official_file_from_environment() -> Path | None:
    root = os.environ.get("DISENTANGLEMENT_LIB_DATA")
    if not root:
        return None
    path = Path(root) / OFFICIAL_FILE
    if path.is_file():
        return path
    say(f"$DISENTANGLEMENT_LIB_DATA is set, but there is no {path}; using rendered dSprites.")
    return None


def _open_rendered(folder: Path) -> DSprites:
    path = folder / f"dsprites-rendered-{RENDERED_FINGERPRINT[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: _with_progress(render_blocks(), "Rendering dSprites, once per machine"),
        num_images=DSPRITES_FACTORS.size,
        source="rendered",
        fingerprint=RENDERED_FINGERPRINT,
    )
    return DSprites(load_cached(path), DSPRITES_FACTORS, "rendered", record.sha256, path)


def _open_official(folder: Path, npz: Path, factors: FactorSpace = DSPRITES_FACTORS) -> DSprites:
    if not npz.is_file():
        raise ValueError(f"npz must be the official dSprites file, but there is no file {npz}.")
    # Named by content: a file that is moved keeps its cache, one that is changed does not get another's.
    path = folder / f"dsprites-file-{sha256_of_file(npz)[:12]}.npy"
    record = ensure_cached(
        path,
        lambda: _with_progress(official_blocks(npz, factors), f"Reading {npz}, once per machine"),
        num_images=factors.size,
        source="file",
    )
    return DSprites(load_cached(path), factors, "file", record.sha256, path)


def _with_progress(blocks: Iterable[PackedImages], description: str) -> Iterable[PackedImages]:
    """Show a bar to a person, one line to a log."""
    if not sys.stderr.isatty():
        say(f"{description} ...")
    return tracked(blocks, description, total=NUM_BLOCKS)
