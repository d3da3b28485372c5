"""Render dSprites from its geometry: outlines rounded to 1/256 px, then filled in exact integer arithmetic.

The result is not bit-identical to the official file: an estimated 50 to 75 of the 737,280 images differ by one pixel,
whose centre lies so near an edge that rounding in the original renderer's 32-bit arithmetic decided.

Coordinates are in pixels, x to the right and y downwards; the pixel in row r and column c has its centre at
(c + 1/2, r + 1/2). An image is packed as `np.packbits` packs its 4096 pixels row by row: 512 bytes.
"""

import itertools
import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int, UInt8

from betavae.data.dsprites.published_factors import DSPRITES_FACTORS

IMAGE_SIDE = 64
IMAGE_BYTES = IMAGE_SIDE * IMAGE_SIDE // 8
SUBPIXELS = 256  # vertices lie on a grid of 1/256 px
NUM_BLOCKS = math.prod(DSPRITES_FACTORS.sizes[:3])  # one per shape, scale and orientation

RENDERED_FINGERPRINT = "3a228f4037ef3d42a42588e0e01f1078aa2df13cfa17584e88c95ed9fb5672da"
"""SHA-256 of the packed pixels of all 737,280 images, in index order."""

PackedImages: TypeAlias = UInt8[np.ndarray, "images 512"]


def outline(shape: str) -> Float[np.ndarray, "2 vertices"]:
    """Return a shape's polygon at orientation 0, around its centre, in units of 9.6 px times the scale.

    Args:
        shape: "square", "ellipse" or "heart".

    Returns:
        The x and y coordinates of each vertex, in order along the outline.

    Raises:
        ValueError: If the shape is unknown.
    """
    if shape == "square":
        return np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])
    if shape == "ellipse":
        angle = _turn(100)
        return np.stack([1.33 * np.cos(angle), np.sin(angle) / 1.33])
    if shape == "heart":
        angle = _turn(150)
        height = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
        return np.stack([np.sin(angle) ** 3, -0.15 - height / 14.5])
    raise ValueError(f"shape must be one of {DSPRITES_FACTORS.values[0]}, but got {shape!r}.")


def _turn(num_angles: int) -> Float[np.ndarray, " angles"]:
    return 2 * math.pi * np.arange(num_angles) / num_angles


def fill_polygons(
    x: Int[np.ndarray, "columns vertices"], y: Int[np.ndarray, "rows vertices"]
) -> UInt8[np.ndarray, "columns rows 512"]:
    """Fill the polygon at each horizontal and vertical position, by the even-odd rule, without rounding.

    A pixel is white if its centre is inside. A centre exactly on a left or bottom edge is inside; on a right or top
    edge it is outside. A polygon that moves sideways crosses the same rows, so the crossings are found once per row of
    positions. Each crossing inverts every pixel from it to the right end of its line.

    Args:
        x: Horizontal vertex coordinates at each horizontal position, in 1/256 px, in 0 .. 16384 for exactness.
        y: The same vertices' vertical coordinates at each vertical position.

    Returns:
        Packed images, entry [i, j] drawn at (x[i], y[j]).
    """
    centre = SUBPIXELS * np.arange(IMAGE_SIDE, dtype=x.dtype) + SUBPIXELS // 2
    step_x, step_y = np.roll(x, -1, axis=1) - x, np.roll(y, -1, axis=1) - y
    top, bottom = np.minimum(y, y + step_y), np.maximum(y, y + step_y)
    crosses = (top[:, None] < centre[:, None]) & (centre[:, None] <= bottom[:, None])
    position, line, edge = np.nonzero(crosses)  # in order of position, then line

    # The first column whose centre is not left of the crossing is ceil(numerator / denominator).
    rise = step_y[position, edge]
    numerator = (x[:, edge] - SUBPIXELS // 2) * rise + step_x[:, edge] * (centre[line] - y[position, edge])
    first_column = -(-numerator // (SUBPIXELS * rise))
    turned = np.uint64(2**IMAGE_SIDE - 1) >> first_column.clip(0, IMAGE_SIDE).astype(np.uint64)  # column 0: highest bit

    starts = np.flatnonzero(np.diff(position * IMAGE_SIDE + line, prepend=-1))
    lines = np.zeros((len(x), len(y), IMAGE_SIDE), dtype=np.uint64)
    lines[:, position[starts], line[starts]] = np.bitwise_xor.reduceat(turned, starts, axis=1)
    return lines.astype(">u8").view(np.uint8)  # big-endian: the leftmost pixels in the first byte, as np.packbits


def render_positions(shape: str, *, scale: float, orientation: float) -> PackedImages:
    """Draw one shape, size and orientation at all 1024 positions.

    Args:
        shape: "square", "ellipse" or "heart".
        scale: Size relative to the largest, 0.5 .. 1.
        orientation: Counter-clockwise turn on the screen, in radians.

    Returns:
        1024 packed images, posX major, posY minor.

    Raises:
        ValueError: If the shape is unknown.
    """
    right, down = 9.6 * scale * outline(shape)
    cosine, sine = math.cos(orientation), math.sin(orientation)
    x = _on_grid(cosine * right + sine * down)
    y = _on_grid(-sine * right + cosine * down)
    return fill_polygons(x, y).reshape(-1, IMAGE_BYTES)


def _on_grid(offset: Float[np.ndarray, " vertices"]) -> Int[np.ndarray, "positions vertices"]:
    """Return vertices around each of the 32 centres of one axis, rounded to the grid; the centres are not rounded."""
    centre = 16 + 32 * np.linspace(0, 1, 32)
    # No coordinate of the set is within 2e-7 grid steps of a tie, so the last bit of a platform's sin has no effect.
    # int32 holds every product of the filling (below 2**30), and divides faster than int64.
    vertices: Int[np.ndarray, "positions vertices"] = np.rint(SUBPIXELS * (centre[:, None] + offset)).astype(np.int32)
    return vertices


def render_blocks() -> Iterator[PackedImages]:
    """Yield the whole set in index order: `NUM_BLOCKS` (720) times the 1024 packed images of `render_positions`."""
    for shape, scale, orientation in itertools.product(*DSPRITES_FACTORS.values[:3]):
        yield render_positions(str(shape), scale=float(scale), orientation=float(orientation))


def render_all() -> PackedImages:
    """Return the whole set: 737,280 packed images, 377 MB, whose SHA-256 is `RENDERED_FINGERPRINT`."""
    packed = np.empty((DSPRITES_FACTORS.size, IMAGE_BYTES), dtype=np.uint8)
    for block, images in zip(np.split(packed, NUM_BLOCKS), render_blocks(), strict=True):
        block[:] = images
    return packed
