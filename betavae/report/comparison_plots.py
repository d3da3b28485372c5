"""Figures that compare configurations, models and hyper-parameters. They neither compute scores nor save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.figure import Figure

from betavae.columns import field_column, report_column
from betavae.metrics.information_gaps import Mig
from betavae.report.confirmation import Confirmed
from betavae.report.findings import CHANCE, Importances
from betavae.report.marks import mark
from betavae.report.palette import CORRELATION_COLORS, INK, MUTED, factor_colors, score_axis
from betavae.report.portrait import Portrait
from betavae.report.score_table import Agreement
from betavae.text import one_line

_WIDE = 7.0  # inches


@runtime_checkable
class FinalScores(Protocol):
    """A configuration that was confirmed, whether its trials are here or not."""

    @property
    def final_scores(self) -> Sequence[float]:
        """The score of each new seed at the end of its training."""
        ...

    @property
    def median(self) -> float:
        """The median of `final_scores`."""
        ...

    @property
    def search_score(self) -> float | None:
        """The score of the configuration in the search."""
        ...


def confirmation_points(
    confirmations: Sequence[FinalScores],
    names: Sequence[str],
    *,
    label: str = "MIG",
    ceiling: float | None = None,
    chance: float | None = None,
) -> Figure:
    """Draw each new seed's score, their median and the search's score, configuration by configuration.

    Args:
        confirmations: The highest median first.
        names: The name of each configuration, in one line or several.
        label: The label of the score.
        ceiling: The score of a perfect code; None if unknown.
        chance: The score of codes that know nothing; None if unknown.
    """
    figure = Figure(figsize=(_WIDE, 3.0), layout="constrained")
    axes = figure.subplots()
    shown: list[float] = []
    for place, confirmation in enumerate(confirmations):
        scores, in_search = confirmation.final_scores, confirmation.search_score
        spread = np.linspace(-0.2, 0.2, len(scores)) if len(scores) > 1 else np.zeros(1)
        for number, (along, score) in enumerate(zip(place + spread, scores, strict=True)):
            point = axes.scatter(along, score, s=28, color=INK, alpha=0.7, linewidths=0)
            if isinstance(confirmation, Confirmed):
                mark(point, confirmation.trials[number])
        axes.plot([place - 0.2, place + 0.2], [confirmation.median] * 2, color=INK, linewidth=2)
        if in_search is not None:
            axes.scatter([place + 0.3], [in_search], marker="D", s=26, facecolors="none", edgecolors=MUTED)
        shown += [*scores, *([] if in_search is None else [in_search])]
    axes.set_xticks(range(len(confirmations)), names)
    axes.set_xlim(-0.6, len(confirmations) - 0.4)
    score_axis(axes, label, scores=shown, ceiling=ceiling, chance=chance)
    return figure


def factor_bars(portraits: Sequence[Portrait]) -> Figure:
    """Draw the score of each factor, for several models of one data set: the ranking score's, or else the MIG's.

    Args:
        portraits: One or more, of the same factors.
    """
    figure = Figure(figsize=(_WIDE, 3.2), layout="constrained")
    axes = figure.subplots()
    column, names = report_column(factor_metric(portraits[0])), portraits[0].space.names
    scores = [portrait.scores[column.name] for portrait in portraits]
    width = 0.8 / len(names)
    for place, (name, color) in enumerate(factor_colors(names).items()):
        heights = [score.by_factor.get(name, 0.0) for score in scores]
        centers = np.arange(len(portraits)) + (place - (len(names) - 1) / 2) * width
        bars = axes.bar(centers, heights, width, color=color, label=name)
        axes.bar_label(bars, [f"{height:.2f}".lstrip("0") for height in heights], fontsize=6, padding=1)
    labels = [
        f"{portrait.title}: {one_line(portrait.trial.trial_id)}\n{column.label} {score.value:.3f}"
        for portrait, score in zip(portraits, scores, strict=True)
    ]
    axes.set_xticks(range(len(portraits)), labels, parse_math=False)  # a name may hold a dollar
    shown = [value for score in scores for value in score.by_factor.values()]
    score_axis(axes, f"{column.label} of the factor", scores=shown)
    axes.legend(ncols=min(len(names), 5), loc="upper right")
    return figure


def importance_bars(importances: Importances) -> Figure:
    """Draw the share of the score that each hyper-parameter decides, beside a random number, which decides nothing.

    Args:
        importances: At least one evaluator's.
    """
    figure = Figure(figsize=(_WIDE, 2.6), layout="constrained")
    for axes, (evaluator, by_name) in zip(
        figure.subplots(1, len(importances), sharey=True, squeeze=False)[0], importances.items(), strict=True
    ):
        for row, (name, repeats) in enumerate(by_name.items()):
            color = MUTED if name == CHANCE else INK
            axes.barh(row, repeats.mean(), color=color, alpha=0.6, height=0.6)
            axes.plot(repeats, np.full(len(repeats), row), "|", color=color, markersize=9)
        axes.set_yticks(range(len(by_name)), [field_column(name).label for name in by_name])
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the importance")
        axes.set_title(evaluator)
    figure.axes[0].invert_yaxis()  # of all: they share it
    return figure


def score_agreement(agreement: Agreement) -> Figure:
    """Draw the rank correlation of each two scores as a matrix with its numbers.

    Args:
        agreement: Of two or more scores.
    """
    labels, num = [column.label for column in agreement.columns], len(agreement.columns)
    figure = Figure(figsize=(2.2 + 0.36 * num, 1.9 + 0.3 * num), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(agreement.correlations, cmap=CORRELATION_COLORS, vmin=-1, vmax=1, aspect="auto")
    for row, column in np.ndindex(num, num):
        value = float(agreement.correlations[row, column])
        text = "" if np.isnan(value) else f"{value:.2f}".replace("0.", ".", 1)
        color = "white" if abs(value) > 0.7 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color=color)
    axes.set_xticks(range(num), labels, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num), labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="rank correlation", ticks=[-1, -0.5, 0, 0.5, 1], fraction=0.05)
    return figure


def factor_metric(portrait: Portrait) -> str:
    """Return the name of the score that is shown factor by factor: the ranking score, or `mig` if it has no factors."""
    return portrait.trial.rank_by if portrait.scores[portrait.trial.rank_by].by_factor else Mig.name
