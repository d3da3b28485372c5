"""One colour per thing, in every figure: legible on white and on black, and to the colour-blind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize

INK = "#010101"
"""Text, axes and all that has no colour of its own. The page gives it the colour of its text, light or dark."""

PAPER = "#fefefe"
"""What lies behind a label that lines would cross. The page gives it the colour of its background."""

MUTED = "#767676"
"""What is there to compare with: grids, stopped trials, chance."""

FACTOR_COLORS = {
    "shape": "#E69F00",
    "scale": "#56B4E9",
    "orientation": "#009E73",
    "posX": "#0072B2",
    "posY": "#D55E00",
}
"""Okabe and Ito's colours."""

SHAPE_STYLES = {"square": (INK, "-"), "ellipse": (MUTED, "-"), "heart": ("#CC79A7", "--")}
"""Colour and line of each shape."""

BETA_COLORS: Colormap = LinearSegmentedColormap.from_list("beta", ["#3568D4", "#A05CA8", "#E0701A"])
"""From a small beta, blue, to a large one, orange."""

INFORMATION_COLORS = "cividis"
"""Share of a factor's entropy, 0 to 1."""

CODE_COLORS = "PuOr"
"""A posterior mean, negative to positive."""

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
"""What every figure is drawn with."""


def beta_norm(betas: Sequence[float]) -> Normalize:
    """Place these betas on BETA_COLORS, by their logarithm."""
    low, high = min(betas), max(betas)
    return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)


def score_axis(axes: Axes, *, ceiling: float | None = None, label: str = "MIG") -> None:
    """Show scores on the whole of 0 to 1, with what a perfect code would have."""
    axes.set_ylim(0, 1)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_ylabel(label)
    if ceiling is not None:
        axes.axhline(ceiling, color=MUTED, linestyle=":", linewidth=1)
        axes.annotate(
            f"a perfect code: {ceiling:.2f}",
            (0.99, ceiling),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7,
        )
