import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from betavae.analysis.results import read_trial
from betavae.checkpoint import read_scores
from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import Scores, evaluate
from betavae.training import TrainingRun
from sweeps.search_folder import SearchFolder, trial_seed
from sweeps.storage import Mirror
from sweeps.trial_folder import TrialFolder

CONFIG = TrialConfig(latent_size=3, batch_size=2, steps=10, eval_every=1, images=100)


@pytest.fixture(scope="module")
def run(small_data: DSprites) -> TrainingRun:
    return TrainingRun.start(CONFIG, small_data)


@pytest.fixture(scope="module")
def scores(run: TrainingRun, small_data: DSprites) -> Scores:
    return evaluate(run.model, small_data)


def commit(folder: TrialFolder, run: TrainingRun, scores: Scores, *, step: int, mig: float) -> None:
    run.step = step
    own = replace(scores, mig=replace(scores.mig, score=mig))
    folder.commit(run, scores=own, report={"step": step, "mig": mig})


@pytest.fixture
def folder(tmp_path: Path, run: TrainingRun, scores: Scores) -> TrialFolder:
    """Five evaluations, the second the best."""
    folder = TrialFolder(Mirror(tmp_path / "trial_0000"))
    folder.plan({"beta": 4.0})
    for step, mig in enumerate([0.1, 0.5, 0.2, 0.3, 0.4], start=1):
        commit(folder, run, scores, step=step, mig=mig)
    return folder


def has_failed(folder: TrialFolder) -> bool:
    return read_trial(folder.path).status == "failed"


def steps(folder: TrialFolder) -> list[int]:
    return [int(checkpoint.name[-9:]) for checkpoint in folder.checkpoints()]


def test_the_best_the_latest_and_the_one_before_are_kept(folder: TrialFolder) -> None:
    assert steps(folder) == [2, 4, 5]
    assert read_scores(folder.checkpoints()[0])["mig"]["score"] == 0.5
    assert [report["step"] for report in folder.reports()] == [1, 2, 3, 4, 5]
    assert not list(folder.path.glob(".checkpoint_*"))


@pytest.mark.parametrize("name", ["model.pt", "training.pt", "config.json", "report.json", "samples.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_used(
    folder: TrialFolder, name: str, damage: str, run: TrainingRun, scores: Scores
) -> None:
    path = folder.checkpoints()[-1] / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {"flip": lambda: path.write_bytes(content), "cut": lambda: path.write_bytes(content[:-9]), "remove": path.unlink}[
        damage
    ]()
    point = folder.resume_point()
    assert point is not None
    assert point.name == "checkpoint_000000004"
    assert [report["step"] for report in folder.reports()] == [1, 2, 3, 4]
    assert (folder.path / "damaged_checkpoint_000000005").is_dir()
    commit(folder, run, scores, step=5, mig=0.4)  # its place is free
    assert steps(folder) == [2, 4, 5]


def test_a_report_that_was_never_written_is_taken_from_its_checkpoint(folder: TrialFolder) -> None:
    """The process ended between the two: the line is cut, or not there."""
    result = folder.path / "result.json"
    result.write_text(result.read_text()[:-7])
    assert folder.resume_point() == folder.checkpoints()[-1]
    assert [report["step"] for report in folder.reports()] == [1, 2, 3, 4, 5]
    assert all(json.loads(line) for line in result.read_text().splitlines())


def test_without_a_whole_checkpoint_a_trial_begins_anew(folder: TrialFolder) -> None:
    for checkpoint in folder.checkpoints():
        (checkpoint / "manifest.json").unlink()
    assert folder.resume_point() is None
    assert folder.reports() == ()


def test_half_a_checkpoint_is_swept_away(folder: TrialFolder) -> None:
    shutil.copytree(folder.checkpoints()[-1], folder.path / ".checkpoint_000000006-x1")
    folder.resume_point()
    assert not list(folder.path.glob(".checkpoint_*"))


def test_deaths_at_one_place_are_counted_and_errors_and_progress_are_not(folder: TrialFolder) -> None:
    assert [folder.note_start(step=5, node="a") for _ in range(3)] == [0, 1, 2]
    folder.note_error(ValueError("of its own"))  # the third start ended by an error, not by a death
    assert folder.note_start(step=5, node="a") == 2
    assert folder.note_start(step=5, node="b") == 0  # another machine: the first may have been lost
    assert folder.note_start(step=6, node="b") == 0  # it got on


def test_a_failure_says_its_error_last_and_can_be_forgotten(folder: TrialFolder) -> None:
    error = ValueError("the reason")
    assert [folder.note_error(error), folder.note_error(error)] == [1, 2]
    folder.fail(error)
    assert (folder.path / "error.txt").read_text().endswith("ValueError: the reason\n")
    assert has_failed(folder)
    folder.forget_failure()
    assert not has_failed(folder)
    assert folder.note_error(ValueError()) == 1


def test_a_second_process_is_kept_out(folder: TrialFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.trial_folder._LOCK_SECONDS", 0.1)
    with folder.held(), pytest.raises(TimeoutError, match="is held by another process"), folder.held():
        pass
    with folder.held():
        pass


def test_every_trial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    search = SearchFolder(Mirror(tmp_path), sweep_seed=7)
    names = [search.trial(trial_seed(7, index)).path.name for index in (0, 12, 12_345)]
    assert names == ["trial_0000", "trial_0012", "trial_12345"]


def test_a_resume_from_a_committed_checkpoint_loads(folder: TrialFolder, small_data: DSprites) -> None:
    point = folder.resume_point()
    assert point is not None
    resumed = TrainingRun.load(point, small_data)
    assert resumed.step == 5
    assert torch.isfinite(next(resumed.model.parameters())).all()
