import math

import numpy as np
import pytest
from closed_forms import columns, generator, grid, noisy_codes
from scipy.stats import multivariate_normal

from betavae.metrics import total_correlation

FLOOR = math.log(1e12) / 2
"""Of a latent that is a function of others, in nats."""


def test_uncorrelated_latents_have_none():
    assert total_correlation(grid(3, 4, 5).astype(np.float64)).nats == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("correlation", [-0.9, 0.1, 0.5, 0.999])
def test_two_latents(correlation):
    a, b = (grid(4, 4) - 1.5).T
    codes = columns(a, correlation * a + math.sqrt(1 - correlation**2) * b)
    assert total_correlation(codes).nats == pytest.approx(-math.log(1 - correlation**2) / 2, rel=1e-9)


def test_a_rotation_by_45_degrees_of_latents_of_unequal_variance():
    """Variances 1 and 9: correlation (1 - 9) / (1 + 9)."""
    a, b = (grid(2, 2) * 2.0 - 1).T
    assert total_correlation(columns(a + 3 * b, a - 3 * b)).nats == pytest.approx(-math.log(1 - 0.64) / 2)


def test_is_the_divergence_from_the_product_of_the_marginals():
    """By entropies of scipy's Gaussians."""
    codes, _ = noisy_codes()
    covariance = np.cov(codes.T)
    joint = multivariate_normal(cov=covariance).entropy()
    alone = sum(multivariate_normal(cov=variance).entropy() for variance in np.diag(covariance))
    assert total_correlation(codes).nats == pytest.approx(alone - joint, rel=1e-9)


def test_scale_shift_sign_and_order_change_nothing():
    codes, _ = noisy_codes()
    expected = total_correlation(codes).nats
    for moved in (codes * [1e-6, -3, 1e6, 1] + [0, 5, 0, -7], codes[:, [2, 0, 3, 1]]):
        assert total_correlation(moved).nats == pytest.approx(expected, rel=1e-9)


def test_constant_latents_are_left_out():
    """The logarithm of a variance of 0 would be infinite."""
    codes, _ = noisy_codes()
    with_dead = np.hstack([codes, np.full((len(codes), 2), 0.1)])
    result = total_correlation(with_dead)
    assert result.nats == pytest.approx(total_correlation(codes).nats, rel=1e-12)
    assert result.num_latents == 4
    dead = total_correlation(with_dead[:, 4:])
    assert (dead.nats, dead.num_latents) == (0, 0)


@pytest.mark.parametrize("copies", [2, 3])
def test_a_latent_that_is_a_function_of_others_counts_13_8_nats(copies):
    """`Error:` the correlation matrix of copies has the eigenvalues `copies`, and 0 for each copy but one."""
    latent = np.arange(7.0)
    codes = columns(*[(-1) ** i * (i + 1) * latent + i for i in range(copies)])
    expected = (copies - 1) * FLOOR - math.log(copies) / 2
    assert total_correlation(codes).nats == pytest.approx(expected, rel=1e-9)
    assert pytest.approx(13.8, abs=0.05) == FLOOR


def test_dependence_without_correlation_is_not_seen():
    """`Error:` a parabola has the correlation 0."""
    latent = np.arange(-3.0, 4)
    assert total_correlation(columns(latent, latent**2)).nats == pytest.approx(0, abs=1e-12)


def test_bias():
    """`Error:` z (z - 1) / 4 rows for independent latents."""
    draws, rows, latents = generator(), 500, 6
    values = [total_correlation(draws.normal(size=(rows, latents))).nats for _ in range(400)]
    expected = latents * (latents - 1) / (4 * rows)
    # to the next order in 1 / rows, some latents / rows of it
    error = 4 * np.std(values) / math.sqrt(400) + expected * latents / rows
    assert np.mean(values) == pytest.approx(expected, abs=error)
