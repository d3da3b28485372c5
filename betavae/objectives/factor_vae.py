"""The objective of the FactorVAE, and the discriminator that estimates its total correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from betavae.models.layers import initialize
from betavae.objectives.base import AdamSettings, Batch, Loss, Objective, reconstruction_nats
from betavae.parts import parameter
from betavae.schedules import Weight

_SLOPE = 0.2
_BETAS = (0.5, 0.9)

_LEAST_WEIGHT = 1e-20
"""Least weight of a code in the discriminator's gradient: too small to move a weight, and large enough to divide by."""


@dataclass(frozen=True, kw_only=True)
class FactorVAE(Objective):
    """Minimise recon + KL + gamma * TC, the total correlation as a discriminator estimates it.

    The discriminator learns to tell codes of the aggregate posterior from permuted codes: those of a second batch, each
    latent permuted over the images. At its optimum, its logit is the log density ratio of q(z) and prod_j q(z_j), whose
    mean over codes is the total correlation.

    Source:
        Kim and Mnih 2018, arXiv:1802.05983, algorithm 2. Model and discriminator are updated from the same codes.
    """

    name = "factor-vae"
    terms = ("recon_nats", "kl_nats", "tc_nats", "discriminator_nats", "discriminator_accuracy")
    undirected_terms = ("discriminator_nats", "discriminator_accuracy")
    least_batch_size = 2
    relative_cost = 1.8

    gamma: Weight = parameter(35.0, positive=True, log=True)
    """Weight of the total correlation. Published runs on dSprites have 10 to 100."""

    discriminator_lr: float = parameter(1e-4, positive=True, log=True, symbol="D lr")
    """Learning rate of the discriminator's Adam, whose betas are 0.5 and 0.9."""

    discriminator_layers: int = parameter(6, least=1, most=64, log=True, symbol="D layers")
    """Hidden layers of the discriminator, which are leaky ReLUs of slope 0.2."""

    discriminator_units: int = parameter(1000, least=1, most=2**16, log=True, symbol="D units")
    """Units of each hidden layer of the discriminator."""

    def adversary(self, latent_size: int, generator: torch.Generator | None) -> nn.Module:
        """Return the discriminator."""
        return Discriminator(
            latent_size, layers=self.discriminator_layers, units=self.discriminator_units, generator=generator
        )

    def adversary_adam(self) -> AdamSettings:
        """Return the settings of the discriminator's Adam."""
        return AdamSettings(self.discriminator_lr, _BETAS)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss and the discriminator's loss.

        The terms beside `recon_nats` and `kl_nats` are `tc_nats`, the estimate of the total correlation;
        `discriminator_nats`, the discriminator's cross-entropy, which is log 2 where it cannot tell the codes; and
        `discriminator_accuracy`, the share of codes that it assigns to their class, which is then 0.5.

        Raises:
            ValueError: If the batch has no adversary, or no second images.
        """
        if batch.adversary is None:
            raise ValueError(
                "factor-vae needs a batch with an adversary, but this batch has none; pass a Discriminator."
            )
        posterior = batch.model.encode(batch.images)
        codes = posterior.sample(batch.generator)
        recon = reconstruction_nats(batch.model, codes, batch.images)
        kl = posterior.kl().sum(1).mean()
        with torch.no_grad():
            second_codes = batch.model.encode(batch.more_images()).sample(batch.generator)
            permuted_codes = permute_latents(second_codes, batch.generator)
        judgement = discriminate(batch.adversary, codes, permuted_codes)
        terms = {
            "recon_nats": recon,
            "kl_nats": kl,
            "tc_nats": judgement.tc,
            "discriminator_nats": judgement.loss,
            "discriminator_accuracy": judgement.accuracy,
        }
        return Loss(recon + kl + self.gamma * judgement.tc, terms, judgement.loss)


class Discriminator(nn.Module):
    """A multilayer perceptron from codes to the log density ratio of codes and permuted codes.

    It has two logits, as in the paper; their difference is the log of the ratio.

    Args:
        latent_size: Number of latents.
        layers: Hidden layers.
        units: Units of each.
        generator: Source of the initial weights; torch's global generator if None.
    """

    def __init__(self, latent_size: int, *, layers: int, units: int, generator: torch.Generator | None) -> None:
        super().__init__()
        sizes = [latent_size, *[units] * layers]
        hidden = [
            module
            for inputs, outputs in zip(sizes, sizes[1:], strict=False)
            for module in (nn.Linear(inputs, outputs), nn.LeakyReLU(_SLOPE))
        ]
        self.logits = nn.Sequential(*hidden, nn.Linear(units, 2))
        self.apply(lambda module: initialize(module, generator))

    def forward(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, " images"]:
        """Return the estimated log density ratio of each code, in nats."""
        logits: Tensor = self.logits(codes)
        real, permuted = logits.to(torch.promote_types(logits.dtype, torch.float32)).unbind(1)
        return real - permuted


def permute_latents(
    codes: Float[Tensor, "images latents"], generator: torch.Generator | None = None
) -> Float[Tensor, "images latents"]:
    """Permute each latent over the images, independently of the other latents."""
    order = torch.rand(codes.shape, generator=generator, device=codes.device).argsort(0)
    return codes.gather(0, order)


def cross_entropy(
    ratio: Float[Tensor, " images"], permuted_ratio: Float[Tensor, " permuted_images"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of a discriminator in nats per code, where each class counts half.

    Args:
        ratio: Log density ratios that the discriminator gives to codes.
        permuted_ratio: Those that it gives to permuted codes.
    """
    return (F.softplus(-ratio).mean() + F.softplus(permuted_ratio).mean()) / 2


def accuracy(ratio: Float[Tensor, " images"], permuted_ratio: Float[Tensor, " permuted_images"]) -> Float[Tensor, ""]:
    """Return the share of codes that a discriminator assigns to their class, where each class counts half."""
    return ((ratio > 0).float().mean() + (permuted_ratio <= 0).float().mean()) / 2


@dataclass(frozen=True)
class Discrimination:
    """A discriminator's judgement of codes and of permuted codes.

    Attributes:
        tc: The estimated total correlation in nats: the mean log density ratio of the codes. It has a gradient in the
            codes alone.
        loss: The discriminator's cross-entropy. It has a gradient in the discriminator's weights alone.
        accuracy: The share of codes that are assigned to their class.
    """

    tc: Float[Tensor, ""]
    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


def discriminate(
    adversary: nn.Module, codes: Float[Tensor, "images latents"], permuted_codes: Float[Tensor, "images latents"]
) -> Discrimination:
    """Tell codes from as many permuted codes, with both gradients from one backward pass.

    The weight of a code's log ratio in the cross-entropy scales the gradient that the pass gives to this code, so the
    gradient of the total correlation is the pass's gradient divided by that weight. It saves a pass of seven.
    """
    rows = torch.cat((codes.detach(), permuted_codes)).requires_grad_()
    weights = tuple(adversary.parameters())
    with torch.enable_grad():
        ratio: Tensor = adversary(rows)
    real, permuted = ratio.detach().chunk(2)
    real_weight = torch.sigmoid(-real).clamp(min=_LEAST_WEIGHT) / (-2 * len(real))  # d cross_entropy / d real
    permuted_weight = torch.sigmoid(permuted) / (2 * len(permuted))
    row_gradient, *gradients = torch.autograd.grad(ratio, (rows, *weights), torch.cat((real_weight, permuted_weight)))
    slope = row_gradient[: len(real)] / (len(real) * real_weight)[:, None]
    tc = real.mean() + (slope * (codes - codes.detach())).sum()
    loss: Tensor = _WithGradients.apply(cross_entropy(real, permuted), gradients, *weights)  # type: ignore[no-untyped-call]
    return Discrimination(tc, loss, accuracy(real, permuted))


class _WithGradients(torch.autograd.Function):
    """A value whose gradients in some weights are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        """Return the value."""
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, times that of the value."""
        return None, None, *(outer[0] * gradient for gradient in ctx.gradients)
