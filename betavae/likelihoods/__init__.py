"""Likelihoods of pixels. To add one, write a module here and add its class to `LIKELIHOODS`."""

from betavae.likelihoods.base import Likelihood, Weights
from betavae.likelihoods.bernoulli import Bernoulli
from betavae.likelihoods.gaussian import Gaussian
from betavae.parts import Table

__all__ = ["LIKELIHOODS", "Bernoulli", "Gaussian", "Likelihood", "Weights"]

LIKELIHOODS: Table[Likelihood] = Table("likelihood", Bernoulli, Gaussian)
