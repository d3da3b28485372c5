"""InfoMEC: modularity, compactness and explicitness, by normalised information between latents and factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Int

from betavae.arrays import ArrayLike
from betavae.metrics.base import EncodedSample, Metric, Score
from betavae.metrics.details import check_by_factor, check_detail_number, check_flags, check_matrix
from betavae.metrics.mutual_information import entropies_of_values, factor_values
from betavae.metrics.paired import (
    Standardiser,
    by_name,
    canonical_order,
    checked_pair,
    random_state,
    reproducible_fits,
    score_of,
    shuffled_rows,
    varies,
    varying_sample,
)

NUM_NEIGHBORS = 10
"""Neighbours of the estimator of mutual information."""

PRUNED_FRACTION = 20
"""Latents whose range is at most the largest range over this number are pruned."""


@dataclass(frozen=True)
class InfoMEC:
    """The three scores, and the quantities behind them.

    Attributes:
        infom: Modularity: how much of a kept latent's information is on one factor.
        infoc: Compactness: how much of the information on a factor is in one kept latent.
        infoe: Explicitness: the mean of `explicitnesses`.
        explicitnesses: How much a linear classifier of all latents knows of each factor.
        information: Mutual information of each latent and factor over the factor's entropy; 0 for a constant latent.
        kept_latents: Whether each latent is kept, not pruned.
    """

    infom: float
    infoc: float
    infoe: float
    explicitnesses: Float[np.ndarray, " factors"]
    information: Float[np.ndarray, "latents factors"]
    kept_latents: Bool[np.ndarray, " latents"]


def infomec(codes: ArrayLike, factors: ArrayLike, *, generator: np.random.Generator) -> InfoMEC:
    """Compute InfoM, InfoC and InfoE of continuous latents.

    Information is scikit-learn's `mutual_info_classif` with 10 neighbours, divided by the factor's entropy. InfoM is
    the mean over kept latents of the largest share of one factor, InfoC the mean over factors of the largest share of
    one kept latent, both rescaled so that equal shares give 0. InfoE is 1 minus the log loss of an unpenalised
    `LogisticRegression` with balanced classes, on its own training rows, over that of one that sees no codes.

    Args:
        codes: Posterior means, (rows, latents): an array, a tensor or lists of real numbers. Latents whose range is at
            most 1/20 of the largest are pruned from InfoM and InfoC.
        factors: Factor values, (rows, factors), rows in the order of `codes`. Only which values are equal matters.
        generator: Where the seed of the estimator's noise is drawn.

    Returns:
        The scores. InfoM and InfoC are in [0, 1]. A latent without information, a factor without information and codes
        without a kept latent count as 0, where 0/0 would be nan. With one kept latent, information is in that latent
        alone: InfoC is the share of factors with information. With one factor, the same holds for InfoM.

    Error:
        Noise does not score 0 in InfoM, since its small estimates are unequal: 0.5 to 0.75 on dSprites. A latent with
        hardly any information counts as much as any other, so that the estimator's noise can move InfoM: from 0.47 to
        0.72 between seeds at 120 rows. InfoE is no test of unseen rows, and is taken after at most 100 iterations.

    Raises:
        ValueError: If a factor takes one value, every row of a factor has a value of its own, or for the reasons of
            `checked_pair`.

    Source:
        Hsu et al. 2023, arXiv:2305.18378.
    """
    codes, numbers = checked_pair(codes, factors)
    values = factor_values(numbers)
    _check_repeated(values, [f"column {column}" for column in range(values.shape[1])])
    ranges = codes.max(axis=0) - codes.min(axis=0)
    kept = ranges > ranges.max() / PRUNED_FRACTION
    standardised = Standardiser.of(codes)(codes)
    information = _information(standardised, values, seed=random_state(generator))
    information[~varies(codes)] = 0
    explicitnesses = _explicitnesses(standardised, values)
    return InfoMEC(
        infom=_dominance(information[kept]),
        infoc=_dominance(information[kept].T) if kept.any() else 0.0,
        infoe=float(explicitnesses.mean()),
        explicitnesses=explicitnesses,
        information=information,
        kept_latents=kept,
    )


def _check_repeated(values: Int[np.ndarray, "rows factors"], names: Sequence[str]) -> None:
    for name, factor in zip(names, values.T, strict=True):
        if np.bincount(factor).max() == 1:
            raise ValueError(
                f"A value of each factor must have two rows, but {name} has a new value in each of {len(values)} rows: "
                "use more rows, or drop the factor."
            )


def _information(
    codes: Float[np.ndarray, "rows latents"], values: Int[np.ndarray, "rows factors"], *, seed: int
) -> Float[np.ndarray, "latents factors"]:
    """Return the mutual information of each pair over the factor's entropy, all with the same noise."""
    from sklearn.feature_selection import mutual_info_classif

    information = np.empty((codes.shape[1], values.shape[1]))
    for latent, factor in np.ndindex(information.shape):
        information[latent, factor] = mutual_info_classif(
            codes[:, [latent]],
            values[:, factor],
            discrete_features=False,
            n_neighbors=NUM_NEIGHBORS,
            random_state=seed,
        )[0]
    information /= entropies_of_values(values)
    return information


def _dominance(information: Float[np.ndarray, "items choices"]) -> float:
    """Return the mean over items of the largest share of a choice, rescaled so that equal shares give 0."""
    if len(information) == 0:
        return 0.0
    totals, num_choices = information.sum(axis=1), information.shape[1]
    if num_choices == 1:
        return float((totals > 0).mean())
    shares = information.max(axis=1) / np.where(totals > 0, totals, 1)
    return float(np.where(totals > 0, (shares - 1 / num_choices) / (1 - 1 / num_choices), 0).mean())


def _explicitnesses(
    codes: Float[np.ndarray, "rows latents"], values: Int[np.ndarray, "rows factors"]
) -> Float[np.ndarray, " factors"]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    ordered = codes[:, canonical_order(codes)]  # after 100 iterations the order of latents would be seen in the result
    explicitnesses = []
    for column in values.T:
        with reproducible_fits():
            classifier = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(ordered, column)
        # Fitted on zeros with balanced classes, it would give each of the V values the probability 1 / V.
        explicitnesses.append(1 - log_loss(column, classifier.predict_proba(ordered)) / np.log(column.max() + 1))
    return np.array(explicitnesses)


@dataclass(frozen=True, kw_only=True)
class InfoMECMetric(Metric):
    """Modularity by the nearest-neighbour information of latents with factors (InfoM); high on noise."""

    name = "infomec"
    label = "InfoM"
    companions = MappingProxyType({"infoc": "InfoC", "infoe": "InfoE"})
    is_live = False
    seconds = 7.0
    ignores_scale = False

    def score(self, sample: EncodedSample) -> Score:
        """Return InfoM, with InfoC and InfoE in its details.

        The chance level of each is that of the same codes with the rows of factors shuffled; the ceiling of InfoM is
        that of the factors' values as codes.
        """
        generator = sample.generator()
        sample, left_out = varying_sample(sample)
        _check_repeated(factor_values(sample.factors), sample.space.names)
        result = infomec(sample.mean, sample.factors, generator=generator)
        chance = infomec(sample.mean, shuffled_rows(sample.factors, generator), generator=generator)
        perfect = infomec(sample.factors, sample.factors, generator=sample.generator())  # the noise of the score
        return score_of(
            sample,
            value=result.infom,
            details={
                "infom": result.infom,
                "infoc": result.infoc,
                "infoe": result.infoe,
                "chance_of_infoc": chance.infoc,
                "chance_of_infoe": chance.infoe,
                "infoe_by_factor": by_name(sample.space.names, result.explicitnesses),
                "kept_latents": result.kept_latents.tolist(),
                "normalised_information": result.information.tolist(),
            },
            estimator=(
                f"{NUM_NEIGHBORS} nearest neighbours; latents of at most 1/{PRUNED_FRACTION} of the largest range "
                f"pruned{left_out}"
            ),
            ceiling=perfect.infom,
            chance=chance.infom,
        )

    def check_details(self, score: Score) -> None:
        """Check the three scores, the kept latents and the matrix."""
        for name in ("infom", "infoc", "infoe", "chance_of_infoc", "chance_of_infoe"):
            check_detail_number(score, name)
        num_factors, num_latents = check_by_factor(score, "infoe_by_factor"), check_flags(score, "kept_latents")
        check_matrix(score, "normalised_information", num_rows=num_latents, num_columns=num_factors)
