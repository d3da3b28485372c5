"""Random numbers by (seed, image, step), and the sets that are drawn with them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DATASETS, DSprites
from betavae.data.draws import SCORED, Draw, philox, uniform, uniform_bytes
from betavae.data.dsprites.random_pixels import ColorDSprites, NoisyDSprites, RandomSprites
from betavae.data.xysquares import XYSquares
from betavae.models.mlp import MLP
from betavae.training import TrainingRun

STEP = Draw(seed=5, step=9, is_training=True)


# the known answers of Random123, the authors' own implementation: tests/kat_vectors, philox4x32 10
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in words) == expected


def test_numbers_are_uniform() -> None:
    """Four standard errors of the mean, and of the count of each byte."""
    numbers = uniform(torch.arange(1000), 100, STEP).double()
    assert abs(numbers.mean() - 0.5) < 4 * math.sqrt(1 / 12 / numbers.numel())
    assert 0 <= numbers.min() < 1e-3
    assert 1 - 1e-3 < numbers.max() < 1
    counts = torch.bincount(uniform_bytes(torch.arange(1000), 256, STEP).flatten().long(), minlength=256)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000)


@pytest.mark.parametrize(
    "other",
    [
        Draw(6, 9, True), Draw(5 + 2**32, 9, True), Draw(5, 10, True), Draw(5, 9, False), SCORED,
    ],
)  # fmt: skip
def test_each_part_of_the_draw_counts(other: Draw) -> None:
    images = torch.arange(50)
    for function in (uniform, uniform_bytes):
        first, second = function(images, 8, STEP).double(), function(images, 8, other).double()
        assert (first != second).double().mean() > 0.9
        assert len(torch.unique(first, dim=0)) == 50


def test_an_image_has_the_same_numbers_in_any_batch() -> None:
    images = torch.tensor([700_000, 3, 40])
    for function in (uniform, uniform_bytes):
        whole = function(images, 33, STEP)
        alone = torch.cat([function(images[k : k + 1], 33, STEP) for k in range(3)])
        assert torch.equal(whole, alone)


@pytest.fixture(params=[ColorDSprites, NoisyDSprites])
def drawn(request: pytest.FixtureRequest, dsprites: DSprites) -> RandomSprites:
    return request.param(dsprites)


def test_training_draws_anew_at_every_step_and_scores_never_do(drawn: RandomSprites) -> None:
    indices = [5, 100_000, 737_279]
    steps = [drawn.training_images(indices, seed=1, step=step) for step in (0, 1, 0)]
    assert torch.equal(steps[0], steps[2])
    assert not torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[0], drawn.training_images(indices, seed=2, step=0))
    assert torch.equal(drawn.images(indices), drawn.images(indices))
    assert torch.equal(drawn.images([-1]), drawn.images([737_279]))
    for images in steps:
        assert not torch.equal(images, drawn.images(indices))


def test_a_sprite_has_one_colour_on_black(dsprites: DSprites) -> None:
    indices = np.random.default_rng(0).integers(0, len(dsprites), 200)
    images, masks = ColorDSprites(dsprites).images(indices), dsprites.images(indices)
    assert torch.equal((images > 0).all(1, keepdim=True), masks > 0)
    colors = images.amax((2, 3))
    assert torch.equal(images, colors[:, :, None, None] * masks)
    assert 0.5 <= colors.min() < 0.51
    assert 0.99 < colors.max() < 1
    assert abs(colors.double().mean() - 0.75) < 4 * math.sqrt(0.25 / 12 / colors.numel())


def test_a_white_sprite_lies_on_noise(dsprites: DSprites) -> None:
    indices = np.random.default_rng(0).integers(0, len(dsprites), 20)
    images, masks = NoisyDSprites(dsprites).images(indices), dsprites.images(indices).expand(-1, 3, -1, -1)
    assert (images[masks > 0] == 1).all()
    noise = images[masks == 0]
    assert abs(noise.double().mean() - 0.5) < 4 * math.sqrt((256**2 - 1) / 12 / 255**2 / noise.numel())
    assert torch.equal(noise, (255 * noise).round() / 255)


def test_each_set_has_a_fingerprint_of_its_own(dsprites: DSprites) -> None:
    fingerprints = {dsprites.fingerprint, ColorDSprites(dsprites).fingerprint, NoisyDSprites(dsprites).fingerprint}
    assert len(fingerprints) == 3


def test_squares_are_where_their_factors_say() -> None:
    data = XYSquares()
    factors = np.array([[0, 0, 7, 7, 3, 5], [1, 0, 1, 0, 1, 0]])
    images = data.images(data.factors.factors_to_indices(factors))
    expected = torch.zeros(2, 3, 64, 64)
    for image, row in zip(expected, factors, strict=True):
        for channel, (x, y) in enumerate(row.reshape(3, 2)):
            image[channel, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 1
    assert torch.equal(images, expected)
    assert len(data) == 8**6
    np.testing.assert_array_equal(data.packed(5, 8), np.packbits(data.images([5, 6, 7]).numpy().astype(bool), axis=3))


def test_the_fingerprint_is_that_of_all_squares() -> None:
    data, digest = XYSquares(), hashlib.sha256()
    for start in range(0, len(data), 2**13):
        digest.update(data.packed(start, start + 2**13).data)
    assert digest.hexdigest() == data.fingerprint


@pytest.mark.parametrize("name", ["color-dsprites", "noisy-dsprites"])
def test_a_resumed_trial_draws_what_it_would_have_drawn(tmp_path: Path, name: str) -> None:
    config = TrialConfig(
        dataset=DATASETS[name](), architecture=MLP(), batch_size=8, latent_size=2, steps=4, eval_every=2
    )
    data = config.dataset.open()
    straight, first = TrainingRun.start(config, data), TrainingRun.start(config, data)
    straight.advance(4)
    first.advance(2)
    scores = first.evaluate(["active_units"])
    first.save(tmp_path / "checkpoint", scores=scores, report={"step": 2, "mig": 0.0})
    resumed = TrainingRun.load(tmp_path / "checkpoint", data)
    resumed.advance(2)
    for expected, weights in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(expected, weights)
