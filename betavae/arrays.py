"""Convert arrays as callers give them: lists, tensors on any device, and whatever else `numpy.asarray` takes."""

import numbers
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

    ArrayLike: TypeAlias = npt.ArrayLike | Tensor
else:
    ArrayLike = object  # the functions below refuse what is no array, in a sentence that names the argument

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)
_SHAPES = {1: "a vector", 2: "a matrix"}
_FIXES = {"b": ": use .astype(int), or np.flatnonzero for a mask", "f": ": use .astype(int) if all are whole numbers"}


def as_array(name: str, values: ArrayLike, *, dtype: type | None = None) -> np.ndarray:
    """Return values as an array, of any type and shape.

    Args:
        name: The argument's name, for the message.
        values: Whatever `numpy.asarray` takes, and tensors: on any device, with a gradient, bfloat16, sparse.
        dtype: As for `numpy.asarray`.

    Raises:
        ValueError: If they make no array, or some entries are masked.
    """
    try:
        array = np.asarray(_without_tensors(values), dtype)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, a tensor on no device
        kind = type(values).__name__
        raise ValueError(f"{name} must be an array, but NumPy cannot make one of this {kind}: {error}") from error
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must not have masked entries: drop their rows, or fill them in.")
    return array


def as_floats(name: str, values: ArrayLike) -> Float[np.ndarray, "..."]:
    """Return real numbers as floats: float16, float32 and float64 as they are, all others as float64.

    Raises:
        ValueError: If an entry is no real number, or too large for float64, or for the reasons of `as_array`.
    """
    array = as_array(name, values)
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        return _native(array)
    if array.dtype.kind not in "biuf":
        strange = [entry for entry in array.ravel().tolist() if not isinstance(entry, numbers.Real | np.bool_)]
        if strange:
            raise ValueError(f"{name} must be real numbers, but one entry is {strange[0]!r}.")
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float64)
    except ArithmeticError as error:
        raise ValueError(f"{name} must fit in float64, up to 1.8e308, but an entry is larger: scale them.") from error


def as_integers(name: str, values: ArrayLike, *, num_axes: int) -> np.ndarray:
    """Return integers in their own type; integers that no type of NumPy holds as Python's `int`.

    Args:
        name: The argument's name, for the message.
        values: Integers of any type. An empty list counts as integers.
        num_axes: 1 for a vector, 2 for a matrix.

    Raises:
        ValueError: If an entry is no integer (1.0 and True are none), or the number of axes differs.
    """
    array = as_array(name, values)
    if array.size == 0:
        array = array.astype(np.int64)
    if not _is_integral(array) or array.ndim != num_axes:
        fix = _FIXES.get(array.dtype.kind, "")
        raise ValueError(
            f"{name} must be {_SHAPES[num_axes]} of integers, but got {array.dtype} of shape {array.shape}{fix}."
        )
    return _native(array)


def as_indices(name: str, values: ArrayLike, *, size: int) -> Int[np.ndarray, " n"]:
    """Return a vector of row numbers below `size`; negative numbers count from the end.

    Raises:
        ValueError: If the values are not a vector of integers, or for the reasons of `as_array`.
        IndexError: If a number is out of range.
    """
    array = as_integers(name, values, num_axes=1)
    outside = array[(array < -size) | (array >= size)]
    if outside.size:
        raise IndexError(f"{name} must be in {-size} .. {size - 1}, but got {outside[0]}.")
    return array.astype(np.int64, copy=False)


def as_index_tensor(name: str, values: ArrayLike, *, size: int, device: torch.device | str) -> Int[Tensor, " n"]:
    """Return the same as `as_indices`, as a tensor on a device.

    A tensor that is on an accelerator is not fetched, so its range is not checked.

    Raises:
        ValueError: If the values are not a vector of integers, or for the reasons of `as_array`.
        IndexError: If a number is out of range.
    """
    if not isinstance(values, Tensor) or values.device.type == "cpu":
        return torch.tensor(as_indices(name, values, size=size), device=device)
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool or values.ndim != 1:
        shape = tuple(values.shape)
        raise ValueError(f"{name} must be a vector of integers, but got {values.dtype} of shape {shape}.")
    return values.to(device, torch.int64)


def as_bytes(name: str, values: ArrayLike) -> UInt8[np.ndarray, "..."]:
    """Return integers 0 .. 255 as uint8; a memory map of uint8 is returned as it is.

    Raises:
        ValueError: If an entry is no integer in 0 .. 255, or for the reasons of `as_array`.
    """
    if isinstance(values, np.memmap) and values.dtype == np.uint8:
        return values
    array = as_array(name, values)
    if array.dtype == np.uint8:
        return array
    if not _is_integral(array) or (array < 0).any() or (array > 255).any():
        raise ValueError(f"{name} must be uint8, integers 0 .. 255, but got {array.dtype} with others.")
    return array.astype(np.uint8)


def as_float_tensor(name: str, values: ArrayLike, *, like: Tensor) -> Float[Tensor, "..."]:
    """Return real numbers on the device and in the type of `like`; a tensor that has both is not copied.

    Raises:
        ValueError: If an entry is no real number, or for the reasons of `as_array`.
    """
    if isinstance(values, Tensor) and not values.is_complex():
        return values.to(like)
    return torch.tensor(as_floats(name, values)).to(like)


def as_byte_tensor(name: str, values: ArrayLike) -> UInt8[Tensor, "..."]:
    """Return integers 0 .. 255 as a uint8 tensor, on their own device; the host does not wait for uint8 tensors.

    Raises:
        ValueError: If an entry is no integer in 0 .. 255, or for the reasons of `as_array`.
    """
    if isinstance(values, Tensor) and values.dtype == torch.uint8:
        return values
    device = values.device if isinstance(values, Tensor) else "cpu"
    return torch.tensor(as_bytes(name, values), device=device)


def _without_tensors(values: Any) -> Any:
    if isinstance(values, Tensor):
        return _tensor_to_array(values)
    if isinstance(values, list | tuple):  # NumPy refuses tensors in it that have a gradient, and reads others slowly
        return [_without_tensors(entry) for entry in values]
    return values


def _tensor_to_array(tensor: Tensor) -> np.ndarray:
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_floating_point() and tensor.dtype not in _NUMPY_FLOATS:
        tensor = tensor.float()  # bfloat16 and the 8-bit types, which NumPy lacks: float32 holds all their values
    array: np.ndarray = tensor.numpy(force=True)
    return array


def _is_integral(array: np.ndarray) -> bool:
    if array.dtype.kind != "O":
        return array.dtype.kind in "iu"
    return all(isinstance(entry, numbers.Integral) and not isinstance(entry, bool) for entry in array.ravel().tolist())


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
