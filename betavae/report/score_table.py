"""The scores of a sweep's models beside their chance levels, and how far the scores agree on the order of models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.columns import Column, report_column
from betavae.metrics import METRICS, Score
from betavae.metrics.base import Metric
from betavae.records.sweep import Sweep
from betavae.records.trial import Trial, ranked

LEAST_MODELS = 5
"""The fewest models whose order can be no accident, by a test at 5 %."""

_SIGNIFICANCE = 0.05
_ENUMERATED = 8
"""The most models whose orders are all counted; of more, a sample of `_NUM_DRAWS`."""

_NUM_DRAWS = 20_000


@dataclass(frozen=True)
class Cell:
    """A score of a model.

    Attributes:
        value: The score.
        chance: The score of codes that know nothing; None if unknown.
    """

    value: float
    chance: float | None


@dataclass(frozen=True)
class ModelScores:
    """The scores of one model.

    Attributes:
        trial: The trial of the model.
        cells: The scores, by name of the column.
    """

    trial: Trial
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of each two scores over models.

    Attributes:
        columns: The scores, of which a higher value is better.
        correlations: Spearman's rank correlation; nan where a score is the same for all models.
        num_models: The number of models that have all these scores.
        least_significant: The smallest correlation that a two-sided permutation test at 5 % would tell from none; None
            if there is none, because the models are too few.
    """

    columns: tuple[Column, ...]
    correlations: Float[np.ndarray, "scores scores"]
    num_models: int
    least_significant: float | None


def scored_models(sweep: Sweep) -> list[ModelScores]:
    """Return the models of which a score on request has been taken, the best first: each trial's chosen one."""
    models = []
    for trial in ranked(sweep.trials):
        checkpoint = trial.chosen_checkpoint
        if checkpoint is not None and any(_is_requested(name, trial) for name in checkpoint.scores.by_name):
            cells: dict[str, Cell] = {}
            for name, score in checkpoint.scores.by_name.items():
                cells |= _cells(name, score)
            models.append(ModelScores(trial, cells))
    return models


def _is_requested(name: str, trial: Trial) -> bool:
    return name not in (trial.chosen_report or {}) and not (name in METRICS and METRICS[name].is_live)


def score_columns(models: Sequence[ModelScores]) -> list[Column]:
    """Return the columns of the scores that a model has, in the order of `METRICS`, each followed by its companions."""
    known = {name for model in models for name in model.cells}
    names = [each for name, metric in METRICS.items() for each in (name, *_companions(name, metric))]
    names += sorted(name for name in known if name not in names)  # of extensions that are not loaded
    return [_column(name) for name in names if name in known]


def agreement(models: Sequence[ModelScores]) -> Agreement | None:
    """Return how far the scores agree on the order of the models.

    Scores that few models have are left out: those that fewer than half of the models have. Models that lack one of the
    others are left out too.

    Returns:
        None if there are fewer than five models or two scores.
    """
    columns = [column for column in score_columns(models) if column.higher_is_better]
    columns = [column for column in columns if 2 * sum(column.name in model.cells for model in models) >= len(models)]
    complete = [model for model in models if all(column.name in model.cells for column in columns)]
    if len(complete) < LEAST_MODELS or len(columns) < 2:
        return None
    values = np.array([[model.cells[column.name].value for column in columns] for model in complete])
    return Agreement(tuple(columns), rank_correlations(values), len(complete), least_significant(len(complete)))


def describe_agreement(agreed: Agreement, *, is_ruled: bool) -> str:
    """Return the caption of the correlations: their models, and what so few can tell.

    Args:
        agreed: The correlations.
        is_ruled: Whether a rule has chosen, so that a trial's final model stands for it.
    """
    num_models, num_pairs = agreed.num_models, math.comb(len(agreed.columns), 2)
    which = "each at the end of its training" if is_ruled else "each trial's best"
    start = f"Spearman's rank correlation between scores over {num_models} models, {which}"
    if agreed.least_significant is None:
        return f"{start}: too few for any correlation to be told from none by a test at 5 %."
    return (
        f"{start}. By a permutation test at 5 %, {num_models} models tell a correlation from none if its size is at "
        f"least {agreed.least_significant:.2f}; of {num_pairs} pairs of unrelated scores, one in twenty would be that "
        "large."
    )


def rank_correlations(values: Float[np.ndarray, "models scores"]) -> Float[np.ndarray, "scores scores"]:
    """Return Spearman's rank correlation of each two columns; nan for a column of equal values."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    lengths = np.sqrt((ranks**2).sum(axis=0))
    with np.errstate(invalid="ignore"):
        correlations: Float[np.ndarray, "scores scores"] = (ranks.T @ ranks) / np.outer(lengths, lengths)
    return correlations


def least_significant(num_models: int) -> float | None:
    """Return the smallest rank correlation whose size chance reaches in at most 5 % of orders.

    Args:
        num_models: Number of models without ties. All orders are counted for up to 8 models; for more, 20,000 are drawn
            with seed 0.

    Returns:
        None if even a perfect correlation is no rarer than that.
    """
    order = np.arange(num_models)
    if num_models <= _ENUMERATED:
        orders = np.array(list(itertools.permutations(order)))
    else:
        generator = np.random.default_rng(0)
        orders = generator.permuted(np.tile(order, (_NUM_DRAWS, 1)), axis=1)
    distances = ((orders - order) ** 2).sum(axis=1)
    sizes = np.sort(np.abs(1 - 6 * distances / (num_models * (num_models**2 - 1))))[::-1].round(12)
    most = math.floor(_SIGNIFICANCE * len(sizes))  # orders that may reach it
    reached = sizes[:most][sizes[:most] > sizes[most]] if most < len(sizes) else sizes
    return float(reached.min()) if reached.size else None


def _cells(name: str, score: Score) -> dict[str, Cell]:
    cells = {name: Cell(score.value, score.chance)}
    for companion in _companions(name, METRICS.get(name)):
        detail = companion.partition("/")[2]
        cells[companion] = Cell(score.details[detail], score.details.get(f"chance_of_{detail}"))
    return cells


def _companions(name: str, metric: type[Metric] | None) -> list[str]:
    return [] if metric is None else [f"{name}/{detail}" for detail in metric.companions]


def _column(name: str) -> Column:
    metric_name, _, detail = name.partition("/")
    metric = METRICS.get(metric_name)
    if metric is None or not detail:
        return report_column(name)
    symbol = metric.companions[detail]
    return Column(name, symbol, symbol, metric.format, metric.higher_is_better)
