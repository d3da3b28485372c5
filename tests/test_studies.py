import json
import re
from pathlib import Path

import numpy as np
import pytest
from collect import collected, confirmed_in, merged
from search_cost import History, rank_correlations, read_history
from search_replay import grid_draw, random_draw, read_table, replay, tpe_draw
from torch.utils.tensorboard import SummaryWriter

from betavae.records.sweep import read_sweep
from sweeps.search.stopping import NoStopping, SuccessiveHalving

ROOT = Path(__file__).parents[1]


def test_history_follows_the_clock_over_all_trials(make_sweep) -> None:
    """Fails where trials are read one after the other, or steps are not counted from the report before."""
    folder: Path = make_sweep({"a": {"migs": [0.1, 0.4]}, "b": {"migs": [0.3, 0.2]}})
    for name, reports in {"a": [(1.0, 100, 0.1), (4.0, 200, 0.4)], "b": [(2.0, 100, 0.3), (3.0, 200, 0.2)]}.items():
        with SummaryWriter(str(folder / "search" / f"trial_{name}")) as writer:
            for time, step, mig in reports:
                writer.add_scalar("mig", mig, step, walltime=time)
    history = read_history(read_sweep(folder))
    assert history.spent.tolist() == [100, 200, 300, 400]
    assert history.best.tolist() == pytest.approx([0.1, 0.3, 0.3, 0.4])
    assert history.begun.tolist() == [1, 2, 2, 2]


def test_what_was_found_for_some_steps_and_what_a_score_cost() -> None:
    history = History(np.array([100, 200, 300]), np.array([0.1, 0.3, 0.3]), np.array([1, 2, 2]))
    assert [history.best_at(steps) for steps in (99, 100, 250, 900)] == [0.0, 0.1, 0.3, 0.3]
    assert [history.begun_at(steps) for steps in (99, 100, 900)] == [0, 1, 2]
    assert (history.steps_to(0.1), history.steps_to(0.2), history.steps_to(0.31)) == (100, 200, None)


def test_early_scores_are_correlated_with_the_last_of_trials_that_ran_to_their_end(make_sweep) -> None:
    trials = {
        "a": {"migs": [0.1, 0.9]},
        "b": {"migs": [0.2, 0.5]},
        "c": {"migs": [0.3, 0.1]},
        "cut": {"migs": [0.9]},
    }
    correlations = rank_correlations(read_sweep(make_sweep(trials)).trials)
    assert correlations == {100: (pytest.approx(-1), 3)}


@pytest.fixture
def table(make_sweep):
    """Two settings, one of two seeds: one is never good, one is from its first report."""
    trials = {
        "bad": {"migs": [0.1, 0.2], "beta": 1.0},
        "good": {"migs": [0.3, 0.4], "beta": 8.0},
        "again": {"migs": [0.3, 0.4], "beta": 8.0, "seed": 1},
        "cut": {"migs": [0.9], "beta": 8.0, "seed": 2},
    }
    return read_table(read_sweep(make_sweep(trials)).trials)


class RecordingDraw:
    """The good one, the bad one, then good ones; and what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float | None]] = []

    def next(self, index: int) -> dict[str, float]:
        return {"beta": 1.0 if index == 1 else 8.0, "latent_size": 3, "lr": 1e-3}

    def begin(self, index: int, params: dict[str, float]) -> None:
        raise AssertionError("nothing was there before")

    def end(self, index: int, score: float | None) -> None:
        self.told.append((index, score))


def test_a_table_holds_the_trials_that_ran_to_their_end(table) -> None:
    good, bad = ((100, 0.3), (200, 0.4)), ((100, 0.1), (200, 0.2))
    assert table.curves == {(8.0, 3, 1e-3): [good, good], (1.0, 3, 1e-3): [bad]}
    assert (table.steps, table.budget) == (200, 400)


@pytest.mark.parametrize(
    ("other", "what"),
    [({"beta": 2.0, "latent_size": 4}, "Every setting"), ({"batch_size": 16}, "of one study")],
)
def test_a_table_with_holes_or_of_two_studies_is_refused(make_sweep, other: dict[str, float], what: str) -> None:
    trials = {"a": {"migs": [0.1, 0.2]}, "b": {"migs": [0.1, 0.2], "seed": 1} | other}
    with pytest.raises(ValueError, match=what):
        read_table(read_sweep(make_sweep(trials)).trials)


@pytest.mark.parametrize("draw", [grid_draw, random_draw, tpe_draw])
def test_a_replay_spends_a_grids_steps_on_what_the_trials_reported(table, draw) -> None:
    history = replay(table, draw(table, 0), NoStopping(), generator=np.random.default_rng(0))
    assert history.spent.tolist() == [0, 100, 200, 300, 400]
    assert history.begun.tolist() == [0, 1, 1, 2, 2]
    assert history.best[1] in (0.1, 0.3)
    if draw is grid_draw:
        assert history.best[-1] == 0.4  # the good one is among the two


def test_a_trial_that_is_stopped_is_charged_for_what_it_ran(table) -> None:
    """The good one goes on, the bad one is stopped half way, and a third begins; without a rule two spend it all."""
    draw = RecordingDraw()
    whole = replay(table, draw, NoStopping(), generator=np.random.default_rng(0))
    assert draw.told == [(0, 0.4), (1, 0.2)]
    assert whole.begun_at(400) == 2
    draw = RecordingDraw()
    rule = SuccessiveHalving(grace_steps=100, max_steps=200, keep_one_of=3)
    halved = replay(table, draw, rule, generator=np.random.default_rng(0))
    assert draw.told == [(0, 0.4), (1, 0.1), (2, 0.4)]
    assert halved.spent.tolist() == [0, 100, 200, 300, 400, 500]
    assert halved.begun.tolist() == [0, 1, 1, 2, 3, 3]


def test_as_many_trials_as_the_budget_is_good_for(table) -> None:
    """200 steps each without a rule; 100 and a third of 100 with one: 400 / 133."""
    assert (table.num_trials(None), table.num_trials(100)) == (2, 3)


def test_results_keep_the_studies_that_are_not_here(make_sweep) -> None:
    confirming = {"new": {"migs": [0.2, 0.3]}, "other": {"migs": [0.2, 0.1], "seed": 1}}
    mine = collected(read_sweep(make_sweep({"a": {"migs": [0.1, 0.4]}}, confirming=confirming)))
    name = next(iter(mine["studies"]))
    known = {
        "studies": {name: "old", "elsewhere": "kept"},
        "configurations": [{"study": name, "mig": []}, {"study": "elsewhere", "mig": [0.9]}],
        "seed_study": [{"study": "elsewhere"}],
    }
    results = merged(known, mine)
    assert results["studies"]["elsewhere"] == "kept"
    assert results["studies"][name] != "old"
    assert [one["study"] for one in results["configurations"]] == ["elsewhere", name]
    assert results["configurations"][1]["mig"] == [0.3, 0.1]
    assert results["seed_study"] == [{"study": "elsewhere"}]
    kept = merged(json.loads((ROOT / "docs" / "results.json").read_text()), mine)  # the one that is there
    assert {"beta-vae", name} <= {one["study"] for one in kept["configurations"]}
    (drawn,) = confirmed_in(mine)
    assert (drawn.scores, drawn.median, drawn.search_score) == ((0.3, 0.1), pytest.approx(0.2), 0.4)


def test_a_study_that_chose_nothing_is_recorded_as_it_ended(make_sweep) -> None:
    """Fails where the best report is taken in place of the last."""
    (one,) = collected(read_sweep(make_sweep({"a": {"migs": [0.4, 0.1]}})))["configurations"]
    assert one["mig"] == [0.1]
    assert "search_score_selected_with_labels" not in one


@pytest.mark.parametrize("script", sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("studies/*.py")]))
def test_a_script_runs_its_own_checkout_whatever_is_installed(script: Path) -> None:
    """`measure` does so for the benchmarks; run.py and analyze.py are run for it, in test_run."""
    text = script.read_text()
    first = re.search(r"^(from|import) (betavae|sweeps)", text, re.MULTILINE)
    own = re.search(r"^(sys\.path\.insert|from measure|import measure)", text, re.MULTILINE)
    assert first is None or (own is not None and own.start() < first.start())
