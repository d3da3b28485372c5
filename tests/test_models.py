import math

import torch
import torch.nn.functional as F

from betavae.gaussian import DiagonalGaussian
from betavae.models import VAE, Conv3
from betavae.models.layers import UpsampleToPixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_model_has_the_architecture_that_it_is_given() -> None:
    layers = [str(layer) for layer in VAE(4, generator=generator()).encoder]
    assert [str(layer) for layer in VAE(4, architecture=Conv3(), generator=generator()).encoder] != layers


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
