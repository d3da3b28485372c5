"""Data sets from official files, by small files in the same layout."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from official_files import (
    MPI3D_SIZES,
    NORB_FACTORS,
    NORB_PARTS,
    NUM_CARS,
    SMALL_SETS,
    norb_bytes,
    open_small_cars3d,
    open_small_mpi3d,
    open_small_shapes3d,
    open_small_smallnorb,
    random_images,
    write_cars3d,
    write_mpi3d,
    write_shapes3d,
    write_smallnorb,
)
from PIL import Image
from scipy.io import savemat

from betavae.data import DATASETS
from betavae.data.cars3d import CARS3D, cars3d_factors
from betavae.data.mpi3d import MPI3D, MPI3D_FACTORS, OLDER_TOY_FACTORS
from betavae.data.shapes3d import SHAPES3D, SHAPES3D_FACTORS
from betavae.data.smallnorb import SMALLNORB, SMALLNORB_FACTORS
from betavae.errors import InputError
from betavae.metrics.information_gaps import is_whole_grid

OFFICIAL = {each.name: each for each in (SHAPES3D, *MPI3D.values(), CARS3D, SMALLNORB)}


def as_bytes(images: torch.Tensor) -> np.ndarray:
    """Return images as they are stored: channels last, 0 .. 255."""
    return (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_the_published_sets_have_the_published_sizes() -> None:
    sizes = {SHAPES3D_FACTORS: 480_000, MPI3D_FACTORS: 1_036_800, OLDER_TOY_FACTORS: 460_800}
    assert all(factors.size == size for factors, size in sizes.items())
    assert cars3d_factors().size == 17_568
    assert SMALLNORB_FACTORS.size * 10 == 48_600
    assert DATASETS.keys() >= OFFICIAL.keys()


def test_shapes3d_is_read_in_order(tmp_path: Path) -> None:
    images = write_shapes3d(tmp_path)
    data = open_small_shapes3d(tmp_path, tmp_path / "cache")
    np.testing.assert_array_equal(as_bytes(data.images(range(len(data)))), images)


@pytest.mark.parametrize("kind", MPI3D)
def test_mpi3d_is_read_in_order(tmp_path: Path, kind: str) -> None:
    images = write_mpi3d(tmp_path, kind)
    data = open_small_mpi3d(tmp_path, tmp_path / "cache", kind)
    np.testing.assert_array_equal(as_bytes(data.images(range(len(data)))), images)
    assert data.factors.sizes == MPI3D_SIZES


def test_the_older_file_of_mpi3d_has_its_own_factors(tmp_path: Path) -> None:
    sizes = (1, *MPI3D_SIZES[1:])
    write_mpi3d(tmp_path, sizes=sizes)
    assert open_small_mpi3d(tmp_path, tmp_path / "cache").factors.sizes == sizes


def test_cars3d_pairs_images_with_elevation_azimuth_and_name(tmp_path: Path) -> None:
    images = write_cars3d(tmp_path)
    data = open_small_cars3d(tmp_path, tmp_path / "cache")
    for elevation, azimuth, car in ((0, 0, 0), (3, 1, 2), (1, 23, 1)):
        (index,) = data.factors.factors_to_indices([[elevation, azimuth, car]])
        expected = Image.fromarray(images[car, elevation, azimuth]).resize((64, 64), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(as_bytes(data.images([index]))[0], np.asarray(expected))


def test_smallnorb_takes_the_first_camera_of_both_parts(tmp_path: Path) -> None:
    table, pictures = write_smallnorb(tmp_path)
    data = open_small_smallnorb(tmp_path, tmp_path / "cache")
    assert len(data) == len(table)
    labels = data.factors_of(range(len(data)))
    assert is_whole_grid(labels)
    order = np.lexsort((table[:, 4], *table[:, :4].T[::-1]))
    np.testing.assert_array_equal(labels, table[order, :4])
    for index in (0, 17, len(data) - 1):
        expected = Image.fromarray(pictures[order[index]]).resize((64, 64), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(as_bytes(data.images([index]))[0, :, :, 0], np.asarray(expected))
    assert data.factors == NORB_FACTORS


@pytest.mark.parametrize("name", SMALL_SETS)
def test_files_are_converted_once(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    first = SMALL_SETS[name](tmp_path)
    assert "once per machine" in capfd.readouterr().err
    opens = {
        "shapes3d": open_small_shapes3d,
        "cars3d": open_small_cars3d,
        "smallnorb": open_small_smallnorb,
    }
    again = opens.get(name, lambda *where: open_small_mpi3d(*where, name.removeprefix("mpi3d-")))(
        tmp_path / "root", tmp_path / "cache"
    )
    assert capfd.readouterr().err == ""
    assert again.fingerprint == first.fingerprint
    assert again.path == first.path
    first.verify()


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_missing_file_is_named_with_its_address(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    published = OFFICIAL[name]
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as raised:
        DATASETS[name]().open()
    for words in (name, published.address, published.size, "--data-root", "downloads nothing"):
        assert words in str(raised.value)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "none"))
    with pytest.raises(InputError, match=f"there is no folder {tmp_path / 'none'}"):
        DATASETS[name]().open()
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA")
    with pytest.raises(InputError, match=r"\(or --data-root\), but neither is set"):
        DATASETS[name]().open()


@pytest.mark.parametrize("name", [name for name in OFFICIAL if OFFICIAL[name].md5])
def test_another_file_of_the_right_layout_is_refused_by_its_hash(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small file is in order; only the published hash tells that it is another."""
    if name == "shapes3d":
        write_shapes3d(tmp_path)
        monkeypatch.setattr("official_files.as_published", lambda published, *_: published)
        opened: Callable[[], object] = lambda: open_small_shapes3d(tmp_path, tmp_path / "cache")  # noqa: E731
    else:
        kind = name.removeprefix("mpi3d-")
        write_mpi3d(tmp_path, kind)
        monkeypatch.setattr("official_files.as_published", lambda published, *_: published)
        opened = lambda: open_small_mpi3d(tmp_path, tmp_path / "cache", kind)  # noqa: E731
    (expected,) = OFFICIAL[name].md5.values()
    with pytest.raises(InputError, match=f"must be the published file, with MD5 {expected}, but has"):
        opened()
    assert not list((tmp_path / "cache").glob("*.npy"))


def damaged_shapes3d(root: Path, change: str) -> None:
    path = root / "3dshapes" / "3dshapes.h5"
    if change == "order":
        order = np.arange(96)
        order[[4, 5]] = [5, 4]
        write_shapes3d(root, order=order)
        return
    write_shapes3d(root)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    elif change == "html":
        path.write_text("<html>404</html>")
    else:
        with h5py.File(path, "a") as file:
            if change == "no labels":
                del file["labels"]
            elif change == "shape":
                del file["images"]
                file["images"] = random_images(95, 64, 64, 3)
            elif change == "dtype":
                pixels = file["images"][:].astype(np.float32)
                del file["images"]
                file["images"] = pixels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("order", r"labels of .* must be in index order, but row 4 is"),
        ("truncated", r"3dshapes\.h5 must be an HDF5 file, but is damaged"),
        ("html", r"3dshapes\.h5 must be an HDF5 file, but is damaged"),
        ("no labels", "must hold labels, but holds images"),
        ("shape", r"images of .* must be uint8 of shape \(96, 64, 64, 3\), but are uint8 of shape \(95, 64, 64, 3\)"),
        ("dtype", r"images of .* must be uint8 of shape .*, but are float32"),
    ],
)
def test_each_mismatch_of_shapes3d_is_named(tmp_path: Path, change: str, message: str) -> None:
    damaged_shapes3d(tmp_path, change)
    with pytest.raises(InputError, match=message):
        open_small_shapes3d(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_shapes3d_without_h5py_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes3d(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match="needs the package h5py, .* pip install h5py"):
        open_small_shapes3d(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": random_images(191, 64, 64, 3)}, r"but are uint8 of shape \(191, 64, 64, 3\)"),
        ({"images": random_images(192, 64, 64, 3).astype(np.float32)}, "but are float32"),
        ({"images": np.asfortranarray(random_images(192, 64, 64, 3))}, "row-major, but is column-major"),
        ({"images": np.full((192, 64, 64, 3), None)}, "holds Python objects, a pickle"),
    ],
)
def test_each_mismatch_of_mpi3d_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    write_mpi3d(tmp_path, **arrays)
    with pytest.raises(InputError, match=message):
        open_small_mpi3d(tmp_path, tmp_path / "cache")


def test_a_truncated_file_of_mpi3d_is_refused(tmp_path: Path) -> None:
    write_mpi3d(tmp_path)
    path = tmp_path / "mpi3d_toy" / "mpi3d_toy.npz"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match="is damaged"):
        open_small_mpi3d(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"im": np.zeros((128, 128, 3, 24, 3), np.uint8)}, r"but it is uint8 of shape \(128, 128, 3, 24, 3\)"),
        ({"im": np.zeros((128, 128, 3, 24, 4))}, "must hold im, uint8 of .*, but it is float64"),
        ({"other": np.zeros(3)}, "must hold im"),
        (b"<html>404</html>", "must be a MATLAB file, but is damaged"),
        (b"", "must be a MATLAB file, but is damaged"),
        (pickle.dumps({"im": 0}), "must be a MATLAB file, but is damaged"),
    ],
)
def test_each_mismatch_of_cars3d_is_named(tmp_path: Path, content: object, message: str) -> None:
    write_cars3d(tmp_path)
    path = tmp_path / "cars" / "car_010_mesh.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(InputError, match=message):
        open_small_cars3d(tmp_path, tmp_path / "cache")


def test_another_number_of_cars_is_refused(tmp_path: Path) -> None:
    write_cars3d(tmp_path)
    (tmp_path / "cars" / "car_2_mesh.mat").unlink()
    with pytest.raises(InputError, match=rf"must hold {NUM_CARS} files car_\*_mesh\.mat, but holds {NUM_CARS - 1}"):
        open_small_cars3d(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("dat", lambda content: content[:-1], r"must have \d+ bytes, as its header says, but has"),
        ("dat", lambda content: content + b"0", r"must have \d+ bytes, as its header says, but has"),
        ("dat", lambda _: b"\x1f\x8b\x08\x00" * 20, "binary format of NORB, .* unpack it by gunzip"),
        ("dat", lambda _: b"", "binary format of NORB"),
        ("dat", lambda _: norb_bytes(np.zeros((120, 2, 95, 96), np.uint8)), r"shape \(120, 2, 95, 96\)"),
        ("dat", lambda _: norb_bytes(np.zeros((119, 2, 96, 96), np.uint8)), "hold 240 images, .* but hold 239"),
        ("cat", lambda _: norb_bytes(np.full(120, 7, np.int32)), "category must be in 0 .. 4, but got 7"),
        ("cat", lambda _: norb_bytes(np.zeros(120, np.int32)), "must hold 4 images of each combination"),
        ("info", lambda _: norb_bytes(np.zeros((119, 4), np.int32)), r"must have shape \(120, 4\), .* \(119, 4\)"),
    ],
)
def test_each_mismatch_of_smallnorb_is_named(
    tmp_path: Path, kind: str, change: Callable[[bytes], bytes], message: str
) -> None:
    write_smallnorb(tmp_path)
    path = tmp_path / "small_norb" / f"smallnorb-{NORB_PARTS[0]}-{kind}.mat"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        open_small_smallnorb(tmp_path, tmp_path / "cache")
