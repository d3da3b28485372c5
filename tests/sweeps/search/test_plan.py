"""What a sweep will try, with which seeds, and what a resume may change of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.records.trial import PlannedTrial, Trials
from sweeps.options.command_line import parse_options
from sweeps.options.options import MAX_SEED, ConfirmOptions, Options
from sweeps.options.recorded import options_from_dict, options_to_dict
from sweeps.search.plan import check_resume, confirming_trials, planned_trials, starting_order
from sweeps.search.ray_search import SweepSearch, confirmation_stage, search_stage
from sweeps.search.space import Range
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

ONE = "--seed 3 -z 5 --lr 1e-3"


def asked(words: str) -> Options:
    options = parse_options(f"{ONE} {words}".split(), gpus_found=0)
    options.check()
    return options


def values(trials: Sequence[PlannedTrial], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(trial.config.value(name) for name in names) for trial in trials]


def test_a_grid_is_tried_once_with_a_seed_each() -> None:
    trials = planned_trials(asked("--beta 1 4 -z 5 10"))
    assert values(trials, "beta", "latent_size") == [(1, 5), (1, 10), (4, 5), (4, 10)]
    assert values(trials, "seed") == [(3_000_000,), (3_000_001,), (3_000_002,), (3_000_003,)]
    assert [trial.index for trial in trials] == [0, 1, 2, 3]


def test_a_grid_mixes_numbers_and_schedules() -> None:
    options = asked("--beta 4 12.0@0,12@50,4@70 --lr 1e-3 1e-3@0,1e-4@100 --steps 100")
    betas, rates = (4.0, "12@0,12@50,4@70"), (1e-3, "0.001@0,0.0001@100")
    trials = planned_trials(options)
    assert values(trials, "beta", "lr") == [(beta, lr) for beta in betas for lr in rates]
    assert options.space.scheduled_names() == ["beta", "lr"]
    assert all(options.space.mismatch(replace(trial.config, seed=0)) == "" for trial in trials)
    drawn = planned_trials(asked("--search random --trials 30 --beta 4 12@0,4@70 --steps 100"))
    assert {beta for (beta,) in values(drawn, "beta")} == {4.0, "12@0,4@70"}


def test_the_names_of_what_trials_learn_are_known_before_they_start() -> None:
    assert asked("--beta 1 4").space.learnt_names() == []
    assert asked("--likelihood gaussian --pixel-scale 0.1 0.2").space.learnt_names() == []
    assert asked("--likelihood gaussian --learn-pixel-scale true").space.learnt_names() == ["pixel_scale"]
    some = (
        "--search random --trials 9 --likelihood bernoulli gaussian --pixel-scale 0.1..1 --learn-pixel-scale false true"
    )
    assert asked(some).space.learnt_names() == ["pixel_scale"]


def test_a_record_of_an_earlier_version_names_no_likelihood_and_means_bernoulli() -> None:
    options = asked("--beta 1 4")
    record = json.loads(json.dumps(options_to_dict(options)))
    assert record["space"].pop("likelihood") == ["bernoulli"]
    earlier = options_from_dict(record)
    check_resume(options, earlier)  # raises otherwise
    assert planned_trials(earlier) == planned_trials(options)
    with pytest.raises(InputError, match="--likelihood must stay bernoulli in this sweep, but got gaussian"):
        check_resume(asked("--beta 1 4 --likelihood gaussian"), earlier)


def test_a_schedule_lies_outside_a_range_of_numbers() -> None:
    space = asked("--beta 1..16 --search random --trials 2").space
    assert space.scheduled_names() == []
    config = TrialConfig.from_dict({"objective": "beta-tcvae", "beta": "12@0,4@70", "latent_size": 5})
    assert "beta 12@0,4@70, not 1..16" in space.mismatch(config)


def test_fewer_trials_than_points_are_distinct_points() -> None:
    trials = planned_trials(asked("--beta 1 2 4 -z 5 10 --trials 4"))
    assert len(set(values(trials, "beta", "latent_size"))) == 4


def test_repeats_give_every_configuration_the_same_seeds() -> None:
    options = asked("--beta 1 4 --repeats 3")
    trials = planned_trials(options)
    seeds = [3_000_000, 3_000_001, 3_000_002]
    assert values(trials, "beta", "seed") == [(beta, seed) for beta in (1, 4) for seed in seeds]
    order = starting_order(options)
    assert [trials[index].config.seed for index in order] == [seed for seed in seeds for _ in range(2)]
    assert sorted(order) == list(range(6))


def test_a_search_that_learns_is_given_all_seeds_of_a_configuration_first() -> None:
    assert list(starting_order(asked("--search optuna --trials 2 --repeats 3"))) == list(range(6))


def test_random_draws_stay_in_range_and_repeat() -> None:
    options = asked("--search random --trials 200 --beta 1..32 -z 4..6 --lr 1e-3 1e-4")
    trials = planned_trials(options)
    assert all(1 <= beta <= 32 for (beta,) in values(trials, "beta"))
    assert set(values(trials, "latent_size")) == {(4,), (5,), (6,)}
    assert set(values(trials, "lr")) == {(1e-3,), (1e-4,)}
    assert trials == planned_trials(options)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 2**40, MAX_SEED])
@pytest.mark.parametrize("search", ["grid", "random", "optuna"])
def test_every_seed_that_is_accepted_starts_resumes_and_confirms(search: str, seed: int, tmp_path: Path) -> None:
    options = asked(f"--search {search} --trials 2 --beta 1 4 --confirm 2 --seed {seed}")
    folder = StageFolder(Mirror(tmp_path), "mig")
    for num_known in (0, 1, 60, 100_000):
        stage = search_stage(options, folder, num_known_trials=num_known)
        assert stage.draw.next(0).config.seed == seed * 1_000_000
    chosen = [trial.config for trial in planned_trials(asked("--beta 1 4"))]
    confirming = confirming_trials(options, chosen)
    assert len(confirming) == 10
    seeds = {trial.config.seed for trial in confirming.values()}
    assert seeds == {seed * 1_000_000 + 500_000 + number for number in range(5)}  # of both the same, and no search's


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_another_seed_is_refused_at_the_door(seed: int) -> None:
    with pytest.raises(InputError, match=f"--seed must be in 0 .. {MAX_SEED}, but got {seed}"):
        asked(f"--seed={seed}")


def test_the_confirmed_keep_their_seeds_when_more_are_asked_for(tmp_path: Path) -> None:
    """Trials that ran would else be taken for others."""
    chosen = [trial.config for trial in planned_trials(asked("--beta 2 8"))]

    def given(count: int, seeds: int) -> list[PlannedTrial]:
        options = replace(asked(""), confirm=ConfirmOptions(confirm=count, seeds=seeds))
        folder = StageFolder(Mirror(tmp_path / str(count)), "mig")
        stage = confirmation_stage(options, folder, confirming_trials(options, chosen[:count]))
        search = SweepSearch(stage, known_trials=Trials([], {}))
        suggested = [search.suggest(str(number)) or {} for number in range(search.num_remaining)]
        return [PlannedTrial(values.pop("index"), TrialConfig.from_dict(values)) for values in suggested]

    few, many = given(1, 2), given(2, 3)
    assert values(many, "beta", "seed") == [
        (2.0, 3_500_000), (8.0, 3_500_000), (2.0, 3_500_001), (8.0, 3_500_001), (2.0, 3_500_002), (8.0, 3_500_002),
    ]  # fmt: skip
    assert [trial for trial in few if trial in many] == few
    assert {path.name for path in (tmp_path / "2").iterdir()} == {f"trial_{i:04}" for i in (0, 1, 2, 1000, 1001, 1002)}


def test_a_range_keeps_every_digit() -> None:
    options = asked("--search random --trials 1 --lr 1.2345678e-4..1e-3")
    read = options_from_dict(json.loads(json.dumps(options_to_dict(options))))
    assert read.space.axis("lr") == options.space.axis("lr") == Range(1.2345678e-4, 1e-3)


def test_options_survive_the_record() -> None:
    options = asked("--search optuna --trials 20 --beta 1..32 --lr 1e-4 1e-3@9,0.1@10 --loggers terminal --confirm 2")
    options = replace(options, sweep=replace(options.sweep, resume="x"))
    read = options_from_dict(json.loads(json.dumps(options_to_dict(options))))
    assert read == replace(options, sweep=replace(options.sweep, resume=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--beta 1 5", "--beta must stay 1 4 10 in this sweep, but got 1 5"),
        ("--scheduler median", "--scheduler must stay asha in this sweep, but got median"),
        ("--steps 7", "--steps must stay 2250 in this sweep, but got 7"),
        ("--architecture conv3", "--architecture must stay burgess in this sweep, but got conv3"),
        ("--trials 2", "--trials must stay unset in this sweep, but got 2"),
        ("--repeats 2", "--repeats must stay unset in this sweep, but got 2"),
        ("--rank-by mig_quantile", "--rank-by must stay mig in this sweep, but got mig_quantile"),
    ],
)
def test_a_resume_that_would_change_the_study_is_refused(change: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_resume(asked(f"--beta 1 4 10 {change}"), asked("--beta 1 4 10"))


@pytest.mark.parametrize("repeats", ["", "--repeats 2"])
def test_a_resume_may_raise_the_trials_and_move_to_another_machine(repeats: str) -> None:
    study = f"--search random --beta 1..32 {repeats}"
    started, again = asked(f"{study} --trials 5"), asked(f"{study} --trials 9 --num-cpus 8 --verbose")
    check_resume(again, started)  # raises otherwise
    assert planned_trials(again)[: len(planned_trials(started))] == planned_trials(started)


def test_a_grid_of_which_points_were_drawn_may_become_the_whole_grid() -> None:
    started, again = asked("--beta 1 2 3 4 --trials 2"), asked("--beta 1 2 3 4 --trials 4")
    check_resume(again, started)  # raises otherwise
    assert planned_trials(again)[:2] == planned_trials(started)
    assert len(set(values(planned_trials(again), "beta"))) == 4


@pytest.mark.parametrize("seed", range(5))
def test_with_the_same_seeds_no_configuration_is_drawn_twice(seed: int) -> None:
    """It would be the same training, counted as more evidence."""
    trials = planned_trials(asked(f"--search random --trials 4 --repeats 2 --beta 1 2 -z 5 6 --seed {seed}"))
    assert len({trial.config for trial in trials}) == 8


@pytest.mark.parametrize("search", ["random", "optuna"])
def test_more_configurations_than_there_are_cannot_be_repeated(search: str) -> None:
    with pytest.raises(InputError, match="--trials must be at most 2 with --repeats, .*, but got 3"):
        asked(f"--search {search} --trials 3 --repeats 2 --beta 1 2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sampler gp", "--sampler needs --search optuna"),
        ("--scheduler none --grace-steps 5", "--grace-steps needs a"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(words)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("search", "trials", "x"),
        ("search", "trials", {}),
        ("search", "repeats", [2]),
        ("search", "scheduler", "foo"),
        ("search", "sampler", 3),
        ("sweep", "preset", "best"),
        ("sweep", "seed", True),
        ("space", "beta", []),
        ("space", "beta", ["x"]),
        ("space", "beta", "1..x"),
        ("space", "objective", "beta-vae"),
    ],
)
def test_a_record_whose_options_were_changed_is_refused_in_a_sentence(group: str, name: str, value: object) -> None:
    record = json.loads(json.dumps(options_to_dict(asked("--beta 1 4"))))
    record[group][name] = value
    with pytest.raises(InputError, match=name):
        options_from_dict(record)


@pytest.mark.parametrize(
    ("known", "after", "message"),
    [
        ((2, 5), (1, 5), "--confirm"),
        ((2, 5), (2, 4), "--seeds"),
        ((None, 5), (1, 2), None),
        ((0, None), (1, 2), None),
        ((2, 5), (0, 5), "--confirm"),
        ((1, 5), (2, 6), None),
    ],
)
def test_a_confirmation_can_only_grow(
    known: tuple[int | None, int], after: tuple[int, int], message: str | None
) -> None:
    before, now = (replace(asked(""), confirm=ConfirmOptions(*counts)) for counts in (known, after))
    if message is None:
        check_resume(now, before)  # raises otherwise
    else:
        with pytest.raises(InputError, match=message):
            check_resume(now, before)
