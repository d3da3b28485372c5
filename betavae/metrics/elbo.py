"""The evidence lower bound (ELBO): how well a model explains images, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from betavae.metrics.base import EncodedSample, Metric, Score, check_number


@dataclass(frozen=True, kw_only=True)
class Elbo(Metric):
    """The evidence lower bound in nats per image: minus reconstruction minus KL, whatever the objective weighs.

    It compares models of one likelihood: of a Gaussian likelihood it bounds a density, of a Bernoulli a probability.
    """

    name = "elbo"
    label = "ELBO (nats)"
    is_live = False
    seconds = 2.0
    num_rows = 2_000
    ignores_scale = False
    needs_posterior = True
    needs_factors = False
    needs_decoder = True
    is_likelihood = True
    format = ".2f"

    def score(self, sample: EncodedSample) -> Score:
        """Return the bound, with its two parts as details. Each code is sampled once.

        Error:
            With a Bernoulli likelihood the bound varies by some ten nats over images, so its standard error is about
            0.3 nats; but all models are scored on the same images.

        Raises:
            ValueError: If the sample holds no reconstructions.
        """
        if sample.recon_nats is None:
            raise ValueError("elbo needs a sample with recon_nats, but this sample has none; decode its codes.")
        recon_nats, kl_nats = float(np.mean(sample.recon_nats)), float(sample.kl_per_latent().sum())
        return Score(
            value=-recon_nats - kl_nats,
            details={"recon_nats": recon_nats, "kl_nats": kl_nats},
            estimator="one sample of each posterior",
            num_rows=len(sample.mean),
            rows=sample.rows.description,
            rows_seed=sample.rows.seed,
        )

    def check_details(self, score: Score) -> None:
        """Check both parts."""
        for name in ("recon_nats", "kl_nats"):
            check_number(f"details.{name}", score.details.get(name))
