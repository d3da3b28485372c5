"""A sweep that trackers follow, without a network."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import EVERY, STEPS, RunningSweep, command_of, descendants, wait_for
from trackers import PICTURES, tracked

from betavae.records.sweep import read_sweep

ALL_STEPS = list(range(EVERY, STEPS + 1, EVERY))


@pytest.fixture
def sweep(tmp_path: Path, trackers_offline: None) -> Iterator[RunningSweep]:
    sweep = RunningSweep(tmp_path / "s", "--beta 4 8 --confirm 1 --seeds 1 --track wandb mlflow")
    yield sweep
    sweep.discard()


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_is_tracked_interrupted_resumed_and_confirmed(sweep: RunningSweep) -> None:
    """With a database that is new: the curves of both have every step once, and no process is left."""
    wait_for(lambda: (sweep.trial(0) / "result.json").exists(), pause=0.01)
    services = [pid for pid in descendants(sweep.process.pid) if "wandb-core" in command_of(pid)]
    sweep.process.send_signal(signal.SIGTERM)
    _, errors = sweep.end(code=143)
    assert "warning" not in errors
    sweep.resume()
    wait_for(lambda: (sweep.folder / "confirm").exists(), pause=0.01)
    services += [pid for pid in descendants(sweep.process.pid) if "wandb-core" in command_of(pid)]
    _, errors = sweep.end()
    assert "warning" not in errors
    assert services
    assert not any("wandb-core" in command_of(pid) for pid in services)
    trials = read_sweep(sweep.folder)
    scores = {
        f"{trial.folder.parent.name}/{trial.index:04}": [report["mig"] for report in trial.reports]
        for trial in (*trials.trials, *trials.confirming)
    }
    assert scores.keys() == {"search/0000", "search/0001", "confirm/0000"}
    for name in ("wandb", "mlflow"):
        runs = tracked(name, sweep.folder)
        assert runs.keys() == scores.keys()
        for trial, values in scores.items():
            assert runs[trial].curves["mig"] == list(zip(ALL_STEPS, values, strict=True)), (name, trial)
            assert all(runs[trial].pictures[picture] for picture in PICTURES)
            assert (runs[trial].group, runs[trial].summary["outcome"]) == ("s", "finished")
            assert runs[trial].summary["best_mig"] == max(values)
