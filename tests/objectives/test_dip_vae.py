import itertools

import pytest
import torch
from torch import Tensor

from betavae.gaussian import DiagonalGaussian
from betavae.models import VAE
from betavae.objectives import DIPVAEI, DIPVAEII, Batch, Objective
from betavae.objectives.moments import covariance

MEANS = [(0.0, 1.0), (2.0, 5.0), (0.0, 1.0), (2.0, 5.0)]
"""Variances 1 and 4, covariance 2."""


class FixedPosterior(VAE):
    """A model that gives every batch the same posterior."""

    def __init__(self, means: list[tuple[float, ...]], variance: float) -> None:
        super().__init__(len(means[0]))
        self.posterior_means, self.variance = torch.tensor(means), variance

    def encode(self, images: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.posterior_means, torch.full_like(self.posterior_means, self.variance).log())


def penalty(objective: Objective, means: list[tuple[float, ...]], variance: float = 0.5) -> float:
    model = FixedPosterior(means, variance)
    return objective.loss(Batch(model, torch.ones(len(means), 1, 64, 64))).terms["penalty_nats"].item()


def test_the_penalty_of_codes_whose_covariance_is_known() -> None:
    """Off the diagonal 2 twice; the variances are 0 and 3 above 1, and with those of the posteriors 0.5 and 3.5."""
    assert penalty(DIPVAEI(lambda_od=3.0, lambda_d_factor=2.0), MEANS) == pytest.approx(3 * 8 + 6 * 9, rel=1e-6)
    assert penalty(DIPVAEII(lambda_od=3.0, lambda_d_factor=2.0), MEANS) == pytest.approx(3 * 8 + 6 * 12.5, rel=1e-6)


def test_codes_of_the_identity_cost_nothing() -> None:
    corners = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]
    assert penalty(DIPVAEI(), corners) == pytest.approx(0, abs=1e-12)
    half = [(x * 0.5**0.5, y * 0.5**0.5) for x, y in corners]  # the other half of the variance is the posteriors'
    assert penalty(DIPVAEII(), half) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("objective", "factor"), [(DIPVAEI, 10), (DIPVAEII, 1)])
def test_the_weight_of_the_variances_follows_the_other(objective: type[Objective], factor: float) -> None:
    part = objective.from_values({"lambda_od": 5.0})
    assert part.derived(latent_size=10, num_pixels=4096) == {"lambda_d": 5.0 * factor}


def test_the_covariance_is_that_of_the_batch_and_too_small_for_the_set() -> None:
    """Exact: the mean over all batches of two, drawn with replacement, is half of the set's covariance."""
    codes = torch.tensor([(0.0, 1.0), (2.0, -1.0), (5.0, 3.0)], dtype=torch.float64)
    batches = [covariance(codes[list(rows)]) for rows in itertools.product(range(3), repeat=2)]
    torch.testing.assert_close(torch.stack(batches).mean(0), covariance(codes) / 2)
    torch.testing.assert_close(covariance(codes), torch.cov(codes.t(), correction=0))


def test_the_covariance_keeps_its_precision_in_bfloat16_training() -> None:
    """Fails if autocast reaches the product of the codes."""
    codes = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = covariance(codes)
    assert found.dtype == torch.float32
    assert torch.equal(found, covariance(codes))
