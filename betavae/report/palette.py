"""One colour per thing, in every figure: legible on white and on black, and to the colour-blind."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb

INK = "#010101"
"""Text, axes and marks without a colour of their own. The page gives it the colour of its text, light or dark."""

PAPER = "#fefefe"
"""The background of a label that lines would cross. The page gives it the colour of its own background."""

MUTED = "#767676"
"""Marks to compare with: grids, chance, trials without a value."""

FACTOR_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#F0E442")
"""Okabe and Ito's colours, in the order of the factors."""

METHOD_COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#CC99FF", "#994400")
"""The colours of objectives, in the order of their table: Paul Tol's bright scheme, and two more."""

_LINE_STYLES = ((INK, "-"), (MUTED, "-"), ("#CC79A7", "--"), (INK, ":"), (MUTED, "--"), ("#CC79A7", "-."))

_LIGHTEST, _DARKEST = 0.6, 0.45
"""How far the lightest shade of a colour is on the way to white, and the darkest on the way to black."""

VALUE_COLORS: Colormap = LinearSegmentedColormap.from_list("value", ["#3568D4", "#A05CA8", "#E0701A"])
"""The values of a hyper-parameter, from the smallest, blue, to the largest, orange."""

INFORMATION_COLORS = "cividis"
"""Share of a factor's entropy, 0 to 1."""

CODE_COLORS = "PuOr"
"""A posterior mean, negative to positive."""

CORRELATION_COLORS = "RdBu"
"""A rank correlation, -1 to 1: red below 0, blue above."""

RC_PARAMS: dict[Any, Any] = {
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "betavae",
    "pdf.fonttype": 42,
}
"""matplotlib's settings for every figure."""


def factor_colors(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each factor, by its position among all factors of its data set; colours repeat after 7."""
    return dict(zip(names, itertools.cycle(FACTOR_COLORS), strict=False))


def method_colors(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each method, by its position among all that there are; colours repeat after 8."""
    return dict(zip(names, itertools.cycle(METHOD_COLORS), strict=False))


def shades(color: str, num_shades: int) -> list[str]:
    """Return a colour in shades from light to dark, the colour itself in the middle.

    Args:
        color: Red, green and blue, as `#4477AA`.
        num_shades: One or more.
    """
    center = np.array(to_rgb(color))
    depths = np.linspace(-1, 1, num_shades) if num_shades > 1 else np.zeros(1)
    to_white, to_black = _LIGHTEST * np.clip(-depths, 0, 1), _DARKEST * np.clip(depths, 0, 1)
    return [to_hex(center * (1 - white - black) + white) for white, black in zip(to_white, to_black, strict=True)]


def line_styles(num_lines: int) -> list[tuple[str, str]]:
    """Return the colour and the matplotlib style of each line; they repeat after 6."""
    return list(itertools.islice(itertools.cycle(_LINE_STYLES), num_lines))


_LEAST_SHARE = -10.0
"""Scores below are no shares of a perfect code, such as the ELBO: their axis follows them."""


_ROOM = 1.12
"""The axis of scores ends this far above the highest, as a factor: room for a mark and a number."""

_WHOLE = 0.8
"""From this score on, the axis reaches to 1."""


def score_axis(
    axes: Axes,
    label: str,
    *,
    scores: Sequence[float] = (),
    ceiling: float | None = None,
    chance: float | None = None,
) -> None:
    """Show scores from 0, or the lowest below it, to a little above the highest, with two scores to compare them with.

    The axis of scores in nats, which lie far below 0, follows them.

    Args:
        axes: Its vertical axis shows the scores.
        label: What they are.
        scores: All that are shown.
        ceiling: The score of a perfect code: a line, or, where the axis ends below it, an arrow at its end. None for
            none.
        chance: The score of codes that know nothing: a line. None for none.
    """
    low, highest = min((0.0, *scores)), max(scores, default=1.0)
    if low > _LEAST_SHARE:
        high = max(1.0, highest) if highest > _WHOLE or highest <= 0 else _ROOM * max(highest, chance or 0.0)
        axes.set_ylim(low, high)
    axes.set_ylabel(label)
    if ceiling is not None:
        _draw_reference(axes, ceiling, f"a perfect code: {ceiling:.2f}", is_above=False)
    if chance is not None:
        _draw_reference(axes, chance, f"chance: {chance:.3f}", is_above=True)


def _draw_reference(axes: Axes, score: float, text: str, *, is_above: bool) -> None:
    """Draw a labelled line at a score; where the axis ends below it, an arrow at the end."""
    is_outside = score > axes.get_ylim()[1]
    if not is_outside:
        axes.axhline(score, color=MUTED, linestyle=":", linewidth=1)
    axes.annotate(
        f"{text} \N{UPWARDS ARROW}" if is_outside else text,
        (0.99, 1.0 if is_outside else score),
        xycoords=("axes fraction", "axes fraction" if is_outside else "data"),
        xytext=(0, 2 if is_above or is_outside else -2),
        textcoords="offset points",
        ha="right",
        va="bottom" if is_above or is_outside else "top",
        fontsize=7,
    )
