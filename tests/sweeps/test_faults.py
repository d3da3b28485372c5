"""Faults, injected for real: after each the sweep ends in full, and its numbers are those of an undisturbed one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import (
    EVERY,
    REPOSITORY,
    STEPS,
    Numbers,
    RunningSweep,
    command_of,
    descendants,
    numbers,
    searched,
    wait_for,
)

from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.records.checkpoint import load_model
from betavae.records.record import read_record
from betavae.records.sweep import read_sweep
from betavae.records.trial import ranked

pytestmark = pytest.mark.ray


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[RunningSweep]:
    sweep = RunningSweep(tmp_path / "s", "--beta 4 8")
    yield sweep
    sweep.discard()


def check_whole(folder: Path, undisturbed: Numbers, *, with_confirmation: bool = False) -> None:
    """Every trial at its full steps, with the numbers of an undisturbed one to the last bit, and its best model."""
    expected = undisturbed if with_confirmation else searched(undisturbed)
    read = read_sweep(folder)
    assert read.has_ended
    assert read.unreadable == ()
    assert numbers(read) == expected
    for trial in (*read.trials, *read.confirming):
        assert trial.status == "finished"
        steps = [report["step"] for report in trial.reports]
        assert steps == list(range(EVERY, STEPS + 1, EVERY))
        assert trial.best_checkpoint is not None
        assert trial.best_checkpoint.scores["mig"].value == trial.score
    best = ranked(read.trials)[0].best_checkpoint
    assert best is not None
    assert evaluate(load_model(best.folder), DSprites.open())["mig"].value == best.scores["mig"].value


def has_report(sweep: RunningSweep) -> bool:
    return (sweep.trial(0) / "result.json").exists()


def processes_of_ray(sweep: RunningSweep, name: str) -> list[int]:
    return [pid for pid in descendants(sweep.process.pid) if command_of(pid).split("\0")[0].endswith(f"/{name}")]


def steps_started_from(sweep: RunningSweep) -> list[int]:
    return [step for step, _ in json.loads((sweep.trial(0) / "attempts.json").read_text())["starts"]]


def stop_in_mid_checkpoint(sweep: RunningSweep) -> int:
    """Halt a worker with half a checkpoint on the disk, and return its process."""

    def halt() -> int:
        half = next(sweep.trial(0).glob(".checkpoint_*-*"), None)
        if half is None:
            return 0
        halted = sweep.workers()
        for pid in halted:
            os.kill(pid, signal.SIGSTOP)
        if half.exists() and not (half / "scores.json").exists():
            return len(halted)
        for pid in halted:
            os.kill(pid, signal.SIGCONT)
        return 0

    return int(wait_for(halt, pause=0))


def kill_workers(sweep: RunningSweep) -> None:
    for pid in sweep.workers():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_workers_killed_in_mid_step_and_in_mid_checkpoint(sweep: RunningSweep, undisturbed: Numbers) -> None:
    wait_for(lambda: has_report(sweep))
    (sweep.trial(0) / "result.json").write_bytes(b"\0" * 9)  # as a power cut leaves it: the trial and the driver go on
    (sweep.trial(0) / "params.json").write_text("")
    kill_workers(sweep)
    wait_for(lambda: len(steps_started_from(sweep)) == 2)
    stop_in_mid_checkpoint(sweep)
    kill_workers(sweep)
    _, errors = sweep.end()
    assert "its values are taken from its latest checkpoint" in errors
    started = steps_started_from(sweep)
    assert len(started) == 3
    assert started[1] >= EVERY  # it went on, and did not begin anew
    assert not list(sweep.trial(0).glob(".checkpoint_*"))
    check_whole(sweep.folder, undisturbed)


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that, once it is there, sets the wall clock back a day, as Python has it in driver, Ray and trials."""
    jump = tmp_path / "jump"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, time\nreal = time.time\ntime.time = lambda: real() - 86400 * os.path.exists({str(jump)!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return jump


@pytest.mark.slow
def test_the_driver_killed_at_four_moments(jump: Path, sweep: RunningSweep, undisturbed: Numbers) -> None:
    """Before the first report, while checkpoints are written, while the best is confirmed, and while the report is
    written; the clock jumps back, too.
    """
    wait_for(lambda: (sweep.trial(0) / "params.json").exists())
    sweep.kill()
    assert not has_report(sweep)
    sweep.resume()
    wait_for(lambda: has_report(sweep))
    jump.touch()
    stop_in_mid_checkpoint(sweep)
    halted = sweep.workers()
    sweep.kill()
    for pid in halted:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep.resume("--confirm 1 --seeds 1")
    wait_for(lambda: list(sweep.folder.glob("confirm/trial_0000/result.json")))
    sweep.kill()
    sweep.resume("--report")
    wait_for(lambda: list(sweep.folder.glob(".report-*")))
    sweep.kill()
    assert not (sweep.folder / "report").exists()
    sweep.resume("--report")
    output, _ = sweep.end()
    assert "2 ended, 0 to resume" in output
    assert (sweep.folder / "report" / "index.html").exists()
    check_whole(sweep.folder, undisturbed, with_confirmation=True)


@pytest.mark.slow
def test_signals_the_end_of_ray_a_second_driver_and_a_flipped_bit(sweep: RunningSweep, undisturbed: Numbers) -> None:
    wait_for(lambda: processes_of_ray(sweep, "gcs_server"))
    sweep.process.send_signal(signal.SIGTERM)  # while Ray starts, which takes the signal for itself
    _, errors = sweep.end(code=143)
    assert errors == f"interrupted; resume with: python sweeps/run.py --resume {sweep.folder}\n"

    sweep.resume()
    wait_for(lambda: has_report(sweep))
    for pid in processes_of_ray(sweep, "raylet"):
        os.kill(pid, signal.SIGKILL)
    output, errors = sweep.end(code=1)
    assert "Raylet is terminated" not in output  # with pages of Ray's state
    assert errors == (
        "error: Ray's raylet has ended, killed or out of memory; no checkpoint is lost\n"
        f"resume with: python sweeps/run.py --resume {sweep.folder}\n"
    )

    sweep.resume()
    wait_for(lambda: len(steps_started_from(sweep)) >= 2)
    sweep.process.send_signal(signal.SIGTERM)
    output, errors = sweep.end(code=143)
    assert errors == f"interrupted; resume with: python sweeps/run.py --resume {sweep.folder}\n"
    assert "checkpoint_" in output  # the table so far
    assert read_record(sweep.folder)["outcome"]["search"] == "interrupted"

    latest = max(sweep.trial(0).glob("checkpoint_*"))
    content = bytearray((latest / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (latest / "model.safetensors").write_bytes(content)
    (sweep.folder / "sweep.json").write_text("{")
    (sweep.trial(0) / "params.json").unlink()
    for name in ("result.json", "attempts.json"):
        (sweep.trial(0) / name).write_text("")
    sweep.resume()
    wait_for(lambda: len(read_record(sweep.folder)["resumed"]) == 3)  # from then on it holds the folder
    command = [sys.executable, "sweeps/run.py", "--resume", str(sweep.folder)]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (second.returncode, second.stdout) == (2, "")
    assert "is in use by another run.py" in second.stderr
    wait_for(lambda: (latest.parent / f"damaged_{latest.name}").exists())
    sweep.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    sweep.process.send_signal(signal.SIGINT)  # at once
    _, errors = sweep.end(code=130)
    assert errors.endswith(f"--resume {sweep.folder}\n")
    sweep.resume()
    sweep.end()
    check_whole(sweep.folder, undisturbed)


@pytest.mark.slow
def test_a_trial_that_raises_is_tried_once_more_and_others_go_on(sweep: RunningSweep, undisturbed: Numbers) -> None:
    """Its result.json is a folder, which no report can be added to; when that is mended it goes on."""
    wait_for(lambda: sweep.trial(0).exists(), pause=0)
    (sweep.trial(0) / "result.json").mkdir()
    _, errors = sweep.end(code=1)
    assert "error: trial 0000 failed: IsADirectoryError" in errors
    assert errors.endswith(f"--resume {sweep.folder} --retry-failed\n")
    assert len(json.loads((sweep.trial(0) / "attempts.json").read_text())["errors"]) == 2
    (sweep.trial(0) / "result.json").rmdir()
    sweep.resume("--retry-failed")
    output, _ = sweep.end()
    assert "1 ended, 1 to resume" in output
    check_whole(sweep.folder, undisturbed)


@pytest.mark.slow
def test_a_trial_whose_process_dies_again_and_again_is_given_up(sweep: RunningSweep) -> None:
    """As where memory runs out: always killed before it gets on, with no error of its own."""

    def kill_if_training_trial_0() -> bool:
        attempts = sweep.trial(0) / "attempts.json"
        if attempts.exists():
            for pid in sweep.workers():
                if str(sweep.trial(0) / ".lock") in open_files(pid):
                    os.kill(pid, signal.SIGKILL)
        return sweep.process.poll() is not None

    wait_for(kill_if_training_trial_0, pause=0.1)
    _, errors = sweep.end(code=1)
    assert "error: trial 0000 failed" in errors
    assert "process died 4 times after step 0 on one machine" in errors
    trials = {trial.trial_id: trial.status for trial in read_sweep(sweep.folder).trials}
    assert trials == {"0000": "failed", "0001": "finished"}


def open_files(pid: int) -> set[str]:
    files = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            files.add(os.readlink(link))
        except OSError:
            continue
    return files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB: room for a few checkpoints."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.rig  # as root
def test_a_disk_that_is_full(small_disk: Path, undisturbed: Numbers) -> None:
    sweep = RunningSweep(small_disk / "s", "--beta 4 8")
    _, errors = sweep.end(code=1)
    assert "The disk is full" in errors
    assert "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    sweep.resume("--retry-failed")
    sweep.end()
    check_whole(sweep.folder, undisturbed)
