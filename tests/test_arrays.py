"""What callers give as arrays."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from betavae.arrays import as_array, as_byte_tensor, as_bytes, as_float_tensor, as_floats, as_indices, as_integers

MATRIX = [[0.5, -1.0], [2.0, 0.0], [3.0, 4.0]]
"""Numbers that every floating type holds."""


class Frame:
    """Of a table this is all that NumPy knows: pandas, polars and xarray have it too."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype)


def read_only(values: Any) -> np.ndarray:
    array = np.array(values)
    array.flags.writeable = False
    return array


def mapped(values: Any, path: Any) -> np.memmap:
    np.save(path, np.array(values))
    return np.load(path, mmap_mode="r")


FORMS = {
    "list": list,
    "tuple of tuples": lambda rows: tuple(map(tuple, rows)),
    "list of arrays": lambda rows: list(map(np.array, rows)),
    "list of tensors with a gradient": lambda rows: [torch.tensor(row, requires_grad=True) for row in rows],
    "list of lists of tensors": lambda rows: [[torch.tensor(entry) for entry in row] for row in rows],
    "array": np.array,
    "float16": lambda rows: np.array(rows, np.float16),
    "long double": lambda rows: np.array(rows, np.longdouble),
    "big-endian": lambda rows: np.array(rows, ">f8"),
    "column-major": lambda rows: np.asfortranarray(rows),
    "every second row and column, backwards": lambda rows: np.repeat(np.repeat(rows, 2, 0), 2, 1)[::-2, ::2][::-1],
    "read-only": read_only,
    "objects": lambda rows: np.array(rows, object),
    "frame": Frame,
    "frame of objects": lambda rows: Frame(np.array(rows, object)),
    "tensor": torch.tensor,
    "tensor with a gradient": lambda rows: torch.tensor(rows, requires_grad=True),
    "bfloat16": lambda rows: torch.tensor(rows, dtype=torch.bfloat16),
    "half with a gradient": lambda rows: torch.tensor(rows, dtype=torch.float16, requires_grad=True),
    "8-bit floats": lambda rows: torch.tensor(rows).to(torch.float8_e5m2),
    "transposed tensor": lambda rows: torch.tensor(rows).t().contiguous().t(),
    "sparse tensor": lambda rows: torch.tensor(rows).to_sparse(),
    "negated view": lambda rows: torch.complex(torch.zeros(3, 2), -torch.tensor(rows)).conj().imag,
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_matrix_are_the_same_numbers(form: str) -> None:
    floats = as_floats("codes", FORMS[form](MATRIX))
    assert floats.dtype.isnative
    assert floats.dtype.itemsize <= 8
    np.testing.assert_array_equal(floats, np.array(MATRIX))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.int64, object])
def test_integers_and_booleans_are_numbers(dtype: type) -> None:
    floats = as_floats("codes", np.array([[0, 1], [1, 1]]).astype(dtype))
    assert floats.dtype == np.float64
    np.testing.assert_array_equal(floats, [[0.0, 1.0], [1.0, 1.0]])


def test_a_map_is_read_without_a_copy(tmp_path: Any) -> None:
    matrix = mapped(MATRIX, tmp_path / "codes.npy")
    assert np.shares_memory(as_floats("codes", matrix), matrix)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a", "b"]], "codes must be real numbers, but one entry is 'a'"),
        ([[1.0, "b"]], "codes must be real numbers, but one entry is '1.0'"),
        ([[1.0, None]], "codes must be real numbers, but one entry is None"),
        ([[1.0, Decimal(2)]], r"codes must be real numbers, but one entry is Decimal\('2'\)"),
        (None, "codes must be real numbers, but one entry is None"),
        (np.array([[1 + 2j]]), r"codes must be real numbers, but one entry is \(1\+2j\)"),
        (torch.tensor([[1 + 2j]]), r"codes must be real numbers, but one entry is \(1\+2j\)"),
        (np.array([["2020-01-01"]], "M8[D]"), "codes must be real numbers, but one entry is datetime"),
        ([[1.0, 2.0], [3.0]], "codes must be an array, but NumPy cannot make one of this list: .*inhomogeneous"),
        (torch.empty(2, 2, device="meta"), "codes must be an array, but NumPy cannot make one of this Tensor"),
        (np.ma.masked_greater([[1.0, 2.0]], 1.5), "codes must not have masked entries"),
        ([[10**400]], "codes must fit in float64"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_called_what_it_is(values: Any, message: str) -> None:
    """And never "diverged", which a model is whose codes are nan."""
    with pytest.raises(ValueError, match=message) as refusal:
        as_floats("codes", values)
    assert "diverged" not in str(refusal.value)


@pytest.mark.skipif(np.finfo(np.longdouble).max <= np.finfo(np.float64).max, reason="no larger type here")
def test_a_long_double_beyond_float64_is_refused() -> None:
    with pytest.raises(ValueError, match="must fit in float64"):
        as_floats("codes", np.array([[1, np.finfo(np.longdouble).max]]))


def test_nan_and_infinity_pass_for_those_who_look_for_them() -> None:
    values = np.array([[np.nan, np.inf]])
    for form in (values, values.astype(object), values.astype(np.longdouble), torch.tensor(values).bfloat16()):
        np.testing.assert_array_equal(as_floats("codes", form), values)


@pytest.mark.parametrize(
    "values",
    [
        [2, -1], (2, -1), range(2, -2, -3), np.array([2, -1], np.int8), np.array([2, -1], ">i4"), read_only([2, -1]),
        np.array([2, 0, -1, 0])[::2], np.array([2, -1], object), Frame([2, -1]), torch.tensor([2, -1]),
        torch.tensor([2, -1], dtype=torch.int32), [torch.tensor(2), np.int64(-1)],
    ],
)  # fmt: skip
def test_all_forms_of_indices_are_the_same(values: Any) -> None:
    indices = as_indices("indices", values, size=3)
    assert indices.dtype == np.int64
    assert indices.dtype.isnative
    assert indices.tolist() == [2, -1]


@pytest.mark.parametrize("values", [[], (), np.zeros(0), torch.zeros(0)])
def test_an_empty_list_is_one_of_indices(values: Any) -> None:
    assert as_indices("indices", values, size=3).shape == (0,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.0], r"indices must be a vector of integers, but got float64 of shape \(2,\): use .astype\(int\)"),
        (torch.ones(2), "indices must be a vector of integers, but got float32"),
        ([True, False], "indices must be a vector of integers, but got bool .*np.flatnonzero for a mask"),
        (np.array([True, 1], object), "indices must be a vector of integers, but got object"),
        (["0"], "indices must be a vector of integers, but got <U1"),
        (3, r"indices must be a vector of integers, but got int64 of shape \(\)"),
        ([[0, 1]], r"indices must be a vector of integers, but got int64 of shape \(1, 2\)"),
        (None, "indices must be a vector of integers, but got object"),
        (slice(3), "indices must be a vector of integers, but got object"),
        (np.ma.masked_equal([0, 1], 1), "indices must not have masked entries"),
    ],
)
def test_what_is_no_vector_of_integers_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_indices("indices", values, size=3)


@pytest.mark.parametrize("index", [3, -4, 2**63 - 1, -(2**63), 2**64 - 1, 2**70])
def test_an_index_out_of_range_is_refused_and_never_wraps_around(index: int) -> None:
    with pytest.raises(IndexError, match=rf"indices must be in -3 \.\. 2, but got {index}\."):
        as_indices("indices", [index], size=3)


def test_a_matrix_of_integers_has_two_axes() -> None:
    assert as_integers("factors", ((0, 1), (2, 3)), num_axes=2).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="factors must be a matrix of integers, but got int64"):
        as_integers("factors", [0, 1], num_axes=2)


@pytest.mark.parametrize("values", [[[0, 255]], torch.tensor([[0, 255]]), np.array([[0, 255]], np.uint8)])
def test_bytes_may_come_as_other_integers(values: Any) -> None:
    assert as_bytes("packed", values).dtype == np.uint8
    assert as_byte_tensor("packed", values).dtype == torch.uint8
    assert as_byte_tensor("packed", values).tolist() == [[0, 255]]


@pytest.mark.parametrize("values", [[[256]], [[-1]], [[0.0]], [[True]], [["a"]]])
def test_what_is_no_byte_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="packed must be uint8, integers 0 .. 255"):
        as_bytes("packed", values)
    with pytest.raises(ValueError, match="packed must be uint8, integers 0 .. 255"):
        as_byte_tensor("packed", values)


def test_a_tensor_that_is_right_already_is_not_copied() -> None:
    like, packed = torch.zeros(2), torch.zeros(1, 512, dtype=torch.uint8, device="meta")
    assert as_float_tensor("code", like, like=like) is like
    assert as_byte_tensor("packed", packed) is packed


@pytest.mark.parametrize("values", [[1, 2], np.array([1.0, 2.0]), torch.tensor([1, 2]), torch.ones(2).double() + 1])
def test_a_float_tensor_has_the_type_of_another(values: Any) -> None:
    tensor = as_float_tensor("code", values, like=torch.zeros(1))
    assert tensor.dtype == torch.float32
    assert tensor.shape == (2,)


def test_a_complex_tensor_is_no_float_tensor() -> None:
    with pytest.raises(ValueError, match="code must be real numbers"):
        as_float_tensor("code", torch.ones(1, dtype=torch.complex64), like=torch.zeros(1))


def test_strings_stay_what_they_are() -> None:
    assert as_array("factors", [["a"], ["b"]]).tolist() == [["a"], ["b"]]
