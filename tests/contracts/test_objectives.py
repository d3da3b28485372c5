"""What every objective keeps to: a new one is tested without another line here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from betavae.columns import report_column
from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import ParameterError
from betavae.models import VAE
from betavae.objectives import OBJECTIVES, Batch, Loss
from betavae.parts import parameters_of
from betavae.training import TrainingRun

pytestmark = pytest.mark.parametrize("name", OBJECTIVES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(channels: int = 1) -> VAE:
    return VAE(4, image_shape=(channels, 64, 64), generator=generator())


def images(channels: int = 1, *, seed: int = 1) -> torch.Tensor:
    return torch.rand(8, channels, 64, 64, generator=generator(seed)).round()


def batch_of(name: str, vae: VAE, *, step: int = 0, seed: int = 2) -> Batch:
    channels = vae.image_shape[0]
    return Batch(
        vae,
        images(channels),
        step=step,
        generator=generator(seed),
        adversary=OBJECTIVES[name]().adversary(vae.latent_size, generator(4)),
        second_images=lambda: images(channels, seed=5),
    )


def loss_of(name: str, vae: VAE, *, step: int = 0, seed: int = 2) -> Loss:
    return OBJECTIVES[name]().loss(batch_of(name, vae, step=step, seed=seed))


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


def test_the_model_and_the_adversary_have_losses_of_their_own(name: str) -> None:
    """Fails if the model learns to help the adversary, or the adversary learns to help the model."""
    vae = model()
    batch = batch_of(name, vae)
    loss = OBJECTIVES[name]().loss(batch)
    assert (loss.adversary is None) == (batch.adversary is None)
    if loss.adversary is None or batch.adversary is None:
        return
    assert any(torch.equal(loss.adversary, term) for term in loss.terms.values()), "nothing would show its loss"
    loss.total.backward(retain_graph=True)
    assert [key for key, weights in batch.adversary.named_parameters() if weights.grad is not None] == []
    vae.zero_grad()
    loss.adversary.backward()
    assert [key for key, weights in vae.named_parameters() if weights.grad is not None] == []
    assert [key for key, weights in batch.adversary.named_parameters() if weights.grad is None] == []
    assert all(weights.grad.any() for weights in batch.adversary.parameters() if weights.grad is not None)


def test_bfloat16_gives_nearly_the_same_finite_loss_and_gradient(name: str) -> None:
    """Its rounding is 2^-8, and the networks are computed in it."""
    totals = []
    for is_on in (False, True):
        vae = model()
        batch = batch_of(name, vae)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_on):
            loss = OBJECTIVES[name]().loss(batch)
        loss.total.backward()
        if loss.adversary is not None:
            loss.adversary.backward()
        networks = [vae, *([] if batch.adversary is None else [batch.adversary])]
        assert all(weights.grad.isfinite().all() for network in networks for weights in network.parameters())
        totals.append(loss.total.item())
    assert totals[1] == pytest.approx(totals[0], rel=2**-8)


def test_an_adversarys_initial_weights_are_its_generators_alone(name: str) -> None:
    networks = [OBJECTIVES[name]().adversary(4, generator(seed)) for seed in (4, 4, 5)]
    if networks[0] is None:
        return
    first, same, other = (torch.nn.utils.parameters_to_vector(network.parameters()) for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_seed_gives_the_same_model_and_images_with_every_objective(name: str, small_data: DSprites) -> None:
    """Fails if the adversary's weights are drawn before the model's, so that trials could not be compared in pairs."""
    runs = [TrainingRun.start(TrialConfig.from_dict({"objective": each}), small_data) for each in ("beta-vae", name)]
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(runs[0].learner._order.batch(3), runs[1].learner._order.batch(3))


def test_a_batch_that_is_too_small_is_refused(name: str) -> None:
    least = OBJECTIVES[name].least_batch_size
    assert TrialConfig.from_dict({"objective": name, "batch_size": least}).batch_size == least
    if least > 1:
        message = f"^batch_size must be at least {least} for {name}, which .*, but got {least - 1}"
        with pytest.raises(ParameterError, match=message):
            TrialConfig.from_dict({"objective": name, "batch_size": least - 1})


def test_a_term_without_a_direction_is_one_of_the_terms(name: str) -> None:
    assert set(OBJECTIVES[name].undirected_terms) <= set(OBJECTIVES[name].terms)
    for term in OBJECTIVES[name].terms:
        column = report_column(f"loss/{term}")
        assert (column.higher_is_better is None) == (term in OBJECTIVES[name].undirected_terms)
        assert ("nats" in column.label) == term.endswith("_nats")


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
                batch, same = (batch_of(name, model(), step=step, seed=2) for _ in range(2))
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
    assert torch.equal(straight.learner._generator.get_state(), resumed.learner._generator.get_state())
    for first, second in ((straight.model, resumed.model), (straight.adversary, resumed.adversary)):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            weights, others = first.state_dict(), second.state_dict()
            assert all(torch.equal(weights[key], others[key]) for key in weights)
