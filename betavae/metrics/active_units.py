"""The number of latents in use."""

from __future__ import annotations

from dataclasses import dataclass

from betavae.metrics.base import EncodedSample, Metric, Score, check_number

ACTIVE_UNIT_NATS = 0.01
"""A latent is active if its KL, averaged over the rows, is above this."""


@dataclass(frozen=True, kw_only=True)
class ActiveUnits(Metric):
    """The number of latents whose KL from the prior, averaged over the images, is above 0.01 nats."""

    name = "active_units"
    label = "active latents"
    symbol = "active"
    higher_is_better = None
    ignores_scale = False
    needs_posterior = True
    needs_factors = False
    format = ".0f"

    def score(self, sample: EncodedSample) -> Score:
        """Return the number of active latents."""
        return Score(
            value=float((sample.kl_per_latent() > ACTIVE_UNIT_NATS).sum()),
            details={"threshold_nats": ACTIVE_UNIT_NATS},
            estimator=f"latents whose mean KL is above {ACTIVE_UNIT_NATS:g} nats",
            num_rows=len(sample.mean),
            rows=sample.rows.description,
            rows_seed=sample.rows.seed,
        )

    def check_details(self, score: Score) -> None:
        """Check the threshold."""
        check_number("details.threshold_nats", score.details.get("threshold_nats"))
