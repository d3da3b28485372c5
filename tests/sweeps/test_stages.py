"""When a stage has ended."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from betavae.records.sweep import read_sweep
from betavae.records.trial import Trial, Trials
from sweeps.search.draws import PlannedDraw
from sweeps.search.ray_search import Stage
from sweeps.search.stopping import NoStopping, StoppingRules
from sweeps.stages import _has_ended
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

Make = Callable[[dict[str, str]], list[Trial]]


@pytest.fixture
def make(make_sweep) -> Make:
    """Make trials that finished, were stopped, failed, or are unfinished."""

    def make(statuses: dict[str, str]) -> list[Trial]:
        migs = {name: [0.1, 0.2] if status == "finished" else [0.1] for name, status in statuses.items()}
        read = read_sweep(make_sweep({name: {"migs": each} for name, each in migs.items()})).trials
        error = {name: "the reason" if status == "failed" else None for name, status in statuses.items()}
        return [
            replace(each, was_stopped=statuses[each.trial_id] == "stopped", error=error[each.trial_id]) for each in read
        ]

    return make


@pytest.mark.parametrize(
    ("statuses", "unreadable", "has_ended"),
    [
        ({"0000": "finished", "0001": "stopped", "0002": "failed"}, [], True),
        ({"0000": "finished", "0002": "finished"}, ["0001"], True),
        ({"0000": "finished", "0001": "unfinished", "0002": "finished"}, [], False),
        ({"0000": "finished", "0001": "finished"}, [], False),
        ({"0000": "finished", "0001": "finished"}, ["0002_backup"], False),
        ({"0000": "finished", "0001": "unfinished", "0002": "finished"}, ["0001 (copy)", "0007"], False),
        ({"0000": "finished", "0001": "finished", "0007": "finished"}, [], False),
    ],
)
def test_a_stage_has_ended_with_its_own_trials_alone(
    statuses: dict[str, str], unreadable: list[str], make: Make, tmp_path: Path, *, has_ended: bool
) -> None:
    """Fails where a copy of a trial's folder stands for a trial that has not ended."""
    folder = StageFolder(Mirror(tmp_path / "search"), "mig")
    stage = Stage(folder, [2, 0, 1], PlannedDraw({}), StoppingRules(NoStopping), "mig")
    assert _has_ended(stage, Trials(make(statuses), dict.fromkeys(unreadable, "why"))) is has_ended
