from typing import Any

import numpy as np
import pytest
import torch

from betavae.models import VAE
from betavae.report import latent_traversal


@pytest.fixture
def model() -> VAE:
    return VAE(3, generator=torch.Generator().manual_seed(0))


def test_the_pictures_are_the_decoders(model: VAE) -> None:
    """Fails if another latent moves, or the columns run the other way."""
    figure = latent_traversal(model, "cpu", dim=1, limit=2.0, num_columns=5)
    with torch.no_grad():
        expected = torch.sigmoid(model.decode(torch.tensor([[0.0, 2.0, 0.0]])))[0, 0].numpy()
    assert len(figure.axes) == 5
    np.testing.assert_allclose(figure.axes[-1].images[0].get_array(), expected, atol=1e-6)
    assert [axes.get_title() for axes in figure.axes] == ["-2", "-1", "0", "+1", "+2"]


def test_an_image_sets_the_other_latents(model: VAE) -> None:
    image = torch.ones(1, 64, 64)
    with torch.no_grad():
        code = model.encode(image[None]).mean
        code[0, 0] = 0
        expected = torch.sigmoid(model.decode(code))[0, 0].numpy()
    for given in (image, image[0], image.numpy(), image[0].tolist(), image.to(torch.uint8)):
        figure = latent_traversal(model, "cpu", dim=0, image=given, num_columns=3)
        np.testing.assert_allclose(figure.axes[1].images[0].get_array(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": np.ones((2, 64, 64))}, r"shape \(64, 64\) or \(1, 64, 64\), but got \(2, 64, 64\)"),
        ({"dim": 3}, "0 .. 2"),
        ({"dim": -1}, "0 .. 2"),
        ({"limit": 0.0}, "limit"),
        ({"num_columns": 1}, "at least 2"),
    ],
)
def test_impossible_options_are_refused(model: VAE, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latent_traversal(model, "cpu", **options)
