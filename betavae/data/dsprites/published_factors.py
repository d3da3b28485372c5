"""The factors of dSprites."""

import math

import numpy as np

from betavae.data.factors import FactorSpace


def _evenly(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(start, stop, count))


# Colour, the first factor of the published set, is left out: it never varies, so it has no entropy to score.
DSPRITES_FACTORS = FactorSpace(
    names=("shape", "scale", "orientation", "posX", "posY"),
    values=(
        ("square", "ellipse", "heart"),
        _evenly(0.5, 1.0, 6),
        _evenly(0.0, 2 * math.pi, 40),  # the last equals the first: 39 different pictures, 40 labels
        _evenly(0.0, 1.0, 32),  # to the right
        _evenly(0.0, 1.0, 32),  # downwards, 0 at the top
    ),
    categorical=("shape",),
    cyclic=("orientation",),
    position=("posX", "posY"),
    lines="shape",
)
