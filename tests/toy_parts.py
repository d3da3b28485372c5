"""A data set of other factors and three channels, an objective without beta, and dSprites without its images."""

from dataclasses import dataclass

import torch

from betavae.arrays import ArrayLike, as_indices
from betavae.data import DSPRITES_FACTORS, Dataset, FactorImages, FactorSpace
from betavae.objectives import Batch, BetaVAE, Loss, Objective
from betavae.parts import parameter

BLOCKS = FactorSpace(("hue", "size", "corner"), (range(6), (8, 16, 24), ("a", "b", "c", "d")), categorical=("corner",))
BLOCKS_FINGERPRINT = "c" * 64


class Blocks(FactorImages):
    """A coloured block in one of four corners; no factor is a position, and none is drawn as lines."""

    factors, source, fingerprint = BLOCKS, "drawn", BLOCKS_FINGERPRINT
    image_shape = (3, 64, 64)

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> torch.Tensor:
        rows = self.factors.indices_to_factors(as_indices("indices", indices, size=len(self)))
        images = torch.zeros(len(rows), 3, 64, 64)
        for image, (hue, size, corner) in zip(images, rows.tolist(), strict=True):
            side, color = 8 * (size + 1), torch.tensor([hue & 1, hue >> 1 & 1, hue >> 2 & 1]).float()
            top, left = 32 * (corner // 2), 32 * (corner % 2)
            image[:, top : top + side, left : left + side] = (0.3 + 0.7 * color)[:, None, None]
        return images.to(device)

    def verify(self) -> None:
        return


@dataclass(frozen=True, kw_only=True)
class BlocksDataset(Dataset):
    name = "blocks"
    image_shape = (3, 64, 64)

    def open(self) -> Blocks:
        return Blocks()


@dataclass(frozen=True, kw_only=True)
class FreeBits(Objective):
    """It has a parameter of its own, which is not on a logarithmic scale, and no beta."""

    name = "free-bits"

    free_nats: float = parameter(2.0, least=0)
    """Nats that cost nothing."""

    anneal: bool = parameter(False)
    """Whether they vanish."""

    def loss(self, batch: Batch) -> Loss:
        return BetaVAE(beta=1.0).loss(batch)


class WholeSprites(FactorImages):
    """All of dSprites, of which no image is read."""

    factors, source, fingerprint = DSPRITES_FACTORS, "rendered", "0" * 64
    image_shape = (1, 64, 64)

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> torch.Tensor:
        raise AssertionError("no image is to be read")

    def verify(self) -> None:
        return
