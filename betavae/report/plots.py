"""A sweep's figures: trials in, a Figure out. They neither compute scores nor save."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from betavae.config import TrialConfig
from betavae.records.sweep import Sweep
from betavae.records.trial import Status, Trial, ranked
from betavae.report.findings import FIELD_NAMES, Importances, describe_config
from betavae.report.palette import BETA_COLORS, FACTOR_COLORS, INK, MUTED, PAPER, beta_norm, score_axis
from betavae.report.portrait import Portrait
from betavae.report.settings import settings_of
from betavae.text import one_line

LABELS = FIELD_NAMES | {"lr": "learning rate"}
_LOG_AXES = ("beta", "lr")
_ENDS: dict[Status, str] = {"finished": "o", "stopped": "X", "failed": "P", "unfinished": ">"}
_MANY = 200
"""From so many trials on, curves and points are drawn as pixels: as vectors they would be megabytes."""

_WIDE, _NARROW = 7.0, 3.6  # inches


def mig_against(name: str, sweep: Sweep, *, ceiling: float | None) -> Figure:
    """Every trial's best MIG against one hyper-parameter; a bar at the median of a setting with several seeds.

    Args:
        name: A field of TrialConfig that is a number.
        sweep: Whose trials.
        ceiling: What a perfect code would have.
    """
    trials = ranked(sweep.trials)
    figure = Figure(figsize=(_NARROW, 3.0), layout="constrained")
    axes = figure.subplots()
    for status, marker in _ENDS.items():
        shown = [trial for trial in trials if trial.status == status]
        values, scores = [getattr(trial.config, name) for trial in shown], [trial.score for trial in shown]
        axes.scatter(
            values, scores, c=_beta_colors(shown, among=trials), marker=marker, s=28, alpha=0.85, linewidths=0,
            rasterized=len(trials) > _MANY,
        )  # fmt: skip
    _mark_medians(axes, name, trials)
    _value_axis(axes, name, [getattr(trial.config, name) for trial in trials])
    score_axis(axes, ceiling=ceiling)
    _status_legend(axes, trials)
    if name != "beta":
        _beta_bar(figure, axes, trials)
    return figure


@runtime_checkable
class SeedScores(Protocol):
    """A configuration that was confirmed, whether its trials are here or not."""

    @property
    def config(self) -> TrialConfig:
        """With seed 0."""
        ...

    @property
    def scores(self) -> Sequence[float]:
        """`mig` of each new seed."""
        ...

    @property
    def median(self) -> float:
        """Of `scores`."""
        ...

    @property
    def search_score(self) -> float | None:
        """What the search had seen."""
        ...


def confirmation_points(confirmations: Sequence[SeedScores], names: Sequence[str]) -> Figure:
    """Each new seed's MIG, their median, and what the search had seen, configuration by configuration.

    Args:
        confirmations: The highest median first.
        names: Fields of TrialConfig that tell the configurations apart.
    """
    figure = Figure(figsize=(_WIDE, 3.0), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(confirmations):
        spread = np.linspace(-0.2, 0.2, len(one.scores)) if len(one.scores) > 1 else np.zeros(1)
        axes.scatter(place + spread, one.scores, s=28, color=INK, alpha=0.7, linewidths=0)
        axes.plot([place - 0.2, place + 0.2], [one.median] * 2, color=INK, linewidth=2)
        if one.search_score is not None:
            axes.scatter([place + 0.3], [one.search_score], marker="D", s=26, facecolors="none", edgecolors=MUTED)
    labels = [describe_config(one.config, names).replace(", ", "\n") for one in confirmations]
    axes.set_xticks(range(len(confirmations)), labels)
    axes.set_xlim(-0.6, len(confirmations) - 0.4)
    score_axis(axes)
    return figure


def learning_curves(sweep: Sweep, *, ceiling: float | None) -> Figure:
    """What every trial reported, over its steps; the mark at the end says how it ended."""
    trials = [trial for trial in sweep.trials if trial.reports]
    figure = Figure(figsize=(_WIDE, 6.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    curves = {
        "mig": "MIG",
        "loss/recon_nats": "reconstruction loss\n(nats per image)",
        "loss/kl_nats": "KL (nats per image)",
    }
    for axes, (curve, label) in zip(panels, curves.items(), strict=True):
        for trial, color in zip(trials, _beta_colors(trials, among=trials), strict=True):
            _draw_curve(axes, trial, curve, color=color, status=trial.status, many=len(trials) > _MANY)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    score_axis(panels[0], ceiling=ceiling)
    _status_legend(panels[0], trials)
    panels[-1].set_xlabel("steps")
    _beta_bar(figure, panels, trials)
    return figure


def parallel_coordinates(sweep: Sweep, names: Sequence[str], *, num_marked: int) -> Figure:
    """A line per trial over its hyper-parameters to its MIG; the best ones are marked, in the colour of their beta.

    Args:
        sweep: Whose trials.
        names: Fields of TrialConfig that are numbers.
        num_marked: How many of the best are marked.
    """
    trials = ranked(sweep.trials)
    columns = [_position(name, [getattr(trial.config, name) for trial in trials]) for name in names]
    columns.append(np.array([trial.score for trial in trials]) / _top(trials))
    figure = Figure(figsize=(_WIDE, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = _beta_colors(trials, among=trials)
    for rank, line in reversed(list(enumerate(np.stack(columns, axis=1)))):
        marked = rank < num_marked
        axes.plot(
            line, color=colors[rank] if marked else MUTED, linewidth=2 if marked else 0.8, alpha=1 if marked else 0.5,
            rasterized=len(trials) > _MANY and not marked,
        )  # fmt: skip
    _label_columns(axes, trials, names)
    return figure


def factor_bars(portraits: Sequence[Portrait]) -> Figure:
    """The gap of each factor, for the models that the report shows."""
    figure = Figure(figsize=(_WIDE, 3.2), layout="constrained")
    axes = figure.subplots()
    names = list(portraits[0].scores["mig"]["gaps"])
    width = 0.8 / len(names)
    for column, name in enumerate(names):
        gaps = [portrait.scores["mig"]["gaps"][name] for portrait in portraits]
        bars = axes.bar(
            np.arange(len(portraits)) + (column - (len(names) - 1) / 2) * width,
            gaps, width, color=FACTOR_COLORS[name], label=name,
        )  # fmt: skip
        axes.bar_label(bars, [f"{gap:.2f}".lstrip("0") for gap in gaps], fontsize=6, padding=1)
    axes.set_xticks(
        range(len(portraits)),
        [
            f"{portrait.title}: {one_line(portrait.trial.trial_id)}\nMIG {portrait.scores['mig']['score']:.3f}"
            for portrait in portraits
        ],
        parse_math=False,  # a name may hold a dollar
    )
    score_axis(axes, label="gap of the factor")
    axes.legend(ncols=len(names), loc="upper right")
    return figure


def importance_bars(importances: Importances) -> Figure:
    """How much of the score each hyper-parameter decides, beside one that decides nothing.

    Args:
        importances: At least one evaluator's.
    """
    figure = Figure(figsize=(_WIDE, 2.6), layout="constrained")
    for axes, (evaluator, by_name) in zip(
        figure.subplots(1, len(importances), sharey=True, squeeze=False)[0], importances.items(), strict=True
    ):
        for row, (name, repeats) in enumerate(by_name.items()):
            color = INK if name in LABELS else MUTED
            axes.barh(row, repeats.mean(), color=color, alpha=0.6, height=0.6)
            axes.plot(repeats, np.full(len(repeats), row), "|", color=color, markersize=9)
        axes.set_yticks(range(len(by_name)), [FIELD_NAMES.get(name, name) for name in by_name])
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the importance")
        axes.set_title(evaluator)
    figure.axes[0].invert_yaxis()  # of all: they share it
    return figure


def _draw_curve(axes: Axes, trial: Trial, curve: str, *, color: object, status: Status, many: bool) -> None:
    steps = [report["step"] for report in trial.reports]
    values = [report.get(curve, np.nan) for report in trial.reports]
    axes.plot(steps, values, color=color, linewidth=1, alpha=0.8, rasterized=many)
    axes.plot(steps[-1:], values[-1:], _ENDS[status], color=color, markersize=5, markeredgewidth=0, rasterized=many)


def _mark_medians(axes: Axes, name: str, trials: Sequence[Trial]) -> None:
    for setting in settings_of(trials):
        if setting.num_seeds > 1:
            value = getattr(setting.config, name)
            axes.plot([value], [setting.median], marker="_", markersize=16, markeredgewidth=2, color=INK)


def _beta_colors(trials: Sequence[Trial], *, among: Sequence[Trial]) -> Float[np.ndarray, "trials rgba"]:
    norm = beta_norm([trial.config.beta for trial in among])
    return np.asarray(BETA_COLORS(norm([trial.config.beta for trial in trials])))


def _beta_bar(figure: Figure, axes: Axes | Iterable[Axes], trials: Sequence[Trial]) -> None:
    """What the colours say, where there is more than one."""
    betas = sorted({trial.config.beta for trial in trials})
    if len(betas) == 1:
        return
    bar = figure.colorbar(
        ScalarMappable(beta_norm(betas), BETA_COLORS), ax=axes, label="beta", pad=0.02, aspect=40, fraction=0.05
    )
    bar.outline.set_visible(False)
    ticks = betas if len(betas) <= 6 else _round_numbers(betas[0], betas[-1])
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ... in between."""
    numbers = LogLocator(subs=(1, 2, 5)).tick_values(low, high)
    return [float(number) for number in numbers if low <= number <= high]


def _status_legend(axes: Axes, trials: Sequence[Trial]) -> None:
    """A neutral mark for each way to end that is there."""
    seen = {trial.status for trial in trials}
    handles = [
        axes.scatter([], [], marker=marker, s=22, color=MUTED, linewidths=0, label=status)
        for status, marker in _ENDS.items()
        if status in seen
    ]
    axes.legend(
        handles=handles, loc="upper left", borderaxespad=0, fontsize=7, ncols=4, handletextpad=0.1, columnspacing=0.8
    )


def _value_axis(axes: Axes, name: str, values: Sequence[float]) -> None:
    axes.set_xlabel(LABELS.get(name, name))
    if name in _LOG_AXES:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.minorticks_off()
    different = sorted(set(values))
    if len(different) <= 6:
        axes.set_xticks(different, [f"{value:.3g}" for value in different])
    axes.margins(x=0.1)


def _position(name: str, values: Sequence[float]) -> Float[np.ndarray, " trials"]:
    """Where each value is between the least, 0, and the largest, 1."""
    numbers = np.log(values) if name in _LOG_AXES else np.array(values, float)
    extent = numbers.max() - numbers.min()
    return (numbers - numbers.min()) / extent if extent else np.full(len(numbers), 0.5)


def _label_columns(axes: Axes, trials: Sequence[Trial], names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names) + 1), [*(LABELS.get(name, name).partition(" (")[0] for name in names), "MIG"])
    axes.set_xlim(-0.15, len(names) + 0.15)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for column in range(len(names) + 1):
        axes.axvline(column, color=INK, linewidth=0.8)
    for column, name in enumerate(names):
        values = sorted({getattr(trial.config, name) for trial in trials})
        ticks = values if len(values) <= 6 else [values[0], values[-1]]
        _label_ticks(axes, column, _position(name, ticks).tolist(), [f"{tick:.3g}" for tick in ticks])
    shares = np.linspace(0, 1, 5)
    _label_ticks(axes, len(names), shares.tolist(), [f"{tick:.2f}" for tick in shares * _top(trials)])


def _top(trials: Sequence[Trial]) -> float:
    """Where the axis of the scores ends: the best one."""
    return max(trial.score for trial in trials) or 1.0


def _label_ticks(axes: Axes, column: int, positions: Sequence[float], labels: Sequence[str]) -> None:
    for position, label in zip(positions, labels, strict=True):
        axes.annotate(
            label, (column, position), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", fontsize=7,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )  # fmt: skip
