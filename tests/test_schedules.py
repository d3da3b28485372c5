"""Values that change over training: in closed form, as text, in records, and to the last bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import ParameterError
from betavae.objectives import BetaTCVAE, BetaVAE
from betavae.schedules import Schedule, number_text, value_at
from betavae.training import TrainingRun

RELAXING = "1@0,16@2000,4@8000"
SMALL = {"latent_size": 3, "batch_size": 8, "steps": 8, "eval_every": 4, "precision": "float32"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


def are_equal(first: TrainingRun, second: TrainingRun) -> bool:
    return all(torch.equal(weights_of(first)[name], weights_of(second)[name]) for name in weights_of(first))


def trained(data: DSprites, num_steps: int, **values: Any) -> TrainingRun:
    run = TrainingRun.start(TrialConfig.from_dict(SMALL | values), data)
    run.advance(num_steps)
    return run


@pytest.mark.parametrize(
    ("step", "value"),
    [(0, 1.0), (1, 1 + 15 / 2000), (1000, 8.5), (2000, 16.0), (5000, 10.0), (8000, 4.0), (8001, 4.0), (10**9, 4.0)],
)
def test_the_value_is_on_the_line_between_two_points(step: int, value: float) -> None:
    assert Schedule.parse(RELAXING).at(step) == value


def test_the_first_value_holds_before_the_first_point() -> None:
    """Fails where a line is drawn from step 0, or from a value of 0."""
    schedule = Schedule.parse("12@5000,4@7000")
    assert [schedule.at(step) for step in (0, 4999, 5000, 6000)] == [12.0, 12.0, 12.0, 8.0]
    assert (schedule.start, schedule.end, schedule.last_step) == (12.0, 4.0, 7000)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 7.0])
def test_a_line_between_equal_values_is_that_value_to_the_last_bit(value: float) -> None:
    schedule = Schedule(((0, value), (7, value)))
    assert {schedule.at(step) for step in range(9)} == {value}


@pytest.mark.parametrize(
    "text", [RELAXING, "0.001@0,1e-05@300000", "0.1@3,0.30000000000000004@4", "-2@0,0@10", "1e+30@0,1.5@999999999999"]
)
def test_text_and_schedule_round_trip(text: str) -> None:
    assert str(Schedule.parse(text)) == text


def test_one_schedule_has_one_text() -> None:
    """Records and search spaces compare texts."""
    assert str(Schedule.parse(" 1.0@00, 16.000@2000 ,4e0@8000")) == RELAXING
    assert str(Schedule(((0, 1.0), (2000, 16.0), (8000, 4.0)))) == RELAXING
    assert f"{Schedule.parse(RELAXING):g}" == RELAXING
    assert [number_text(value) for value in (4.0, 1e-3, 0.1 + 0.2)] == ["4", "0.001", "0.30000000000000004"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": ""}, "beta must be a number or points such as 1@0,16@2000, but got ''."),
        ({"beta": "4"}, "beta must be a number or points such as 1@0,16@2000, but got '4'."),
        ({"beta": "1@0,"}, "beta must be a number or points such as 1@0,16@2000, but got '1@0,'."),
        ({"beta": "1@0,16"}, "beta must be a number or points such as 1@0,16@2000, but got '1@0,16'."),
        ({"beta": "1@0,x@9"}, "beta must be a number or points such as 1@0,16@2000, but got '1@0,x@9'."),
        ({"beta": "1@0,2@1.5"}, "beta must be a number or points such as 1@0,16@2000, but got '1@0,2@1.5'."),
        ({"beta": "1@-5,2@10"}, "beta must be a number or points such as 1@0,16@2000, but got '1@-5,2@10'."),
        ({"beta": [4.0]}, "beta must be a number or points such as 1@0,16@2000, but got [4.0]."),
        ({"beta": "4@0"}, "beta must have two points or more, but got '4@0'; for one value throughout, write 4."),
        ({"beta": "1@9,2@3"}, "beta must have points whose steps rise from 0 or above, but got '1@9,2@3'."),
        ({"beta": "1@3,2@3"}, "beta must have points whose steps rise from 0 or above, but got '1@3,2@3'."),
        ({"beta": "4@0,0@9"}, "beta must be positive and finite at every point, but got '4@0,0@9'."),
        ({"lr": "0.1@0,nan@9"}, "lr must be positive and finite at every point, but got '0.1@0,nan@9'."),
        (
            {"lr": "0.1@0,0.01@900", "steps": 800, "eval_every": 8},
            "lr must end at step 800, the trial's last, or before, but '0.1@0,0.01@900' ends at step 900.",
        ),
        ({"latent_size": "5@0,10@9"}, "latent_size must be a whole number, but got '5@0,10@9'."),
    ],
)
def test_an_impossible_schedule_is_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as refusal:
        TrialConfig.from_dict(values)
    assert str(refusal.value) == message
    assert refusal.value.name == next(iter(values))


@pytest.mark.parametrize("points", [(), ((-1, 1.0), (3, 2.0)), ((3, 1.0), (2, 2.0))])
def test_the_class_itself_refuses_impossible_points(points: tuple[tuple[int, float], ...]) -> None:
    with pytest.raises(ParameterError, match="^schedule must have "):
        Schedule(points)


def test_a_record_holds_the_text_of_a_schedule_and_a_number_as_a_number() -> None:
    config = TrialConfig.from_dict({"beta": "1.0@0,16@2000", "lr": 1e-3})
    assert (config.value("beta"), config.value("lr")) == ("1@0,16@2000", 1e-3)
    assert config.to_dict()["beta"] == config.objective.values()["beta"] == "1@0,16@2000"
    assert TrialConfig.from_dict(config.to_dict()) == config
    assert config == TrialConfig.from_dict({"beta": Schedule(((0, 1.0), (2000, 16.0)))})
    assert hash(config) == hash(TrialConfig.from_dict(config.to_dict()))


def test_a_part_at_a_step_has_numbers_and_is_itself_without_a_schedule() -> None:
    objective = BetaTCVAE.from_values({"beta": RELAXING})
    assert objective.at(5000) == BetaTCVAE(beta=10.0)
    assert objective.schedules() == {"beta": Schedule.parse(RELAXING)}
    plain = BetaVAE()
    assert plain.at(5000) is plain
    assert (value_at(Schedule.parse(RELAXING), 1000), value_at("text", 1000)) == (8.5, "text")


def test_derived_numbers_are_of_the_value_at_the_end() -> None:
    assert TrialConfig.from_dict({"beta": RELAXING}).derived() == TrialConfig.from_dict({"beta": 4.0}).derived()


@pytest.mark.parametrize("objective", ["beta-vae", "beta-tcvae"])
@pytest.mark.parametrize("values", [{"beta": "4@0,4@2"}, {"lr": "0.001@1,0.001@5"}, {"beta": "4@3,9@8"}])
def test_constant_values_train_as_numbers_do_to_the_last_bit(
    objective: str, values: dict[str, str], small_data: DSprites
) -> None:
    """The last one is 4 up to step 3: fails where the step before or after is used."""
    plain = trained(small_data, 4, objective=objective, beta=4.0, lr=1e-3)
    assert are_equal(trained(small_data, 4, objective=objective, **values), plain)


@pytest.mark.parametrize(("name", "first", "second"), [("beta", 2.0, 30.0), ("lr", 1e-3, 1e-2)])
def test_each_step_uses_the_value_at_the_number_of_steps_before_it(
    name: str, first: float, second: float, small_data: DSprites
) -> None:
    """Step by step, with a number in place of the schedule: the first step has the value at step 0."""
    scheduled = trained(small_data, 2, **{name: f"{first}@0,{second}@1"})
    run = trained(small_data, 1, **{name: first})
    assert are_equal(trained(small_data, 1, **{name: f"{first}@0,{second}@1"}), run)
    run.learner.config = TrialConfig.from_dict(run.config.to_dict() | {name: second})
    for group in run.learner._optimizer.param_groups:
        group["lr"] = run.config.lr
    run.advance(1)
    assert are_equal(scheduled, run)


@pytest.mark.parametrize("objective", ["beta-vae", "beta-tcvae"])
def test_a_resume_inside_a_ramp_is_exact(objective: str, small_data: DSprites, tmp_path: Path) -> None:
    """Fails where a ramp starts again, or where the optimizer keeps the rate of its checkpoint."""
    values = {"objective": objective, "beta": "1@1,16@7", "lr": "0.002@0,0.0001@8"}
    straight = trained(small_data, 3, **values)
    straight.save(tmp_path / "checkpoint", scores=straight.evaluate(), report={"step": 3})
    resumed = TrainingRun.load(tmp_path / "checkpoint", small_data)
    assert resumed.config == straight.config
    assert resumed.advance(3).numbers().keys() == straight.advance(3).numbers().keys()
    assert are_equal(resumed, straight)
    assert not are_equal(resumed, trained(small_data, 6, **values | {"beta": "1@1,16.5@7"}))
    assert not are_equal(resumed, trained(small_data, 6, **values | {"lr": "0.002@0,0.0002@8"}))


def test_a_report_has_the_values_of_the_parameters_that_change_alone(small_data: DSprites) -> None:
    run = TrainingRun.start(TrialConfig.from_dict(SMALL | {"beta": "1@0,9@8"}), small_data)
    numbers = run.advance(4).numbers()
    assert {name: value for name, value in numbers.items() if name.startswith("weight/")} == {"weight/beta": 5.0}
    both = replace(run.config, lr=Schedule.parse("0.001@0,0.003@8"))
    assert TrainingRun.start(both, small_data).advance(4).weights == {"beta": 5.0, "lr": 0.002}
    assert not any(name.startswith("weight/") for name in trained(small_data, 1).advance(1).numbers())


def test_a_loss_that_is_not_finite_is_told_with_the_values_of_its_step(small_data: DSprites) -> None:
    run = TrainingRun.start(TrialConfig.from_dict(SMALL | {"beta": "2@0,4@1", "lr": "1e38@0,3e38@1"}), small_data)
    with pytest.raises(ArithmeticError, match=r"A smaller lr than 3e\+38 or beta than 4 may help\."):
        run.advance(1)


def test_a_loss_that_is_not_finite_blames_no_weight_that_nobody_set(small_data: DSprites) -> None:
    run = TrainingRun.start(TrialConfig.from_dict(SMALL | {"objective": "beta-tcvae", "lr": 1e38}), small_data)
    with pytest.raises(ArithmeticError, match=r"A smaller lr than 1e\+38 or beta than 4 may help\."):
        run.advance(2)
