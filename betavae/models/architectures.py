"""The architectures by name: adding one is a module beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import nn

from betavae.models.burgess import burgess
from betavae.models.conv3 import conv3

ImageShape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""

ARCHITECTURES: Mapping[str, Callable[[int, ImageShape], tuple[nn.Module, nn.Module]]] = {
    "burgess": burgess,
    "conv3": conv3,
}
"""Name -> function of (latent_size, image_shape), which returns two networks.

The encoder maps an image to 2 * latent_size numbers: means, then log variances. The decoder maps a code to logits of
the image's shape.
"""
