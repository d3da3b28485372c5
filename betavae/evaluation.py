"""A model and a data set in, scores out: each with how it was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer

from betavae.data import DSprites
from betavae.metrics import MutualInformationGap, exact_mutual_information_gap, mutual_information_gap
from betavae.metrics.representation import Representation, represent
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError

NUM_ROWS = 10_000
"""Images a live score is taken of: drawn without replacement from the whole set, the same in every trial."""

ROWS_SEED = 0
"""Seed of that draw."""

SEED_STUDY_ROWS = 5_000
"""Images the seed study scored: the first in file order."""

ACTIVE_UNIT_NATS = 0.01
"""A latent is active when its KL, averaged over the rows, is above this."""

NUM_BINS = 20
"""Bins per latent of both binned estimators."""


@dataclass(frozen=True)
class SeedStudyGap:
    """The seed study's own number: `mig_quantile` of the first images in file order.

    They all show one shape of one scale. A factor that never varies has no entropy, and so no gap; the study counted
    those as 0 and averaged over all five. This does the same, to be compared with what it published.

    Attributes:
        score: Mean of `gaps`.
        gaps: Per factor; 0 where the factor never varies.
        varying: Which factors vary in these rows.
        num_rows: How many rows.
    """

    score: float
    gaps: Float[np.ndarray, " factors"]
    varying: tuple[bool, ...]
    num_rows: int


@dataclass(frozen=True)
class Scores:
    """Every score of one model at one step, with what is needed to take it again.

    Attributes:
        mig: 20 equal-width bins per latent, on `num_rows` images of the whole set.
        mig_quantile: The same with equal-mass bins.
        mig_seed_study: None unless the trial was trained as the seed study was, on the first images only.
        kl_per_latent: In nats, averaged over the same rows.
        factor_names: What the columns of both gaps are.
        num_rows: Number of rows.
        rows_seed: Seed that drew them.
        data_source: `rendered` or `file`.
        data_fingerprint: SHA-256 of the packed pixels.
    """

    mig: MutualInformationGap
    mig_quantile: MutualInformationGap
    mig_seed_study: SeedStudyGap | None
    kl_per_latent: Float[np.ndarray, " latents"]
    factor_names: tuple[str, ...]
    num_rows: int
    rows_seed: int
    data_source: str
    data_fingerprint: str

    @property
    def active_units(self) -> int:
        """Latents whose mean KL is above ACTIVE_UNIT_NATS."""
        return int((self.kl_per_latent > ACTIVE_UNIT_NATS).sum())

    def numbers(self) -> dict[str, float]:
        """What a trial reports of this: plain numbers under TensorBoard's names."""
        numbers = {"mig": self.mig.score, **self._by_factor("mig", self.mig.gaps)}
        numbers |= {"mig_quantile": self.mig_quantile.score, "active_units": self.active_units}
        if self.mig_seed_study is not None:
            numbers["mig_seed_study"] = self.mig_seed_study.score
            numbers |= self._by_factor("mig_seed_study", self.mig_seed_study.gaps)
        return numbers

    def to_dict(self) -> dict[str, Any]:
        """The content of `scores.json`."""
        rows = {"num_rows": self.num_rows, "rows_seed": self.rows_seed, "rows": "whole set, without replacement"}
        scores = {
            "mig": _gap_to_dict(
                self.mig, self.factor_names, estimator=f"{NUM_BINS} equal-width bins of the posterior mean"
            )
            | rows,
            "mig_quantile": _gap_to_dict(
                self.mig_quantile, self.factor_names, estimator=f"{NUM_BINS} equal-mass bins of the posterior mean"
            )
            | rows,
            "kl_nats_per_latent": self.kl_per_latent.tolist(),
            "active_units": self.active_units,
            "active_unit_threshold_nats": ACTIVE_UNIT_NATS,
            "data": {"source": self.data_source, "sha256": self.data_fingerprint},
        }
        if self.mig_seed_study is not None:
            scores["mig_seed_study"] = {
                "score": self.mig_seed_study.score,
                "gaps": dict(zip(self.factor_names, self.mig_seed_study.gaps.tolist(), strict=True)),
                "varying": dict(zip(self.factor_names, self.mig_seed_study.varying, strict=True)),
                "estimator": f"{NUM_BINS} equal-mass bins of the posterior mean; 0 for a factor that never varies",
                "num_rows": self.mig_seed_study.num_rows,
                "rows": "the first in file order",
            }
        return scores

    def _by_factor(self, name: str, gaps: Float[np.ndarray, " factors"]) -> dict[str, float]:
        return {f"{name}/{factor}": float(gap) for factor, gap in zip(self.factor_names, gaps, strict=True)}


def evaluate(
    model: VAE, data: DSprites, *, device: torch.device | str = "cpu", trained_on: int | None = None
) -> Scores:
    """Score a model on a fixed sample of the whole set.

    Args:
        model: On `device`.
        data: The whole set.
        device: Where to encode.
        trained_on: The first so many images the model was trained on; with fewer than all of them the seed study's
            own number is taken too.

    Raises:
        NonFiniteLossError: If the KL of a latent is infinite or nan: the model has diverged.
    """
    rows = evaluation_rows(len(data))
    representation = _finite_representation(model, data, rows, device=device)
    factors = data.factors.indices_to_factors(rows)
    return Scores(
        mig=mutual_information_gap(representation.mean, factors, num_bins=NUM_BINS, binning="width"),
        mig_quantile=mutual_information_gap(representation.mean, factors, num_bins=NUM_BINS, binning="mass"),
        mig_seed_study=(
            None
            if trained_on is None or trained_on >= len(data)
            else _seed_study_gap(model, data, device=device, trained_on=trained_on)
        ),
        kl_per_latent=representation.kl_per_latent(),
        factor_names=data.factors.names,
        num_rows=len(rows),
        rows_seed=ROWS_SEED,
        data_source=data.source,
        data_fingerprint=data.fingerprint,
    )


def evaluate_exactly(
    model: VAE,
    data: DSprites,
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Score a model by the full posterior of every image: what `scores.json` holds as `mig_exact`.

    Args:
        model: On `device`.
        data: The whole set.
        device: Where to encode.
        on_progress: Called with the number of images encoded since the last call.
    """
    representation = represent(model, data, indices=np.arange(len(data)), device=device, on_progress=on_progress)
    gap = exact_mutual_information_gap(representation.mean, representation.logvar, data.factors)
    without_shape = [value for name, value in zip(data.factors.names, gap.gaps, strict=True) if name != "shape"]
    return {
        **_gap_to_dict(gap, data.factors.names, estimator="quadrature of the full posterior"),
        "score_without_shape": float(np.mean(without_shape)),
        "num_rows": len(data),
        "rows": "whole set",
        "data": {"source": data.source, "sha256": data.fingerprint},
    }


def evaluation_rows(num_images: int) -> Integer[np.ndarray, " rows"]:
    """Which images the live scores are taken of, ascending."""
    rows = np.random.default_rng(ROWS_SEED).choice(num_images, min(NUM_ROWS, num_images), replace=False)
    return np.sort(rows)


def _finite_representation(
    model: VAE, data: DSprites, rows: Integer[np.ndarray, " rows"], *, device: torch.device | str
) -> Representation:
    representation = represent(model, data, indices=rows, device=device)
    bad = np.flatnonzero(~np.isfinite(representation.kl_per_latent()))
    if bad.size:
        raise NonFiniteLossError(
            f"The KL must be finite, but that of latents {bad.tolist()} is infinite or nan on the {len(rows)} images "
            "that are scored: the model has diverged; score an earlier checkpoint."
        )
    return representation


def _seed_study_gap(model: VAE, data: DSprites, *, device: torch.device | str, trained_on: int) -> SeedStudyGap:
    rows = np.arange(min(SEED_STUDY_ROWS, trained_on))
    factors = data.factors.indices_to_factors(rows)
    varying = (factors != factors[0]).any(axis=0)
    gaps = np.zeros(len(varying))
    if varying.any():
        codes = _finite_representation(model, data, rows, device=device).mean
        gaps[varying] = mutual_information_gap(codes, factors[:, varying], num_bins=NUM_BINS, binning="mass").gaps
    return SeedStudyGap(float(gaps.mean()), gaps, tuple(varying.tolist()), len(rows))


def _gap_to_dict(gap: MutualInformationGap, names: Sequence[str], *, estimator: str) -> dict[str, Any]:
    return {
        "score": gap.score,
        "gaps": dict(zip(names, gap.gaps.tolist(), strict=True)),
        "matched_latents": dict(zip(names, gap.matched_latents.tolist(), strict=True)),
        "entropies_nats": dict(zip(names, gap.entropies.tolist(), strict=True)),
        "mutual_information_nats": gap.mutual_information.tolist(),
        "ceiling": gap.ceiling,
        "estimator": estimator,
    }
