import math

import pytest
import torch
import torch.nn.functional as F

from betavae.config import Architecture
from betavae.gaussian import DiagonalGaussian
from betavae.models import ARCHITECTURES, VAE
from betavae.models.layers import UpsampleToPixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("architecture", ["burgess", "conv3"])
@pytest.mark.parametrize("latent_size", [1, 10])
def test_shapes_of_every_architecture(architecture: Architecture, latent_size: int) -> None:
    model = VAE(latent_size, architecture=architecture, generator=generator())
    posterior = model.encode(torch.zeros(3, 1, 64, 64))
    assert posterior.mean.shape == posterior.logvar.shape == (3, latent_size)
    assert model.decode(posterior.mean).shape == (3, 1, 64, 64)


def test_a_seed_fixes_the_initial_weights() -> None:
    first, second = (VAE(4, generator=generator(3)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_train_and_eval_modes_are_one() -> None:
    model, images = VAE(4, generator=generator()), torch.ones(2, 1, 64, 64)
    assert torch.equal(model.train().encode(images).mean, model.eval().encode(images).mean)


def test_upsample_to_pixels_is_a_transposed_convolution() -> None:
    """Fails if the taps are laid out, or overlapped, in any other order."""
    layer = UpsampleToPixels(5).double()
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64, generator=generator())
    expected = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_kl_closed_form() -> None:
    """KL(N(1, 4) || N(0, 1)) = (1 + 4 - 1 - ln 4) / 2; 0 for the prior itself."""
    posterior = DiagonalGaussian(torch.tensor([[1.0, 0.0]]), torch.tensor([[math.log(4.0), 0.0]]))
    expected = torch.tensor([[(4 - math.log(4.0)) / 2, 0.0]])
    torch.testing.assert_close(posterior.kl(), expected)


def test_sample_has_the_mean_and_variance_asked_for() -> None:
    num_samples = 100_000
    posterior = DiagonalGaussian(torch.full((num_samples, 1), 3.0), torch.full((num_samples, 1), math.log(4.0)))
    sample = posterior.sample(generator())
    # five standard errors of a mean and of a standard deviation, sigma = 2
    assert abs(sample.mean().item() - 3) < 5 * 2 / math.sqrt(num_samples)
    assert abs(sample.std().item() - 2) < 5 * 2 / math.sqrt(2 * num_samples)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_takes_colour_and_refuses_other_sizes_in_words(architecture: str) -> None:
    model = VAE(3, architecture=architecture, image_shape=(3, 64, 64))
    images = torch.rand(2, 3, 64, 64)
    assert model.decode(model.encode(images).mean).shape == images.shape
    for shape in ((2, 64, 64), (1, 32, 32), (1, 64, 32)):
        with pytest.raises(ValueError, match="Images must be 64 x 64 with 1 or 3 channels"):
            VAE(3, architecture=architecture, image_shape=shape)


def test_an_unknown_architecture_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="architecture must be one of burgess, conv3, but got 'resnet'"):
        VAE(3, architecture="resnet")
