"""A file of one's own: what may be in it, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import random_images, write_own_file

from betavae.config import TrialConfig
from betavae.data import NO_FACTORS, open_own_file, own_file
from betavae.data.own_file import FileDataset
from betavae.errors import InputError, ParameterError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.npz"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETAVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)


def test_images_and_factors_are_those_of_the_file(path: Path) -> None:
    content = write_own_file(path, categorical=np.array(["kind"]), cyclic=np.array(["angle"]))
    data = open_own_file(path)
    pixels = (255 * data.images(range(len(data)))).round().to(torch.uint8).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(pixels.numpy(), content["images"])
    np.testing.assert_array_equal(data.factors_of([69, 3]), content["factors"][[69, 3]])
    assert (data.factors.names, data.factors.sizes) == (("kind", "size", "angle"), (3, 4, 5))
    assert (data.factors.categorical, data.factors.cyclic, data.source) == (("kind",), ("angle",), "file")


def test_values_may_be_any_integers_and_a_constant_factor_is_left_out(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.array([-5, 1000, 7])
    factors = np.stack([values[np.arange(70) % 3], np.full(70, 4), np.arange(70) % 2], axis=1)
    write_own_file(path, factors=factors, names=None)
    data = open_own_file(path)
    assert data.factors.values == ((-5, 7, 1000), (0, 1))
    assert data.factors.names == ("factor_1", "factor_3")
    np.testing.assert_array_equal(data.factors_of([0, 1, 2]), [[0, 0], [2, 1], [1, 0]])
    assert "factor_2 takes one value, and is left out" in capsys.readouterr().err


@pytest.mark.parametrize("factors", [None, np.full((70, 3), 4)])
def test_a_file_may_have_no_factors(path: Path, factors: np.ndarray | None) -> None:
    write_own_file(path, factors=factors)
    data = open_own_file(path)
    assert not data.has_factors
    assert data.factors is NO_FACTORS
    assert len(data) == 70


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (random_images(70, 48, 32), (1, 48, 32)),
        (random_images(70, 48, 32, 1), (1, 48, 32)),
        (random_images(70, 32, 48, 3), (3, 32, 48)),
    ],
)
def test_images_may_be_grey_and_of_any_size(path: Path, images: np.ndarray, shape: tuple[int, int, int]) -> None:
    write_own_file(path, images=images)
    assert open_own_file(path).image_shape == shape
    dataset = FileDataset(data_file=str(path))
    assert dataset.image_shape == shape
    assert dataset.values()["image_size"] == "x".join(map(str, (*shape[1:], shape[0])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"factors": None, "names": None, "labels": np.zeros(70)},
            "holds labels, which is not read: .* the name factors",
        ),
        ({"factors": np.arange(210).reshape(70, 3)}, "kind has 70 values in 70 images: put its values into groups"),
        ({"factors": np.zeros((70, 1001), int)}, "up to 1000 columns"),
        ({"names": np.array(["a", "b", "c" * 300])}, "must be up to 1000 texts of up to 40 characters"),
        ({"images": None}, "must hold images, uint8 of shape .*; but it holds factors, names"),
        ({"images": np.zeros((70, 64, 64))}, "images of .* must be uint8, 0 .. 255, but are float64: scale them"),
        ({"images": random_images(70, 64)}, r"must have shape \(n, height, width\) or .*, but have \(70, 64\)"),
        ({"images": random_images(70, 3, 64, 64)}, "1 or 3 channels, .* but have 64: move the channels to the end"),
        ({"images": random_images(70, 64, 64, 4)}, "1 or 3 channels, .* but have 4: leave the others out"),
        ({"images": random_images(1, 64, 64)}, "must be two or more, but there is one"),
        ({"images": random_images(0, 64, 64)}, "must have shape"),
        ({"images": np.full((70, 64, 64), None)}, "images must hold numbers or text, but holds Python objects"),
        ({"images": np.asfortranarray(random_images(70, 64, 64))}, "row-major, but is column-major"),
        ({"factors": np.zeros((70, 3))}, "factors of .* must be integers, but are float64"),
        ({"factors": np.zeros((69, 3), int)}, r"a row for each of 70 images .* have shape \(69, 3\)"),
        ({"factors": np.zeros(70, int)}, r"a row for each of 70 images .* have shape \(70,\)"),
        ({"factors": np.zeros((70, 0), int)}, r"a row for each of 70 images .* have shape \(70, 0\)"),
        ({"names": np.array(["a", "b"])}, "must be 3 different texts, .* but are a, b"),
        ({"names": np.array(["a", "b", "a"])}, "must be 3 different texts, .* but are a, b, a"),
        ({"names": np.array(["a", "b", "c/d"])}, "must be texts of up to 40 .* but one is 'c/d'"),
        ({"names": np.array(["a", "b", ""])}, "but one is ''"),
        ({"names": np.array(["a", "b", "c d"])}, "but one is 'c d'"),
        ({"names": np.array([1, 2, 3])}, "must be a list of texts, but is int64"),
        ({"names": np.array(["a", "b", None], object)}, "names must hold numbers or text, but holds Python objects"),
        (
            {"categorical": np.array(["colour"])},
            "categorical of .* must be some of kind, size, angle, but holds colour",
        ),
        ({"cyclic": np.array(["kind"]), "categorical": np.array(["kind"])}, "categorical or cyclic, but kind is both"),
    ],
)
def test_each_mistake_is_named(path: Path, arrays: dict[str, np.ndarray | None], message: str) -> None:
    write_own_file(path, **arrays)
    with pytest.raises(InputError, match=message):
        open_own_file(path)
    assert not list(path.parent.glob("cache/*.npy"))


@pytest.mark.parametrize("content", [b"<html>404</html>", b"", None])
def test_another_file_is_refused_at_the_door(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match="data_file must be a file of images, but: ") as raised:
        TrialConfig.from_dict({"dataset": "file", "data_file": str(path)})
    assert str(path) in str(raised.value)


def test_a_file_must_be_named() -> None:
    with pytest.raises(ParameterError, match="data_file must name an .npz file"):
        TrialConfig.from_dict({"dataset": "file"})
    with pytest.raises(InputError, match="dsprites has no data_file"):
        TrialConfig.from_dict({"data_file": "x.npz"})


def test_a_config_that_was_recorded_needs_no_file(path: Path, tmp_path: Path) -> None:
    """So that a checkpoint can be loaded anywhere."""
    write_own_file(path)
    config = TrialConfig.from_dict({"dataset": "file", "data_file": str(path)})
    path.rename(tmp_path / "moved.npz")
    read = TrialConfig.from_dict(config.to_dict())
    assert read == config
    assert read.dataset.image_shape == (3, 64, 64)
    with pytest.raises(
        InputError,
        match=f"there is no {path}, and no --data-root to look in: .* give --data-root, the folder of own.npz",
    ):
        read.dataset.open()


def test_a_file_that_was_moved_is_found_below_the_data_root(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_own_file(path)
    dataset = FileDataset(data_file=str(path))
    fingerprint = dataset.open().fingerprint
    (tmp_path / "root").mkdir()
    path.rename(tmp_path / "root" / path.name)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "root"))
    assert dataset.open().fingerprint == fingerprint


def test_a_file_with_images_of_another_size_is_refused(path: Path) -> None:
    write_own_file(path)
    dataset = FileDataset(data_file=str(path), image_size="32x32x1")
    with pytest.raises(InputError, match="must be 32x32x1, but are 64x64x3"):
        dataset.open()
    with pytest.raises(ParameterError, match="image_size must be such as 64x64x3, but got '64'"):
        FileDataset(data_file=str(path), image_size="64")


def test_other_factors_of_the_same_images_are_other_data(path: Path) -> None:
    """Scores of corrected labels do not compare with those before."""
    content = write_own_file(path)
    first = open_own_file(path)
    factors = content["factors"].copy()
    factors[[0, 1]] = factors[[1, 0]]
    changes = [{"factors": factors}, {"names": np.array(["a", "b", "c"])}, {"cyclic": np.array(["kind"])}]
    fingerprints = {first.fingerprint}
    for change in changes:
        write_own_file(path, **change)
        data = open_own_file(path)
        data.verify()
        fingerprints.add(data.fingerprint)
    assert len(fingerprints) == 4


def test_a_file_of_equal_size_and_time_is_read_again(path: Path) -> None:
    """As `rsync -t` leaves it: the checksums in the file's own directory tell."""
    write_own_file(path, images=np.zeros((70, 64, 64), np.uint8))
    before = path.stat()
    assert open_own_file(path).images([0]).max() == 0
    write_own_file(path, images=np.full((70, 64, 64), 255, np.uint8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert open_own_file(path).images([0]).min() == 1


def test_a_file_that_changes_while_it_is_read_leaves_no_cache(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_own_file(path)
    real = own_file._blocks

    def changing(file: Path):
        write_own_file(path, images=random_images(70, 64, 64, 3)[::-1])
        yield from real(file)

    monkeypatch.setattr(own_file, "_blocks", changing)
    with pytest.raises(InputError, match="must stay as it is while it is read, but has changed"):
        open_own_file(path)
    assert not list(path.parent.glob("cache/*.npy"))


def test_factors_may_have_more_combinations_than_an_integer_counts(path: Path) -> None:
    factors = (np.arange(160)[:, None] * [1, 3, 7, 9, 11, 13, 17, 19, 21, 23]) % 80
    write_own_file(path, images=random_images(160, 8, 8), factors=factors, names=None)
    data = open_own_file(path)
    assert data.factors.size == 80**10 > 2**63
    np.testing.assert_array_equal(data.factors_of([0, 159, 80]), factors[[0, 159, 80]])


def test_a_changed_file_is_converted_again(path: Path) -> None:
    write_own_file(path)
    first = open_own_file(path)
    write_own_file(path, images=random_images(71, 64, 64), factors=None)
    second = open_own_file(path)
    assert first.fingerprint != second.fingerprint
    assert len(second) == 71
    first.verify()


def test_a_model_that_is_given_away_names_the_file_without_its_folder(path: Path) -> None:
    write_own_file(path, images=random_images(70, 32, 48))
    dataset = FileDataset(data_file=str(path))
    assert dataset.values()["data_file"] == str(path)
    assert dataset.public_values() == {"data_file": path.name, "image_size": dataset.image_size}


def test_a_network_that_does_not_take_the_images_is_refused_at_the_door(path: Path) -> None:
    write_own_file(path, images=random_images(70, 16, 16, 3))
    values = {"dataset": "file", "data_file": str(path)}
    with pytest.raises(ParameterError, match="burgess does not: .* or choose --architecture mlp"):
        TrialConfig.from_dict(values)
    assert TrialConfig.from_dict({**values, "architecture": "mlp"}).dataset.image_shape == (3, 16, 16)
