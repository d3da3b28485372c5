"""The section of a page that compares objectives: its figures, tables and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from betavae.columns import Column, has_several_objectives, report_column
from betavae.metrics.total_correlation import TotalCorrelationMetric
from betavae.objectives import OBJECTIVES
from betavae.records.sweep import Sweep
from betavae.report.choice import labels_of_ranking
from betavae.report.findings import counted
from betavae.report.method_plots import MANY, method_panels
from betavae.report.methods import BestValue, MethodComparison, Quantity
from betavae.report.pictures import Picture, save_picture
from betavae.report.variance_shares import VarianceShare, VarianceShares

PENDING = "Objectives are compared when trials of two or more have run to their end."
"""Shown in place of the section until then."""


@dataclass(frozen=True)
class MethodSection:
    """What the section shows.

    Attributes:
        label: The label of the score that ranks the methods.
        labels: `with labels` or `without labels`, by whether that score looks at factors.
        compared: Which models are compared, in a sentence or two.
        score_pictures: The figure of the scores.
        other_pictures: The figure of the total correlation, the KL and the reconstruction beside the ranking score.
        best: The best value of each objective, the highest median first.
        columns: The columns of the medians beside the score.
        has_total_correlation: Whether the total correlation of every model is known.
        shares: By source, its share in the spread of the ranking score; empty if there is no spread.
        shares_explained: What the shares are, and what they do not say.
    """

    label: str
    labels: str
    compared: str
    score_pictures: tuple[Picture, ...]
    other_pictures: tuple[Picture, ...]
    best: tuple[BestValue, ...]
    columns: tuple[Column, ...]
    has_total_correlation: bool
    shares: dict[str, VarianceShare]
    shares_explained: str


def compares_methods(sweep: Sweep) -> bool:
    """Return whether the page of a sweep compares objectives: its trials have two or more."""
    return has_several_objectives([trial.config for trial in sweep.trials])


def method_section(comparison: MethodComparison, folder: Path) -> MethodSection:
    """Save the figures of a comparison below a folder, and return what the section shows.

    Args:
        comparison: By objective.
        folder: Where the figures go.
    """
    label, shares = comparison.ranking.column.label, comparison.shares()
    columns = tuple(quantity.column for quantity in comparison.others)
    return MethodSection(
        label=label,
        labels=labels_of_ranking(comparison.ranking.column.name),
        compared=_describe_compared(comparison),
        score_pictures=(_score_picture(comparison, folder),),
        other_pictures=(_other_picture(comparison, folder),) if comparison.others else (),
        best=tuple(comparison.best_values()),
        columns=columns,
        has_total_correlation=TotalCorrelationMetric.name in {column.name for column in columns},
        shares={} if shares is None else _by_source(shares),
        shares_explained=_explain_shares(label, shares),
    )


def _describe_compared(comparison: MethodComparison) -> str:
    num_models = len(comparison.ranking.numbers)
    sentence = (
        f"{num_models} models of {len(comparison.methods)} objectives, each at the end of its training: no step is "
        "selected."
    )
    if comparison.num_left_out:
        sentence += f" Left out: {counted(comparison.num_left_out, 'trial')} that did not run to the end."
    if comparison.num_stopped:
        sentence += (
            f" {counted(comparison.num_stopped, 'trial')} of these ended by the stopping rule, so the models that are "
            f"left are selected {labels_of_ranking(comparison.ranking.column.name)}."
        )
    return sentence


def _score_picture(comparison: MethodComparison, folder: Path) -> Picture:
    scores = comparison.scores
    sentences = [
        "Every model is a point: a column per objective, and in it a place per value, from low (light) to high (dark).",
        *(["Shaded: the density of an objective's models."] if _has_violin(comparison) else []),
        *_describe_best_checkpoints(comparison, scores),
    ]
    figure = method_panels(comparison, scores, list(OBJECTIVES))
    return save_picture(folder, "methods", figure, caption=" ".join(sentences))


def _other_picture(comparison: MethodComparison, folder: Path) -> Picture:
    sentences = [
        f"The same models in the same columns. The axis of {comparison.ranking.column.label} ends above the highest.",
        "KL and reconstruction are means over the training steps since the previous evaluation.",
        *_describe_best_checkpoints(comparison, comparison.others),
    ]
    figure = method_panels(comparison, (comparison.ranking, *comparison.others), list(OBJECTIVES))
    return save_picture(folder, "methods_losses", figure, caption=" ".join(sentences))


def _has_violin(comparison: MethodComparison) -> bool:
    return any(len(method.trials) >= MANY for method in comparison.methods)


def _describe_best_checkpoints(comparison: MethodComparison, quantities: tuple[Quantity, ...]) -> list[str]:
    """Say which of the quantities are not of the end of training."""
    labels = [quantity.column.label for quantity in quantities if quantity.is_of_best]
    if not labels:
        return []
    column = report_column(comparison.methods[0].trials[0].rank_by)
    chosen = f"chosen {labels_of_ranking(column.name)}"
    return [f"Of the best checkpoint by {column.label}, {chosen}: {', '.join(labels)}."]


def _by_source(shares: VarianceShares) -> dict[str, VarianceShare]:
    return {
        "objective": shares.method,
        "value within the objective": shares.value,
        "seed within the value": shares.seed,
    }


def _explain_shares(label: str, shares: VarianceShares | None) -> str:
    if shares is None:
        return f"All models have the same {label}: there is no spread to divide."
    sentences = [
        f"Shares of the sum of squares of {label} around its mean, over {shares.num_scores} models. Without an effect: "
        "the share that a source would have on average if the scores were shuffled, since means of few models differ "
        "by luck.",
        "p: how often shuffling gives as large a share, of the values between the objectives, or of the models between "
        "the values of each objective; a dash where no shuffling can tell.",
    ]
    if shares.seed.expected == 0:
        sentences.append("With one seed per value, the luck of the seed counts as the value's.")
    sentences.append(
        "The shares depend on the objectives and values that were chosen, and do not say how an objective does at its "
        "best value."
    )
    return " ".join(sentences)
