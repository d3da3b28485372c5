import math

import numpy as np
import pytest
import torch

from betavae.gaussian import DiagonalGaussian
from betavae.models import VAE
from betavae.objectives import Batch, BetaTCVAE, BetaVAE, total_correlation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_loss_is_summed_over_pixels_and_averaged_over_images() -> None:
    """All-zero logits cost ln 2 nats a pixel; fails where a mean over pixels is taken, or a sum over images."""
    model = VAE(2, generator=generator())
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    loss = BetaVAE(beta=7.0).loss(Batch(model, torch.zeros(3, 1, 64, 64), generator=generator()))
    assert loss.terms["recon_nats"].item() == pytest.approx(64 * 64 * math.log(2), rel=1e-6)
    assert loss.terms["kl_nats"].item() == 0


def test_beta_weighs_the_kl_alone() -> None:
    model, images = VAE(4, generator=generator()), torch.ones(2, 1, 64, 64)
    loss = BetaVAE(beta=7.0).loss(Batch(model, images, generator=generator()))
    assert loss.total.item() == pytest.approx((loss.terms["recon_nats"] + 7 * loss.terms["kl_nats"]).item(), rel=1e-6)
    assert loss.terms["kl_nats"].item() > 0


def test_at_beta_1_both_objectives_are_the_evidence_bound() -> None:
    model, images = VAE(4, generator=generator()), torch.ones(2, 1, 64, 64)
    losses = [part(beta=1.0).loss(Batch(model, images, generator=generator())) for part in (BetaVAE, BetaTCVAE)]
    assert losses[0].total.item() == pytest.approx(losses[1].total.item(), rel=1e-6)


def test_beta_weighs_the_total_correlation_alone() -> None:
    model, images = VAE(4, generator=generator()), torch.rand(8, 1, 64, 64, generator=generator())
    loss = BetaTCVAE(beta=7.0).loss(Batch(model, images, generator=generator()))
    posterior = model.encode(images)
    correlation = total_correlation(posterior, posterior.sample(generator()))
    assert loss.total.item() == pytest.approx(
        (loss.terms["recon_nats"] + loss.terms["kl_nats"] + 6 * correlation).item(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)], 2 * math.log(4)),  # each latent knows the two others
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 0.0),  # a grid: independent
        ([(0, 0), (0, 0), (1, 1), (1, 1)], math.log(2)),  # an image that is there twice counts twice
    ],
)
def test_total_correlation_of_codes_that_tell_the_images_apart(means: list[tuple[int, ...]], expected: float) -> None:
    """Closed form: narrow posteriors make the codes discrete, and this the multi-information of their table."""
    mean = torch.tensor(means, dtype=torch.float64)
    posterior = DiagonalGaussian(mean, torch.full_like(mean, math.log(1e-6)))
    assert total_correlation(posterior, posterior.sample(generator())).item() == pytest.approx(expected, abs=1e-9)


def test_total_correlation_by_quadrature() -> None:
    """Three images whose posteriors overlap, each 1,000 times: the estimate is a mean over codes drawn from q(z)."""
    mean = torch.tensor([(-1.0, -0.5), (0.2, 0.1), (1.0, 1.5)], dtype=torch.float64)
    logvar = torch.tensor([(-1.0, -0.2), (-0.5, -1.5), (0.3, -1.0)], dtype=torch.float64)
    grid = np.linspace(-8, 8, 801)
    density = np.exp(-0.5 * (grid - mean.numpy()[..., None]) ** 2 / np.exp(logvar.numpy())[..., None])
    density /= density.sum(-1, keepdims=True)  # entry [image, latent, point]
    joint = np.einsum("ix,iy->xy", density[:, 0], density[:, 1]) / 3
    ratio = np.log(joint / np.outer(joint.sum(1), joint.sum(0)))
    expected = (joint * ratio).sum()
    deviation = math.sqrt((joint * (ratio - expected) ** 2).sum())
    posterior = DiagonalGaussian(mean.repeat(1_000, 1), logvar.repeat(1_000, 1))
    estimate = total_correlation(posterior, posterior.sample(generator())).item()
    assert expected > 0.1
    assert abs(estimate - expected) < 5 * deviation / math.sqrt(3_000)
