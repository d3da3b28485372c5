from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from betavae.models import VAE
from betavae.selection import Autoencoder, model_centrality
from betavae.selection.centrality import _accuracy

LATENTS = 5
FEW = {"num_points": 100, "batch_size": 16, "num_scale_images": 300}


def linear(matrix: Tensor, offset: float = 0.0) -> Autoencoder:
    """A model whose images are a linear function of its codes, and whose encoder inverts it."""
    inverse = torch.linalg.pinv(matrix)
    return Autoencoder(
        lambda images: (images.flatten(1).double() - offset) @ inverse,
        lambda codes: (codes.double() @ matrix + offset).float()[:, None, None, :],
        len(matrix),
    )


def identity() -> Autoencoder:
    return linear(torch.eye(LATENTS).double())


def rotation(seed: int) -> Tensor:
    square = np.random.default_rng(seed).normal(size=(LATENTS, LATENTS))
    return torch.from_numpy(np.linalg.qr(square)[0])


def test_models_that_agree_up_to_order_sign_and_scale_are_central() -> None:
    order = torch.eye(LATENTS).double()[[3, 1, 4, 0, 2]]
    models = [identity(), linear(order), linear(-7 * order.flip(0), offset=3.0)]
    result = model_centrality(models, **FEW)
    np.testing.assert_array_equal(result.accuracies, 1.0)
    np.testing.assert_array_equal(result.scores, 1.0)


def test_an_outlier_among_agreeing_models_comes_last() -> None:
    models = [identity(), linear(rotation(0)), linear(2 * torch.eye(LATENTS).double().flip(0)), identity()]
    result = model_centrality(models, **FEW)
    assert result.scores.argmin() == 1
    assert np.diag(result.accuracies).tolist() == [1.0] * 4  # each agrees with itself
    agreeing = [0, 2, 3]
    expected = (2 + (result.accuracies[0, 1] + result.accuracies[1, 0]) / 2) / 3
    assert result.scores[0] == pytest.approx(expected)
    assert (result.scores[agreeing] > 2 * result.scores[1] - 0.5).all()
    assert result.scores[1] < 0.8


def test_votes_of_noise_are_at_chance() -> None:
    """Of 5 latents, each is told in a fifth of the points; the largest of five counts is a little above."""
    generator = torch.Generator().manual_seed(0)
    noisy = Autoencoder(
        lambda images: torch.randn(len(images), LATENTS, generator=generator), identity().decoder, LATENTS
    )
    accuracy = model_centrality([identity(), noisy], **FEW | {"num_points": 1_000}).accuracies[1, 0]
    assert 0.2 <= accuracy < 0.2 + 5 * np.sqrt(0.2 * 0.8 / 1_000)


def test_constant_latents_have_no_vote() -> None:
    """Fails if they have: their variance is the least of all."""
    padded = Autoencoder(
        lambda images: torch.cat((torch.zeros(len(images), 2), images.flatten(1)), 1), identity().decoder, LATENTS
    )
    assert model_centrality([identity(), padded], **FEW).accuracies[1, 0] == 1.0


def test_a_model_of_constant_codes_scores_the_share_of_one_latent() -> None:
    dead = Autoencoder(lambda images: torch.zeros(len(images), 3), identity().decoder, LATENTS)
    assert model_centrality([identity(), dead], **FEW).accuracies[1, 0] == pytest.approx(1 / LATENTS)


def test_the_accuracy_is_that_of_the_majority() -> None:
    assert _accuracy(np.array([0, 0, 0, 1, 1, 2]), np.array([2, 2, 0, 1, 0, 0])) == (2 + 1 + 1) / 6


@pytest.mark.parametrize("bfloat16", [True, False])
def test_models_of_this_library_and_their_functions_score_alike(
    bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("betavae.selection.centrality.computes_in_bfloat16", lambda device: bfloat16)
    models = [VAE(size, generator=torch.Generator().manual_seed(size)) for size in (3, 4)]
    functions = [
        Autoencoder(as_encoder(model), lambda codes, model=model: model.decode(codes).sigmoid(), model.latent_size)  # type: ignore[misc]
        for model in models
    ]
    few = {"num_points": 12, "batch_size": 4, "num_scale_images": 20}
    expected = model_centrality(models, **few)
    np.testing.assert_array_equal(model_centrality(functions, **few).accuracies, expected.accuracies)
    np.testing.assert_array_equal(model_centrality(models, **few).scores, expected.scores)
    counts: list[int] = []
    model_centrality(models, **few, on_progress=counts.append)
    assert sum(counts) == 2 * 2 * (12 * 4 + 20)


def as_encoder(model: VAE) -> Callable[[Tensor], Tensor]:
    return lambda images: model.encode(images).mean


def test_a_module_with_dropout_is_in_evaluation_mode_meanwhile() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    result = model_centrality([identity(), Autoencoder(module, identity().decoder, LATENTS)], **FEW)
    assert result.accuracies[1, 0] == 1.0
    assert module.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 0}, "num_points must be at least 1, but got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, but got 1"),
        ({"num_scale_images": 1}, "num_scale_images must be at least 2, but got 1"),
    ],
)
def test_numbers_that_are_too_small_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_centrality([identity(), identity()], **options)  # type: ignore[arg-type]


def test_one_model_is_refused_and_so_is_an_encoder_of_something_else() -> None:
    with pytest.raises(ValueError, match="models must be two or more, but got 1"):
        model_centrality([identity()])
    wrong = Autoencoder(lambda images: images.sum(), identity().decoder, LATENTS)
    with pytest.raises(ValueError, match="An encoder must return"):
        model_centrality([identity(), wrong], **FEW)
