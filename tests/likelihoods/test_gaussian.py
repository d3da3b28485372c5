"""The Gaussian likelihood against closed forms and torch.distributions, in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from betavae.data import DSprites
from betavae.evaluation import take_score
from betavae.likelihoods import Gaussian
from betavae.metrics import METRICS
from betavae.metrics.base import drawn_rows
from betavae.models import VAE
from betavae.objectives import Batch, BetaVAE

RELATIVE = 1e-10
"""float64 rounds to 2^-53, and a number here takes fewer than 10,000 operations."""
SHAPE = (3, 8, 8)
NUM_PIXELS = math.prod(SHAPE)


@pytest.fixture
def outputs() -> Tensor:
    return torch.randn(5, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def weights_of(likelihood: Gaussian) -> dict[str, Tensor]:
    return {name: weight.double().requires_grad_() for name, weight in likelihood.initial_weights().items()}


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).abs().max() <= RELATIVE * expected.abs().max()


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("is_learnt", [False, True])
def test_nats_and_gradients_are_those_of_the_normal_density(
    outputs: Tensor, images: Tensor, scale: float, is_learnt: bool
) -> None:
    """Fails with a forgotten 2 pi, a variance for a scale, or a factor of the number of pixels."""
    likelihood = Gaussian(pixel_scale=scale, learn_pixel_scale=is_learnt)
    weights = weights_of(likelihood)
    true_scale = weights["log_pixel_scale"].exp() if is_learnt else torch.tensor(scale, dtype=torch.float64)
    outputs.requires_grad_()
    expected = -torch.distributions.Normal(outputs, true_scale).log_prob(images).sum((1, 2, 3))
    found = likelihood.nats(outputs, images, weights)
    assert_close(found, expected)
    assert_close(likelihood.mean_nats(outputs, images, weights), expected.mean())
    learnt = (outputs, *weights.values())
    gradients = [torch.autograd.grad(nats.mean(), learnt) for nats in (found, expected)]
    for each, other in zip(*gradients, strict=True):
        assert_close(each, other)


def test_the_closed_form_of_one_pixel() -> None:
    """At a residual of two standard deviations: log scale + log(2 pi) / 2 + 2."""
    nats = Gaussian(pixel_scale=0.25).nats(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5), {})
    assert nats.item() == pytest.approx(math.log(0.25) + math.log(2 * math.pi) / 2 + 2, rel=1e-6)


def test_the_best_scale_is_the_root_mean_square_of_the_residuals(outputs: Tensor, images: Tensor) -> None:
    """Rybkin et al. 2021: there the slope is 0, and either side costs more."""
    likelihood = Gaussian(learn_pixel_scale=True)
    best = (outputs - images).square().mean().sqrt().log()

    def slope_at(log_scale: Tensor) -> float:
        log_scale = log_scale.clone().requires_grad_()
        nats = likelihood.mean_nats(outputs, images, {"log_pixel_scale": log_scale})
        return torch.autograd.grad(nats, log_scale)[0].item()

    assert abs(slope_at(best)) < RELATIVE * NUM_PIXELS
    # the slope is D (1 - mean square / scale^2)
    assert slope_at(best + 0.1) == pytest.approx(NUM_PIXELS * (1 - math.exp(-0.2)), rel=1e-9)
    assert slope_at(best - 0.1) == pytest.approx(NUM_PIXELS * (1 - math.exp(0.2)), rel=1e-9)


def test_a_minimiser_finds_that_scale(outputs: Tensor, images: Tensor) -> None:
    likelihood = Gaussian(pixel_scale=0.1, learn_pixel_scale=True)
    weights = weights_of(likelihood)
    optimizer = torch.optim.LBFGS(weights.values(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        nats = likelihood.mean_nats(outputs, images, weights)
        nats.backward()
        return nats

    optimizer.step(closure)
    expected = (outputs - images).square().mean().sqrt().item()
    assert likelihood.learnt_values(weights)["pixel_scale"].item() == pytest.approx(expected, rel=1e-6)  # its tolerance


def test_a_beta_and_a_fixed_scale_are_one_weight() -> None:
    """scale^2 times the loss is S / 2 + beta scale^2 KL and a constant: half the scale needs four times the beta."""
    slopes = []
    for beta, scale in ((1.0, 0.2), (4.0, 0.1)):
        model = VAE(2, likelihood=Gaussian(pixel_scale=scale), generator=torch.Generator().manual_seed(0)).double()
        images = torch.rand(3, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        loss = BetaVAE(beta=beta).loss(Batch(model, images, generator=torch.Generator().manual_seed(2)))
        slopes.append(torch.autograd.grad(scale**2 * loss.total, tuple(model.parameters())))
    for each, other in zip(*slopes, strict=True):
        assert_close(each, other)


def test_the_mean_is_the_output_and_pictures_are_limited_to_what_a_pixel_can_be() -> None:
    outputs = torch.tensor([-0.5, 0.0, 0.3, 1.0, 1.5]).view(1, 1, 1, 5)
    assert Gaussian().pixels(outputs).flatten().tolist() == pytest.approx([0.0, 0.0, 0.3, 1.0, 1.0])
    # the likelihood itself sees outputs that no pixel can be
    below = Gaussian().nats(torch.full((1, 1, 1, 1), -0.5), torch.zeros(1, 1, 1, 1), {})
    assert below > Gaussian().nats(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), {})


def test_the_elbo_has_the_density_of_the_pixels(small_data: DSprites) -> None:
    """By brute force in float64, with the noise of the rows' seed, and a learnt scale that has moved."""
    model = VAE(3, likelihood=Gaussian(learn_pixel_scale=True), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.likelihood_weights["log_pixel_scale"].fill_(math.log(0.3))
    score = take_score("elbo", model, small_data)
    rows = drawn_rows(small_data, num_rows=METRICS["elbo"].num_rows)
    images = small_data.images(rows.indices)
    noise = rows_noise(len(rows.indices), rows.seed)
    with torch.no_grad():
        posterior = model.encode(images)
        codes = posterior.mean.double() + (posterior.logvar.double() / 2).exp() * noise
        means = model.decode(codes.float()).double()
    recon = -torch.distributions.Normal(means, 0.3).log_prob(images).sum((1, 2, 3)).mean().item()
    assert score.details["recon_nats"] == pytest.approx(recon, rel=1e-6)


def rows_noise(num_rows: int, seed: int | None) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num_rows, 3), np.float32)).double()
