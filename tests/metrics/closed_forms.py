"""Codes whose scores are known, on whole grids of factors, so that what is counted is the population's."""

import math

import numpy as np

from betavae.data import FactorSpace
from betavae.metrics import EncodedSample, Rows


def grid(*sizes):
    """All combinations of factor values, in C order."""
    return np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)


def columns(*latents):
    return np.stack(latents, axis=1).astype(np.float64)


def generator(seed=0):
    return np.random.default_rng(seed)


def noisy_codes(*, num_rows=400, sizes=(3, 4), num_latents=4, seed=0):
    """Codes that mix factors and noise: no value of a score is special."""
    draws = np.random.default_rng(seed)
    factors = np.stack([draws.integers(size, size=num_rows) for size in sizes], axis=1)
    mixing = draws.normal(size=(len(sizes), num_latents))
    return factors @ mixing + draws.normal(size=(num_rows, num_latents)), factors


def halves(codes, factors):
    """The rows of even numbers to train on, the others to test."""
    return codes[::2], factors[::2], codes[1::2], factors[1::2]


def sample_of(codes, factors, names="abcdefgh", categorical=()):
    """A sample for a metric."""
    factors = np.asarray(factors)
    sizes = factors.max(axis=0) + 1
    space = FactorSpace(names[: len(sizes)], [range(size) for size in sizes], categorical=categorical)
    codes = np.asarray(codes, dtype=np.float64)
    rows = Rows(np.arange(len(codes)), "all", seed=0)
    return EncodedSample(codes, np.full_like(codes, -4.0), factors, space, rows)
