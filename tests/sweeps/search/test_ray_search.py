import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from betavae.config import TrialConfig
from betavae.records.trial import Trial, Trials
from sweeps.options.options import MAX_SEED, ConfirmOptions, Options, SearchOptions, SweepOptions, TrialOptions
from sweeps.options.recorded_options import options_from_dict, options_to_dict
from sweeps.search.axes import Range
from sweeps.search.plan import check_resume, planned_trials
from sweeps.search.ray_search import SweepSearch, confirmation_stage, informed, search_stage, stopping_rule
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import FIRST_CONFIRMING, SearchFolder, trial_seed


def options(**search: object) -> Options:
    return Options(sweep=SweepOptions(seed=3), search=SearchOptions(**search))  # type: ignore[arg-type]


def test_a_grid_is_tried_once_with_a_seed_each() -> None:
    trials = planned_trials(options(beta=(1.0, 4.0), latent_size=(5, 10)))
    assert [(trial["beta"], trial["latent_size"]) for trial in trials] == [(1, 5), (1, 10), (4, 5), (4, 10)]
    assert [trial["seed"] for trial in trials] == [3_000_000, 3_000_001, 3_000_002, 3_000_003]


def test_fewer_trials_than_points_are_distinct_points() -> None:
    trials = planned_trials(options(beta=(1.0, 2.0, 4.0), latent_size=(5, 10), trials=4))
    assert len({(trial["beta"], trial["latent_size"]) for trial in trials}) == 4


def test_more_trials_than_points_repeat_the_grid_with_new_seeds() -> None:
    trials = planned_trials(options(beta=(1.0, 4.0), trials=4))
    assert [trial["beta"] for trial in trials] == [1, 4, 1, 4]
    assert len({trial["seed"] for trial in trials}) == 4


def test_random_draws_stay_in_range_and_repeat() -> None:
    asked = options(search="random", trials=200, beta=Range(1, 32), latent_size=Range(4, 6), lr=(1e-3, 1e-4))
    trials = planned_trials(asked)
    assert all(1 <= trial["beta"] <= 32 for trial in trials)
    assert {trial["latent_size"] for trial in trials} == {4, 5, 6}
    assert {trial["lr"] for trial in trials} == {1e-3, 1e-4}
    assert trials == planned_trials(asked)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 2**40, MAX_SEED])
@pytest.mark.parametrize("search", ["grid", "random", "optuna"])
def test_every_seed_that_is_accepted_starts_resumes_and_confirms(search: str, seed: int, tmp_path: Path) -> None:
    asked = replace(options(search=search, trials=4, beta=(1.0, 4.0)), sweep=SweepOptions(seed=seed))
    asked.check()
    for num_known in (0, 1, 60, 100_000):
        stage = search_stage(asked, SearchFolder(Mirror(tmp_path), seed), num_known=num_known)
        assert TrialConfig.from_dict(stage.draw.next(0)).seed == seed * 1_000_000
    chosen = [{"beta": 4.0, "latent_size": 10, "lr": 1e-3}]
    confirmation = confirmation_stage(asked, SearchFolder(Mirror(tmp_path), seed, first=FIRST_CONFIRMING), chosen)
    for index in confirmation.planned:
        assert TrialConfig.from_dict(confirmation.draw.next(index)).seed == seed * 1_000_000 + FIRST_CONFIRMING + index
    assert TrialConfig(seed=trial_seed(seed, 999_999)).seed < 2**63


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_another_seed_is_refused_at_the_door(seed: int) -> None:
    with pytest.raises(ValueError, match=f"--seed must be in 0 .. {MAX_SEED}, but got {seed}"):
        replace(options(), sweep=SweepOptions(seed=seed)).check()


@pytest.mark.parametrize(("seed", "num_known"), [(0, 0), (3, 2), (2**32 - 1, 0)])
def test_a_seed_of_32_bits_draws_what_it_always_drew(seed: int, num_known: int, tmp_path: Path) -> None:
    asked = options(search="optuna", trials=9, beta=Range(1, 32), latent_size=(5, 10), lr=Range(1e-4, 1e-3))
    asked = replace(asked, sweep=SweepOptions(seed=seed))
    stage = search_stage(asked, SearchFolder(Mirror(tmp_path), seed), num_known=num_known)
    sampler = optuna.samplers.TPESampler(
        multivariate=True, constant_liar=True, n_startup_trials=3, seed=seed + 7919 * num_known
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {
        "beta": FloatDistribution(1, 32, log=True),
        "latent_size": CategoricalDistribution((5, 10)),
        "lr": FloatDistribution(1e-4, 1e-3, log=True),
    }
    for index in range(3):
        assert stage.draw.next(index) == study.ask(space).params | {"seed": seed * 1_000_000 + index}


def known(values: dict[str, Any], *, migs: list[float], status: str) -> Trial:
    config = TrialConfig.from_dict(values | {"steps": 100, "eval_every": 10})
    reports = tuple({"step": 10 * count, "mig": mig} for count, mig in enumerate(migs, start=1))
    error, stopped = ("ValueError: no" if status == "failed" else None), status == "stopped"
    trial = Trial(str(config.seed), Path(), config, reports, error, stopped)
    assert trial.status == status
    return trial


def search_of(asked: Options, folder: Path, before: Sequence[Trial] = ()) -> SweepSearch:
    stage = search_stage(asked, SearchFolder(Mirror(folder), sweep_seed=3), num_known=len(before))
    return SweepSearch(stage, known=Trials(list(before), {}))


def test_a_resumed_search_gives_out_what_has_not_ended_then_what_is_new(tmp_path: Path) -> None:
    asked = options(beta=(1.0, 2.0, 3.0, 4.0))
    planned = planned_trials(asked)
    before = [
        known(planned[0], migs=[0.1] * 10, status="finished"),
        known(planned[1], migs=[0.1], status="unfinished"),
        known(planned[2], migs=[0.1], status="stopped"),
    ]
    search = search_of(asked, tmp_path, before)
    assert search.num_left == 2
    assert [search.suggest("x"), search.suggest("y")] == [planned[1], planned[3]]
    written = json.loads((tmp_path / "trial_0003" / "params.json").read_text())
    assert (written["beta"], written["steps"]) == (4.0, asked.trial.steps)  # written down before it starts


def test_a_trial_that_was_given_out_and_never_written_is_given_out_again(tmp_path: Path) -> None:
    """The driver died between two trials: the gap is filled, whatever came after it."""
    asked = options(beta=(1.0, 2.0, 3.0))
    planned = planned_trials(asked)
    before = [known(planned[index], migs=[0.1] * 10, status="finished") for index in (0, 2)]
    search = search_of(asked, tmp_path, before)
    assert (search.num_left, search.suggest("x")) == (1, planned[1])


def test_a_resumed_optuna_search_knows_what_it_was_told(tmp_path: Path) -> None:
    asked = options(search="optuna", trials=20, beta=Range(1, 32), lr=Range(1e-4, 1e-3), latent_size=(5, 10))
    values = {"beta": 4.0, "lr": 5e-4, "latent_size": 5}
    before = [
        known(values | {"seed": 3_000_000}, migs=[0.1, 0.4, 0.3] + [0.2] * 7, status="finished"),
        known(values | {"seed": 3_000_001}, migs=[0.2], status="unfinished"),
        known(values | {"seed": 3_000_002}, migs=[], status="failed"),
    ]
    search = search_of(asked, tmp_path, before)
    assert search.num_left == 18
    assert search.suggest("goes on") == values | {"seed": 3_000_001}
    new = search.suggest("new")
    assert new is not None
    assert new["seed"] == 3_000_003
    states = [(trial.state.name, trial.value) for trial in search._draw._study.trials]
    assert states == [("COMPLETE", 0.4), ("RUNNING", None), ("FAIL", None), ("RUNNING", None)]
    SearchFolder(Mirror(tmp_path), sweep_seed=3).trial(3_000_001).plan(values | {"seed": 3_000_001})
    (tmp_path / "trial_0001" / "result.json").write_text('{"step": 100, "mig": 0.6}\n')
    search.on_trial_complete("goes on")
    assert search._draw._study.best_value == 0.6


def test_a_resumed_optuna_search_does_not_draw_its_first_trials_again(tmp_path: Path) -> None:
    asked = options(search="optuna", trials=20, beta=Range(1, 32))
    first = search_of(asked, tmp_path / "a")
    drawn = [first.suggest(str(i)) for i in range(3)]
    before = [known(params | {"latent_size": 10}, migs=[0.1] * 10, status="finished") for params in drawn if params]
    resumed = search_of(asked, tmp_path / "b", before)
    again = [resumed.suggest(str(i)) for i in range(3)]
    assert not {p["beta"] for p in drawn if p} & {p["beta"] for p in again if p}


def test_the_scheduler_is_told_what_was_reported() -> None:
    """Fails if ASHA starts with empty rungs: a poor score would be the first there, and go on."""
    asked = Options(
        search=SearchOptions(scheduler="asha", grace_steps=10), trial=TrialOptions(steps=100, batch_size=16)
    )
    trials = [known({"beta": 4.0, "seed": seed}, migs=[0.3], status="unfinished") for seed in range(3)]
    assert not informed(stopping_rule(asked), []).stops(9, step=10, score=0.1)
    assert informed(stopping_rule(asked), trials).stops(9, step=10, score=0.1)


def test_a_record_of_seeds_that_nothing_gets_can_be_read() -> None:
    """Sweeps from before --seeds needed --confirm have written such."""
    record = options_to_dict(options())
    record["confirm"]["seeds"] = 5
    read = options_from_dict(record)
    read.check()
    assert read.confirm == ConfirmOptions()


def test_a_range_keeps_every_digit() -> None:
    asked = options(search="random", trials=1, lr=Range(1.2345678e-4, 1e-3))
    assert options_from_dict(json.loads(json.dumps(options_to_dict(asked)))).search.lr == asked.search.lr


def test_options_survive_the_record() -> None:
    asked = options(search="optuna", trials=20, beta=Range(1, 32), lr=(1e-4, 1e-3))
    asked = replace(asked, sweep=replace(asked.sweep, resume=Path("x")))
    read = options_from_dict(json.loads(json.dumps(options_to_dict(asked))))
    assert read == replace(asked, sweep=replace(asked.sweep, resume=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": (1.0, 5.0)}, "--beta must stay 1 4 10 in this sweep, but got 1 5"),
        ({"scheduler": "asha"}, "--scheduler must stay none in this sweep, but got asha"),
        ({"trials": 4}, "--trials must stay 5 in this sweep, but got 4"),
    ],
)
def test_a_resume_that_would_change_the_study_is_refused(change: dict[str, Any], message: str) -> None:
    started = options(trials=5)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_resume(replace(started, search=replace(started.search, **change)), started)


def test_a_resume_may_raise_the_trials_and_move_to_another_machine() -> None:
    started = options(trials=5)
    asked = replace(started, search=replace(started.search, trials=9), resources=replace(started.resources, num_cpus=8))
    check_resume(asked, started)  # raises otherwise
    assert planned_trials(asked)[:5] == planned_trials(started)


def test_a_grid_that_was_tried_once_may_be_tried_again() -> None:
    """As the default sweep: it names no number of trials."""
    started = options(beta=(1.0, 2.0, 3.0))
    check_resume(replace(started, search=replace(started.search, trials=6)), started)
    with pytest.raises(ValueError, match="--trials must stay as it was, not given, in this sweep, but got 2"):
        check_resume(replace(started, search=replace(started.search, trials=2)), started)


def test_a_grid_of_which_points_were_drawn_cannot_be_extended() -> None:
    """With more trials other points are drawn: the trials that are there would not be of the plan."""
    started = options(beta=(1.0, 2.0, 3.0, 4.0), trials=2)
    with pytest.raises(ValueError, match="--trials must stay 2"):
        check_resume(replace(started, search=replace(started.search, trials=4)), started)


def test_the_confirmed_keep_their_seeds_when_more_are_asked_for(tmp_path: Path) -> None:
    """Trials that ran would else be taken for others."""
    chosen = [{"beta": beta, "latent_size": 5, "lr": 1e-3} for beta in (2.0, 8.0)]

    def given(count: int, seeds: int) -> list[dict[str, Any]]:
        asked = replace(options(), confirm=ConfirmOptions(confirm=count, seeds=seeds))
        folder = SearchFolder(Mirror(tmp_path / str(count)), sweep_seed=3, first=FIRST_CONFIRMING)
        search = SweepSearch(confirmation_stage(asked, folder, chosen[:count]), known=Trials([], {}))
        return [params for _ in range(search.num_left) if (params := search.suggest(str(_)))]

    few, many = given(1, 2), given(2, 3)
    assert [(params["beta"], params["seed"]) for params in many] == [
        (2.0, 3_500_000), (8.0, 3_501_000), (2.0, 3_500_001), (8.0, 3_501_001), (2.0, 3_500_002), (8.0, 3_501_002),
    ]  # fmt: skip
    assert [params for params in few if params in many] == few
    assert {path.name for path in (tmp_path / "2").iterdir()} == {f"trial_{i:04}" for i in (0, 1, 2, 1000, 1001, 1002)}


@pytest.mark.parametrize(
    ("known", "asked", "message"),
    [((2, 5), (1, 5), "--confirm"), ((2, 5), (2, 4), "--seeds"), ((None, 5), (1, 2), None), ((1, 5), (2, 6), None)],
)
def test_a_confirmation_can_only_grow(
    known: tuple[int | None, int], asked: tuple[int, int], message: str | None
) -> None:
    before, after = (replace(options(), confirm=ConfirmOptions(*values)) for values in (known, asked))
    if message is None:
        check_resume(after, before)  # raises otherwise
    else:
        with pytest.raises(ValueError, match=message):
            check_resume(after, before)
