from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from betavae.analysis.results import read_sweep
from studies.search_cost import History, rank_correlations, read_history


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


def test_what_was_found_for_some_steps_and_what_a_score_cost() -> None:
    history = History(np.array([100, 200, 300]), np.array([0.1, 0.3, 0.3]))
    assert [history.best_at(steps) for steps in (99, 100, 250, 900)] == [0.0, 0.1, 0.3, 0.3]
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
