"""What every objective keeps to: a new one is tested without another line here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.models import VAE
from betavae.objectives import OBJECTIVES, Batch, Loss
from betavae.parts import parameters_of
from betavae.training import TrainingRun

pytestmark = pytest.mark.parametrize("name", OBJECTIVES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(channels: int = 1) -> VAE:
    return VAE(4, image_shape=(channels, 64, 64), generator=generator())


def images(channels: int = 1) -> torch.Tensor:
    return torch.rand(8, channels, 64, 64, generator=generator(1)).round()


def loss_of(name: str, vae: VAE, *, step: int = 0, seed: int = 2) -> Loss:
    return OBJECTIVES[name]().loss(Batch(vae, images(vae.image_shape[0]), step=step, generator=generator(seed)))


@pytest.mark.parametrize("step", [0, 1, 10**6])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_and_its_terms_are_finite_scalars(name: str, channels: int, step: int) -> None:
    loss = loss_of(name, model(channels), step=step)
    assert {"recon_nats", "kl_nats"} <= loss.terms.keys()
    assert "total_nats" not in loss.terms, "the name of the whole loss, in the records"
    for value in (loss.total, *loss.terms.values()):
        assert value.shape == ()
        assert value.isfinite()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_reconstruction_is_the_negative_log_likelihood_of_an_image(name: str, channels: int) -> None:
    """Summed over pixels and channels, averaged over images. The posterior is so narrow that a sample is its mean."""
    vae = model(channels)
    with torch.no_grad():
        vae.encoder[-1].weight[4:] = 0
        vae.encoder[-1].bias[4:] = -40.0
        posterior = vae.encode(images(channels))
        probabilities = torch.sigmoid(vae.decode(posterior.mean).double())
    white = images(channels).double()
    likelihood = torch.where(white == 1, probabilities, 1 - probabilities)
    expected = -likelihood.log().sum((1, 2, 3)).mean().item()
    # float32 holds 24 bits, and the sum over pixels is pairwise
    assert loss_of(name, vae).terms["recon_nats"].item() == pytest.approx(expected, rel=1e-6)


def test_the_kl_is_that_of_an_image_without_any_weight(name: str) -> None:
    """Summed over latents, averaged over images: (mean^2 + variance - 1 - log variance) / 2."""
    vae = model()
    with torch.no_grad():
        posterior = vae.encode(images())
        mean, logvar = posterior.mean.double().numpy(), posterior.logvar.double().numpy()
    expected = (0.5 * (mean**2 + np.exp(logvar) - 1 - logvar)).sum(1).mean()
    # a latent's KL is near 0 here: the sum 1 + logvar + ... - 1 of float32 leaves an error of 2^-23
    assert loss_of(name, vae).terms["kl_nats"].item() == pytest.approx(expected, abs=4 * 2**-23)


def test_a_gradient_reaches_every_parameter_of_the_model(name: str) -> None:
    vae = model()
    loss_of(name, vae).total.backward()
    assert [key for key, weights in vae.named_parameters() if weights.grad is None or not weights.grad.any()] == []


def test_the_terms_are_those_that_the_objective_names_at_every_step(name: str) -> None:
    """They are the columns of the records, which are known before the first step."""
    for step in (0, 1, 10**6):
        assert tuple(loss_of(name, model(), step=step).terms) == OBJECTIVES[name].terms


def test_the_generator_alone_decides_the_loss(name: str) -> None:
    """Fails with a random number from anywhere else, or none at all."""
    vae, losses = model(), []
    for number in range(2):
        torch.manual_seed(number)
        np.random.seed(number)
        losses.append(loss_of(name, vae).total.item())
    assert losses[0] == losses[1]
    assert loss_of(name, vae, seed=3).total.item() != losses[0]


def test_a_weight_may_change_and_the_loss_sees_its_number(name: str) -> None:
    """Fails where a schedule reaches the loss, or where a value of another step does."""
    for weight, parameter in parameters_of(OBJECTIVES[name]).items():
        if parameter.is_weight:
            default = parameter.default
            objective = OBJECTIVES[name].from_values({weight: f"{default}@0,{2 * default}@4"})
            for step, value in ((0, default), (2, 1.5 * default), (9, 2 * default)):
                expected = OBJECTIVES[name].from_values({weight: value})
                assert objective.at(step) == expected
                batch = Batch(model(), images(), step=step, generator=generator())
                same = Batch(model(), images(), step=step, generator=generator())
                assert torch.equal(objective.at(step).loss(batch).total, expected.loss(same).total)


def test_train_and_eval_modes_are_one(name: str) -> None:
    vae = model()
    assert torch.equal(loss_of(name, vae.train()).total, loss_of(name, vae.eval()).total)


def test_a_resumed_run_is_the_same_to_the_last_bit(name: str, small_data: DSprites, tmp_path: Path) -> None:
    """Fails if the state of a generator, of an optimizer or of the objective is not in the checkpoint."""
    torch.set_num_threads(1)
    config = TrialConfig.from_dict(
        {"objective": name, "latent_size": 3, "batch_size": 8, "steps": 4, "eval_every": 2, "precision": "float32"}
    )
    straight = TrainingRun.start(config, small_data)
    straight.advance(2)
    straight.save(tmp_path / "checkpoint", scores=straight.evaluate(), report={"step": 2})
    resumed = TrainingRun.load(tmp_path / "checkpoint", small_data)
    assert resumed.config == config
    assert resumed.advance(2).terms == straight.advance(2).terms
    first, second = straight.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
