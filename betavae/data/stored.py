"""Images that lie in one array: mapped into memory, and copied to a GPU where it has room."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from betavae.arrays import ArrayLike, as_bytes, as_index_tensor, as_indices
from betavae.data.base import FactorImages, ImageShape
from betavae.data.cache import check_mapped, say
from betavae.data.factors import FactorSpace

_VERIFIED_BYTES = 2**23
_FAST_BYTES = 10**9
_SHARE_OF_MEMORY = 0.5
"""The share of a GPU's free memory that a data set may take: the rest is for networks, and for other trials."""


class StoredImages(FactorImages):
    """Images in one array of bytes, one row per image.

    On the CPU, images are read from the array, which is a map of a file for a set that was opened. The first call for
    another device copies the whole array to it. After that no pixels are copied between devices, nor indices that are
    on the device already, and the host does not wait. A set that would take more than half of a GPU's free memory stays
    on the host: one line on stderr says so, and each batch is copied.

    Attributes:
        stored: The array; read-only and mapped if opened.
        path: The cache file behind the array; None if there is none.
    """

    path: Path | None
    _device_copies: dict[torch.device, Tensor | None]

    @property
    @abstractmethod
    def stored(self) -> UInt8[np.ndarray, "images ..."]:
        """The array, one row per image: a read-only map of `path` for a set that was opened."""

    @abstractmethod
    def decoded(self, rows: UInt8[Tensor, "n ..."]) -> Float[Tensor, "n channels height width"]:
        """Return rows of the array as images, on their own device; the host does not wait."""

    def decoded_on_host(self, rows: UInt8[np.ndarray, "n ..."]) -> Float[Tensor, "n channels height width"]:
        """Return the same as `decoded`, on the CPU; override it where NumPy is faster."""
        return self.decoded(torch.from_numpy(rows))

    def images(
        self, indices: ArrayLike, device: str | torch.device = "cpu"
    ) -> Float[Tensor, "n channels height width"]:
        """Return images as float32, each channel from 0 (black) to 1 (white), on a device.

        Args:
            indices: n image numbers, in any order: an array, a tensor or a list. Negative numbers count from the end.
            device: The device of the images.

        Raises:
            ValueError: If the indices are not a vector of integers.
            IndexError: If an index is out of range; for indices on a GPU, PyTorch's device-side assertion instead.
            OSError: If the cache file has been truncated since it was opened.
        """
        copy = None if torch.device(device).type == "cpu" else self._copy_on(device)
        if copy is not None:
            return self.decoded(copy[as_index_tensor("indices", indices, size=len(self), device=copy.device)])
        rows = as_indices("indices", indices, size=len(self))
        check_mapped(self.stored, self.path)
        return self.decoded_on_host(self.stored[rows]).to(device)

    def can_be_captured(self, device: str | torch.device) -> bool:
        """Return whether the device holds a copy of the array."""
        draws_anew = type(self).training_images is not FactorImages.training_images
        return not draws_anew and torch.device(device).type != "cpu" and self._copy_on(device) is not None

    @property
    def is_verified_fast(self) -> bool:
        """Whether the pixels take at most 1 GB."""
        return self.stored.nbytes <= _FAST_BYTES

    @property
    def pixels_sha256(self) -> str:
        """The SHA-256 that the pixels must have; the fingerprint, unless that covers more."""
        return self.fingerprint

    def verify(self) -> None:
        """Hash all pixels, about 1 GB in a second if they are in memory, and compare with the hash that they must have.

        The hash is of the cache file as it is now. Copies on other devices are not checked: they hold the file as it
        was at the first call of `images` for the device.

        Raises:
            ValueError: If they differ: the cache file has changed since it was written.
            OSError: If the cache file has been truncated since it was opened.
        """
        digest, stored = hashlib.sha256(), self.stored
        step = max(1, _VERIFIED_BYTES // max(1, stored[:1].nbytes))
        for start in range(0, len(stored), step):
            check_mapped(stored, self.path)
            digest.update(np.ascontiguousarray(stored[start : start + step]).data)
        if digest.hexdigest() != self.pixels_sha256:
            fix = (
                f"the file has been overwritten, and scores taken since are wrong: delete {self.path} and open it again"
                if self.path
                else "pass the right fingerprint"
            )
            raise ValueError(
                f"The pixels must have SHA-256 {self.pixels_sha256}, but have {digest.hexdigest()}; {fix}."
            )

    def __reduce__(self) -> NoReturn:
        # A worker would be sent gigabytes that it could map.
        raise TypeError(
            f"The {type(self).__name__} cannot be pickled or copied; open the data set in the worker: it shares the "
            "memory."
        )

    def _copy_on(self, device: str | torch.device) -> Tensor | None:
        """Return the array on a device; None if it has no room for it."""
        key = torch.empty(0, device=device).device  # "cuda" and "cuda:0" are one device, and hold one copy
        if key not in self._device_copies:
            check_mapped(self.stored, self.path)
            self._device_copies[key] = self._copied(key) if self._fits(key) else None
        return self._device_copies[key]

    def _copied(self, device: torch.device) -> Tensor | None:
        """Return a copy on a device; None if other trials have taken the room meanwhile."""
        try:
            return torch.tensor(self.stored, device=device)
        except torch.OutOfMemoryError:
            say(f"{device} has no room left for the images: they stay in the memory of the host, batch by batch.")
            return None

    def _fits(self, device: torch.device) -> bool:
        if device.type != "cuda":
            return True
        free = _SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]
        if self.stored.nbytes > free:
            say(
                f"The images take {self.stored.nbytes / 1e9:.1f} GB, more than half of the free memory of {device} "
                f"({free / 1e9:.1f} GB): they stay in the memory of the host, and each batch is copied."
            )
        return self.stored.nbytes <= free


class ArrayImages(StoredImages):
    """Images of any size, grey or in colour, one byte per pixel and channel.

    Args:
        pixels: Pixels, (images, height, width, channels) uint8; lists, tensors and other integers become a uint8 array.
        factors: The factors.
        source: The origin of the images, in a word.
        pixels_sha256: SHA-256 of the pixels, in hexadecimal; computed if None. It is the fingerprint, unless there are
            labels: then these and the factors are part of the fingerprint.
        labels: The factors of each image, (images, factors): entry [i, k] in 0 .. V_k - 1. None for one image for each
            combination of the factors, in index order, or for `NO_FACTORS`.
        path: The cache file behind the pixels; None if there is none.

    Raises:
        ValueError: If the pixels are not bytes of four axes, or the number of images or the labels do not agree with
            the factors.
    """

    def __init__(
        self,
        pixels: ArrayLike,
        factors: FactorSpace,
        *,
        source: str,
        pixels_sha256: str | None = None,
        labels: ArrayLike | None = None,
        path: Path | None = None,
    ) -> None:
        self._pixels: Any = as_bytes("pixels", pixels)
        self.factors, self.source, self.path = factors, source, path
        self._device_copies = {}
        self._labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        if self._pixels.ndim != 4:
            raise ValueError(f"pixels must have shape (images, height, width, channels), but got {self._pixels.shape}.")
        if self._labels is not None:
            factors.checked(self._labels)
            if len(self._labels) != len(self._pixels):
                raise ValueError(
                    f"labels must have a row for each of {len(self)} images, but have {len(self._labels)}."
                )
        elif self.has_factors and len(self._pixels) != factors.size:
            raise ValueError(f"pixels must hold {factors.size} images, one per combination, but hold {len(self)}.")
        if pixels_sha256 is None:
            pixels_sha256 = hashlib.sha256(np.ascontiguousarray(self._pixels).data).hexdigest()
        self._pixels_sha256 = pixels_sha256
        self.fingerprint = pixels_sha256 if self._labels is None else self._fingerprint_with_labels(self._labels)

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def pixels_sha256(self) -> str:
        """The SHA-256 that the pixels must have."""
        return self._pixels_sha256

    @property
    def stored(self) -> UInt8[np.ndarray, "images height width channels"]:
        """The pixels as they are stored, with the channels last."""
        pixels: np.ndarray = self._pixels
        return pixels

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of every image."""
        _, height, width, channels = self._pixels.shape
        return channels, height, width

    def factors_of(self, indices: ArrayLike) -> Int[np.ndarray, "n factors"]:
        """Return the factors of images, from the labels if there are any."""
        if self._labels is None:
            return super().factors_of(indices)
        rows = as_indices("indices", indices, size=len(self))
        labels: Int[np.ndarray, "n factors"] = self._labels[rows]
        return labels

    def decoded(self, rows: UInt8[Tensor, "n height width channels"]) -> Float[Tensor, "n channels height width"]:
        """Return rows divided by 255, with the channels first, and last in memory: as convolutions compute fastest."""
        return rows.permute(0, 3, 1, 2).to(torch.float32).div_(255)

    def _fingerprint_with_labels(self, labels: Int[np.ndarray, "images factors"]) -> str:
        """Return a hash of the pixels, of the factors and of the labels: scores depend on all."""
        factors = self.factors
        described = [self._pixels_sha256, factors.names, factors.values, factors.categorical, factors.cyclic]
        digest = hashlib.sha256(json.dumps(described).encode())
        digest.update(np.ascontiguousarray(labels, "<i8").data)
        return digest.hexdigest()
