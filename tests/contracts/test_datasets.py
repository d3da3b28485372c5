"""What every data set keeps to: a new one is tested without another line here."""

import atexit
import functools
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import SMALL_SETS, write_own_file

from betavae.data import DATASETS, Dataset, FactorImages

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")),
]


@functools.cache
def opened(name: str) -> FactorImages:
    """The set; a small one in the same layout where official files are needed."""
    if name not in SMALL_SETS:
        return dataset_of(name).open()
    folder = Path(tempfile.mkdtemp(prefix="contract-"))
    atexit.register(shutil.rmtree, folder)
    return SMALL_SETS[name](folder)


@functools.cache
def dataset_of(name: str) -> Dataset:
    if name != "file":
        return DATASETS[name]()
    folder = Path(tempfile.mkdtemp(prefix="contract-"))
    atexit.register(shutil.rmtree, folder)
    write_own_file(folder / "own.npz")
    return DATASETS[name](data_file=str(folder / "own.npz"))


@pytest.fixture(params=DATASETS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def dataset(name: str) -> Dataset:
    return dataset_of(name)


@pytest.fixture
def data(name: str) -> FactorImages:
    return opened(name)


@pytest.fixture
def indices(data: FactorImages) -> np.ndarray:
    """Both ends, and some between, in no order."""
    between = np.random.default_rng(0).integers(0, len(data), 30)
    return np.array([len(data) - 1, 0, *between])


def test_every_image_has_factors(data: FactorImages, indices: np.ndarray) -> None:
    factors = data.factors_of(indices)
    assert factors.shape == (len(indices), data.factors.num_factors)
    assert (factors >= 0).all()
    assert (factors < data.factors.sizes).all()
    for form in (indices.tolist(), torch.tensor(indices)):
        np.testing.assert_array_equal(data.factors_of(form), factors)
    assert data.has_factors


def test_every_value_of_a_factor_occurs(data: FactorImages) -> None:
    factors = data.factors_of(np.random.default_rng(2).permutation(len(data))[:100_000])
    assert tuple(len(np.unique(column)) for column in factors.T) == data.factors.sizes


@pytest.mark.parametrize("device", DEVICES)
def test_images_have_the_shape_type_and_range_that_are_promised(
    dataset: Dataset, data: FactorImages, indices: np.ndarray, device: str
) -> None:
    assert data.image_shape == dataset.image_shape
    images = data.images(indices, device)
    assert images.shape == (len(indices), *dataset.image_shape)
    assert (images.dtype, images.device.type) == (torch.float32, device)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.max() - images.min() > 0.5, "0 is black and 1 is white, so that 0 .. 1 / 255 is a mistake"
    assert images.amax((0, 2, 3)).min() > 0, "no channel is empty"


@pytest.mark.parametrize("device", DEVICES)
def test_two_calls_and_two_devices_agree(data: FactorImages, indices: np.ndarray, device: str) -> None:
    first, second = data.images(indices), data.images(indices, device)
    assert torch.equal(first, second.cpu())
    first.zero_()  # what a caller does with the images is no matter of the data set
    assert torch.equal(data.images(indices, device), second)


def test_images_come_in_the_order_of_the_indices(data: FactorImages, indices: np.ndarray) -> None:
    images = data.images(indices)
    one_by_one = torch.cat([data.images([int(index)]) for index in indices])
    assert torch.equal(images, one_by_one)
    assert len(torch.unique(images.flatten(1), dim=0)) > 1
    for form in (indices.tolist(), torch.tensor(indices), indices.astype(np.int32)):
        assert torch.equal(data.images(form), images)
    assert data.images([]).shape == (0, *data.image_shape)


def test_images_that_do_not_exist_are_refused(data: FactorImages) -> None:
    with pytest.raises(IndexError, match="indices must be in"):
        data.images([0, len(data)])
    with pytest.raises(ValueError, match="indices must be a vector of integers"):
        data.images(np.zeros(len(data), bool))


def test_every_factor_shows(data: FactorImages) -> None:
    """Fails where a factor has no name of its own, one value alone, or no effect on any of a hundred images."""
    generator = np.random.default_rng(1)
    if len(data) != data.factors.size:
        pytest.skip("not one image for each combination of the factors")
    factors = data.factors_of(generator.integers(0, len(data), 100))
    for column, size in enumerate(data.factors.sizes):
        assert size > 1
        changed = factors.copy()
        changed[:, column] = (changed[:, column] + generator.integers(1, size, len(changed))) % size
        before, after = (data.images(data.factors.factors_to_indices(each)) for each in (factors, changed))
        assert not torch.equal(before, after), data.factors.names[column]


@pytest.mark.parametrize("device", DEVICES)
def test_images_to_train_on_follow_from_seed_and_step(data: FactorImages, indices: np.ndarray, device: str) -> None:
    """Whatever the batch: else a resumed trial would train on others."""
    images = data.training_images(indices, device, seed=3, step=7)
    assert images.shape == (len(indices), *data.image_shape)
    assert (images.dtype, images.device.type) == (torch.float32, device)
    assert images.min() >= 0
    assert images.max() <= 1
    others = data.training_images(indices[::-1].copy(), device, seed=3, step=7)
    assert torch.equal(images, others.flip(0))
    assert torch.equal(images.cpu(), data.training_images(indices, seed=3, step=7))


def test_the_images_are_those_of_the_fingerprint(data: FactorImages) -> None:
    data.verify()
    assert re.fullmatch("[0-9a-f]{64}", data.fingerprint)
    assert re.fullmatch("[a-z]+", data.source)


def test_a_trial_trains_on_some_of_the_images(dataset: Dataset, data: FactorImages) -> None:
    assert 1 <= dataset.num_training(data) <= len(data)
