"""One model's figures: a Portrait in, a Figure out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from betavae.metrics import Scores
from betavae.report.information import information_of
from betavae.report.palette import CODE_COLORS, INFORMATION_COLORS, MUTED, factor_colors, line_styles
from betavae.report.portrait import Latent, Portrait, first_and_matched
from betavae.samples import TRAVERSAL_RANGE

MAX_ROWS = 16
"""Latents that a figure shows, of the highest KL, beside those that know a factor best; the page's sliders have all."""

_WIDE = 7.0  # inches
_CODE_LIMIT = 3.0
"""A latent's strip reaches so many standard deviations of the prior up and down."""


def traversal_figure(portrait: Portrait) -> Figure:
    """Draw a row per latent, by KL: the decoder's images as that latent alone moves."""
    shown = portrait.shown(MAX_ROWS)
    pictures = portrait.samples.traversal[[latent.index for latent in shown]]
    rows, columns, height, width, _ = pictures.shape
    figure = Figure(figsize=(_WIDE, 0.6 + 0.42 * rows), layout="constrained")
    axes = figure.subplots()
    _show(axes, tile(pictures))
    axes.set_yticks(height * (np.arange(rows) + 0.5), [_row_label(latent) for latent in shown], fontsize=7)
    ticks = [0, columns // 2, columns - 1]
    axes.set_xticks(width * (np.array(ticks) + 0.5), [f"{-TRAVERSAL_RANGE:g}", "0", f"{TRAVERSAL_RANGE:g}"])
    axes.set_xlabel("value of the latent (standard deviations of the prior)")
    _bare(axes)
    return figure


def reconstructions_figure(portrait: Portrait) -> Figure:
    """Draw images of the data set above the decoder's images of their codes."""
    pictures = np.stack([portrait.samples.originals, portrait.samples.reconstructions])
    height = pictures.shape[2]
    figure = Figure(figsize=(_WIDE, 2.0), layout="constrained")
    axes = figure.subplots()
    _show(axes, tile(pictures))
    axes.set_yticks([0.5 * height, 1.5 * height], ["original", "reconstruction"])
    axes.set_xticks([])
    _bare(axes)
    return figure


def information_heatmap(scores: Scores, latents: Sequence[Latent]) -> Figure:
    """Draw the information of each latent on each factor, in nats and as a share of its entropy.

    The latent that knows a factor best has a frame there, in the factor's colour.

    Args:
        scores: They hold `mig`.
        latents: All latents, in the order to show them.
    """
    information, shown = information_of(scores), first_and_matched(latents, MAX_ROWS)
    names, order = information.factors, [latent.index for latent in shown]
    nats, shares = information.nats[order], information.shares[order]
    figure = Figure(figsize=(1.2 + 0.6 * len(names), max(2.4, 1.1 + 0.3 * len(shown))), layout="constrained")
    axes = figure.subplots()
    largest = min(1.0, max(0.1, math.ceil(10 * shares.max()) / 10))  # the colours reach to the next tenth
    image = axes.imshow(shares, cmap=INFORMATION_COLORS, vmin=0, vmax=largest, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text, color = f"{nats[row, column]:.2f}", "black" if share > largest / 2 else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    _draw_frames(axes, shown, names)
    heads = [f"{name}\nH = {h:.2f}" for name, h in zip(names, information.entropies_nats, strict=True)]
    axes.set_xticks(range(len(names)), heads)
    axes.set_yticks(range(len(shown)), [f"latent {latent.index}" for latent in shown])
    if len(shown) < len(latents):
        axes.set_title(f"{len(shown)} of {len(latents)} latents: the highest KL, the best of a factor", fontsize=7)
    _bare(axes)
    bar = figure.colorbar(image, ax=axes, label="share of the factor's entropy H")
    bar.outline.set_visible(False)
    return figure


def code_figure(portrait: Portrait) -> Figure:
    """Draw a strip per active latent: its posterior mean over the positions, and against the values of each factor.

    There is a line for each value of the factor that the data set draws as lines, and a map of the positions if the
    images have a position.
    """
    shown = [latent for latent in portrait.shown(MAX_ROWS) if latent.is_active] or portrait.latents[:MAX_ROWS]
    names, num_maps = portrait.space.names, int(portrait.position_codes is not None)
    width = max(_WIDE, 0.9 * (len(names) + num_maps))
    figure = Figure(figsize=(width, 0.9 + 0.75 * len(shown)), layout="constrained")
    columns = figure.subplots(
        1, num_maps + len(names), sharey=True, squeeze=False, width_ratios=[0.8] * num_maps + [1.0] * len(names)
    )[0]
    if portrait.position_codes is not None:
        _draw_positions(columns[0], portrait.position_codes, shown)
    for axes, name in zip(columns[num_maps:], names, strict=True):
        _draw_codes(axes, portrait, name, shown)
    columns[0].set_yticks(_centers(len(shown)), [f"latent {latent.index}" for latent in shown])
    columns[0].set_ylabel("posterior mean", fontsize=8)
    columns[0].set_ylim(-2 * _CODE_LIMIT * len(shown), 0)
    limits = f"a strip reaches from -{_CODE_LIMIT:g} to {_CODE_LIMIT:g}"
    figure.supxlabel(f"value of the factor (its index); {limits}", fontsize=8)
    _draw_line_legend(figure, columns[-1], portrait)
    return figure


def tile(
    pictures: UInt8[np.ndarray, "rows columns height width channels"],
) -> UInt8[np.ndarray, "rows*height columns*width channels"]:
    """Lay pictures out as one, row by row."""
    rows, columns, height, width, channels = pictures.shape
    return pictures.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def _show(axes: Axes, pixels: UInt8[np.ndarray, "height width channels"]) -> None:
    """Draw an image: of one channel in grey, of three in red, green and blue."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def _row_label(latent: Latent) -> str:
    return f"latent {latent.index}  {latent.kl_nats:.2f} nats\n{latent.describe()}"


def _centers(num_rows: int) -> Float[np.ndarray, " rows"]:
    return -2 * _CODE_LIMIT * (np.arange(num_rows) + 0.5)


def _draw_frames(axes: Axes, shown: Sequence[Latent], names: Sequence[str]) -> None:
    colors = factor_colors(names)
    for row, latent in enumerate(shown):
        for name in latent.matched:
            corner = names.index(name) - 0.47, row - 0.46
            axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, edgecolor=colors[name], linewidth=2.5))


def _draw_positions(axes: Axes, codes: Float[np.ndarray, "x y latents"], shown: Sequence[Latent]) -> None:
    """Draw the mean code at each position, as on the image: x to the right, y downwards."""
    for center, latent in zip(_centers(len(shown)), shown, strict=True):
        axes.imshow(
            codes[:, :, latent.index].T, cmap=CODE_COLORS, vmin=-2, vmax=2, aspect="auto",
            extent=(0, 1, center - 0.9 * _CODE_LIMIT, center + 0.9 * _CODE_LIMIT),
        )  # fmt: skip
    axes.set_title("position", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    _bare(axes)


def _draw_codes(axes: Axes, portrait: Portrait, name: str, shown: Sequence[Latent]) -> None:
    codes, space = portrait.mean_codes[name], portrait.space
    num_lines, num_values = codes.shape[:2]
    has_points = name in space.categorical or name == space.lines  # no order to draw a line along
    places = [*range(num_values), num_values] if name in space.cyclic else range(num_values)
    for center, latent in zip(_centers(len(shown)), shown, strict=True):
        axes.axhline(center, color=MUTED, linewidth=0.5)
        for curve, (color, style) in zip(codes[:, :, latent.index], line_styles(num_lines), strict=True):
            heights = center + np.clip(curve.take(places, mode="wrap"), -_CODE_LIMIT, _CODE_LIMIT)
            axes.plot(
                places, heights, color=color, linestyle="none" if has_points else style,
                marker="o" if has_points else None, markersize=3, linewidth=1,
            )  # fmt: skip
    for center in _centers(len(shown) + 1) + _CODE_LIMIT:
        axes.axhline(center, color=MUTED, linewidth=0.3)
    axes.set_title(name, fontsize=8)
    axes.axhline(0, color=factor_colors(space.names)[name], linewidth=4, clip_on=False)
    axes.set_xlim(-0.5, places[-1] + 0.5)
    axes.set_xticks([0, num_values - 1], ["0", str(num_values - 1)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_line_legend(figure: Figure, axes: Axes, portrait: Portrait) -> None:
    """Name the lines of the factor that is drawn as lines; nothing if there is none."""
    space = portrait.space
    if space.lines is None:
        return
    values = space.values[space.column(space.lines)]
    labels = [value if isinstance(value, str) else f"{space.lines} {value:.3g}" for value in values]
    handles = [
        axes.plot([], [], color=color, linestyle=style, linewidth=1.5, label=label)[0]
        for label, (color, style) in zip(labels, line_styles(len(labels)), strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(len(labels), 6))


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
