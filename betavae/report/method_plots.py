"""Figures that compare methods model by model. They neither compute scores nor save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from betavae.report.marks import mark
from betavae.report.methods import Method, MethodComparison, Quantity
from betavae.report.palette import INK, MUTED, method_colors, score_axis, shades
from betavae.report.settings import median_of

MANY = 20
"""From so many models on, a method has a violin behind its points."""

_WIDTH = 9.0  # inches
_HIGH, _LOW = 2.2, 1.5
"""Height of a panel in inches, where panels are few, and where they are many."""

_FEW = 4
_BAND = 0.86
"""Width of a method's column; the columns are 1 apart."""

_LETTER = 0.06
"""Width of a letter of a tick's label, in inches."""


def method_panels(comparison: MethodComparison, quantities: Sequence[Quantity], names: Sequence[str]) -> Figure:
    """Draw every model as a point: a panel per quantity, a column per method, and in it a place per value.

    Scores are on 0 to 1; beside other quantities, where it is their differences that count, on 0 to the highest.

    Args:
        comparison: The methods.
        quantities: One or more of its own.
        names: All methods that there are, whose order gives the colours.
    """
    num_panels = len(quantities)
    figure = Figure(figsize=(_WIDTH, 0.9 + num_panels * (_HIGH if num_panels <= _FEW else _LOW)), layout="constrained")
    panels = figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0]
    colors, is_of_scores = method_colors(names), all(quantity in comparison.scores for quantity in quantities)
    for axes, quantity in zip(panels, quantities, strict=True):
        for place, method in enumerate(comparison.methods):
            _draw_method(axes, place, method, quantity, color=colors[method.name])
        _label_numbers(axes, quantity, is_score=is_of_scores)
        for place in range(1, len(comparison.methods)):
            axes.axvline(place - 0.5, color=MUTED, linewidth=0.5, alpha=0.5)
        axes.tick_params(axis="x", which="major", length=0)
    _label_values(panels[-1], comparison.methods)
    _legend(panels[0], field=comparison.field, has_chance=any(quantity.chance for quantity in quantities))
    return figure


def value_places(place: int, num_values: int) -> list[float]:
    """Return where the values of a method lie on the horizontal axis, side by side around the method's place."""
    slots = (np.arange(num_values) + 0.5) / num_values - 0.5
    return [place + _BAND * float(slot) for slot in slots]


def _draw_method(axes: Axes, place: int, method: Method, quantity: Quantity, *, color: str) -> None:
    numbers = quantity.of(method.trials)
    if len(numbers) >= MANY and np.ptp(numbers) > 0:
        for body in axes.violinplot([numbers], [place], widths=_BAND, showextrema=False)["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=color, edgecolor="none", alpha=0.25)
    slot = _BAND / len(method.values)
    shaded = shades(color, len(method.values))
    for center, value, shade in zip(value_places(place, len(method.values)), method.values, shaded, strict=True):
        num_seeds = len(value.trials)
        spread = np.linspace(-0.25, 0.25, num_seeds) * min(slot, 0.2) if num_seeds > 1 else np.zeros(1)
        for trial, along, number in zip(value.trials, center + spread, quantity.of(value.trials), strict=True):
            mark(axes.scatter(along, number, s=22, color=shade, edgecolors=INK, linewidths=0.4, zorder=3), trial)
    ends = [place - _BAND / 2, place + _BAND / 2]
    axes.plot(ends, [median_of(numbers)] * 2, color=INK, linewidth=1.5, zorder=2)
    chances = [quantity.chance[trial.trial_id] for trial in method.trials if trial.trial_id in quantity.chance]
    if chances:
        axes.plot(ends, [median_of(chances)] * 2, color=MUTED, linewidth=1.2, linestyle=(0, (3, 2)), zorder=2)


def _label_numbers(axes: Axes, quantity: Quantity, *, is_score: bool) -> None:
    """Label the vertical axis, and give it its limits."""
    label = quantity.column.label.replace(" (", "\n(")
    if quantity.is_of_best:
        label += "\n(best checkpoint)"
    numbers = list(quantity.numbers.values())
    if is_score:
        score_axis(axes, label, scores=[*numbers, *quantity.chance.values()])
    else:
        axes.set_ylabel(label)
        if min(numbers) >= 0 < max(numbers):
            axes.set_ylim(0, 1.08 * max(numbers))  # room for half a point


def _label_values(axes: Axes, methods: Sequence[Method]) -> None:
    """Write each value below its place, and below these the methods with the symbols of what varies."""
    places, labels = [], []
    for place, method in enumerate(methods):
        values = [value.label for value in method.values]
        inches = _WIDTH / len(methods) * _BAND / len(values)
        is_crowded = inches < 2 * _LETTER  # room for a letter on its side
        for number, (center, label) in enumerate(zip(value_places(place, len(values)), values, strict=True)):
            places.append(center)
            labels.append("" if is_crowded and 0 < number < len(values) - 1 else label)
    longest = max(map(len, labels))
    smallest = min(_WIDTH / len(methods) * _BAND / len(method.values) for method in methods)
    is_turned = longest * _LETTER > smallest
    below = 4 + (72 * _LETTER * longest if is_turned else 9)  # points
    names = [f"{method.name}\n{', '.join(column.symbol for column in method.varied)}" for method in methods]
    axes.xaxis.remove_overlapping_locs = False  # a value may lie in the middle of its method
    axes.tick_params(axis="x", which="minor", length=2, pad=2, labelsize=7, labelrotation=90 if is_turned else 0)
    axes.tick_params(axis="x", which="major", pad=below + 2)
    axes.set_xticks(places, labels, minor=True)
    axes.set_xticks(range(len(methods)), names)
    axes.set_xlim(-0.5, len(methods) - 0.5)


def _legend(axes: Axes, *, field: str, has_chance: bool) -> None:
    """Name the marks, above the axes."""
    handles = [
        axes.scatter([], [], s=22, color=MUTED, edgecolors=INK, linewidths=0.4, label="a model"),
        *axes.plot([], [], color=INK, linewidth=1.5, label=f"median of each {field}"),
    ]
    if has_chance:
        handles += axes.plot([], [], color=MUTED, linewidth=1.2, linestyle=(0, (3, 2)), label="chance, median")
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=7, ncols=3)
