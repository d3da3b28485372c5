"""dSprites, rendered from its geometry or read from the official file, and packed to one bit per pixel."""

from betavae.data.dsprites.dataset import DSpritesDataset
from betavae.data.dsprites.images import DSprites, unpacked_images
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.data.dsprites.random_pixels import ColorDSpritesDataset, NoisyDSpritesDataset

__all__ = [
    "DSPRITES_FACTORS",
    "ColorDSpritesDataset",
    "DSprites",
    "DSpritesDataset",
    "NoisyDSpritesDataset",
    "unpacked_images",
]
