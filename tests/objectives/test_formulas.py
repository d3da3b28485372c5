"""The loss and every gradient of each objective equal its formula, written out in float64."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from betavae.models import VAE, Architecture
from betavae.objectives import (
    DIPVAEI,
    DIPVAEII,
    OBJECTIVES,
    AnnealedVAE,
    Batch,
    BetaTCVAE,
    BetaVAE,
    FactorVAE,
    Objective,
)

N = TypeVar("N", bound=nn.Module)
SHAPE, LATENTS, IMAGES = (1, 4, 4), 3, 5
RELATIVE = 1e-10
"""float64 rounds to 2^-53, and a number here takes fewer than 10,000 operations."""


@dataclass(frozen=True, kw_only=True)
class Tiny(Architecture):
    """One hidden layer of five units each."""

    name = "tiny"

    def networks(self, latent_size: int, image_shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 2 * latent_size))
        decoder = nn.Sequential(nn.Linear(latent_size, 5), nn.Tanh(), nn.Linear(5, 16), nn.Unflatten(1, image_shape))
        return encoder, decoder


@dataclass(frozen=True)
class Parts:
    """What the formulas are made of, by image and latent."""

    recon: Tensor
    mean: Tensor
    variance: Tensor
    codes: Tensor

    @property
    def kl(self) -> Tensor:
        return ((self.mean**2 + self.variance - 1 - self.variance.log()) / 2).sum() / IMAGES


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int) -> Tensor:
    return torch.rand(IMAGES, *SHAPE, dtype=torch.float64, generator=generator(seed)).round()


def tiny_model() -> VAE:
    model = VAE(LATENTS, architecture=Tiny(), image_shape=SHAPE, generator=generator(0))
    return with_biases(model)


def with_biases(network: N) -> N:
    """In double precision. Biases begin at 0, which would hide that they are left out."""
    network.double()
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.3 * torch.randn(weights.shape, dtype=torch.float64, generator=generator(weights.numel()))
    return network


def encoded(model: VAE, white: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and code."""
    outputs = model.encoder(white)
    mean, logvar = outputs[:, :LATENTS], outputs[:, LATENTS:]
    draws = torch.empty(mean.shape, dtype=torch.float64).normal_(generator=noise)
    return mean, logvar.exp(), mean + logvar.exp().sqrt() * draws


def parts_of(model: VAE, noise: torch.Generator) -> Parts:
    white = images(1)
    mean, variance, codes = encoded(model, white, noise)
    probability = 1 / (1 + torch.exp(-model.decoder(codes)))
    likelihood = torch.where(white == 1, probability, 1 - probability)
    return Parts(-likelihood.log().sum() / IMAGES, mean, variance, codes)


def beta_vae(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    return parts.recon + 3 * parts.kl, None


def beta_tcvae(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    return parts.recon + parts.kl + 2 * total_correlation(parts), None


def beta_tcvae_with_alpha(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    return parts.recon + 5 * parts.kl - 2 * total_correlation(parts), None


def total_correlation(parts: Parts) -> Tensor:
    def density(code: int, image: int, latent: int) -> Tensor:
        variance = parts.variance[image, latent]
        square = (parts.codes[code, latent] - parts.mean[image, latent]) ** 2
        return torch.exp(-square / (2 * variance)) / torch.sqrt(2 * math.pi * variance)

    total = torch.zeros((), dtype=torch.float64)
    for code in range(IMAGES):
        table = torch.stack(
            [torch.stack([density(code, image, latent) for latent in range(LATENTS)]) for image in range(IMAGES)]
        )
        total = total + table.prod(1).mean().log() - table.mean(0).log().sum()
    return total / IMAGES


def annealed_vae(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    capacity = 20 * 30 / 100  # of c_max 20, after 30 of 100 steps
    distance = parts.kl - capacity if parts.kl > capacity else capacity - parts.kl
    return parts.recon + 50 * distance, None


def factor_vae(parts: Parts, model: VAE, noise: torch.Generator, adversary: nn.Module) -> tuple[Tensor, Tensor]:
    def logits(rows: Tensor) -> Tensor:
        weights = list(adversary.parameters())
        for matrix, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            rows = rows @ matrix.t() + bias
            rows = torch.where(rows > 0, rows, 0.2 * rows)
        return rows @ weights[-2].t() + weights[-1]

    second = encoded(model, images(2), noise)[2].detach()
    order = torch.rand(second.shape, generator=noise).argsort(0)
    permuted = torch.stack([torch.stack([second[order[row, j], j] for j in range(LATENTS)]) for row in range(IMAGES)])
    real_logits = logits(parts.codes)
    tc = (real_logits[:, 0] - real_logits[:, 1]).mean()
    real = torch.softmax(logits(parts.codes.detach()), 1)[:, 0]
    false = torch.softmax(logits(permuted), 1)[:, 1]
    return parts.recon + parts.kl + 6 * tc, -(real.log().mean() + false.log().mean()) / 2


def penalty(covariance: Tensor, lambda_od: float, lambda_d: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for row, column in itertools.product(range(LATENTS), repeat=2):
        value = covariance[row, column]
        total = total + (lambda_d * (value - 1) ** 2 if row == column else lambda_od * value**2)
    return total


def moments(mean: Tensor) -> Tensor:
    """E[xy] - E[x] E[y], as disentanglement_lib has it."""
    products = torch.stack([torch.outer(row, row) for row in mean]).sum(0) / IMAGES
    return products - torch.outer(mean.sum(0) / IMAGES, mean.sum(0) / IMAGES)


def dip_vae_i(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    return parts.recon + parts.kl + penalty(moments(parts.mean), 2.0, 20.0), None


def dip_vae_ii(parts: Parts, model: VAE, noise: torch.Generator, adversary: None) -> tuple[Tensor, None]:
    covariance = moments(parts.mean) + torch.diag(parts.variance.sum(0) / IMAGES)
    return parts.recon + parts.kl + penalty(covariance, 2.0, 6.0), None


Formula = Callable[..., tuple[Tensor, Tensor | None]]
CASES: dict[Objective, Formula] = {
    BetaVAE(beta=3.0): beta_vae,
    BetaTCVAE(beta=3.0): beta_tcvae,
    BetaTCVAE(beta=3.0, alpha=5.0): beta_tcvae_with_alpha,
    AnnealedVAE(gamma=50.0, c_max=20.0, capacity_steps=100): annealed_vae,
    FactorVAE(gamma=6.0, discriminator_layers=2, discriminator_units=7): factor_vae,
    DIPVAEI(lambda_od=2.0): dip_vae_i,
    DIPVAEII(lambda_od=2.0, lambda_d_factor=3.0): dip_vae_ii,
}


def gradients_of(loss: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, tuple(network.parameters()), retain_graph=True))


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for each, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0
        assert (each - other).abs().max() <= RELATIVE * other.abs().max()


@pytest.mark.parametrize(("objective", "formula"), [pytest.param(*case, id=case[0].name) for case in CASES.items()])
def test_the_loss_and_every_gradient_are_those_of_the_formula(objective: Objective, formula: Formula) -> None:
    model, adversary = tiny_model(), objective.adversary(LATENTS, generator(3))
    if adversary is not None:
        with_biases(adversary)
    batch = Batch(
        model, images(1), step=30, generator=generator(4), adversary=adversary, second_images=lambda: images(2)
    )
    loss = objective.loss(batch)
    noise = generator(4)
    total, adversary_loss = formula(parts_of(model, noise), model, noise, adversary)
    assert loss.total.item() == pytest.approx(total.item(), rel=RELATIVE)
    assert_equal(gradients_of(loss.total, model), gradients_of(total, model))
    if adversary is not None:
        assert loss.adversary is not None
        assert adversary_loss is not None
        assert loss.adversary.item() == pytest.approx(adversary_loss.item(), rel=RELATIVE)
        assert_equal(gradients_of(loss.adversary, adversary), gradients_of(adversary_loss, adversary))


def test_every_objective_has_a_formula() -> None:
    assert {type(objective) for objective in CASES} == set(OBJECTIVES.values())
