"""One model's figures: a Portrait in, a Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from betavae.report.palette import CODE_COLORS, FACTOR_COLORS, INFORMATION_COLORS, MUTED, SHAPE_STYLES
from betavae.report.portrait import Latent, Portrait, first_and_matched
from betavae.samples import TRAVERSAL_RANGE

MAX_ROWS = 16
"""Latents that a figure shows, of the highest KL, beside those that know a factor best; the page's sliders have all."""

_WIDE = 7.0  # inches
_CODE_LIMIT = 3.0
"""A latent's strip reaches so many standard deviations of the prior up and down."""

_SHAPES = tuple(SHAPE_STYLES)


def traversal_figure(portrait: Portrait) -> Figure:
    """A row per latent, by KL: what the decoder draws as that latent alone moves."""
    shown = portrait.shown(MAX_ROWS)
    pictures = portrait.samples.traversal[[latent.index for latent in shown]]
    rows, columns = pictures.shape[:2]
    figure = Figure(figsize=(_WIDE, 0.6 + 0.42 * rows), layout="constrained")
    axes = figure.subplots()
    axes.imshow(tile(pictures), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks(64 * np.arange(rows) + 32, [_row_label(latent) for latent in shown], fontsize=7)
    ticks = [0, columns // 2, columns - 1]
    axes.set_xticks(64 * np.array(ticks) + 32, [f"{-TRAVERSAL_RANGE:g}", "0", f"{TRAVERSAL_RANGE:g}"])
    axes.set_xlabel("value of the latent (standard deviations of the prior)")
    _bare(axes)
    return figure


def reconstructions_figure(portrait: Portrait) -> Figure:
    """Images of the data set over what the decoder makes of their codes."""
    samples = portrait.samples
    figure = Figure(figsize=(_WIDE, 2.0), layout="constrained")
    axes = figure.subplots()
    pictures = np.stack([samples.originals, samples.reconstructions])
    axes.imshow(tile(pictures), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks([32, 96], ["original", "reconstruction"])
    axes.set_xticks([])
    _bare(axes)
    return figure


def information_heatmap(scores: Mapping[str, Any], latents: Sequence[Latent]) -> Figure:
    """What each latent knows of each factor, in nats and as a share of its entropy; matched latents are framed.

    Args:
        scores: The content of a checkpoint's `scores.json`.
        latents: All of its latents, in the order to show them.
    """
    mig, shown = scores["mig"], first_and_matched(latents, MAX_ROWS)
    names = list(mig["gaps"])
    information = np.array(mig["mutual_information_nats"])[[latent.index for latent in shown]]
    entropies = np.array([mig["entropies_nats"][name] for name in names])
    figure = Figure(figsize=(4.2, 1.1 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(information / entropies, cmap=INFORMATION_COLORS, vmin=0, vmax=1, aspect="auto")
    for (row, column), nats in np.ndenumerate(information):
        light = nats / entropies[column] > 0.5
        axes.text(column, row, f"{nats:.2f}", ha="center", va="center", fontsize=7, color="black" if light else "white")
    for row, latent in enumerate(shown):
        for name in latent.matched:
            corner = names.index(name) - 0.47, row - 0.46
            axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, edgecolor=FACTOR_COLORS[name], linewidth=2.5))
    axes.set_xticks(range(len(names)), [f"{name}\nH = {h:.2f}" for name, h in zip(names, entropies, strict=True)])
    axes.set_yticks(range(len(shown)), [f"latent {latent.index}" for latent in shown])
    if len(shown) < len(latents):
        axes.set_title(f"{len(shown)} of {len(latents)} latents: the highest KL, the best of a factor", fontsize=7)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, label="share of the factor's entropy H")
    bar.outline.set_visible(False)
    return figure


def code_figure(portrait: Portrait) -> Figure:
    """A strip per active latent: its posterior mean over the positions, and against each factor's value by shape."""
    shown = [latent for latent in portrait.shown(MAX_ROWS) if latent.is_active] or portrait.latents[:MAX_ROWS]
    names = list(portrait.mean_codes)
    figure = Figure(figsize=(_WIDE, 0.9 + 0.75 * len(shown)), layout="constrained")
    columns = figure.subplots(1, len(names) + 1, sharey=True, width_ratios=[0.8] + [1.0] * len(names))
    _draw_positions(columns[0], portrait, shown)
    for axes, name in zip(columns[1:], names, strict=True):
        _draw_codes(axes, name, portrait.mean_codes[name], shown)
    columns[0].set_yticks(_centers(len(shown)), [f"latent {latent.index}" for latent in shown])
    columns[0].set_ylabel(f"posterior mean; a strip reaches from -{_CODE_LIMIT:g} to {_CODE_LIMIT:g}", fontsize=8)
    figure.supxlabel("value of the factor (its index)", fontsize=8)
    columns[0].set_ylim(-2 * _CODE_LIMIT * len(shown), 0)
    handles = [
        columns[-1].plot([], [], color=color, linestyle=style, linewidth=1.5, label=shape)[0]
        for shape, (color, style) in SHAPE_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def tile(pictures: UInt8[np.ndarray, "rows columns 64 64"]) -> UInt8[np.ndarray, "height width"]:
    """Lay pictures out as one."""
    rows, columns, height, width = pictures.shape
    return pictures.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)


def _row_label(latent: Latent) -> str:
    return f"latent {latent.index}  {latent.kl_nats:.2f} nats\n{latent.describe()}"


def _centers(num_rows: int) -> Float[np.ndarray, " rows"]:
    return -2 * _CODE_LIMIT * (np.arange(num_rows) + 0.5)


def _draw_positions(axes: Axes, portrait: Portrait, shown: Sequence[Latent]) -> None:
    """The classic map: the mean code at each position, as on the picture: x to the right, y downwards."""
    for center, latent in zip(_centers(len(shown)), shown, strict=True):
        axes.imshow(
            portrait.position_codes[:, :, latent.index].T, cmap=CODE_COLORS, vmin=-2, vmax=2, aspect="auto",
            extent=(0, 1, center - 0.9 * _CODE_LIMIT, center + 0.9 * _CODE_LIMIT),
        )  # fmt: skip
    axes.set_title("position", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    _bare(axes)


def _draw_codes(
    axes: Axes, name: str, codes: Float[np.ndarray, "shapes values latents"], shown: Sequence[Latent]
) -> None:
    num_values = codes.shape[1]
    for center, latent in zip(_centers(len(shown)), shown, strict=True):
        axes.axhline(center, color=MUTED, linewidth=0.5)
        for shape, curve in zip(_SHAPES, codes[:, :, latent.index], strict=True):
            color, style = SHAPE_STYLES[shape]
            heights = center + np.clip(curve, -_CODE_LIMIT, _CODE_LIMIT)
            marker = "o" if name == "shape" else None
            axes.plot(
                range(num_values), heights, color=color, linestyle=style, marker=marker, markersize=3, linewidth=1
            )
    for center in _centers(len(shown) + 1) + _CODE_LIMIT:
        axes.axhline(center, color=MUTED, linewidth=0.3)
    axes.set_title(name, fontsize=8)
    axes.axhline(0, color=FACTOR_COLORS[name], linewidth=4, clip_on=False)
    axes.set_xlim(-0.5, num_values - 0.5)
    axes.set_xticks([0, num_values - 1], ["0", str(num_values - 1)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
