"""The Mutual Information Gap as metrics: by bins of equal width or mass, exact, and as in the seed study."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Int, Integer

from betavae.data import FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.metrics.base import EncodedSample, Metric, Rows, Score, check_number
from betavae.metrics.details import check_by_factor, check_matched_latents, check_matrix
from betavae.metrics.mig import MutualInformationGap, exact_mutual_information_gap, mutual_information_gap
from betavae.metrics.mig_dent import mig_dent
from betavae.metrics.mutual_information import factor_values
from betavae.metrics.paired import by_name, score_of, shuffled_rows, varying_sample

NUM_BINS = 20
"""Bins per latent of the binned estimators."""

PART_OF_GRID = "biased, since the rows are part of a grid"
"""What an exact score says of rows that do not hold each combination of factor values equally often."""

SEED_STUDY_ROWS = 5_000
"""Number of images that the seed study scored, the first in file order."""


@dataclass(frozen=True, kw_only=True)
class _Gap(Metric):
    """A MIG whose details are the quantities behind it."""

    def check_details(self, score: Score) -> None:
        """Check that the details are of the same latents and factors."""
        check_matched_latents(score)
        check_by_factor(score, "entropies_nats", factors=score.by_factor)
        check_matrix(score, "mutual_information_nats", num_columns=len(score.by_factor))


@dataclass(frozen=True, kw_only=True)
class _BinnedGap(_Gap):
    """The MIG by bins of the posterior means."""

    binning: ClassVar[str]
    described: ClassVar[str]

    def score(self, sample: EncodedSample) -> Score:
        """Return the MIG. Its chance level is the MIG of the same codes with the rows of factors shuffled."""
        sample, left_out = varying_sample(sample)
        gap = mutual_information_gap(sample.mean, sample.factors, num_bins=NUM_BINS, binning=self.binning)
        chance = _chance(sample, sample.factors, self.binning)
        return _score_of(gap, sample, estimator=self.described + left_out, chance=chance)


@dataclass(frozen=True, kw_only=True)
class Mig(_BinnedGap):
    """The MIG by 20 equal-width bins per latent, on 10,000 images: comparable with most of the literature."""

    name = "mig"
    label = "MIG"
    binning = "width"
    described = f"{NUM_BINS} equal-width bins of the posterior mean"


@dataclass(frozen=True, kw_only=True)
class MigQuantile(_BinnedGap):
    """The MIG by 20 equal-mass bins per latent, on the same 10,000 images."""

    name = "mig_quantile"
    label = "MIG, equal mass"
    binning = "mass"
    described = f"{NUM_BINS} equal-mass bins of the posterior mean"


@dataclass(frozen=True, kw_only=True)
class MigSeedStudy(Metric):
    """The score of the seed study: the MIG by equal-mass bins of the first 5,000 images in file order.

    These images of dSprites all show one shape of one scale. A factor that never varies has no entropy, and so no gap;
    the study counted its gap as 0 and averaged over all factors. This metric does the same, for comparison with the
    published numbers. It is defined for models that were trained on a part of the set alone.
    """

    name = "mig_seed_study"
    label = "MIG, own rows"
    is_always_taken = False

    def rows(self, data: FactorImages, num_training: int) -> Rows | None:
        """Return the first images in file order that the model was trained on; None if it was trained on all images."""
        if num_training >= len(data):
            return None
        return Rows(np.arange(min(SEED_STUDY_ROWS, num_training)), "the first in file order")

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean gap, in which a factor that never varies counts as 0."""
        names = sample.space.names
        varying = (sample.factors != sample.factors[0]).any(axis=0)
        gaps, chance = np.zeros(len(varying)), 0.0
        if varying.any():
            factors = sample.factors[:, varying]
            gaps[varying] = mutual_information_gap(sample.mean, factors, num_bins=NUM_BINS, binning="mass").gaps
            chance = _chance(sample, factors, "mass") * float(varying.mean())
        return Score(
            value=float(gaps.mean()),
            by_factor=dict(zip(names, gaps.tolist(), strict=True)),
            details={"varying": dict(zip(names, varying.tolist(), strict=True))},
            estimator=f"{NUM_BINS} equal-mass bins of the posterior mean; 0 for a factor that never varies",
            num_rows=len(sample.mean),
            rows=sample.rows.description,
            chance=chance,
        )

    def check_details(self, score: Score) -> None:
        """Check that `varying` says of each factor whether it varies."""
        varying, names = score.details.get("varying"), score.by_factor.keys()
        if (
            not isinstance(varying, dict)
            or varying.keys() != names
            or not {type(v) for v in varying.values()} <= {bool}
        ):
            raise InputError("details.varying must say of each factor of by_factor whether it varies")


@dataclass(frozen=True, kw_only=True)
class MigExact(_Gap):
    """The MIG of the full posteriors of all images, without sampling or bins."""

    name = "mig_exact"
    label = "exact MIG"
    is_live = False
    is_cheap = False
    seconds = 3.0
    needs_posterior = True

    def rows(self, data: FactorImages, num_training: int) -> Rows:
        """Return all images."""
        return Rows(np.arange(len(data)), "whole set")

    def score(self, sample: EncodedSample) -> Score:
        """Return the MIG of the whole set, with the mean gap of the factors that have an order in its details.

        Its chance level is 0 and its ceiling 1 on a whole grid. On part of a grid, where the score is biased, the
        chance level is that of the same posteriors with the rows of factors shuffled, and the ceiling that of a code
        with one latent for each factor: below 1 where factors depend on one another in the rows.
        """
        generator, logvar = sample.generator(), sample.logvar
        assert logvar is not None  # needs_posterior
        sample, left_out = varying_sample(sample)
        values = factor_values(sample.factors)
        is_whole = is_whole_grid(values)
        factors = sample.space if is_whole and _is_in_index_order(values, sample.space) else values
        chance, ceiling = 0.0, 1.0
        if not is_whole:
            left_out += f"; {PART_OF_GRID}"
            shuffled = shuffled_rows(values, generator)
            chance = exact_mutual_information_gap(sample.mean, logvar, shuffled).score
            ceiling = mutual_information_gap(values, values, num_bins=int(values.max()) + 1).score  # a bin per value
        gap = exact_mutual_information_gap(sample.mean, logvar, factors)
        score = _score_of(gap, sample, estimator=f"quadrature of the full posterior{left_out}", chance=chance)
        ordered = [value for name, value in score.by_factor.items() if name not in sample.space.categorical]
        details = {**score.details, "score_of_ordered_factors": float(np.mean(ordered)) if ordered else None}
        return replace(score, details=details, ceiling=ceiling)

    def check_details(self, score: Score) -> None:
        """Check the details of a gap, and the score of the ordered factors, which is None if there are none."""
        super().check_details(score)
        if score.details.get("score_of_ordered_factors", "") is not None:  # None: every factor is categorical
            check_number("details.score_of_ordered_factors", score.details.get("score_of_ordered_factors"))


@dataclass(frozen=True, kw_only=True)
class MigChen(MigExact):
    """The exact MIG as Chen et al. quote it: the mean over the factors that have an order, without such as a shape."""

    name = "mig_chen"
    label = "exact MIG, ordered factors"
    needs_order = True

    def score(self, sample: EncodedSample) -> Score:
        """Return the mean gap of the factors that have an order, beside the gaps of all factors.

        Raises:
            InputError: If every factor is categorical.
        """
        score = super().score(sample)
        value = score.details["score_of_ordered_factors"]
        if value is None:
            names = ", ".join(sample.space.names)
            raise InputError(f"A factor must have values with an order, but each of {names} is categorical.")
        return replace(score, value=value, estimator=f"{score.estimator}; mean over the factors that have an order")


@dataclass(frozen=True, kw_only=True)
class MigDent(_Gap):
    """The MIG as the library dent takes it: 20 equal-width bins per latent and per factor, on 10,000 images."""

    name = "mig_dent"
    label = "MIG, binned factors"
    is_live = False
    seconds = 0.03

    def score(self, sample: EncodedSample) -> Score:
        """Return the MIG. Its chance level is that of the same codes with the rows of factors shuffled."""
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        shuffled = shuffled_rows(sample.factors, generator)
        return _score_of(
            mig_dent(sample.mean, sample.factors, num_bins=NUM_BINS),
            sample,
            estimator=f"{NUM_BINS} equal-width bins of the posterior mean and of each factor{left_out}",
            chance=mig_dent(sample.mean, shuffled, num_bins=NUM_BINS).score,
        )


def is_whole_grid(values: Int[np.ndarray, "rows factors"]) -> bool:
    """Return whether every combination of the factors' values occurs equally often.

    Args:
        values: As from `factor_values`.
    """
    sizes = tuple((values.max(axis=0) + 1).tolist())
    num_combinations = math.prod(sizes)
    if num_combinations > len(values):
        return False
    counts = np.bincount(np.ravel_multi_index(tuple(values.T), sizes), minlength=num_combinations)
    return bool((counts == counts[0]).all())


def _is_in_index_order(values: Int[np.ndarray, "rows factors"], space: FactorSpace) -> bool:
    return len(values) == space.size and np.array_equal(values, space.indices_to_factors(np.arange(space.size)))


def _score_of(gap: MutualInformationGap, sample: EncodedSample, *, estimator: str, chance: float) -> Score:
    names = sample.space.names
    return score_of(
        sample,
        value=gap.score,
        by_factor=by_name(names, gap.gaps),
        details={
            "matched_latents": dict(zip(names, gap.matched_latents.tolist(), strict=True)),
            "entropies_nats": by_name(names, gap.entropies),
            "mutual_information_nats": gap.mutual_information.tolist(),
        },
        estimator=estimator,
        ceiling=gap.ceiling,
        chance=chance,
    )


def _chance(sample: EncodedSample, factors: Integer[np.ndarray, "rows factors"], binning: str) -> float:
    """Return the MIG of the same codes with the rows of factors shuffled."""
    shuffled = shuffled_rows(factors, sample.generator())
    return mutual_information_gap(sample.mean, shuffled, num_bins=NUM_BINS, binning=binning).score
