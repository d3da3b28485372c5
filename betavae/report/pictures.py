"""Figures and pixels as files, and as addresses that hold them."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from betavae.metrics import Scores
from betavae.report.information import information_of
from betavae.report.marks import has_marks, marked
from betavae.report.model_plots import MAX_ROWS
from betavae.report.palette import INFORMATION_COLORS, INK, PAPER, factor_colors
from betavae.report.portrait import Latent, Portrait, first_and_matched

_DPI = 200  # of the PNG files
_ENLARGE = 2
_MAX_CELLS = 12
_CAPTION = 14  # pixels
_MILLISECONDS = 120
_LABEL, _CELL_WIDTH, _CELL_HEIGHT = 88, 76, 30  # pixels of the information matrix
_TEXT = 19  # pixels: three quarters are left of them in TensorBoard, which shows five factors 350 pixels wide
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
        svg: The figure as a part of the page, if it has marks of trials, at which a reader may point; else empty.
    """

    address: str
    caption: str
    width: int
    svg: str = ""


def save_picture(folder: Path, name: str, figure: Figure, *, caption: str) -> Picture:
    """Save a figure as PNG and PDF, and return it for the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=_DPI)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    svg, width = _svg(figure), round(96 * figure.get_figwidth())
    if has_marks(svg):
        return Picture("", caption, width, marked(svg, name=name))
    return Picture(_svg_address(svg), caption, width)


def svg_address(figure: Figure) -> str:
    """Return a figure as an address, in the colours of a light or a dark page as the reader's system asks."""
    return _svg_address(_svg(figure))


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--paper)")


def _svg_address(svg: str) -> str:
    opening_end = svg.index(">") + 1
    return _address("image/svg+xml", (svg[:opening_end] + _THEME + svg[opening_end:]).encode())


def information_pixels(scores: Scores, latents: Sequence[Latent]) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture of `information_heatmap` in red, green and blue for a screen, whatever the factors are.

    The colours reach from 0 to 1, whatever the largest share is, so that the pictures of several steps compare. A sweep
    draws it at every report, so it is drawn without matplotlib, which takes a tenth of a second.

    Args:
        scores: They hold `mig`.
        latents: All latents, in the order to show them.
    """
    information, shown = information_of(scores), first_and_matched(latents, MAX_ROWS)
    names, shares = information.factors, information.shares
    colors = factor_colors(names)
    picture = Image.new("RGB", (_LABEL + _CELL_WIDTH * len(names), _CELL_HEIGHT * (len(shown) + 1)), "white")
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(names):
        center = _LABEL + (column + 0.5) * _CELL_WIDTH, _CELL_HEIGHT / 2
        draw.text(center, name, fill="black", anchor="mm", font=_fitting_font(name, _CELL_WIDTH - 4))
    for row, latent in enumerate(shown, start=1):
        label = f"latent {latent.index}"
        place = 4, (row + 0.5) * _CELL_HEIGHT
        draw.text(place, label, fill="black", anchor="lm", font=_fitting_font(label, _LABEL - 8))
        for column, name in enumerate(names):
            frame = colors[name] if name in latent.matched else None
            nats, share = information.nats[latent.index, column], shares[latent.index, column]
            _draw_cell(draw, row, column, nats=float(nats), share=float(share), frame=frame)
    return np.asarray(picture)


def png_address(pixels: UInt8[np.ndarray, "height width channels"]) -> str:
    """Return pixels as an address, without loss."""
    buffer = io.BytesIO()
    _image(pixels).save(buffer, "PNG", optimize=True)
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


def _image(pixels: UInt8[np.ndarray, "height width channels"]) -> Image.Image:
    """Return an image of one channel in grey, of three in red, green and blue."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _draw_cell(
    draw: ImageDraw.ImageDraw, row: int, column: int, *, nats: float, share: float, frame: str | None
) -> None:
    left, top = _LABEL + column * _CELL_WIDTH, row * _CELL_HEIGHT
    red, green, blue = (int(part) for part in matplotlib.colormaps[INFORMATION_COLORS](share, bytes=True)[:3])
    draw.rectangle((left, top, left + _CELL_WIDTH - 1, top + _CELL_HEIGHT - 1), fill=(red, green, blue))
    if frame is not None:
        inside = (left + 1, top + 1, left + _CELL_WIDTH - 3, top + _CELL_HEIGHT - 3)
        draw.rectangle(inside, outline=frame, width=3)
    center = left + _CELL_WIDTH / 2, top + _CELL_HEIGHT / 2
    ink = "black" if share > 0.5 else "white"
    draw.text(center, f"{nats:.2f}", fill=ink, anchor="mm", font=_fitting_font("0.00", _CELL_WIDTH))


@functools.cache
def _fitting_font(text: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of the information matrix, smaller for a text that is longer than a width in pixels."""
    font = ImageFont.load_default(_TEXT)
    return ImageFont.load_default(max(_TEXT * min(1.0, width / font.getlength(text)), 1)) if text else font


def _frame(portrait: Portrait, latents: tuple[Latent, ...], column: int) -> Image.Image:
    traversal = portrait.samples.traversal
    height, width = _ENLARGE * traversal.shape[2], _ENLARGE * traversal.shape[3]
    mode = "L" if traversal.shape[4] == 1 else "RGB"
    frame = Image.new(mode, ((width + 2) * len(latents) - 2, height + _CAPTION), "white")
    draw = ImageDraw.Draw(frame)
    for cell, latent in enumerate(latents):
        picture = _image(traversal[latent.index, column])
        left = cell * (width + 2)
        frame.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left, _CAPTION))
        draw.text((left + 2, 1), f"z{latent.index} {' '.join(latent.matched)}", fill="black")
    return frame
