"""What every likelihood keeps to: a new one is tested without another line here."""

import dataclasses
from pathlib import Path

import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.likelihoods import LIKELIHOODS, Likelihood
from betavae.models import VAE
from betavae.objectives import OBJECTIVES, Batch
from betavae.parts import parameters_of
from betavae.samples import draw_samples
from betavae.training import TrainingRun

SWITCHED = [
    LIKELIHOODS[name].from_values({switch: not parameter.default})
    for name in LIKELIHOODS
    for switch, parameter in parameters_of(LIKELIHOODS[name]).items()
    if parameter.kind is bool
]
"""Each likelihood with one of its switches turned, which may give it weights."""

ALL = [*(LIKELIHOODS[name]() for name in LIKELIHOODS), *SWITCHED]

pytestmark = pytest.mark.parametrize("likelihood", ALL, ids=str)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(likelihood: Likelihood, channels: int = 1) -> VAE:
    return VAE(4, likelihood=likelihood, image_shape=(channels, 64, 64), generator=generator())


def images(channels: int = 1, *, seed: int = 1) -> torch.Tensor:
    return torch.rand(8, channels, 64, 64, generator=generator(seed))


def outputs(channels: int = 1, *, seed: int = 2) -> torch.Tensor:
    return torch.randn(8, channels, 64, 64, generator=generator(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_gives_a_number_per_image_of_the_same_precision(
    likelihood: Likelihood, channels: int, dtype: torch.dtype
) -> None:
    weights = {name: weight.to(dtype) for name, weight in likelihood.initial_weights().items()}
    nats = likelihood.nats(outputs(channels).to(dtype), images(channels).to(dtype), weights)
    assert nats.shape == (8,)
    assert nats.isfinite().all()
    mean = likelihood.mean_nats(outputs(channels).to(dtype), images(channels).to(dtype), weights)
    assert nats.dtype == mean.dtype == dtype
    assert mean.item() == pytest.approx(nats.mean().item(), rel=1e-6)  # sums of 2^17 numbers, pairwise, of 24 bits


def test_pixels_and_channels_are_summed_and_images_apart(likelihood: Likelihood) -> None:
    """Fails where a mean over pixels is taken, or an image's number depends on its neighbours."""
    weights = {name: weight.double() for name, weight in likelihood.initial_weights().items()}
    given, true = outputs(3).double(), images(3).double()
    whole = likelihood.nats(given, true, weights)
    halves = [likelihood.nats(given[:, :, rows], true[:, :, rows], weights) for rows in (slice(32), slice(32, 64))]
    channels = [likelihood.nats(given[:, [each]], true[:, [each]], weights) for each in range(3)]
    alone = torch.cat([likelihood.nats(given[[row]], true[[row]], weights) for row in range(8)])
    for sums in (sum(halves), sum(channels), alone):
        torch.testing.assert_close(sums, whole, rtol=1e-12, atol=1e-9)


def test_an_image_of_the_expected_pixels_is_likelier_than_its_negative(likelihood: Likelihood) -> None:
    """Fails with a wrong sign, or where the pixels are not those that the likelihood expects."""
    weights, given = likelihood.initial_weights(), outputs()
    pixels = likelihood.pixels(given)
    assert (likelihood.nats(given, pixels, weights) < likelihood.nats(given, 1 - pixels, weights)).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_pixels_lie_between_black_and_white(likelihood: Likelihood, scale: float) -> None:
    pixels = likelihood.pixels(scale * outputs(3))
    assert pixels.shape == (8, 3, 64, 64)
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_a_gradient_reaches_the_outputs_and_every_weight(likelihood: Likelihood) -> None:
    weights = {name: weight.requires_grad_() for name, weight in likelihood.initial_weights().items()}
    given = outputs().requires_grad_()
    likelihood.mean_nats(given, images(), weights).backward()
    assert all(each.grad.isfinite().all() and each.grad.any() for each in (given, *weights.values()))


def test_what_it_learns_begins_at_its_parameters(likelihood: Likelihood) -> None:
    values = likelihood.learnt_values(likelihood.initial_weights())
    assert list(values) == likelihood.learnt_names()
    for name, value in values.items():
        assert value.item() == pytest.approx(getattr(likelihood, name), rel=2**-20)


def test_the_model_holds_its_weights_beside_those_of_the_networks(likelihood: Likelihood) -> None:
    """Fails where the initial weights of the networks depend on the likelihood, or two models share a weight."""
    first, second = model(likelihood), model(likelihood)
    networks = model(LIKELIHOODS["bernoulli"]()).state_dict()
    own = {f"likelihood_weights.{name}" for name in likelihood.initial_weights()}
    assert first.state_dict().keys() == networks.keys() | own
    assert all(torch.equal(first.state_dict()[name], networks[name]) for name in networks)
    with torch.no_grad():
        for weight in first.likelihood_weights.values():
            weight += 1
    assert all(torch.equal(second.state_dict()[name], model(likelihood).state_dict()[name]) for name in own)


def test_the_model_decodes_reconstructs_and_draws_with_it(likelihood: Likelihood, small_data: DSprites) -> None:
    vae, codes = model(likelihood), torch.randn(8, 4, generator=generator())
    weights = likelihood.initial_weights()
    with torch.no_grad():
        given = vae.decode(codes)
        assert torch.equal(vae.pixels(codes), likelihood.pixels(given))
        assert torch.equal(vae.reconstruction_nats(codes, images()), likelihood.nats(given, images(), weights))
        mean = vae.mean_reconstruction_nats(codes, images())
        assert torch.equal(mean, likelihood.mean_nats(given, images(), weights))
        vae.decoder[-1].bias += 3.0  # far from 0, where an image in bytes would wrap around
    samples = draw_samples(vae, small_data)
    with torch.no_grad():
        pixels = vae.pixels(vae.encode(torch.from_numpy(samples.originals).movedim(-1, 1) / 255).mean)
    expected = (255 * pixels).movedim(1, -1)
    assert (torch.from_numpy(samples.reconstructions).float() - expected).abs().max() <= 0.51


@pytest.mark.parametrize(("objective", "is_bfloat16"), [*((each, False) for each in OBJECTIVES), ("beta-vae", True)])
def test_every_objective_takes_it(likelihood: Likelihood, objective: str, is_bfloat16: bool) -> None:
    vae, part = model(likelihood), OBJECTIVES[objective]()
    batch = Batch(
        vae,
        images(),
        generator=generator(2),
        adversary=part.adversary(4, generator(4)),
        second_images=lambda: images(seed=5),
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
        loss = part.loss(batch)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in (loss.total, *loss.terms.values()))
    loss.total.backward()
    gradients = {name: weights.grad for name, weights in vae.named_parameters()}
    assert [name for name, each in gradients.items() if each is None or not each.isfinite().all()] == []
    assert [name for name, each in gradients.items() if each is None or not each.any()] == []


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_depends_on_it_in_the_reconstruction_alone(likelihood: Likelihood, objective: str) -> None:
    others = []
    for each in (likelihood, LIKELIHOODS["bernoulli"]()):
        part = OBJECTIVES[objective]()
        adversary = part.adversary(4, generator(4))
        batch = Batch(
            model(each).double(),
            images().double(),
            generator=generator(2),
            adversary=None if adversary is None else adversary.double(),
            second_images=lambda: images(seed=5).double(),
        )
        loss = part.loss(batch)
        others.append((loss.total - loss.terms["recon_nats"]).item())
    assert others[0] == pytest.approx(others[1], rel=1e-9, abs=1e-9)  # a difference of numbers up to 10^6 nats


def test_a_resumed_run_is_the_same_to_the_last_bit(
    likelihood: Likelihood, small_data: DSprites, tmp_path: Path
) -> None:
    """Fails if a weight of the likelihood, or its optimizer's state, is not in the checkpoint."""
    torch.set_num_threads(1)
    config = TrialConfig(likelihood=likelihood, latent_size=3, batch_size=8, steps=4, eval_every=2, precision="float32")
    straight = TrainingRun.start(config, small_data)
    before = straight.advance(2).weights
    straight.save(tmp_path / "checkpoint", scores=straight.evaluate(), report={"step": 2})
    resumed = TrainingRun.load(tmp_path / "checkpoint", small_data)
    assert resumed.config == config
    assert resumed.model.learnt_values() == before
    loss = straight.advance(2)
    assert (resumed_loss := resumed.advance(2)).terms == loss.terms
    assert resumed_loss.weights == loss.weights
    assert list(loss.weights) == likelihood.learnt_names()
    assert all(loss.weights[name] != before[name] for name in before)
    weights, others = straight.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(weights[key], others[key]) for key in weights)


def test_its_parameters_are_read_from_a_trials_record(likelihood: Likelihood) -> None:
    config = TrialConfig(likelihood=likelihood)
    assert TrialConfig.from_dict(config.to_dict()).likelihood == likelihood
    assert dataclasses.replace(config, seed=1) != config
