from typing import Any

import pytest

from betavae.config import NUM_IMAGES, TrialConfig
from betavae.data import DSPRITES_FACTORS


def test_every_image_is_counted() -> None:
    assert DSPRITES_FACTORS.size == NUM_IMAGES


@pytest.mark.parametrize(
    "values",
    [
        {"beta": 0.0},
        {"beta": float("nan")},
        {"beta": "4"},
        {"lr": -1e-3},
        {"latent_size": 0},
        {"latent_size": 2.0},
        {"steps": True},
        {"batch_size": 0},
        {"eval_every": 300_001},
        {"seed": -1},
        {"images": NUM_IMAGES + 1},
        {"architecture": "resnet"},
        {"precision": "float16"},
        {"compile": 1},
    ],
)
def test_an_impossible_value_names_its_field(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"^{name} must be "):
        TrialConfig(**values)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no option latents"):
        TrialConfig.from_dict({"latents": 3})


def test_beta_norm_is_the_papers() -> None:
    assert TrialConfig(beta=4.0, latent_size=10).beta_norm == 4.0 * 10 / (64 * 64)


def test_dict_round_trip() -> None:
    config = TrialConfig(beta=2.5, seed=7)
    assert TrialConfig.from_dict(config.to_dict()) == config
