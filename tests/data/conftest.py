import numpy as np
import pytest

from betavae.data import DSprites, FactorSpace
from betavae.data.dsprites.render import PackedImages, render_all


@pytest.fixture(scope="session")
def rendered() -> PackedImages:
    """The whole set, drawn now: a cache could hide a renderer that has changed."""
    return render_all()


@pytest.fixture(scope="session")
def dsprites() -> DSprites:
    """The whole set from the user's own cache, so that a machine renders it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
        return DSprites.open()


@pytest.fixture
def small_space() -> FactorSpace:
    """1500 combinations: a whole block of 1024 and a part of one."""
    return FactorSpace(
        ("shape", "scale", "posX"), (("a", "b", "c"), tuple(map(float, range(5))), tuple(map(float, range(100))))
    )


@pytest.fixture
def small_pixels(small_space: FactorSpace) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (small_space.size, 64, 64), dtype=np.uint8)


@pytest.fixture
def small_packed(small_pixels: np.ndarray) -> PackedImages:
    return np.packbits(small_pixels.reshape(len(small_pixels), -1), axis=1)
