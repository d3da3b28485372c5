"""A sweep's figures: trials in, a Figure out. They neither compute scores nor save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from betavae.columns import field_value, report_column, report_columns
from betavae.records.sweep import Sweep
from betavae.records.trial import Status, Trial, ranked
from betavae.report.field_axis import FieldAxis, TrialColors
from betavae.report.marks import mark
from betavae.report.palette import INK, MUTED, PAPER, score_axis
from betavae.report.settings import median_of, settings_of

_ENDS: dict[Status, str] = {"finished": "o", "stopped": "X", "failed": "P", "unfinished": ">"}
_MANY = 200
"""From so many trials on, curves and points are drawn as pixels: as vectors they would be megabytes."""

_WIDE, _NARROW = 7.0, 3.6  # inches
_ASIDE = 0.07
"""Distance in inches between the points of two objectives that have the same value."""

_BAND = 0.15
"""Half of the height over which lines of one value spread, as a share of the least distance of two values."""

_NO_VALUE = -0.14
"""Height at which a line over parallel axes passes one whose field its trial does not have."""


def score_against(name: str, sweep: Sweep, *, ceiling: float | None, chance: float | None = None) -> Figure:
    """Draw every trial's best score against one hyper-parameter; a bar marks the median of a setting of several seeds.

    Args:
        name: A parameter, or the name of a part. Trials that do not have it are left out. `factor-vae.gamma` is the
            parameter of one part alone. Against any other field, several objectives lie side by side, without bars.
        sweep: At least one of its trials has a score.
        ceiling: The score of a perfect code; None if unknown.
        chance: The score of codes that know nothing; None if unknown.
    """
    scored = ranked(sweep.trials)
    trials = [trial for trial in scored if field_value(trial.config, name) is not None]
    axis, colors = FieldAxis.of(name, trials), TrialColors.of(scored)
    figure = Figure(figsize=(_NARROW, 3.0), layout="constrained")
    axes = figure.subplots()
    many = len(trials) > _MANY
    is_common = not axis.is_of_one_part and name != "objective"
    if colors.methods and is_common:
        for number, objective in enumerate(colors.methods):
            alike = [trial for trial in trials if trial.config.objective.name == objective]
            aside = _ASIDE * (number - (len(colors.methods) - 1) / 2)
            _draw_scores(figure, axis, alike, colors, many=many, aside=aside)
    else:
        _draw_scores(figure, axis, trials, colors, many=many)
        _mark_medians(axes, axis, trials)
    axis.draw(axes)
    _score_axis(axes, sweep, ceiling=ceiling, chance=chance)
    _status_legend(axes, trials)
    if len(trials) < len(scored) and not axis.is_of_one_part:
        axes.set_xlabel(f"{axis.column.label}\n({len(scored) - len(trials)} of {len(scored)} trials have none)")
    if is_common and (colors.axis is None or colors.axis.column.name != name):
        colors.draw_legend(figure, axes, scored)
    return figure


def learning_curves(sweep: Sweep, *, ceiling: float | None, chance: float | None = None) -> Figure:
    """Draw every trial's ranking score, losses and changing weights over its steps; the end's mark is how it ended.

    With several objectives, a thick line is the median of each, at the steps that half of its trials have reached.

    Args:
        sweep: At least one of its trials has a score.
        ceiling: The score of a perfect code; None if unknown.
        chance: The score of codes that know nothing; None if unknown.
    """
    trials = [trial for trial in sweep.trials if trial.reports]
    names = dict.fromkeys(name for trial in trials for name in trial.reports[-1])
    losses = report_columns([name for name in names if name.startswith("loss/")], rank_by=sweep.rank_by)
    weights = [report_column(name) for name in names if name.startswith("weight/")]
    columns = [report_column(sweep.rank_by), *losses, *weights]
    figure = Figure(figsize=(_WIDE, 0.5 + 2.0 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    colors = TrialColors.of(trials)
    for axes, column in zip(panels, columns, strict=True):
        for trial, color in zip(trials, colors.colors(trials), strict=True):
            _draw_curve(axes, trial, column.name, color=color, many=len(trials) > _MANY, is_faint=bool(colors.methods))
        for objective, method_color in colors.methods.items():
            alike = [trial for trial in trials if trial.config.objective.name == objective]
            axes.plot(*_median_curve(alike, column.name), color=method_color, linewidth=2)
        axes.set_ylabel(column.label.replace(" (", "\n("))
        values = [report[column.name] for trial in trials for report in trial.reports if column.name in report]
        if min(values) >= 0:
            axes.set_ylim(bottom=0)
    _score_axis(panels[0], sweep, ceiling=ceiling, chance=chance)
    _status_legend(panels[0], trials)
    panels[-1].set_xlabel("steps")
    colors.draw_legend(figure, panels, trials)
    return figure


def parallel_coordinates(sweep: Sweep, names: Sequence[str], *, num_marked: int) -> Figure:
    """Draw a line per trial over its hyper-parameters to its score; the best lines have the trials' colours.

    Lines of the same value are spread over a band around it, in the order of their scores, so that the eye can follow
    each.

    Args:
        sweep: At least one of its trials has a score.
        names: Parameters, or names of parts. A line passes below the axis of a field that its trial does not have.
        num_marked: How many of the best lines are marked.
    """
    trials = ranked(sweep.trials)
    fields = [FieldAxis.of(name, trials) for name in names]
    shares = [field.shares(field.values_of(trials)) for field in fields]
    heights_of_fields = [spread(each) for each in shares]
    low, high = _ends_of_scores(trials)
    columns = [*heights_of_fields, (np.array([trial.score for trial in trials]) - low) / (high - low)]
    figure = Figure(figsize=(_WIDE, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = TrialColors.of(trials).colors(trials)
    for rank, line in reversed(list(enumerate(np.nan_to_num(np.stack(columns, axis=1), nan=_NO_VALUE)))):
        is_best, is_pixels = rank < num_marked, rank >= num_marked and len(trials) > _MANY
        drawn = axes.plot(
            line, color=colors[rank] if is_best else MUTED, linewidth=2 if is_best else 0.8,
            alpha=1 if is_best else 0.5, rasterized=is_pixels,
        )  # fmt: skip
        if not is_pixels:
            mark(drawn, trials[rank])
    _label_axes(axes, fields, shares, heights_of_fields)
    axes.set_xticks(
        range(len(columns)), [*(field.column.label for field in fields), report_column(sweep.rank_by).label]
    )
    heights = np.linspace(0, 1, 5)
    _label_ticks(axes, len(fields), heights, [f"{low + height * (high - low):.2f}" for height in heights])
    return figure


def spread(shares: Float[np.ndarray, " trials"]) -> Float[np.ndarray, " trials"]:
    """Return heights on an axis such that no two trials of one value share a height: the first is the highest.

    Args:
        shares: The place of each trial's value on the axis, in 0..1; nan for a trial without one. The best trial first.
    """
    values, counts = np.unique(shares[~np.isnan(shares)], return_counts=True)
    heights = shares.copy()
    band = _BAND * float(np.diff(values).min()) if len(values) > 1 else _BAND
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if count > 1:
            heights[shares == value] = np.clip(value, band, 1 - band) + np.linspace(band, -band, count)
    return heights


def _score_axis(axes: Axes, sweep: Sweep, *, ceiling: float | None, chance: float | None) -> None:
    """Show the ranking score of all trials."""
    scores = [report[sweep.rank_by] for trial in sweep.trials for report in trial.reports]
    score_axis(axes, report_column(sweep.rank_by).label, scores=scores, ceiling=ceiling, chance=chance)


def _draw_scores(
    figure: Figure, axis: FieldAxis, trials: Sequence[Trial], colors: TrialColors, *, many: bool, aside: float = 0
) -> None:
    """Draw a point per trial, so many inches beside its value."""
    (axes,) = figure.axes
    groups = [[trial for trial in trials if trial.status == status] for status in _ENDS]
    if not many:
        groups = [[trial] for group in groups for trial in group]
    for shown in filter(None, groups):
        places = axis.places(axis.values_of(shown))
        points = axes.scatter(
            places, [trial.score for trial in shown], c=colors.colors(shown), marker=_ENDS[shown[0].status], s=28,
            alpha=0.85, linewidths=0, rasterized=many,
        )  # fmt: skip
        if not many:
            mark(points, shown[0])
        if aside:
            beside = ScaledTranslation(aside, 0, figure.dpi_scale_trans)
            points.set_offset_transform(axes.transData + beside)  # afterwards: the limits are those of the values


def _draw_curve(axes: Axes, trial: Trial, name: str, *, color: object, many: bool, is_faint: bool) -> None:
    steps = [report["step"] for report in trial.reports]
    values = [report.get(name, np.nan) for report in trial.reports]
    drawn = [
        *axes.plot(steps, values, color=color, linewidth=1, alpha=0.5 if is_faint else 0.8, rasterized=many),
        *axes.plot(
            steps[-1:], values[-1:], _ENDS[trial.status], color=color, markersize=5, markeredgewidth=0,
            rasterized=many, alpha=0.7 if is_faint else None,
        ),
    ]  # fmt: skip
    if not many:
        mark(drawn, trial)


def _median_curve(trials: Sequence[Trial], name: str) -> tuple[list[int], list[float]]:
    """Return the steps that half of these trials have reported a number at, and the median number there."""
    by_step: dict[int, list[float]] = {}
    for report in (report for trial in trials for report in trial.reports if name in report):
        by_step.setdefault(report["step"], []).append(report[name])
    steps = sorted(step for step, values in by_step.items() if 2 * len(values) >= len(trials))
    return steps, [median_of(by_step[step]) for step in steps]


def _mark_medians(axes: Axes, axis: FieldAxis, trials: Sequence[Trial]) -> None:
    for setting in settings_of(trials):
        if len(setting.trials) > 1:
            place = axis.places(axis.values_of(setting.trials[:1]))
            axes.plot(place, [median_of(setting.best_scores)], marker="_", markersize=16, markeredgewidth=2, color=INK)


def _status_legend(axes: Axes, trials: Sequence[Trial]) -> None:
    """Name the mark of each way to end that is there, above the axes."""
    seen = {trial.status for trial in trials}
    handles = [
        axes.scatter([], [], marker=marker, s=22, color=MUTED, linewidths=0, label=status)
        for status, marker in _ENDS.items()
        if status in seen
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=7, ncols=4,
        handletextpad=0.1, columnspacing=0.8,
    )  # fmt: skip


def _ends_of_scores(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return the ends of the scores' axis: 0, or the lowest score below it, and the best score."""
    scores = [trial.score for trial in trials]
    low = min(0.0, *scores)
    return low, max(scores) if max(scores) > low else low + 1


def _label_axes(
    axes: Axes, fields: Sequence[FieldAxis], shares: Sequence[np.ndarray], heights: Sequence[np.ndarray]
) -> None:
    """Draw an axis for each field and for the score, with the ticks of the fields and the band of each value."""
    has_gap = [bool(np.isnan(each).any()) for each in shares]
    axes.set_xlim(-0.15, len(fields) + 0.15)
    axes.set_ylim(_NO_VALUE - 0.04 if any(has_gap) else -0.02, 1.02)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for place in range(len(fields) + 1):
        axes.plot([place, place], [0, 1], color=INK, linewidth=0.8)
    for place, (field, share, height) in enumerate(zip(fields, shares, heights, strict=True)):
        ticks = field.shares(field.ticks)
        for number, tick in enumerate(ticks.tolist()):
            band = height[share == tick]
            if len(band) > 1:
                axes.plot([place, place], [band.min(), band.max()], color=INK, linewidth=3, solid_capstyle="butt")
                ticks[number] = (band.min() + band.max()) / 2
        _label_ticks(axes, place, ticks, [field.column.write(tick) for tick in field.ticks])
        if has_gap[place]:
            _label_ticks(axes, place, np.array([_NO_VALUE]), ["none"])


def _label_ticks(axes: Axes, place: int, heights: Float[np.ndarray, " ticks"], labels: Sequence[str]) -> None:
    for height, label in zip(heights.tolist(), labels, strict=True):
        axes.annotate(
            label, (place, height), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", fontsize=7,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )  # fmt: skip
