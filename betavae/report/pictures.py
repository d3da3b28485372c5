"""Pictures as files, and as addresses that hold them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from betavae.report.model_plots import MAX_ROWS
from betavae.report.palette import FACTOR_COLORS, INFORMATION_COLORS, INK, PAPER
from betavae.report.portrait import Latent, Portrait, first_and_matched

_DPI = 200  # of the PNG files
_ENLARGE = 2
_MAX_CELLS = 12
_CAPTION = 14  # pixels
_MILLISECONDS = 120
_LABEL, _CELL_WIDTH, _CELL_HEIGHT = 64, 76, 26  # pixels of the information matrix
_THEME = (
    "<style>svg{color:#1c1d20;--paper:#fff}"
    "@media screen and (prefers-color-scheme:dark){svg{color:#e4e5e8;--paper:#16171a}}</style>"
)


@dataclass(frozen=True)
class Picture:
    """A figure that has been saved, as a page shows it.

    Attributes:
        address: A `data:` address that holds it.
        caption: What it shows, and how to read it.
        width: In CSS pixels, at its own size.
    """

    address: str
    caption: str
    width: int


def save_picture(folder: Path, name: str, figure: Figure, *, caption: str) -> Picture:
    """Save a figure as PNG and PDF, and return it for the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=_DPI)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    return Picture(svg_address(figure), caption, width=round(96 * figure.get_figwidth()))


def svg_address(figure: Figure) -> str:
    """A figure as an address, in the colours of a light or a dark page as the reader's system asks."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--paper)")
    opening_end = svg.index(">") + 1
    return _address("image/svg+xml", (svg[:opening_end] + _THEME + svg[opening_end:]).encode())


def information_pixels(scores: Mapping[str, Any], latents: Sequence[Latent]) -> UInt8[np.ndarray, "height width 3"]:
    """What each latent knows of each factor, as `information_heatmap` shows it, in red, green and blue for a screen.

    It is drawn at every report of a sweep, so without matplotlib, which takes a tenth of a second.

    Args:
        scores: The content of a checkpoint's `scores.json`.
        latents: All of its latents, in the order to show them.
    """
    mig, shown = scores["mig"], first_and_matched(latents, MAX_ROWS)
    information = np.array(mig["mutual_information_nats"])
    picture = Image.new("RGB", (_LABEL + _CELL_WIDTH * len(mig["gaps"]), _CELL_HEIGHT * (len(shown) + 1)), "white")
    draw = ImageDraw.Draw(picture)
    for row, latent in enumerate(shown, start=1):
        draw.text((4, (row + 0.5) * _CELL_HEIGHT), f"latent {latent.index}", fill="black", anchor="lm")
        for column, name in enumerate(mig["gaps"]):
            nats = float(information[latent.index, column])
            share = nats / mig["entropies_nats"][name]
            left, top = _LABEL + column * _CELL_WIDTH, row * _CELL_HEIGHT
            color = tuple(matplotlib.colormaps[INFORMATION_COLORS](share, bytes=True)[:3])
            draw.rectangle((left, top, left + _CELL_WIDTH - 1, top + _CELL_HEIGHT - 1), fill=color)
            if name in latent.matched:
                frame = (left + 1, top + 1, left + _CELL_WIDTH - 3, top + _CELL_HEIGHT - 3)
                draw.rectangle(frame, outline=FACTOR_COLORS[name], width=3)
            center = left + _CELL_WIDTH / 2, top + _CELL_HEIGHT / 2
            draw.text(center, f"{nats:.2f}", fill="black" if share > 0.5 else "white", anchor="mm")
    for column, name in enumerate(mig["gaps"]):
        draw.text((_LABEL + (column + 0.5) * _CELL_WIDTH, _CELL_HEIGHT / 2), name, fill="black", anchor="mm")
    return np.asarray(picture)


def png_address(pixels: UInt8[np.ndarray, "height width"]) -> str:
    """Grey pixels as an address, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return _address("image/png", buffer.getvalue())


def write_traversal_gif(path: Path, portrait: Portrait) -> None:
    """Write the traversal as a loop: every active latent, to and fro, side by side."""
    latents = (portrait.active or portrait.latents)[:_MAX_CELLS]
    columns = portrait.samples.traversal.shape[1]
    order = [*range(columns), *range(columns - 2, 0, -1)]
    first, *others = [_frame(portrait, latents, column) for column in order]
    first.save(path, save_all=True, append_images=others, duration=_MILLISECONDS, loop=0)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _frame(portrait: Portrait, latents: tuple[Latent, ...], column: int) -> Image.Image:
    side = 64 * _ENLARGE
    frame = Image.new("L", ((side + 2) * len(latents) - 2, side + _CAPTION), 255)
    draw = ImageDraw.Draw(frame)
    for cell, latent in enumerate(latents):
        picture = Image.fromarray(portrait.samples.traversal[latent.index, column])
        left = cell * (side + 2)
        frame.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, _CAPTION))
        draw.text((left + 2, 1), f"z{latent.index} {' '.join(latent.matched)}", fill=0)
    return frame
