from sweeps.options import Options, Range, SearchOptions, SweepOptions
from sweeps.search import PlannedSearch, planned_trials


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


def test_a_restored_plan_goes_on_where_it_was(tmp_path: object) -> None:
    plan = PlannedSearch([{"beta": 1.0}, {"beta": 2.0}])
    plan.suggest("a")
    plan.save(f"{tmp_path}/state")
    restored = PlannedSearch([])
    restored.restore(f"{tmp_path}/state")
    assert restored.suggest("b") == {"beta": 2.0}
