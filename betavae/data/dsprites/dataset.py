"""dSprites as the data set of a trial."""

from __future__ import annotations

from dataclasses import dataclass

from betavae.data.base import Dataset, FactorImages
from betavae.data.dsprites.images import IMAGE_SHAPE, DSprites
from betavae.data.dsprites.published_factors import DSPRITES_FACTORS
from betavae.errors import ParameterError
from betavae.parts import parameter


@dataclass(frozen=True, kw_only=True)
class DSpritesDataset(Dataset):
    """Three shapes of six sizes and 40 orientations at 32 x 32 positions: 737,280 binary images of 64 x 64."""

    name = "dsprites"
    is_published = True
    image_shape = IMAGE_SHAPE
    selections = ("images",)

    images: int = parameter(DSPRITES_FACTORS.size, least=1, most=DSPRITES_FACTORS.size, log=True)
    """Number of images to train on, the first in file order. The seed study trained on fewer than all."""

    def open(self) -> DSprites:
        """Open the whole set by `DSprites.open`."""
        return DSprites.open()

    def num_training(self, data: FactorImages) -> int:
        """Return `images`.

        Raises:
            ParameterError: If `data` is a smaller set with fewer images.
        """
        if self.images == DSPRITES_FACTORS.size:
            return len(data)
        if self.images > len(data):
            raise ParameterError("images", f"must be in 1 .. {len(data)}, but got {self.images}.")
        return self.images
