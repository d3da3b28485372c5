import struct
from pathlib import Path

import numpy as np
import pytest

from betavae.data.dsprites.official import check_classes, check_values, official_blocks


class Trap:
    """Unpickling this makes a file: the proof that a pickle ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def arrays(small_space, small_pixels):
    """A small file's arrays, laid out as the published ones."""
    colour = np.zeros((small_space.size, 1), dtype=np.int64)
    factors = small_space.indices_to_factors(np.arange(small_space.size))
    return {"imgs": small_pixels, "latents_classes": np.hstack([colour, factors])}


def read(npz, small_space):
    return np.concatenate(list(official_blocks(npz, small_space)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_come_packed_in_order(tmp_path, arrays, small_space, small_packed, save):
    save(tmp_path / "set.npz", **arrays)
    np.testing.assert_array_equal(read(tmp_path / "set.npz", small_space), small_packed)


def test_a_file_may_have_values_in_place_of_classes(tmp_path, arrays, small_space, small_packed):
    classes = arrays.pop("latents_classes")
    rows = [np.array(values)[column] for values, column in zip(small_space.values[1:], classes.T[2:], strict=True)]
    values = np.stack([np.ones(len(classes)), 1.0 + classes[:, 1], *rows], axis=1)
    np.savez(tmp_path / "set.npz", **arrays, latents_values=values)
    np.testing.assert_array_equal(read(tmp_path / "set.npz", small_space), small_packed)
    np.savez(tmp_path / "set.npz", **arrays, latents_values=with_swapped_rows(values))
    with pytest.raises(ValueError, match=r"in index order, but row 2 is \[0, 0, 0, 3\]"):
        read(tmp_path / "set.npz", small_space)


def with_swapped_rows(array):
    return array[[0, 1, 3, 2, *range(4, len(array))]]


def with_first_value(value):
    def changed(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("imgs", lambda a: a[:-1], r"imgs must have shape \(1500, 64, 64\), but has \(1499, 64, 64\)"),
        ("imgs", np.asfortranarray, "imgs must be row-major, but is column-major: save np.ascontiguousarray"),
        ("imgs", lambda a: a.astype(np.float32), "imgs must be uint8, but is float32"),
        ("imgs", with_first_value(255), "imgs must hold 0 and 1 only, but holds 255"),
        ("latents_classes", lambda a: a[:, 1:], r"latents_classes must have shape \(1500, 4\)"),
        ("latents_classes", lambda a: a.astype(np.int32), "latents_classes must be int64, but is int32"),
        ("latents_classes", with_first_value(1), "latents_classes must have colour 0"),
        ("latents_classes", with_swapped_rows, r"in index order, but row 2 is \[0, 0, 0, 3\]"),
    ],
)
def test_each_mismatch_is_named(tmp_path, arrays, small_space, name, change, message):
    np.savez(tmp_path / "set.npz", **{**arrays, name: change(arrays[name])})
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "set.npz", small_space)


@pytest.mark.parametrize("name", ["imgs", "latents_classes"])
def test_missing_array_is_named(tmp_path, arrays, small_space, name):
    del arrays[name]
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(ValueError, match=f"npz must hold {name}, but holds"):
        read(tmp_path / "set.npz", small_space)


def test_pickle_in_metadata_does_not_run(tmp_path, arrays, small_space, small_packed):
    marker = tmp_path / "ran"
    np.savez(tmp_path / "set.npz", **arrays, metadata=np.array([Trap(marker)], dtype=object))
    np.testing.assert_array_equal(read(tmp_path / "set.npz", small_space), small_packed)
    assert not marker.exists()
    with np.load(tmp_path / "set.npz", allow_pickle=True) as npz:
        npz["metadata"]
    assert marker.exists()  # the trap works: something that loads pickles would have sprung it


@pytest.mark.parametrize("name", ["imgs", "latents_classes"])
def test_pickle_in_an_array_that_is_read_does_not_run(tmp_path, arrays, small_space, name):
    marker, shape = tmp_path / "ran", arrays[name].shape
    trapped = np.empty(shape, dtype=object)
    trapped.flat[0] = Trap(marker)
    np.savez(tmp_path / "set.npz", **{**arrays, name: trapped})
    with pytest.raises(ValueError, match=f"{name} must hold numbers or text, but holds Python objects, a pickle"):
        read(tmp_path / "set.npz", small_space)
    assert not marker.exists()


def test_file_that_is_no_archive_is_refused(tmp_path, small_space):
    (tmp_path / "set.npz").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"set\.npz is none, or is damaged"):
        read(tmp_path / "set.npz", small_space)


def test_file_cut_short_is_refused(tmp_path, arrays, small_space):
    np.savez(tmp_path / "set.npz", **arrays)
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content[:-1000])
    with pytest.raises(ValueError, match=r"set\.npz is none, or is damaged"):
        read(tmp_path / "set.npz", small_space)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bit_is_refused(tmp_path, arrays, small_space, save):
    save(tmp_path / "set.npz", **arrays)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    content[5000] ^= 1  # in the pixels, beyond the headers
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.npz is none, or is damaged"):
        read(tmp_path / "set.npz", small_space)


def test_broken_compression_is_refused(tmp_path, arrays, small_space):
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    name_size, extra_size = struct.unpack_from("<HH", content, 26)  # of the first member, imgs
    content[30 + name_size + extra_size] |= 0b110  # a block type that deflate does not have
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.npz is none, or is damaged .*invalid block type"):
        read(tmp_path / "set.npz", small_space)


def test_classes_and_pixels_may_come_as_lists(small_space):
    classes = np.pad(small_space.indices_to_factors(np.arange(small_space.size)), ((0, 0), (1, 0))).tolist()
    check_classes(classes, small_space)
    check_values([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"latents_classes must have shape \(1500, 4\), but got \(1500, 3\)"):
        check_classes([row[1:] for row in classes], small_space)
    with pytest.raises(ValueError, match="latents_classes must be a matrix of integers, but got float64"):
        check_classes(np.array(classes) / 2, small_space)
    with pytest.raises(ValueError, match="imgs must hold 0 and 1 only, but holds 2"):
        check_values([[0, 2]])
