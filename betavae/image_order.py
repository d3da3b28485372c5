"""The order in which a network sees the images of its training set."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


class ImageOrder:
    """The images of each step: a new permutation of all images for each epoch.

    The permutation depends on (seed, epoch, is_second) alone, so there is no state to save. Every batch is full: a
    batch may end an epoch and begin the next.

    Args:
        num_images: Images of an epoch: the first in index order.
        batch_size: Images of a step.
        seed: Seed of the permutations.
        device: Device of the indices.
        is_second: Whether the permutations are others of the same seed.
    """

    def __init__(
        self, num_images: int, batch_size: int, *, seed: int, device: torch.device, is_second: bool = False
    ) -> None:
        self.num_images, self.batch_size, self.seed, self.device = num_images, batch_size, seed, device
        self._streams = (1,) if is_second else ()
        self._epoch, self._permutation = -1, torch.empty(0)

    def batch(self, step: int) -> Int[Tensor, " images"]:
        """Return the image numbers of a step, counted from 0, on the device."""
        parts, position, end = [], step * self.batch_size, (step + 1) * self.batch_size
        while position < end:
            epoch, offset = divmod(position, self.num_images)
            part = self._of_epoch(epoch)[offset : offset + end - position]
            parts.append(part)
            position += len(part)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch, *self._streams]).permutation(self.num_images)
            self._epoch, self._permutation = epoch, torch.from_numpy(order).to(self.device)
        return self._permutation
