import math

import pytest
import torch
import torch.nn.functional as F

from betavae.errors import InputError
from betavae.gaussian import DiagonalGaussian
from betavae.models import ARCHITECTURES, MLP, VAE, Conv3, Conv64
from betavae.models.layers import UpsampleToPixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_model_has_the_architecture_that_it_is_given() -> None:
    layers = [str(layer) for layer in VAE(4, generator=generator()).encoder]
    assert [str(layer) for layer in VAE(4, architecture=Conv3(), generator=generator()).encoder] != layers


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [
        # convolutions: inputs * outputs * kernel + outputs; layers: inputs * outputs + outputs; 10 latents, 1 channel
        ("burgess", 544 + 3 * 16_416 + 131_328 + 65_792 + 5_140, 2_816 + 65_792 + 131_584 + 3 * 16_416 + 513),
        ("conv3", 544 + 32_832 + 131_200 + 163_860, 90_112 + 131_136 + 32_800 + 513),
        ("conv64", 544 + 16_416 + 8_256 + 16_448 + 262_400 + 5_140, 2_816 + 263_168 + 65_600 + 32_800 + 16_416 + 513),
        ("mlp", 4_916_400 + 1_441_200 + 24_020, 13_200 + 2 * 1_441_200 + 4_919_296),
    ],
)
def test_a_network_has_as_many_parameters_as_its_definition(name: str, encoder: int, decoder: int) -> None:
    model = VAE(10, architecture=ARCHITECTURES[name]())
    counts = [sum(weights.numel() for weights in half.parameters()) for half in (model.encoder, model.decoder)]
    assert counts == [encoder, decoder]


def test_the_encoder_of_conv64_halves_four_times_and_its_decoder_starts_at_4_x_4() -> None:
    model = VAE(10, architecture=Conv64())
    x, sides = torch.zeros(1, 1, 64, 64), []
    for layer in model.encoder[:8]:
        x = layer(x)
        sides.append(tuple(x.shape[1:]))
    assert sides[::2] == [(32, 32, 32), (32, 16, 16), (64, 8, 8), (64, 4, 4)]
    assert model.decoder[:5](torch.zeros(1, 10)).shape == (1, 64, 4, 4)
    with pytest.raises(InputError, match="multiples of 16, but are 64 x 72 with 1 channel;"):
        VAE(10, architecture=Conv64(), image_shape=(1, 64, 72))


def test_the_mlp_has_relu_in_its_encoder_and_tanh_in_its_decoder() -> None:
    model = VAE(10, architecture=MLP(), image_shape=(3, 5, 7))
    assert [type(layer).__name__ for layer in model.encoder] == ["Flatten", *["Linear", "ReLU"] * 2, "Linear"]
    assert [type(layer).__name__ for layer in model.decoder] == [*["Linear", "Tanh"] * 3, "Linear", "Unflatten"]
    assert model.decode(torch.zeros(2, 10)).shape == (2, 3, 5, 7)


def test_upsample_to_pixels_is_a_transposed_convolution() -> None:
    """Fails if the taps are laid out, or overlapped, in any other order."""
    layer = UpsampleToPixels(5).double()
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64, generator=generator())
    expected = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer._by_convolution(x), expected, rtol=1e-12, atol=1e-12)  # as on a GPU


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
