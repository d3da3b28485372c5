"""A data set whose factors nobody may look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from toys import Bars

from betavae.arrays import ArrayLike
from betavae.data import DATASETS, Dataset, FactorSpace


class ForbiddenFactors(FactorSpace):
    """Factors that raise when they are looked at."""

    def indices_to_factors(self, indices: ArrayLike) -> Int[np.ndarray, "samples factors"]:
        """Raise."""
        raise AssertionError("the factors were looked at")


@DATASETS.add
@dataclass(frozen=True, kw_only=True)
class UnlabelledDataset(Dataset):
    """Coloured bars whose factors raise."""

    name = "toy-unlabelled"
    image_shape = (3, 64, 64)

    def open(self) -> Bars:
        """Draw them, then forbid their factors."""
        bars = Bars()
        space = bars.factors
        bars.factors = ForbiddenFactors(space.names, space.values, categorical=space.categorical)
        return bars
