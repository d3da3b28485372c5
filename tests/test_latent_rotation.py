import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from betavae.config import TrialConfig
from betavae.data import DSprites, ImageShape
from betavae.errors import InputError, ParameterError
from betavae.latent_rotation import check_rotation, independent_axes, rotate_latents
from betavae.learner import Learner
from betavae.models import ARCHITECTURES, VAE, Architecture, Burgess
from betavae.objectives import BetaTCVAE, BetaVAE, FactorVAE
from betavae.training import TrainingRun
from sweeps.options.command_line import parse_options

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


@pytest.mark.parametrize("seed", range(5))
def test_independent_latents_stay(seed: int) -> None:
    """Fails if they swap places or signs, or if latents that hold nothing are mixed."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(10_000, 4))
    np.testing.assert_allclose(independent_axes(values), np.eye(4), atol=0.06)
    values = np.hstack((rng.uniform(-1.7, 1.7, size=(10_000, 3)), 0.02 * rng.normal(size=(10_000, 7))))
    np.testing.assert_allclose(independent_axes(values)[3:, 3:], np.eye(7), atol=0.01)


def test_few_or_equal_codes_are_not_turned() -> None:
    values = np.random.default_rng(0).uniform(size=(20_000, 4))
    assert np.array_equal(independent_axes(np.zeros((10, 3))), np.eye(3))
    assert np.array_equal(independent_axes(values[:, :1]), np.eye(1))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_means_and_codes_are_rotated_and_reconstructions_stay(name: str) -> None:
    """Fails for an architecture whose first or last layer is missed."""
    generator = torch.Generator().manual_seed(0)
    model = VAE(3, architecture=ARCHITECTURES[name](), generator=generator)
    with torch.no_grad():
        for weights in model.parameters():  # biases, too, which are zero at first
            weights.add_(0.01 * torch.randn(weights.shape, generator=generator))
    images, turn = torch.rand(4, 1, 64, 64, generator=generator), torch.tensor(ROTATION, dtype=torch.float32)
    with torch.no_grad():
        before = model.encode(images)
        decoded = model.decode(before.mean)
        rotate_latents(model, ROTATION)
        after = model.encode(images)
        torch.testing.assert_close(after.mean, before.mean @ turn.T)
        torch.testing.assert_close(after.logvar, before.logvar @ turn.square().T)
        torch.testing.assert_close(model.decode(after.mean), decoded, rtol=1e-4, atol=1e-5)
    check_rotation(model, None)


def test_the_optimizers_and_the_adversary_follow(data: DSprites) -> None:
    """Fails where a moment of Adam still belongs to the latents before, or the discriminator reads rotated codes."""
    run = TrainingRun.start(replace(CONFIG, objective=FactorVAE(discriminator_units=16), rotate_until=0), data)
    run.advance(3)
    assert run.adversary is not None
    parts = ("model", "adversary", "_optimizer", "_adversary_optimizer")
    old = copy.deepcopy(
        {part: getattr(run.learner, part) for part in parts}
    )  # in one, so that the optimizers keep the weights
    rotate_latents(
        run.model,
        ROTATION,
        adversary=run.adversary,
        optimizers=[run.learner._optimizer, run.learner._adversary_optimizer],
    )  # type: ignore[list-item]
    codes, turn = torch.randn(5, 3), torch.tensor(ROTATION, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(run.adversary(codes @ turn.T), old["adversary"](codes))
    for network, optimizer in (("model", "_optimizer"), ("adversary", "_adversary_optimizer")):
        weights, old_weights = (
            next(module for module in _readers(each) if isinstance(module, nn.Linear)).weight
            for each in (getattr(run.learner, network), old[network])
        )
        state, old_state = getattr(run.learner, optimizer).state[weights], old[optimizer].state[old_weights]
        torch.testing.assert_close(state["exp_avg"], old_state["exp_avg"] @ turn.T, rtol=1e-3, atol=1e-9)
        torch.testing.assert_close(
            state["exp_avg_sq"], old_state["exp_avg_sq"] @ turn.square().T, rtol=1e-3, atol=1e-12
        )
    last, old_last = (each.encoder[-1] for each in (run.model, old["model"]))
    for weights, old_weights in zip(last.parameters(), old_last.parameters(), strict=True):
        state, old_state = run.learner._optimizer.state[weights], old["_optimizer"].state[old_weights]
        means, logvars = old_state["exp_avg"].chunk(2)
        expected = torch.cat((turn @ means, turn.square() @ logvars))
        torch.testing.assert_close(state["exp_avg"], expected, rtol=1e-3, atol=1e-9)
        expected = torch.cat([turn.square() @ half for half in old_state["exp_avg_sq"].chunk(2)])
        torch.testing.assert_close(state["exp_avg_sq"], expected, rtol=1e-3, atol=1e-12)


def _readers(network: Any) -> Any:
    """The layers of a network that reads codes."""
    return (network.decoder if isinstance(network, VAE) else network).modules()


def test_the_latents_are_rotated_at_the_steps_that_are_asked_for(
    data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    monkeypatch.setattr(Learner, "rotate", lambda learner: steps.append(learner.step))
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
    run.rotate()
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    rotate_latents(run.model, ROTATION)
    run.rotate()
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
class TwoHeads(Architecture):
    """Its encoder has a layer for the means and another for the log variances."""

    name = "two-heads"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = Burgess().networks(latent_size, image_shape)
        assert isinstance(encoder, nn.Sequential)
        heads = nn.ModuleList([nn.Linear(256, latent_size), nn.Linear(256, latent_size)])
        return nn.Sequential(*list(encoder)[:-1], heads), decoder


@dataclass(frozen=True, kw_only=True)
class NoWeights(Architecture):
    """Its decoder has nothing to learn."""

    name = "no-weights"

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        return Burgess().networks(latent_size, image_shape)[0], nn.Flatten()


@dataclass(frozen=True, kw_only=True)
class Judged(BetaVAE):
    """Its adversary reads another number of inputs than there are latents."""

    name = "judged"

    def adversary(self, latent_size: int, generator: torch.Generator | None) -> nn.Module:
        return nn.Linear(latent_size + 2, 1)


@dataclass(frozen=True, kw_only=True)
class SquashJudged(BetaVAE):
    """Its adversary squashes the code before its first layer."""

    name = "squash-judged"

    def adversary(self, latent_size: int, generator: torch.Generator | None) -> nn.Module:
        return nn.Sequential(nn.Tanh(), nn.Linear(latent_size, 1))


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
        ({"rotate_until": 9}, r"rotate_every \(2\) and at most steps \(8\), but got 9"),
        ({"rotate_every": 5}, r"rotate_every \(5\) and at most steps \(8\), but got 4"),
        (
            {"architecture": Normalized()},
            "must be 0 for normalized with beta-vae: .* must end in one linear layer of 6",
        ),
        ({"architecture": TwoHeads()}, "must be 0 for two-heads with beta-vae: .* must end in one linear layer of 6"),
        ({"architecture": NoWeights()}, "a decoder must begin .* 3 inputs, the latents, but begins with no layer"),
        ({"objective": Judged()}, "must be 0 for burgess with judged: .* an adversary must begin .* 3 inputs"),
        ({"latent_size": 1}, "must be at least 2 where latents are rotated, but got 1"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused_before_training(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        replace(CONFIG, **values)
    assert caught.value.name == ("latent_size" if "latent_size" in values else "rotate_until")
    replace(CONFIG, **{**values, "rotate_until": 0})


@pytest.mark.parametrize("values", [{"architecture": Squashed()}, {"objective": SquashJudged()}], ids=str)
def test_what_stands_between_the_layers_and_the_code_is_found(data: DSprites, values: dict[str, Any]) -> None:
    """Fails where a rotation would silently change what the decoder or the adversary reads."""
    with pytest.raises(InputError, match="something stands between: leave --rotate-until out"):
        TrainingRun.start(replace(CONFIG, **values), data)
    TrainingRun.start(replace(CONFIG, rotate_until=0, **values), data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rotate-until 0..1500", "--rotate-until must be 0 .*, or at least rotate_every .* but got 1;"),
        ("--rotate-until 5000", "--rotate-until must be 0 .* at most steps .* but got 5000"),
        ("--rotate-every 50", "--rotate-every needs --rotate-until; leave it out"),
        ("--rotate-every 50 --rotate-until 0", "--rotate-every needs --rotate-until; leave it out"),
    ],
)
def test_a_sweep_whose_rotation_would_fail_or_do_nothing_is_refused(words: str, message: str) -> None:
    options = parse_options(f"--search random --trials 4 {words}".split(), gpus_found=0)
    with pytest.raises(InputError, match=message):
        options.check()
