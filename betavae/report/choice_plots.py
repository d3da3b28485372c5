"""The figure of a choice: the rule's scores against scores with labels."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from betavae.report.choice import RuleAgreement
from betavae.report.field_axis import TrialColors
from betavae.report.marks import mark
from betavae.report.palette import INK, score_axis

_WIDTH, _HEIGHT = 3.4, 3.1  # inches, of a panel
_MAX_PANELS = 3


def choice_scatter(agreements: Sequence[RuleAgreement], *, label: str) -> Figure:
    """Draw each model's score by the rule against its scores with labels; a ring marks the chosen model.

    Args:
        agreements: One or more; the first three are drawn.
        label: The rule's label.
    """
    shown = agreements[:_MAX_PANELS]
    figure = Figure(figsize=(_WIDTH * len(shown) + 0.6, _HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    trials = list({trial.trial_id: trial for agreement in shown for trial in agreement.trials}.values())
    colors = TrialColors.of(trials)
    for axes, agreement in zip(panels, shown, strict=True):
        of_rule = [trial.choice for trial in agreement.trials]
        points = colors.colors(agreement.trials)
        for trial, color, score in zip(agreement.trials, points, agreement.scores, strict=True):
            mark(axes.scatter(trial.choice, score, color=color, s=28, alpha=0.85, linewidths=0), trial)
        axes.scatter(of_rule[:1], agreement.scores[:1], s=120, facecolors="none", edgecolors=INK, linewidths=1.4)
        axes.set_xlabel(label)
        axes.margins(x=0.15)  # room for the ring
        score_axis(axes, agreement.column.label, scores=agreement.scores)
    colors.draw_legend(figure, list(panels), trials)
    return figure
