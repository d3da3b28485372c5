import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from betavae.config import TrialConfig
from betavae.cuda_graph import StepInputs
from betavae.data import DSprites
from betavae.models import VAE
from betavae.objectives import Batch, FactorVAE, NonFiniteLossError
from betavae.objectives.factor_vae import Discriminator, accuracy, cross_entropy, discriminate, permute_latents
from betavae.training import TrainingRun

SMALL = FactorVAE(discriminator_layers=2, discriminator_units=16)
CONFIG = TrialConfig(objective=SMALL, latent_size=3, batch_size=8, steps=8, eval_every=4, precision="float32")

CELLS = torch.tensor([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)], dtype=torch.float64)
REAL, PERMUTED = (8, 8, 2, 2), (5, 5, 5, 5)
"""Codes in each cell: two latents that agree four times of five, and the same latents without a bond."""

LOG_RATIO = torch.tensor([1.6, 1.6, 0.4, 0.4], dtype=torch.float64).log()
TOTAL_CORRELATION = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def repeated(values: Tensor, counts: tuple[int, ...]) -> Tensor:
    return values.repeat_interleave(torch.tensor(counts), 0)


def test_the_cross_entropy_is_least_at_the_log_density_ratio() -> None:
    """Closed form: its slope there is 0 in every cell, its value log 2 minus the Jensen-Shannon divergence."""
    logit = LOG_RATIO.clone().requires_grad_()
    value = cross_entropy(repeated(logit, REAL), repeated(logit, PERMUTED))
    (slope,) = torch.autograd.grad(value, logit)
    assert slope.abs().max() < 1e-15
    real, permuted = (torch.tensor(counts, dtype=torch.float64) / 20 for counts in (REAL, PERMUTED))
    middle = (real + permuted) / 2
    divergence = ((real * (real / middle).log() + permuted * (permuted / middle).log()) / 2).sum()
    assert value.item() == pytest.approx(math.log(2) - divergence.item(), rel=1e-12)
    assert repeated(LOG_RATIO, REAL).mean().item() == pytest.approx(TOTAL_CORRELATION, rel=1e-12)


def test_a_trained_discriminator_gives_the_total_correlation() -> None:
    """The loss is the same at each step, so its least value is reached; a weight or a sign that is wrong moves it."""
    adversary = Discriminator(2, layers=2, units=16, generator=generator()).double()
    optimizer = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    for _ in range(600):
        judgement = discriminate(adversary, repeated(CELLS, REAL), repeated(CELLS, PERMUTED))
        optimizer.zero_grad()
        judgement.loss.backward()
        optimizer.step()
    assert judgement.tc.item() == pytest.approx(TOTAL_CORRELATION, abs=1e-4)
    torch.testing.assert_close(adversary(CELLS), LOG_RATIO, rtol=0, atol=1e-3)
    assert judgement.accuracy.item() == pytest.approx((16 / 20 + 10 / 20) / 2)


@pytest.mark.parametrize("bias", [-300.0, 0.0, 40.0, 300.0])
def test_the_gradient_in_a_code_holds_where_the_discriminator_is_sure(bias: float) -> None:
    """The weight by which one pass divides is below float32's range at 300; the slope of a line is its factor."""
    adversary = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    with torch.no_grad():
        adversary[0].weight[:] = torch.tensor([3.0, -2.0])
        adversary[0].bias[:] = bias
    codes = torch.randn(4, 2, generator=generator()).requires_grad_()
    judgement = discriminate(adversary, codes, torch.randn(4, 2, generator=generator(1)))
    (slope,) = torch.autograd.grad(judgement.tc, codes)
    torch.testing.assert_close(slope, torch.tensor([3.0, -2.0]).expand(4, 2) / 4)
    judgement.loss.backward()
    assert adversary[0].weight.grad.isfinite().all()


def test_permuted_codes_keep_the_marginals_and_lose_the_rows() -> None:
    codes = torch.randn(50, 3, generator=generator())
    permuted = permute_latents(codes, generator(1))
    assert torch.equal(permuted.sort(0).values, codes.sort(0).values)
    orders = [[(codes[:, latent] == value).nonzero().item() for value in permuted[:, latent]] for latent in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_every_order_of_a_latent_is_as_likely() -> None:
    """Of 1,200 draws of 6 orders, 200 each: within 5 standard deviations of 13."""
    source, codes = generator(), torch.arange(3.0)[:, None]
    counts = Counter(tuple(permute_latents(codes, source)[:, 0].tolist()) for _ in range(1_200))
    assert len(counts) == 6
    assert all(abs(count - 200) < 65 for count in counts.values())


def test_a_discriminator_that_knows_nothing_is_right_half_of_the_time() -> None:
    zeros = torch.zeros(3)
    assert accuracy(zeros, zeros).item() == 0.5
    assert cross_entropy(zeros, zeros).item() == pytest.approx(math.log(2))
    assert accuracy(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 3.0])).item() == 0.75


def test_the_discriminator_is_that_of_the_paper() -> None:
    network = FactorVAE().adversary(10, generator())
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [module.out_features for module in linear] == [1000] * 6 + [2]
    slopes = {module.negative_slope for module in network.modules() if isinstance(module, nn.LeakyReLU)}
    assert slopes == {0.2}
    assert FactorVAE().adversary_adam().betas == (0.5, 0.9)
    assert FactorVAE(discriminator_lr=0.5).adversary_adam().lr == 0.5


def test_a_batch_that_lacks_the_second_one_or_the_adversary_says_so() -> None:
    with pytest.raises(ValueError, match="more_images needs a batch with second_images"):
        Batch(VAE(2), torch.ones(2, 1, 64, 64)).more_images()
    with pytest.raises(ValueError, match="factor-vae needs a batch with an adversary"):
        FactorVAE().loss(Batch(VAE(2), torch.ones(2, 1, 64, 64)))


def test_the_second_batch_is_of_the_same_size_and_of_other_images(small_data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, small_data)
    learner = run.learner
    first, second = (learner._images(order, StepInputs(0)) for order in (learner._order, learner._second_order))
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    epoch = [step for step in range(run.learner._order.num_images // CONFIG.batch_size)]
    rows = torch.cat([run.learner._second_order.batch(step) for step in epoch])
    assert len(rows.unique()) == len(rows)


def test_each_step_of_training_updates_both_networks_once(small_data: DSprites) -> None:
    """The first step of Adam is the learning rate in every weight with a gradient that is not tiny."""
    run = TrainingRun.start(replace(CONFIG, objective=replace(SMALL, discriminator_lr=0.01)), small_data)
    assert run.adversary is not None
    before = {name: weights.clone() for name, weights in run.adversary.state_dict().items()}
    run.advance(1)
    moves = torch.cat([(run.adversary.state_dict()[name] - old).abs().flatten() for name, old in before.items()])
    assert moves.max().item() == pytest.approx(0.01, rel=1e-3)
    states = run.learner._adversary_optimizer.state.values()
    assert {int(state["step"]) for state in states} == {1}


def test_a_discriminator_that_diverges_stops_the_trial(small_data: DSprites) -> None:
    def run(lr: float) -> TrainingRun:
        return TrainingRun.start(replace(CONFIG, objective=replace(SMALL, discriminator_lr=lr)), small_data)

    message = r"after step 1, .*the adversary's weights are infinite or nan.* or discriminator_lr than 1e\+45 may help"
    with pytest.raises(NonFiniteLossError, match=message):
        run(1e45).advance(1)
    message = r"at step 2 it was: .*discriminator (inf|nan) \(nats per image\), discriminator_accuracy"
    with pytest.raises(NonFiniteLossError, match=message):
        run(1e25).advance(2)
