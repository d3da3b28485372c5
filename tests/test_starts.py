"""A trial that starts several networks, and keeps the one of the lowest loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import InputError, ParameterError
from betavae.learner import Learner, _seed_of
from betavae.objectives import BetaTCVAE, FactorVAE, Objective
from betavae.records.checkpoint import read_training
from betavae.training import NonFiniteLossError, TrainingRun
from sweeps.options.command_line import parse_options

CONFIG = TrialConfig(
    latent_size=3, batch_size=8, steps=12, eval_every=3, precision="float32", starts=3, start_steps=6, seed=7
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data() -> DSprites:
    return DSprites.open()


def weights_of(run: TrainingRun) -> list[torch.Tensor]:
    return [each.clone() for network in (run.model, run.adversary) if network for each in network.state_dict().values()]


def are_equal(run: TrainingRun, other: TrainingRun) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights_of(run), weights_of(other), strict=True))


def alone(config: TrialConfig, start: int, data: DSprites) -> tuple[TrainingRun, list[float]]:
    """One of the starts of a trial as a trial of its own, at the step of the choice, and its losses until then."""
    run = TrainingRun.start(replace(config, starts=1, seed=_seed_of(config.seed, start)), data)
    return run, [run.advance(1).total_nats for _ in range(config.start_steps)]


@pytest.mark.parametrize("num_compared", [2, 100])
def test_a_trial_keeps_the_start_of_the_lowest_loss(
    data: DSprites, monkeypatch: pytest.MonkeyPatch, num_compared: int
) -> None:
    """By the losses of the last steps before the choice, or of all where there are fewer."""
    monkeypatch.setattr("betavae.learner._COMPARED_STEPS", num_compared)
    others = [alone(CONFIG, start, data) for start in range(3)]
    means = [sum(losses[-num_compared:]) / len(losses[-num_compared:]) for _, losses in others]
    best = means.index(min(means))
    run = TrainingRun.start(CONFIG, data)
    assert run.advance(5).starts == ()
    assert run.step == 5
    at_choice = run.advance(1)
    assert at_choice.starts == pytest.approx(means, rel=1e-12)
    assert at_choice.total_nats == pytest.approx(others[best][1][-1], rel=1e-12)
    assert are_equal(run, others[best][0])
    assert len({tuple(weights_of(other)[0].flatten().tolist()) for other, _ in others}) == 3
    assert run.advance(4).terms == others[best][0].advance(4).terms
    assert are_equal(run, others[best][0])


def test_the_first_start_is_shown_until_the_choice(data: DSprites) -> None:
    run, one = TrainingRun.start(CONFIG, data), TrainingRun.start(replace(CONFIG, starts=1), data)
    assert run.advance(4).terms == one.advance(4).terms
    assert run.evaluate("mig").to_dict() == one.evaluate("mig").to_dict()


def test_another_than_the_first_can_be_chosen(data: DSprites) -> None:
    """Over some seeds each start is the best; fails where the first always stays."""
    chosen = set()
    for seed in range(12):
        run = TrainingRun.start(replace(CONFIG, seed=seed, batch_size=2, start_steps=2), data)
        losses = run.advance(2).starts
        assert run.learner.start == losses.index(min(losses))
        chosen.add(run.learner.start)
    assert chosen == {0, 1, 2}


@pytest.mark.parametrize(
    ("objective", "values"),
    [(BetaTCVAE(beta=8.0), {"rotate_until": 8, "rotate_every": 2}), (FactorVAE(discriminator_units=16), {})],
    ids=["beta-tcvae, rotated", "factor-vae"],
)
def test_a_run_with_starts_resumes_to_the_last_bit(
    data: DSprites, tmp_path: Path, objective: Objective, values: dict[str, Any]
) -> None:
    """Before the choice and after it, and whatever the parts in which it advances."""
    config = replace(CONFIG, objective=objective, **values)
    straight = TrainingRun.start(config, data)
    losses = straight.advance(12)
    run = TrainingRun.start(config, data)
    for number, num_steps in enumerate((4, 1, 2, 3)):
        part = run.advance(num_steps)
        run.save(tmp_path / str(number), scores=run.evaluate("mig"), report={"step": run.step})
        run = TrainingRun.load(tmp_path / str(number), data)
        assert run.learner.step == sum((4, 1, 2, 3)[: number + 1])
    assert part.starts == losses.starts
    assert len(losses.starts) == 3
    run.advance(2)
    assert are_equal(run, straight)
    assert run.learner.start == straight.learner.start
    counts = [
        len(read_training(tmp_path / str(number), device=torch.device("cpu"))["other_starts"]) for number in range(4)
    ]
    assert counts == [2, 2, 0, 0]


def test_the_report_names_the_losses_of_the_starts(data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, data)
    before, after = run.advance(3).numbers(), run.advance(5)
    assert not [name for name in before if name.startswith("start/")]
    numbers = after.numbers()
    assert [numbers[f"start/{start}_nats"] for start in range(3)] == list(after.starts)
    assert "start/0_nats" not in TrainingRun.start(replace(CONFIG, starts=1), data).advance(8).numbers()


def test_a_start_that_diverges_is_named(data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, data)
    with torch.no_grad():
        next(run._learners[2].model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"at step 1 of start 2 it was: .*recon nan"):
        run.advance(3)


def test_long_seeds_have_starts_of_their_own(data: DSprites) -> None:
    seeds = {_seed_of(seed, start) for seed in (0, 1, 2**32, 2**63 - 1) for start in range(50)}
    assert len(seeds) == 200
    learner = Learner.begin(replace(CONFIG, seed=2**63 - 1), data, device=torch.device("cpu"), start=1)
    assert learner.start == 1


def test_updates_are_counted_over_all_starts() -> None:
    assert [CONFIG.updates_until(step) for step in (0, 4, 6, 12)] == [0, 12, 18, 24]
    assert replace(CONFIG, starts=1).updates_until(12) == 12
    assert replace(CONFIG, rotate_until=8, rotate_every=2).num_rotations == 4 + 2 * 3
    assert replace(CONFIG, rotate_until=4, rotate_every=2).num_rotations == 2 + 2 * 2


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"eval_every": 3, "starts": 1}, [3, 6, 9, 12]),
        ({"eval_every": 3}, [6, 9, 12]),
        ({"eval_every": 3, "start_steps": 7}, [9, 12]),
        ({"eval_every": 5, "start_steps": 12}, [12]),
        ({"eval_every": 5, "start_steps": 2}, [5, 10, 12]),
    ],
)
def test_no_network_is_scored_before_one_is_kept(values: dict[str, int], steps: list[int]) -> None:
    """Else a stopping rule, a best score or a best checkpoint could be that of a network which is not kept."""
    config, found = replace(CONFIG, **values), [0]
    while found[-1] < config.steps:
        found.append(config.next_evaluation(found[-1]))
    assert found[1:] == steps


def test_a_choice_that_never_comes_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^start_steps must be at most steps \(12\), or no start is kept, but"):
        replace(CONFIG, start_steps=13)
    assert replace(CONFIG, starts=1, start_steps=13).updates_until(12) == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--starts 0", "--starts must be in 1 .. 100, but got 0"),
        ("--starts 3 --steps 1000 --eval-every 500", "--start-steps must be at most steps (1000), or no start"),
        (
            "--search optuna --trials 4 --starts 1 3 --start-steps 500 3000 --steps 6000 2000 --eval-every 500",
            "--start-steps must be at most steps (2000), or no start is kept, but got 3000",
        ),
        ("--start-steps 500", "--start-steps needs --starts of 2 or more; leave it out"),
        ("--start-steps 500 --starts 1", "--start-steps needs --starts of 2 or more; leave it out"),
    ],
)
def test_the_command_line_refuses(words: str, message: str) -> None:
    options = parse_options(words.split(), gpus_found=0)
    with pytest.raises(InputError) as error:
        options.check()
    assert message in str(error.value)
