"""Images of one's own, from an .npz file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from betavae.data.base import Dataset, ImageShape
from betavae.data.cache import DATA_VARIABLE, Pixels, absolute_path, folder_from_environment, say
from betavae.data.factors import NO_FACTORS, FactorSpace
from betavae.data.npz import ArrayHeader, NpzFile, open_npz
from betavae.data.sources import converted
from betavae.data.stored import ArrayImages
from betavae.errors import InputError, ParameterError
from betavae.parts import parameter

_SIZE = re.compile(r"(\d+)x(\d+)x(\d+)")
_NAME = re.compile(r"[\w.+-]{1,40}")

_MAX_FACTORS = 1000
_MAX_NAME_BYTES = 4 * 200

_LAYOUT = (
    "images, uint8 of shape (n, height, width) or (n, height, width, channels); and, if they are known, factors, "
    "integers of shape (n, k)"
)


@dataclass(frozen=True)
class _Factors:
    """The factors of a file.

    Attributes:
        space: The factors that vary.
        labels: Entry [i, k]: the index of the value of factor k in image i.
        constant: The names of the factors that take one value, which are left out.
    """

    space: FactorSpace
    labels: Int[np.ndarray, "images factors"]
    constant: tuple[str, ...]


def open_own_file(path: Path, *, cache: Path | None = None) -> ArrayImages:
    """Open an .npz file of images.

    The file holds `images`, (n, height, width) or (n, height, width, channels) uint8, from 0 (black) to 255 (white). It
    may hold `factors`, (n, k) integers: any values, of which the larger has the larger index; combinations may be
    missing, and may have several images. Then it may hold `names`, k texts, and `categorical` and `cyclic`, the names
    of the factors whose values have no order, or whose last value is followed by the first. A factor that takes one
    value is left out. Without `factors`, or if none varies, the set has no factors.

    Args:
        path: The file.
        cache: The cache folder; that of the user if None.

    Raises:
        InputError: If the file is missing or wrong; the message names the check that failed.
        OSError: If the file cannot be read, or the cache cannot be written.
    """
    _check_is_file(path)
    before = path.stat()
    with open_npz(path, described=str(path)) as file:
        header, checksums = _checked_images(file), file.checksums
        factors = _read_factors(file, header.shape[0]) if "factors" in file.names else None
    if factors is not None and factors.constant:
        say(f"{path}: {', '.join(factors.constant)} takes one value, and is left out of the factors.")
    data = converted(
        "file",
        [path],
        lambda: _blocks(path),
        shape=_four_axes(header.shape),
        factors=NO_FACTORS if factors is None else factors.space,
        labels=None if factors is None else factors.labels,
        checksums=checksums,
        cache=cache,
    )
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"{path} must stay as it is while it is read, but has changed; start again.")
    return data


def shape_of_own_file(path: Path) -> ImageShape:
    """Return channels, height and width of the images of an .npz file.

    Raises:
        InputError: As `open_own_file`.
        OSError: If the file cannot be read.
    """
    _check_is_file(path)
    with open_npz(path, described=str(path)) as file:
        _, height, width, channels = _four_axes(_checked_images(file).shape)
    return channels, height, width


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        came = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise InputError(f"The images must be in an .npz file, but {came}.")


def _checked_images(file: NpzFile) -> ArrayHeader:
    if "images" not in file.names:
        raise InputError(f"{file.described} must hold {_LAYOUT}; but it holds {', '.join(file.names) or 'nothing'}.")
    others = [name for name in file.names if name not in ("images", "names", "categorical", "cyclic")]
    if "factors" not in file.names and others:
        raise InputError(
            f"{file.described} holds {', '.join(others)}, which is not read: if these are the factors, save them under "
            "the name factors; if not, leave them out."
        )
    header = file.header("images")
    if header.dtype != np.uint8:
        fix = "scale them to 0 .. 255, round, and save them as uint8" if header.dtype.kind == "f" else "save uint8"
        raise InputError(f"images of {file.described} must be uint8, 0 .. 255, but are {header.dtype}: {fix}.")
    if len(header.shape) not in (3, 4) or 0 in header.shape:
        raise InputError(
            f"images of {file.described} must have shape (n, height, width) or (n, height, width, channels), but have "
            f"{header.shape}."
        )
    if len(header.shape) == 4 and header.shape[3] not in (1, 3):
        fix = "move the channels to the end" if header.shape[1] in (1, 3) else "leave the others out"
        raise InputError(
            f"images of {file.described} must have 1 or 3 channels, their last axis, but have {header.shape[3]}: {fix}."
        )
    if header.shape[0] < 2:
        raise InputError(f"images of {file.described} must be two or more, but there is one.")
    return header


def _four_axes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    number, height, width, *channels = shape
    return number, height, width, *(channels or [1])  # type: ignore[return-value]


def _blocks(path: Path) -> Iterator[Pixels]:
    with open_npz(path, described=str(path)) as file:
        for block in file.blocks("images"):
            yield block.reshape(_four_axes(block.shape))


def _read_factors(file: NpzFile, num_images: int) -> _Factors | None:
    """Return the factors that vary; None if none does."""
    num_factors = _num_factors(file, num_images)
    names = _read_names(file, "names") or [f"factor_{number}" for number in range(1, num_factors + 1)]
    if len(names) != num_factors or len(set(names)) != len(names):
        raise InputError(
            f"names of {file.described} must be {num_factors} different texts, one for each column of factors, but are "
            f"{', '.join(names)}."
        )
    columns = [np.unique(column, return_inverse=True) for column in file.array("factors").T]
    varying = {name: column for name, column in zip(names, columns, strict=True) if len(column[0]) > 1}
    for name, (values, _) in varying.items():
        if 2 * len(values) > num_images:
            raise InputError(
                f"A factor of {file.described} must have two images or more for each value, on average, but {name} has "
                f"{len(values)} values in {num_images} images: put its values into groups, or leave it out."
            )
    if not varying:
        return None
    marks = _read_marks(file, names)
    space = FactorSpace(
        list(varying),
        [values for values, _ in varying.values()],
        categorical=[name for name in marks["categorical"] if name in varying],
        cyclic=[name for name in marks["cyclic"] if name in varying],
    )
    labels = np.stack([indices for _, indices in varying.values()], axis=1).astype(np.int64)
    return _Factors(space, labels, tuple(name for name in names if name not in varying))


def _num_factors(file: NpzFile, num_images: int) -> int:
    """Return the number of columns of `factors`, after a check of the array's type and shape."""
    header = file.header("factors")
    if header.dtype.kind not in "iu":
        fix = "save the index of each value, or a whole number for it"
        raise InputError(f"factors of {file.described} must be integers, but are {header.dtype}: {fix}.")
    if len(header.shape) != 2 or header.shape[0] != num_images or not 1 <= header.shape[1] <= _MAX_FACTORS:
        raise InputError(
            f"factors of {file.described} must have a row for each of {num_images} images and up to {_MAX_FACTORS} "
            f"columns, one per factor, but have shape {header.shape}."
        )
    return header.shape[1]


def _read_marks(file: NpzFile, names: list[str]) -> dict[str, list[str]]:
    """Return the names of the categorical and of the cyclic factors."""
    marks = {kind: _read_names(file, kind) for kind in ("categorical", "cyclic")}
    for kind, listed in marks.items():
        if unknown := [name for name in listed if name not in names]:
            raise InputError(f"{kind} of {file.described} must be some of {', '.join(names)}, but holds {unknown[0]}.")
    if both := [name for name in marks["cyclic"] if name in marks["categorical"]]:
        raise InputError(f"A factor of {file.described} must be categorical or cyclic, but {both[0]} is both.")
    return marks


def _read_names(file: NpzFile, array: str) -> list[str]:
    """Return the texts of an array; none if there is no such array."""
    if array not in file.names:
        return []
    header = file.header(array)
    if header.dtype.itemsize > _MAX_NAME_BYTES or math.prod(header.shape) > _MAX_FACTORS:
        raise InputError(f"{array} of {file.described} must be up to {_MAX_FACTORS} texts of up to 40 characters.")
    names = file.array(array)
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(
            f"{array} of {file.described} must be a list of texts, but is {names.dtype} of shape {names.shape}: save "
            f"np.array([...]) of strings."
        )
    listed: list[str] = names.tolist()
    for name in listed:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{array} of {file.described} must be texts of up to 40 letters, digits, dots, minus "
                f"and plus signs and underscores, without spaces, but one is {name!r}."
            )
    return listed


@dataclass(frozen=True, kw_only=True)
class FileDataset(Dataset):
    """Images of your own: `--data-file` names an .npz file that holds them, with their factors or without."""

    name = "file"

    data_file: str = parameter("", label="file")
    """The .npz file. `images`: (n, height, width) or (n, height, width, channels), uint8. `factors`, if they are known:
    (n, k) integers. `names`, `categorical`, `cyclic`: names of factors, optional."""

    image_size: str = parameter("", is_tried=False)
    """Height, width and channels of the images, such as 64x64x3. Default: those of the file."""

    def __post_init__(self) -> None:
        """Make the path absolute, and read the size of the images from the file, unless it is given."""
        super().__post_init__()
        if not self.data_file:
            raise ParameterError(
                "data_file", "must name an .npz file with the images of --dataset file, but none is named."
            )
        path = absolute_path("data_file", self.data_file)  # trials run in other folders
        object.__setattr__(self, "data_file", str(path))
        if not self.image_size:
            channels, height, width = _shape_of_parameter(path)
            object.__setattr__(self, "image_size", f"{height}x{width}x{channels}")
        if not _SIZE.fullmatch(self.image_size):
            raise ParameterError("image_size", f"must be such as 64x64x3, but got {self.image_size!r}.")

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of every image."""
        height, width, channels = map(int, self.image_size.split("x"))
        return channels, height, width

    def open(self) -> ArrayImages:
        """Open the file by `open_own_file`; if it is not there, the file of its name in $DISENTANGLEMENT_LIB_DATA.

        Raises:
            InputError: If there is no such file, the file is wrong, or its images have another size than `image_size`.
            OSError: If the file cannot be read, or the cache cannot be written.
        """
        data = open_own_file(self._path())
        if data.image_shape != self.image_shape:
            channels, height, width = data.image_shape
            raise InputError(
                f"The images of {self.data_file} must be {self.image_size}, but are {height}x{width}x{channels}."
            )
        return data

    def public_values(self) -> dict[str, Any]:
        """Return the values of the parameters, the file without its folder."""
        return self.values() | {"data_file": Path(self.data_file).name}

    def _path(self) -> Path:
        path, root = Path(self.data_file), folder_from_environment(DATA_VARIABLE)
        moved = None if root is None else root / path.name
        if path.is_file():
            return path
        if moved is not None and moved.is_file():
            return moved
        others = f"no {moved}" if moved is not None else "no --data-root to look in"
        raise InputError(
            f"data_file must be a file on every machine of the sweep, but there is no {path}, and {others}: if the "
            f"file has been moved, give --data-root, the folder of {path.name}."
        )


def _shape_of_parameter(path: Path) -> ImageShape:
    try:
        return shape_of_own_file(path)
    except OSError as error:
        raise ParameterError("data_file", f"must be a file that can be read, but: {error}") from error
    except InputError as error:
        raise ParameterError("data_file", f"must be a file of images, but: {error}") from error
