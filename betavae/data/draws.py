"""Random numbers for images: each follows from a seed, an image and a step alone, on every device.

They are drawn by Philox4x32-10, a counter-based generator: a bijection of a counter of four 32-bit words under a key of
two. So an image has the same numbers in whatever batch it comes, and a trial that resumes draws what it would have
drawn.

Source:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", doi.org/10.1145/2063384.2063405.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

_MASK = 2**32 - 1
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_NUM_ROUNDS = 10
_BYTES_OF_BLOCK = 16


@dataclass(frozen=True)
class Draw:
    """What the random numbers of images follow from, beside the image.

    Attributes:
        seed: The trial's seed; its lowest 64 bits count.
        step: The step; its lowest 32 bits count.
        is_training: Whether the images are trained on: those that are scored have numbers of their own.
    """

    seed: int
    step: int
    is_training: bool


SCORED = Draw(seed=0, step=0, is_training=False)
"""The draw of images that are scored or shown: the same for every model."""


def uniform(images: Int[Tensor, " n"], count: int, draw: Draw) -> Float[Tensor, "n count"]:
    """Return numbers in [0, 1), multiples of 2^-24, on the device of the image numbers.

    Args:
        images: Image numbers, 0 .. 2^32 - 1.
        count: Numbers for each image.
        draw: Seed and step.
    """
    return (_words(images, -(-count // 4), draw)[:, :count] >> 8).to(torch.float32) * 2.0**-24


def uniform_bytes(images: Int[Tensor, " n"], count: int, draw: Draw) -> UInt8[Tensor, "n count"]:
    """Return whole numbers 0 .. 255 of equal probability, on the device of the image numbers.

    Args:
        images: Image numbers, 0 .. 2^32 - 1.
        count: Numbers for each image.
        draw: Seed and step.
    """
    words = _words(images, -(-count // _BYTES_OF_BLOCK), draw)
    return words.to(torch.int32).view(torch.uint8)[:, :count]


def philox(counter: tuple[Int[Tensor, "*shape"], ...], key: tuple[int, int]) -> tuple[Int[Tensor, "*shape"], ...]:
    """Return four 32-bit words for each counter, as int64.

    Args:
        counter: Four tensors of words, 0 .. 2^32 - 1, as int64.
        key: Two words.
    """
    first, second, third, fourth = counter
    for number in range(_NUM_ROUNDS):
        keys = [(word + number * step) & _MASK for word, step in zip(key, _KEY_STEPS, strict=True)]
        left, right = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]  # modulo 2^64: both words are right
        first = _high_word(right).bitwise_xor_(second).bitwise_xor_(keys[0])
        third = _high_word(left).bitwise_xor_(fourth).bitwise_xor_(keys[1])
        second, fourth = right.bitwise_and_(_MASK), left.bitwise_and_(_MASK)
    return first, second, third, fourth


def _high_word(product: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    return (product >> 32).bitwise_and_(_MASK)


def _words(images: Int[Tensor, " n"], num_blocks: int, draw: Draw) -> Int[Tensor, "n words"]:
    """Return four words for each block of each image."""
    blocks = torch.arange(num_blocks, device=images.device).expand(len(images), num_blocks)
    counter = (
        blocks,
        images.to(torch.int64)[:, None].expand_as(blocks),
        torch.full_like(blocks, draw.step & _MASK),
        torch.full_like(blocks, int(draw.is_training)),
    )
    words = philox(counter, (draw.seed & _MASK, (draw.seed >> 32) & _MASK))
    return torch.stack(words, dim=2).flatten(1)
