"""Read arrays of an .npz file as a stream, a few megabytes at a time, and without pickles.

An array of Python objects is a pickle, which can run code when it is read. Such an array is refused, or not opened.
"""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from betavae.errors import InputError

_MAX_BLOCK_BYTES = 2**23
_MAX_HEADER_BYTES = 2**20


@dataclass(frozen=True)
class ArrayHeader:
    """The shape and type of a stored array.

    Attributes:
        shape: The shape.
        dtype: The type of an entry.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True)
class NpzFile:
    """An open .npz file.

    Attributes:
        archive: The zip file.
        described: The file's name in messages, such as `npz`.
    """

    archive: zipfile.ZipFile
    described: str

    @property
    def checksums(self) -> str:
        """The CRC-32 of each array, from the directory of the zip file: they change with the content."""
        return " ".join(f"{info.filename} {info.CRC:08x}" for info in self.archive.infolist())

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return [name.removesuffix(".npy") for name in self.archive.namelist()]

    def header(self, name: str) -> ArrayHeader:
        """Return the header of an array.

        Raises:
            InputError: If there is no such array, or it is stored in a form that cannot be streamed.
        """
        with self._open(name) as file:
            return self._read_header(name, file)

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array in blocks of rows of up to 8 MB.

        Raises:
            InputError: As `header`, or if the array is cut short.
        """
        with self._open(name) as file:
            header = self._read_header(name, file)
            num_rows, *row_shape = header.shape
            row_bytes = math.prod(row_shape) * header.dtype.itemsize
            step = max(1, _MAX_BLOCK_BYTES // max(row_bytes, 1))
            for start in range(0, num_rows, step):
                count = min(step, num_rows - start)
                content = file.read(count * row_bytes)
                if len(content) != count * row_bytes:
                    raise InputError(
                        f"{name} must have {num_rows} rows, as its header says, but ends before row "
                        f"{start + len(content) // max(row_bytes, 1)}: {self.described} is cut short."
                    )
                yield np.frombuffer(content, header.dtype).reshape(count, *row_shape)

    def array(self, name: str) -> np.ndarray:
        """Return a whole array.

        Raises:
            InputError: As `blocks`.
        """
        header = self.header(name)
        blocks = list(self.blocks(name)) if header.shape else []
        return np.concatenate(blocks) if blocks else np.empty(header.shape, header.dtype)

    def _open(self, name: str) -> zipfile.ZipExtFile:
        if f"{name}.npy" not in self.archive.namelist():
            raise InputError(f"{self.described} must hold {name}, but holds {', '.join(self.names) or 'nothing'}.")
        member = self.archive.open(f"{name}.npy")
        assert isinstance(member, zipfile.ZipExtFile)  # opened to read
        return member

    def _read_header(self, name: str, file: zipfile.ZipExtFile) -> ArrayHeader:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            version = np.lib.format.read_magic(file)
            if version not in readers:
                raise InputError(f"{name} must be in npy format (1, 0) or (2, 0), but is in {version}.")
            shape, column_major, dtype = readers[version](file)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{name} must be an array in npy format, but: {error}") from error
        if dtype.hasobject:
            raise InputError(
                f"{name} must hold numbers or text, but holds Python objects, a pickle, which could run code when it "
                "is read: save it as an array of numbers or of text."
            )
        if column_major and len(shape) > 1:
            raise InputError(f"{name} must be row-major, but is column-major: save np.ascontiguousarray of it.")
        size, stored = math.prod(shape) * dtype.itemsize, self.archive.getinfo(f"{name}.npy").file_size
        if not size <= stored <= size + _MAX_HEADER_BYTES:
            raise InputError(
                f"{name} must have {size:,} bytes of entries, as its header says, but {self.described} holds "
                f"{stored:,} bytes of it: it is cut short or damaged; get it again."
            )
        return ArrayHeader(shape, dtype)


@contextmanager
def open_npz(path: Path, *, described: str) -> Iterator[NpzFile]:
    """Open an .npz file.

    Args:
        path: The file.
        described: The file in messages: `npz`, or its name.

    Raises:
        InputError: If the file is damaged or no .npz file; inside the block, also if an array is damaged.
        OSError: If the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield NpzFile(archive, described)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError: an encrypted array
        raise InputError(
            f"{described} must be an .npz file, but {path} is none, or is damaged ({error}): get it again, or save it "
            "by np.savez."
        ) from error
