"""Where the values of a hyper-parameter lie on an axis and on the scale of colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from betavae.columns import Column, compared_fields, field_column, field_value, has_several_objectives, order_of
from betavae.config import TrialConfig
from betavae.objectives import OBJECTIVES
from betavae.parts import parameters_of
from betavae.records.trial import Trial
from betavae.report.palette import MUTED, VALUE_COLORS, method_colors

_FEW = 6
"""So many values have a tick each."""


@dataclass(frozen=True)
class FieldAxis:
    """The values of one field of several trials, and their places on an axis.

    Numbers lie at their value. Names of parts, choices and switches are categories, at 0, 1, 2 and so on; and so are
    numbers, where some trial has a schedule in their place.

    Attributes:
        column: The field's label, format and scale.
        values: The different values, in order. A trial whose parts do not have the field has none.
        is_category: Whether the values are no numbers.
    """

    column: Column
    values: tuple[Any, ...]
    is_category: bool

    @classmethod
    def of(cls, name: str, trials: Iterable[Trial]) -> FieldAxis:
        """Return the axis of a field of these trials."""
        values = {field_value(trial.config, name) for trial in trials} - {None}
        is_category = not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        return cls(field_column(name), tuple(sorted(values, key=order_of)), is_category)

    def values_of(self, trials: Iterable[Trial]) -> list[Any]:
        """Return the field's value in each trial; None where its parts do not have the field."""
        return [field_value(trial.config, self.column.name) for trial in trials]

    @property
    def is_of_one_part(self) -> bool:
        """Whether the field is the parameter of one part alone, which its label names: `gamma of factor-vae`."""
        return "." in self.column.name

    @property
    def is_log(self) -> bool:
        """Whether the axis is logarithmic."""
        return self.column.log and not self.is_category and bool(self.values) and self.values[0] > 0

    @property
    def ticks(self) -> tuple[Any, ...]:
        """The values that have a tick: all if they are few or categories, else the first and the last."""
        return self.values if self.is_category or len(self.values) <= _FEW else (self.values[0], self.values[-1])

    def places(self, values: Sequence[Any]) -> Float[np.ndarray, " values"]:
        """Return where values lie on the axis; nan for None."""
        if self.is_category:
            return np.array([np.nan if value is None else self.values.index(value) for value in values], float)
        return np.array([np.nan if value is None else value for value in values], float)

    def shares(self, values: Sequence[Any]) -> Float[np.ndarray, " values"]:
        """Return how far values are from the first, 0, to the last, 1: 0.5 where there is one alone; nan for None."""
        places = self.places(values)
        if len(self.values) < 2:
            return np.where(np.isnan(places), np.nan, 0.5)
        first, last = self.places([self.values[0], self.values[-1]])
        if self.is_log:
            places, first, last = np.log(places), np.log(first), np.log(last)
        shares: np.ndarray = (places - first) / (last - first)
        return shares

    def draw(self, axes: Axes) -> None:
        """Label the horizontal axis, and give it this scale and its ticks."""
        axes.set_xlabel(self.column.label)
        if self.is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.minorticks_off()
        if self.is_category or len(self.values) <= _FEW:
            axes.set_xticks(self.places(self.values), [_on_lines(self.column.write(value)) for value in self.values])
        if self.is_category:
            axes.set_xlim(-0.5, max(len(self.values), 1) - 0.5)
        else:
            axes.margins(x=0.1)


@dataclass(frozen=True)
class TrialColors:
    """The colour of each trial: by its objective where there are several, by the value of a number, or one for all.

    Attributes:
        axis: The field; None where trials differ in their objective, or in no number.
        methods: The colour of each objective, by name; empty unless trials differ in their objective.
    """

    axis: FieldAxis | None
    methods: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> TrialColors:
        """Return the colours of these trials: by the first number that they differ in, an objective's before others.

        Trials of several objectives are coloured by objective: a parameter of one is not a parameter of the next.
        """
        if has_several_objectives(_configs(trials)):
            return cls(None, colors_of_objectives(trials))
        axes = [axis for axis in compared_axes(trials) if not axis.is_category]
        weights = {name for trial in trials for name in parameters_of(type(trial.config.objective))}
        first = sorted(axes, key=lambda axis: axis.column.name not in weights)  # a stable sort
        return cls(first[0] if first else None)

    @property
    def label(self) -> str:
        """The field's label; empty if all trials have the same colour."""
        return "objective" if self.methods else "" if self.axis is None else self.axis.column.label

    def colors(self, trials: Sequence[Trial]) -> Float[np.ndarray, "trials rgba"]:
        """Return a colour per trial; a trial without the field is grey."""
        if self.methods:
            return to_rgba_array([self.methods[trial.config.objective.name] for trial in trials])
        if self.axis is None:
            return np.tile(VALUE_COLORS(0.5), (len(trials), 1)).reshape(len(trials), 4)
        shares = self.axis.shares(self.axis.values_of(trials))
        colors: np.ndarray = np.asarray(VALUE_COLORS(np.nan_to_num(shares))).reshape(len(trials), 4)
        colors[np.isnan(shares)] = to_rgba(MUTED)
        return colors

    def draw_legend(self, figure: Figure, axes: Axes | Iterable[Axes], trials: Sequence[Trial]) -> None:
        """Draw what the colours are beside the axes: names, or a scale; nothing if all trials have the same colour."""
        if self.methods:
            handles = [Line2D([], [], color=color, linewidth=4, label=name) for name, color in self.methods.items()]
            figure.legend(handles=handles, loc="outside right upper", handlelength=0.8, fontsize=7)
        else:
            self._draw_bar(figure, axes, trials)

    def _draw_bar(self, figure: Figure, axes: Axes | Iterable[Axes], trials: Sequence[Trial]) -> None:
        if self.axis is None:
            return
        low, high = self.axis.values[0], self.axis.values[-1]
        norm = LogNorm(low, high) if self.axis.is_log else Normalize(low, high)
        has_grey = None in self.axis.values_of(trials)
        bar = figure.colorbar(
            ScalarMappable(norm, VALUE_COLORS), ax=axes, label=f"{self.label} (grey: none)" if has_grey else self.label,
            pad=0.02, aspect=40, fraction=0.05,
        )  # fmt: skip
        bar.outline.set_visible(False)
        ticks = self.axis.values if len(self.axis.values) <= _FEW else self._round_numbers(low, high)
        bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        bar.minorticks_off()

    def _round_numbers(self, low: float, high: float) -> list[float]:
        """Return 1, 2, 5, 10, 20 ... in between, or equal steps where the scale is not logarithmic."""
        if self.axis is None or not self.axis.is_log:
            return [float(number) for number in np.linspace(low, high, 5)]
        numbers = LogLocator(subs=(1, 2, 5)).tick_values(low, high)
        return [float(number) for number in numbers if low <= number <= high]


def _on_lines(label: str) -> str:
    """Return a tick's label with each point of a schedule on a line of its own."""
    return label.replace(",", ",\n")


def compared_axes(trials: Sequence[Trial]) -> list[FieldAxis]:
    """Return the axis of each field of which these trials have two values or more, in the order of a config.

    With several objectives, a parameter of each has an axis of its own.
    """
    return [FieldAxis.of(name, trials) for name in compared_fields(_configs(trials))]


def colors_of_objectives(trials: Iterable[Trial]) -> dict[str, str]:
    """Return the colour of each objective of these trials, by name, in the order of their table."""
    names = {trial.config.objective.name for trial in trials}
    return {name: color for name, color in method_colors(OBJECTIVES).items() if name in names}


def _configs(trials: Sequence[Trial]) -> list[TrialConfig]:
    return [trial.config for trial in trials]
