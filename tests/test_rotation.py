import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from betavae.config import TrialConfig
from betavae.data import DSprites, ImageShape
from betavae.errors import InputError, ParameterError
from betavae.models import ARCHITECTURES, VAE, Architecture, Burgess
from betavae.objectives import BetaTCVAE, FactorVAE, Objective
from betavae.rotation import check_rotation, independent_axes, rotate_latents
from betavae.training import TrainingRun

CONFIG = TrialConfig(
    latent_size=3, batch_size=8, steps=8, eval_every=4, precision="float32", rotate_until=4, rotate_every=2
)
ROTATION = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def data() -> DSprites:
    torch.set_num_threads(1)
    return DSprites.open()


def random_rotation(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def angles(rotation: np.ndarray) -> np.ndarray:
    """Degrees from each row of a matrix to the nearest axis."""
    return np.degrees(np.arccos(np.minimum(np.abs(rotation).max(1), 1)))


@pytest.mark.parametrize("seed", range(5))
def test_mixed_values_are_separated(seed: int) -> None:
    """Fails if a mixture of values with short tails, long tails and one Gaussian is not undone."""
    rng = np.random.default_rng(seed)
    scales = np.array([1.4, 1.4, 0.9, 1.0, 1.0])
    sources = np.stack(
        [*rng.uniform(-math.sqrt(3), math.sqrt(3), (3, 20_000)), rng.laplace(size=20_000), rng.normal(size=20_000)], 1
    )
    mixing = random_rotation(5, rng)
    rotation = independent_axes(sources * scales @ mixing.T + 3.0)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-12)
    assert angles(rotation @ mixing).max() < 3
    assert sorted(np.abs(rotation @ mixing).argmax(1)) == [0, 1, 2, 3, 4]


def test_independent_latents_stay() -> None:
    values = np.random.default_rng(0).uniform(size=(20_000, 4))
    assert angles(independent_axes(values)).max() < 2
    assert np.array_equal(independent_axes(np.zeros((10, 3))), np.eye(3))
    assert np.array_equal(independent_axes(values[:, :1]), np.eye(1))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_means_and_codes_are_rotated_and_reconstructions_stay(name: str) -> None:
    """Fails for an architecture whose first or last layer is missed."""
    generator = torch.Generator().manual_seed(0)
    model = VAE(3, architecture=ARCHITECTURES[name](), generator=generator)
    images, turn = torch.rand(4, 1, 64, 64, generator=generator), torch.tensor(ROTATION, dtype=torch.float32)
    with torch.no_grad():
        before = model.encode(images)
        decoded = model.decode(before.mean)
        rotate_latents(model, ROTATION)
        after = model.encode(images)
        torch.testing.assert_close(after.mean, before.mean @ turn.T)
        torch.testing.assert_close(after.logvar, before.logvar @ turn.square().T)
        torch.testing.assert_close(model.decode(after.mean), decoded, rtol=1e-4, atol=1e-5)
    check_rotation(ARCHITECTURES[name](), (1, 64, 64))


def test_the_optimizers_and_the_adversary_follow(data: DSprites) -> None:
    """Fails where a moment of Adam still belongs to the latents before, or the discriminator reads rotated codes."""
    run = TrainingRun.start(replace(CONFIG, objective=FactorVAE(discriminator_units=16), rotate_until=0), data)
    run.advance(3)
    assert run.adversary is not None
    parts = ("model", "adversary", "_optimizer", "_adversary_optimizer")
    old = copy.deepcopy({part: getattr(run, part) for part in parts})  # in one, so that the optimizers keep the weights
    rotate_latents(run.model, ROTATION, adversary=run.adversary, optimizers=[run._optimizer, run._adversary_optimizer])  # type: ignore[list-item]
    codes, turn = torch.randn(5, 3), torch.tensor(ROTATION, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(run.adversary(codes @ turn.T), old["adversary"](codes))
    for network, optimizer in (("model", "_optimizer"), ("adversary", "_adversary_optimizer")):
        weights, old_weights = (
            next(module for module in _readers(each) if isinstance(module, nn.Linear)).weight
            for each in (getattr(run, network), old[network])
        )
        state, old_state = getattr(run, optimizer).state[weights], old[optimizer].state[old_weights]
        torch.testing.assert_close(state["exp_avg"], old_state["exp_avg"] @ turn.T)
        torch.testing.assert_close(state["exp_avg_sq"], old_state["exp_avg_sq"] @ turn.square().T)


def _readers(network: Any) -> Any:
    """The layers of a network that reads codes."""
    return (network.decoder if isinstance(network, VAE) else network).modules()


def test_the_latents_are_rotated_at_the_steps_that_are_asked_for(
    data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    monkeypatch.setattr(TrainingRun, "_rotate", lambda run: steps.append(run.step))
    for asked in (replace(CONFIG, rotate_until=5), replace(CONFIG, rotate_until=0)):
        TrainingRun.start(asked, data).advance(8)
    assert steps == [2, 4]


def test_a_run_with_rotations_resumes_to_the_last_bit(data: DSprites, tmp_path: Path) -> None:
    straight = TrainingRun.start(replace(CONFIG, objective=BetaTCVAE(beta=8.0), rotate_until=6), data)
    straight.advance(8)
    first = TrainingRun.start(straight.config, data)
    first.advance(2)
    first.save(tmp_path / "checkpoint", scores=first.evaluate(), report={"step": 2})
    second = TrainingRun.load(tmp_path / "checkpoint", data)
    second.advance(6)
    other = TrainingRun.start(replace(straight.config, rotate_until=0), data)
    other.advance(8)
    weights, resumed, plain = (run.model.state_dict() for run in (straight, second, other))
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert not all(torch.equal(weights[name], plain[name]) for name in weights)


def test_a_rotation_separates_a_mixed_code_of_a_model(data: DSprites) -> None:
    """Fails if the model's codes are not those by which it is rotated, or are rotated the other way."""
    run = TrainingRun.start(replace(CONFIG, rotate_until=0), data)
    run.advance(8)
    run._rotate()
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    rotate_latents(run.model, ROTATION)
    run._rotate()
    last = list(run.model.encoder.modules())[-1]
    assert isinstance(last, nn.Linear)
    found, expected = last.weight[:3].numpy(force=True), weights["encoder.13.weight"][:3].numpy()
    overlap = found @ np.linalg.pinv(expected)  # a permutation with signs: rows are those of before, in some order
    assert angles(overlap / np.linalg.norm(overlap, axis=1, keepdims=True)).max() < 3


@dataclass(frozen=True, kw_only=True)
class Normalized(Architecture):
    """Its encoder's last layer with weights does not return the code."""

    name = "normalized"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = Burgess().networks(latent_size, image_shape)
        return nn.Sequential(encoder, nn.LayerNorm(2 * latent_size)), decoder


@dataclass(frozen=True, kw_only=True)
class Squashed(Architecture):
    """Its decoder squashes the code before its first layer."""

    name = "squashed"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = Burgess().networks(latent_size, image_shape)
        return encoder, nn.Sequential(nn.Tanh(), decoder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rotate_until": 9}, r"rotate_every \(2\) to steps \(8\).* but got 9"),
        ({"rotate_every": 5}, r"rotate_every \(5\) to steps \(8\).* but got 4"),
        ({"architecture": Normalized()}, "must be 0 for normalized: The encoder must end in a linear layer"),
        ({"architecture": Squashed()}, "must be 0 for squashed: The last layer with weights"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused_before_training(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        replace(CONFIG, **values)
    assert caught.value.name == "rotate_until"
    replace(CONFIG, **{**values, "rotate_until": 0})


class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_an_adversary_that_does_not_read_the_code_is_refused(data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Objective, "adversary", lambda *_: Scorer())
    with pytest.raises(InputError, match="must begin with a linear layer of 3 inputs, .*in_features=5"):
        TrainingRun.start(CONFIG, data)
    TrainingRun.start(replace(CONFIG, rotate_until=0), data)
