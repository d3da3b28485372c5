"""What every architecture keeps to: a new one is tested without another line here."""

import re

import pytest
import torch

from betavae.errors import InputError
from betavae.models import ARCHITECTURES, VAE

pytestmark = pytest.mark.parametrize("name", ARCHITECTURES)


def build(name: str, *, latent_size: int = 3, channels: int = 1, seed: int = 0) -> VAE:
    generator = torch.Generator().manual_seed(seed)
    shape = (channels, 64, 64)
    return VAE(latent_size, architecture=ARCHITECTURES[name](), image_shape=shape, generator=generator)


def images(channels: int = 1) -> torch.Tensor:
    return torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("latent_size", [1, 10])
def test_shapes(name: str, latent_size: int, channels: int) -> None:
    model = build(name, latent_size=latent_size, channels=channels)
    posterior = model.encode(images(channels))
    assert posterior.mean.shape == posterior.logvar.shape == (2, latent_size)
    logits = model.decode(posterior.mean)
    assert logits.shape == (2, channels, 64, 64)
    assert all(values.isfinite().all() for values in (posterior.mean, posterior.logvar, logits))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_channel_and_every_latent_matters(name: str, channels: int) -> None:
    """Fails where a channel is dropped on the way in, or a latent on the way out."""
    model = build(name, channels=channels)
    inputs = images(channels).requires_grad_()
    posterior = model.encode(inputs)
    (posterior.mean.sum() + posterior.logvar.sum()).backward()
    assert (inputs.grad.abs().sum((0, 2, 3)) > 0).all()
    codes = torch.full((1, 3), 0.5, requires_grad=True)
    model.decode(codes).square().sum().backward()
    assert (codes.grad != 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gradient_reaches_every_parameter(name: str, channels: int) -> None:
    model = build(name, channels=channels)
    posterior = model.encode(images(channels))
    (model.decode(posterior.mean).square().mean() + posterior.kl().mean()).backward()
    assert [key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()] == []


def test_the_generator_alone_decides_the_initial_weights(name: str) -> None:
    torch.manual_seed(0)
    first, other = build(name).state_dict(), build(name, seed=1).state_dict()
    torch.manual_seed(1)
    second = build(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_train_and_eval_modes_are_one(name: str) -> None:
    """Fails with dropout, or with statistics of the batch."""
    model = build(name)
    outputs = []
    for mode in (True, False):
        posterior = model.train(mode).encode(images())
        outputs.append((posterior.mean, posterior.logvar, model.decode(posterior.mean)))
    assert all(torch.equal(first, second) for first, second in zip(*outputs, strict=True))


def test_images_do_not_depend_on_their_neighbours(name: str) -> None:
    """Up to the rounding of a matrix product, whose order may depend on the number of its rows."""
    model = build(name)
    pair, alone = model.encode(images()).mean, model.encode(images()[:1]).mean
    torch.testing.assert_close(pair[:1], alone)


@pytest.mark.parametrize("shape", [(2, 64, 64), (1, 32, 32), (1, 64, 32), (3, 20, 24)])
def test_other_images_are_taken_or_refused_in_words(name: str, shape: tuple[int, int, int]) -> None:
    """Fails where a shape is taken that the networks then choke on, or turn into another."""
    channels, height, width = shape
    refusal = ""
    try:
        model = VAE(3, architecture=ARCHITECTURES[name](), image_shape=shape)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert re.search(rf"must .*, but .*{height} x {width} with {channels}", refusal)
        return
    posterior = model.encode(torch.rand(2, *shape))
    assert posterior.mean.shape == (2, 3)
    assert model.decode(posterior.mean).shape == (2, *shape)
