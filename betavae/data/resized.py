"""Images scaled to 64 x 64 pixels, as the networks of the field take them."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE = 64


def resized(images: UInt8[np.ndarray, "n height width *channels"]) -> UInt8[np.ndarray, "n 64 64 *channels"]:
    """Return images scaled by Pillow's Lanczos filter, a weighted mean over the pixels that a pixel covers."""
    pixels = np.empty((len(images), SIDE, SIDE, *images.shape[3:]), np.uint8)
    for number, image in enumerate(images):
        pixels[number] = Image.fromarray(np.ascontiguousarray(image)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return pixels
