"""Scores of any encoder: a model of this library, a module of somebody else, a function."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from betavae import DSprites, evaluate, score, take_score
from betavae.errors import InputError
from betavae.metrics import METRICS, live_metrics
from betavae.metrics.representation import represent
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError

SOME = ["mig", "irs", "explicitness"]


class Foreign(nn.Module):
    """A network that has nothing of this library: pixels are pooled, and dropped at random while it trains."""

    def __init__(self, *, num_outputs: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.5), nn.AvgPool2d(16), nn.Flatten())
        self.num_outputs = num_outputs

    def forward(self, images: Tensor) -> Any:
        mean = self.layers(images)[:, :5]
        return mean if self.num_outputs == 1 else (mean, torch.full_like(mean, -2.0), mean)[: self.num_outputs]


def means_of(data: DSprites) -> np.ndarray:
    return Foreign().eval()(data.images(np.arange(len(data)))).numpy()


def test_a_module_to_means_is_scored(small_data: DSprites) -> None:
    scores = evaluate(Foreign(), small_data)
    assert scores.by_name.keys() == {"mig", "mig_quantile"}  # without variances no latent is active
    assert scores.kl_nats_per_latent == ()
    factors = small_data.factors.indices_to_factors(np.arange(len(small_data)))
    expected = score(means_of(small_data), factors, SOME)
    for name, each in evaluate(Foreign(), small_data, SOME).by_name.items():
        assert each.value == pytest.approx(expected[name].value, abs=1e-12)


def test_a_module_to_means_and_variances_is_scored(small_data: DSprites) -> None:
    scores = evaluate(Foreign(num_outputs=2), small_data, ["live", "mig_exact"])
    assert scores.by_name.keys() == {"mig", "mig_quantile", "active_units", "mig_exact"}
    kl = 0.5 * (means_of(small_data).astype(np.float64) ** 2 + np.exp(-2) - 1 + 2).mean(axis=0)
    np.testing.assert_allclose(scores.kl_nats_per_latent, kl, rtol=1e-6)


@pytest.mark.parametrize("as_method", [False, True])
def test_a_module_is_in_evaluation_mode_meanwhile_and_as_it_was_afterwards(
    small_data: DSprites, as_method: bool
) -> None:
    encoder = Foreign()
    encoder.layers[1].eval()
    codes = represent(encoder.forward if as_method else encoder, small_data, indices=range(len(small_data))).mean
    np.testing.assert_array_equal(codes, means_of(small_data))
    assert [part.training for part in encoder.layers] == [True, False, True]
    assert encoder.training


def test_a_function_is_scored_and_float64_is_no_matter(small_data: DSprites) -> None:
    value = evaluate(lambda images: Foreign().eval()(images).double(), small_data, "mig")["mig"].value
    assert value == evaluate(Foreign(), small_data, "mig")["mig"].value


def test_a_score_is_the_same_whichever_others_are_taken(small_data: DSprites) -> None:
    model = VAE(3, generator=torch.Generator().manual_seed(0))
    together = evaluate(model, small_data, ["live", *SOME, "mig_exact"])
    assert list(together.by_name) == [
        *(n for n in live_metrics() if n != "mig_seed_study"),
        "irs",
        "explicitness",
        "mig_exact",
    ]
    for name, each in together.by_name.items():
        assert evaluate(model, small_data, name)[name] == each
        alone = take_score(name, model, small_data)
        assert (alone.value, alone.chance) == (each.value, each.chance)
        assert alone.details["data"]["sha256"] == small_data.fingerprint


def test_each_choice_of_images_is_encoded_once(small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS["explicitness"], "num_rows", 200)
    monkeypatch.setattr(METRICS["sap"], "num_rows", 200)
    seen: list[int] = []
    evaluate(Foreign(), small_data, ["mig", "irs", "explicitness", "sap"], on_progress=seen.append)
    assert sum(seen) == len(small_data) + 200


def test_what_cannot_be_taken_of_an_encoder_is_said(small_data: DSprites) -> None:
    with pytest.raises(InputError, match="mig_exact needs the log variances of the codes"):
        evaluate(Foreign(), small_data, "mig_exact")
    with pytest.raises(InputError, match="mig_seed_study needs a model trained on part of a data set"):
        evaluate(Foreign(), small_data, "mig_seed_study")


@pytest.mark.parametrize(
    ("encoder", "came"),
    [
        (lambda images: images, r"\(64, 1, 64, 64\)"),
        (lambda images: images[:3].flatten(1), r"\(3, 4096\)"),
        (lambda images: images.flatten(1).numpy(), "ndarray"),
        (lambda images: {"mean": images.flatten(1)}, "dict"),
        (lambda images: None, "NoneType"),
        (lambda images: (), "nothing"),
        (Foreign(num_outputs=3), r"\(64, 5\) and \(64, 5\) and \(64, 5\)"),
        (lambda images: (images.flatten(1), images[:, 0, 0]), r"\(64, 4096\) and \(64, 64\)"),
    ],
)
def test_what_is_no_code_is_refused(encoder: Any, came: str, small_data: DSprites) -> None:
    with pytest.raises(
        InputError, match=f"An encoder must return the means of the codes of 64 images, .* {came}: wrap"
    ):
        evaluate(encoder, small_data)


def test_codes_that_are_not_finite_are_refused_by_latent(small_data: DSprites) -> None:
    def encoder(images: Tensor) -> Tensor:
        mean = images.flatten(1)[:, :3].clone()
        mean[0, 2] = float("nan")
        return mean

    with pytest.raises(NonFiniteLossError, match=r"The mean must be finite, but that of latents \[2\]"):
        evaluate(encoder, small_data)
