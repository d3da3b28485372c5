"""The search space: what each part owns, and what is drawn."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from betavae.data import DATASETS, DSpritesDataset
from betavae.errors import InputError
from betavae.objectives import OBJECTIVES, Batch, BetaVAE, Loss, Objective
from betavae.parts import parameter, parameters_of
from sweeps.options.command_line import parse_options
from sweeps.search.plan import planned_trials
from sweeps.search.space import Range, Space, draw, with_eval_every


@dataclass(frozen=True, kw_only=True)
class Gentle(Objective):
    """An objective whose parameters are its own."""

    name = "gentle"

    gamma: float = parameter(3.0, positive=True, log=True)
    """Weight of nothing."""

    mixture: float = parameter(0.5, least=0, most=1)
    """Share of something."""

    count: int = parameter(2, least=1, log=True)
    """How many."""

    def loss(self, batch: Batch) -> Loss:
        return BetaVAE(beta=self.gamma).loss(batch)


@pytest.fixture(autouse=True)
def _gentle() -> Iterator[None]:
    OBJECTIVES.add(Gentle)
    yield
    del OBJECTIVES._parts["gentle"]


def test_a_grid_is_the_union_of_what_each_part_spans() -> None:
    space = Space({"objective": ("beta-vae", "gentle"), "beta": (1.0, 4.0, 16.0), "gamma": (5.0, 6.0)})
    points = [point for branch in space.branches() for point in branch.points()]
    tried = [(point["objective"], point.get("beta"), point.get("gamma")) for point in points]
    assert tried == [
        ("beta-vae", 1, None), ("beta-vae", 4, None), ("beta-vae", 16, None), ("gentle", None, 5), ("gentle", None, 6)
    ]  # fmt: skip


def test_a_parameter_that_no_chosen_part_has_is_refused_by_name() -> None:
    message = (
        "--gamma needs --objective annealed-vae, factor-vae or gentle, but got beta-tcvae; leave --gamma out, or "
        "choose an objective that has it"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        parse_options(["--gamma", "3"], gpus_found=0)
    options = parse_options(["--objective", "gentle", "--gamma", "3"], gpus_found=0)  # beta is the preset's: left out
    assert {trial.config.value("gamma") for trial in planned_trials(options)} == {3.0}
    assert options.space.axis("beta") is None
    with pytest.raises(InputError, match="--beta needs --objective beta-vae or beta-tcvae"):
        parse_options(["--objective", "gentle", "--beta", "3"], gpus_found=0)


@pytest.mark.parametrize(
    ("name", "low", "high", "middle"), [("gamma", 1.0, 100.0, 10.0), ("mixture", 0.0, 1.0, 0.5), ("count", 1, 100, 10)]
)
def test_a_range_is_drawn_on_the_scale_of_its_parameter(name: str, low: float, high: float, middle: float) -> None:
    """Half of the draws lie below the middle of the scale: of 2,000, within 4 standard deviations of 22."""
    generator, each = np.random.default_rng(0), parameters_of(Gentle)[name]
    values = [draw(each, Range(low, high), generator) for _ in range(2_000)]
    assert all(low <= value <= high and isinstance(value, each.kind) for value in values)
    below = sum(value < middle for value in values)
    assert abs(below - 1_000) < 90 + (
        2_000 * 0.03 if each.kind is int else 0
    )  # 1 + 100 whole numbers: 10 is below half


def test_every_whole_number_of_a_range_can_be_drawn() -> None:
    generator, each = np.random.default_rng(0), parameters_of(Gentle)["count"]
    assert set(Counter(draw(each, Range(4, 6), generator) for _ in range(200))) == {4, 5, 6}


def test_an_axis_of_a_logarithmic_parameter_begins_above_zero() -> None:
    with pytest.raises(InputError, match="gamma must be positive"):
        Space({"objective": ("gentle",), "gamma": Range(0.0, 1.0)}).check()
    Space({"objective": ("gentle",), "mixture": Range(0.0, 1.0)}).check()


def test_a_quarter_of_the_steps_lies_between_evaluations_where_none_is_asked_for() -> None:
    options = parse_options(["--steps", "100", "202"], gpus_found=0)
    assert {(trial.config.steps, trial.config.eval_every) for trial in planned_trials(options)} == {
        (100, 25),
        (202, 51),
    }
    assert with_eval_every({"steps": 8, "eval_every": 3})["eval_every"] == 3


def test_what_does_not_lie_in_a_space_is_named() -> None:
    options = parse_options(["--beta", "4", "8", "--lr", "1e-3"], gpus_found=0)
    (trial, *_) = planned_trials(options)
    assert options.space.mismatch(trial.config) == ""
    other = parse_options(["--beta", "5", "--lr", "1e-3"], gpus_found=0)
    assert other.space.mismatch(trial.config) == "beta 4.0, not 5"
    gentle = parse_options(["--objective", "gentle"], gpus_found=0)
    assert gentle.space.mismatch(trial.config) == "objective beta-tcvae, not gentle"
    ranged = parse_options(["--beta", "1..5", "--lr", "1e-3", "--search", "random", "--trials", "3"], gpus_found=0)
    assert ranged.space.mismatch(trial.config) == ""


@pytest.mark.parametrize(
    "words", ["--steps 5 20 --eval-every 5 10", "--search random --trials 4 --steps 4..20 --eval-every 2..20"]
)
def test_values_that_exclude_one_another_are_refused_at_the_door(words: str) -> None:
    options = parse_options(words.split(), gpus_found=0)
    with pytest.raises(InputError, match="--eval-every must be at most steps"):
        options.check()


@dataclass(frozen=True, kw_only=True)
class Grey(DSpritesDataset):
    """A data set with a parameter that changes its images."""

    name = "grey"

    shade: int = parameter(255, least=1, most=255)
    """How bright."""


@pytest.fixture
def grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS._parts, "grey", Grey)


@pytest.mark.usefixtures("grey")
def test_a_sweep_opens_each_data_set_as_it_is_asked_for() -> None:
    options = parse_options(["--dataset", "grey", "--shade", "128", "--images", "100", "200"], gpus_found=0)
    options.check()
    assert options.space.datasets() == {"grey": Grey(shade=128)}
    with pytest.raises(InputError, match="--shade must be one value, since it may change the images, but got 1 2"):
        parse_options(["--dataset", "grey", "--shade", "1", "2"], gpus_found=0).check()
    words = "--dataset dsprites grey --grey.shade 1 2"
    with pytest.raises(InputError, match="--shade must be one value, since it may change the images, but got 1 2"):
        parse_options(words.split(), gpus_found=0).check()


@pytest.mark.usefixtures("grey")
def test_a_data_set_is_an_axis_and_brings_its_own() -> None:
    """Images are selected for one data set alone; the shade is a parameter of the other."""
    words = (
        "--dataset dsprites grey --shade 128 --dsprites.images 100 200 --objective beta-vae --beta 1 4 -z 5 --lr 1e-3"
    )
    options = parse_options(words.split(), gpus_found=0)
    options.check()
    assert options.space.datasets() == {"dsprites": DSpritesDataset(), "grey": Grey(shade=128)}
    configs = [trial.config for trial in planned_trials(options)]
    assert [(config.dataset, config.value("beta")) for config in configs] == [
        *((DSpritesDataset(images=images), beta) for images in (100, 200) for beta in (1.0, 4.0)),
        (Grey(shade=128), 1.0),
        (Grey(shade=128), 4.0),
    ]
    assert [options.space.mismatch(config) for config in configs] == [""] * 6
    drawn = parse_options([*words.split(), "--search", "random", "--trials", "40"], gpus_found=0)
    drawn.check()
    assert {trial.config.dataset.name for trial in planned_trials(drawn)} == {"dsprites", "grey"}


@pytest.mark.usefixtures("grey")
def test_optuna_is_refused_for_several_data_sets() -> None:
    words = "--dataset dsprites grey --search optuna --trials 5 --beta 1..8"
    with pytest.raises(
        InputError, match="--search optuna needs one --dataset, .* but got dsprites grey; give --search"
    ):
        parse_options(words.split(), gpus_found=0).check()


def test_one_parameter_gives_the_published_grids_of_the_dip_vaes() -> None:
    """The weight of the variances follows: ten times the other, and the same."""
    words = "--objective dip-vae-i dip-vae-ii --lambda-od 1 2 5 10 20 50 --latent-size 10 --lr 1e-4"
    configs = [trial.config for trial in planned_trials(parse_options(words.split(), gpus_found=0))]
    weights = {(config.objective.name, config.value("lambda_od"), config.derived()["lambda_d"]) for config in configs}
    published = (1, 2, 5, 10, 20, 50)
    assert weights == {
        *(("dip-vae-i", weight, 10 * weight) for weight in published),
        *(("dip-vae-ii", weight, weight) for weight in published),
    }
