import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.metrics import Scores
from betavae.records.checkpoint import read_scores
from betavae.records.trial import PlannedTrial, read_trial
from betavae.training import TrainingRun
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import TrialFolder

CONFIG = TrialConfig.from_dict({"latent_size": 3, "batch_size": 2, "steps": 10, "eval_every": 1, "images": 100})
PLANNED = PlannedTrial(0, CONFIG)


@pytest.fixture(scope="module")
def run(small_data: DSprites) -> TrainingRun:
    return TrainingRun.start(CONFIG, small_data)


@pytest.fixture(scope="module")
def scores(run: TrainingRun, small_data: DSprites) -> Scores:
    return evaluate(run.model, small_data)


def commit(folder: TrialFolder, run: TrainingRun, scores: Scores, *, step: int, mig: float) -> None:
    run.learner.step = step
    own = replace(scores, step=step).with_scores({"mig": replace(scores["mig"], value=mig)})
    folder.commit(run, scores=own, report={"step": step, "mig": mig})


@pytest.fixture
def folder(tmp_path: Path, run: TrainingRun, scores: Scores) -> TrialFolder:
    """Five evaluations, the second the best."""
    folder = TrialFolder(Mirror(tmp_path / "trial_0000"))
    folder.plan(PLANNED)
    for step, mig in enumerate([0.1, 0.5, 0.2, 0.3, 0.4], start=1):
        commit(folder, run, scores, step=step, mig=mig)
    return folder


def has_failed(folder: TrialFolder) -> bool:
    return read_trial(folder.path).status == "failed"


def steps(folder: TrialFolder) -> list[int]:
    return [int(checkpoint.name[-9:]) for checkpoint in folder.checkpoints()]


def test_the_best_the_latest_and_the_one_before_are_kept(folder: TrialFolder) -> None:
    assert steps(folder) == [2, 4, 5]
    assert read_scores(folder.checkpoints()[0])["mig"].value == 0.5
    assert [report["step"] for report in folder.reports] == [1, 2, 3, 4, 5]
    assert not list(folder.path.glob(".checkpoint_*"))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training.pt", "config.json", "report.json", "samples.npz", "codes.npz"]
)
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
    assert [report["step"] for report in folder.reports] == [1, 2, 3, 4]
    assert (folder.path / "damaged_checkpoint_000000005").is_dir()
    commit(folder, run, scores, step=5, mig=0.4)  # its place is free
    assert steps(folder) == [2, 4, 5]


def test_a_report_that_was_never_written_is_taken_from_its_checkpoint(folder: TrialFolder) -> None:
    """The process ended between the two: the line is cut, or not there."""
    result = folder.path / "result.json"
    result.write_text(result.read_text()[:-7])
    assert folder.resume_point() == folder.checkpoints()[-1]
    assert [report["step"] for report in folder.reports] == [1, 2, 3, 4, 5]
    assert all(json.loads(line) for line in result.read_text().splitlines())


def test_without_a_whole_checkpoint_a_trial_begins_anew(folder: TrialFolder) -> None:
    for checkpoint in folder.checkpoints():
        (checkpoint / "manifest.json").unlink()
    assert folder.resume_point() is None
    assert folder.reports == ()


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
    folder.fail(error, would_recur=True)
    assert (folder.path / "error.txt").read_text().endswith("ValueError: the reason\n")
    assert has_failed(folder)
    assert read_trial(folder.path).would_recur
    folder.forget_failure()
    assert not has_failed(folder)
    assert folder.note_error(ValueError()) == 1


SMALL_DAMAGES = {
    "emptied": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "one bit flipped": lambda text: text[:9] + chr(ord(text[9]) ^ 1) + text[10:],
    "one digit changed": lambda text: text.replace("0.1", "0.9").replace('"beta": 4', '"beta": 5'),
    "a bad line in front": lambda text: "not JSON\n" + text,
    "NUL bytes": lambda text: "\0" * len(text),
    "a list": lambda text: "[]\n",
    "null": lambda text: "null\n",
    "an empty object": lambda text: "{}\n",
    "NaN": lambda text: '{"step": 1, "mig": NaN}\n',
    "an infinity": lambda text: '{"step": 1, "mig": 1e999}\n',
    "a string for a number": lambda text: '{"step": 1, "mig": "0.5"}\n',
    "nested too deeply": lambda text: "[" * 100_000,
}


@pytest.mark.parametrize("damage", SMALL_DAMAGES)
def test_a_damaged_result_is_restored_from_the_latest_checkpoint(folder: TrialFolder, damage: str) -> None:
    """Fails if a report is lost, changed or invented, here or in the file that is written again."""
    whole, result = read_trial(folder.path), folder.path / "result.json"
    text = result.read_text()
    result.write_text(SMALL_DAMAGES[damage](text))
    damaged = read_trial(folder.path)
    assert damaged.reports == whole.reports
    assert "result.json is damaged" in damaged.problems[0]
    folder.mend(damaged)
    assert (result.read_text(), read_trial(folder.path).problems) == (text, ())


def test_a_result_damaged_while_the_trial_runs_is_whole_after_its_next_report(
    folder: TrialFolder, run: TrainingRun, scores: Scores
) -> None:
    (folder.path / "result.json").write_text("\0\0")
    commit(folder, run, scores, step=6, mig=0.1)
    assert [report["step"] for report in read_trial(folder.path).reports] == [1, 2, 3, 4, 5, 6]
    assert read_trial(folder.path).problems == ()


@pytest.mark.parametrize("damage", [name for name in SMALL_DAMAGES if name != "one digit changed"])
def test_damaged_params_are_taken_from_the_latest_checkpoint(folder: TrialFolder, damage: str) -> None:
    params = folder.path / "params.json"
    params.write_text(SMALL_DAMAGES[damage](params.read_text()))
    damaged = read_trial(folder.path, {"options": {"space": {"precision": ["auto"]}}})
    assert damaged.config == CONFIG
    assert "its values are taken from its latest checkpoint" in damaged.problems[0]
    folder.mend(damaged)
    assert (read_trial(folder.path).config, read_trial(folder.path).problems) == (CONFIG, ())


def test_missing_params_are_taken_from_the_latest_checkpoint(folder: TrialFolder) -> None:
    (folder.path / "params.json").unlink()
    assert read_trial(folder.path, {"options": {"space": {"precision": ["auto"]}}}).config == CONFIG


@pytest.mark.parametrize(
    ("asked", "restored"),
    [
        ("other trained", "trained"),
        ("auto trained", "trained"),
        ("other auto", "auto"),
        ("auto", "auto"),
    ],
)
def test_missing_params_have_a_precision_that_the_sweep_asked_for(
    folder: TrialFolder, run: TrainingRun, asked: str, restored: str
) -> None:
    """The checkpoint has the one in which it was trained, on which `auto` may have decided."""
    trained = run.config.precision
    names = {"trained": trained, "other": "float32" if trained == "bfloat16" else "bfloat16", "auto": "auto"}
    (folder.path / "params.json").unlink()
    damaged = read_trial(folder.path, {"options": {"space": {"precision": [names[each] for each in asked.split()]}}})
    assert damaged.config == TrialConfig.from_dict({**CONFIG.to_dict(), "precision": names[restored]})
    folder.mend(damaged)
    assert read_trial(folder.path).problems == ()


def test_params_that_are_not_those_of_the_checkpoint_are_refused_by_name(folder: TrialFolder) -> None:
    params = folder.path / "params.json"
    params.write_text(SMALL_DAMAGES["one digit changed"](params.read_text()))
    with pytest.raises(ValueError, match=r"params\.json says beta 5\.0, but its checkpoint was trained with beta 4\.0"):
        read_trial(folder.path)


def test_damaged_params_without_a_checkpoint_are_refused_with_the_way_on(tmp_path: Path) -> None:
    folder = TrialFolder(Mirror(tmp_path / "trial_0000"))
    folder.plan(PLANNED)
    (folder.path / "params.json").write_text("{")
    with pytest.raises(ValueError, match="no checkpoint tells what it trained either. Delete .*trial_0000"):
        read_trial(folder.path)


def test_a_folder_that_holds_a_trial_is_never_planned_over(folder: TrialFolder) -> None:
    params = folder.path / "params.json"
    params.write_text("{")
    with pytest.raises(FileExistsError, match="already holds a trial"):
        folder.plan(PLANNED)
    assert params.read_text() == "{"


def test_a_folder_left_before_anything_was_written_is_planned(tmp_path: Path) -> None:
    (tmp_path / "trial_0000").mkdir()
    (tmp_path / "trial_0000" / ".params.json-x1").touch()
    TrialFolder(Mirror(tmp_path / "trial_0000")).plan(PLANNED)
    assert read_trial(tmp_path / "trial_0000").config == CONFIG


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"starts": 3, "errors": []}', '{"starts": [[[], 1]]}']
)
def test_damaged_notes_of_attempts_count_as_none(folder: TrialFolder, content: str) -> None:
    (folder.path / "attempts.json").write_text(content)
    assert folder.note_start(step=5, node="a") == 0
    assert folder.note_start(step=5, node="a") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_outcome_still_says_that_the_trial_was_stopped(folder: TrialFolder, content: str) -> None:
    folder.stop(5)
    (folder.path / "outcome.json").write_text(content)
    assert read_trial(folder.path).status == "stopped"


def test_a_trial_in_another_ones_folder_is_named_and_its_place_stays_free(folder: TrialFolder) -> None:
    """A copy of a folder would else be counted as a trial."""
    search = StageFolder(Mirror(folder.path.parent), "mig")
    shutil.copytree(folder.path, folder.path.with_name("trial_0000_backup"))
    trials = search.read_all({})
    assert [trial.trial_id for trial in trials.read] == ["0000"]
    assert "If it is a copy, move it out of" in trials.unreadable["0000_backup"]


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"model.safetensors": 3}'])
def test_a_checkpoint_whose_manifest_lists_too_little_is_not_whole(folder: TrialFolder, content: str) -> None:
    (folder.checkpoints()[-1] / "manifest.json").write_text(content)
    point = folder.resume_point()
    assert point is not None
    assert point.name == "checkpoint_000000004"


def test_a_second_process_is_kept_out(folder: TrialFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.storage.trial_folder._LOCK_SECONDS", 0.1)
    with folder.held(), pytest.raises(TimeoutError, match="is locked by another process"), folder.held():
        pass
    with folder.held():
        pass


def test_every_trial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    search = StageFolder(Mirror(tmp_path), "mig")
    names = [search.trial(index).path.name for index in (0, 12, 12_345)]
    assert names == ["trial_0000", "trial_0012", "trial_12345"]


def test_a_resume_from_a_committed_checkpoint_loads(folder: TrialFolder, small_data: DSprites) -> None:
    point = folder.resume_point()
    assert point is not None
    resumed = TrainingRun.load(point, small_data)
    assert resumed.step == 5
    assert torch.isfinite(next(resumed.model.parameters())).all()


def test_a_failure_is_written_through_no_link_and_as_text(folder: TrialFolder, tmp_path: Path) -> None:
    path, target = folder.path / "error.txt", tmp_path / "target"
    path.symlink_to(target)
    folder.fail(ValueError("\x1b]0;owned\x07 \udc80"), would_recur=False)
    assert not target.exists()
    assert not path.is_symlink()
    assert path.read_text().endswith("ValueError: \\x1b]0;owned\\x07 \\udc80\n")
    assert read_trial(folder.path).status == "failed"
