"""Faults, injected for real: after each the sweep ends in full, and its numbers are those of an undisturbed one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from betavae.analysis.results import Trial, ranked, read_record, read_sweep
from betavae.checkpoint import load_model
from betavae.data import DSprites
from betavae.evaluation import evaluate

REPOSITORY = Path(__file__).parents[2]
STEPS, EVERY = 120, 40
SMALL = f"-z 3 -b 16 --lr 1e-3 --steps {STEPS} --eval-every {EVERY} --scheduler none --num-gpus 0 --exact 0 --no-report"
PATIENCE = 120.0  # seconds, after which something that should have happened has not

pytestmark = pytest.mark.ray


Numbers = dict[int, list[dict[str, Any]]]
"""By seed, what each report of a trial said."""


class Sweep:
    """A run.py of a test's own, and what is in its folder."""

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        words = f"--results {folder.parent} --name {folder.name} {SMALL} {options}".split()
        self.process = self._start(words)

    def resume(self, options: str = "") -> None:
        self.process = self._start(["--resume", str(self.folder), "--no-report", "--exact", "0", *options.split()])

    def end(self, *, code: int = 0) -> tuple[str, str]:
        """Wait for it, and return what it said."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, errors
        return output, errors

    def kill(self) -> None:
        """The driver alone, as the system would; its Ray goes with it."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def trial(self, index: int) -> Path:
        return self.folder / "search" / f"trial_{index:04}"

    def workers(self) -> list[int]:
        """Processes that train, of this driver."""
        return [pid for pid in descendants(self.process.pid) if "ImplicitFunc" in command_of(pid)]

    def _start(self, words: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, "sweeps/run.py", *words]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def wait_for(what: Callable[[], Any], *, pause: float = 0.05) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)
    return result


def numbers(trial: Trial) -> list[dict[str, Any]]:
    """What it reported, without the speed."""
    return [{name: value for name, value in report.items() if name != "images_per_second"} for report in trial.reports]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """What two trials report when nothing happens to them, by seed."""
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed") / "s", "--beta 4 8")
    sweep.end()
    return {trial.config.seed: numbers(trial) for trial in read_sweep(sweep.folder).trials}


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    sweep = Sweep(tmp_path / "s", "--beta 4 8")
    yield sweep
    for pid in [*descendants(sweep.process.pid), sweep.process.pid] if sweep.process.poll() is None else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep.process.communicate()


def check_whole(folder: Path, undisturbed: Numbers) -> None:
    """Every trial at its full steps, with the numbers of an undisturbed one to the last bit, and its best model."""
    read = read_sweep(folder)
    assert read.has_ended
    assert read.unreadable == ()
    assert {trial.config.seed: numbers(trial) for trial in read.trials} == undisturbed
    for trial in read.trials:
        assert trial.status == "finished"
        steps = [report["step"] for report in trial.reports]
        assert steps == list(range(EVERY, STEPS + 1, EVERY))
        assert trial.best_checkpoint is not None
        assert trial.best_checkpoint.score == trial.score
    best = ranked(read.trials)[0].best_checkpoint
    assert best is not None
    assert evaluate(load_model(best.folder), DSprites.open()).mig.score == best.score


def has_report(sweep: Sweep) -> bool:
    return (sweep.trial(0) / "result.json").exists()


def steps_started_from(sweep: Sweep) -> list[int]:
    return [step for step, _ in json.loads((sweep.trial(0) / "attempts.json").read_text())["starts"]]


def stop_in_mid_checkpoint(sweep: Sweep) -> int:
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


def kill_workers(sweep: Sweep) -> None:
    for pid in sweep.workers():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_workers_killed_in_mid_step_and_in_mid_checkpoint(sweep: Sweep, undisturbed: Numbers) -> None:
    wait_for(lambda: has_report(sweep))
    kill_workers(sweep)
    wait_for(lambda: len(steps_started_from(sweep)) == 2)
    stop_in_mid_checkpoint(sweep)
    kill_workers(sweep)
    sweep.end()
    started = steps_started_from(sweep)
    assert len(started) == 3
    assert started[1] >= EVERY  # it went on, and did not begin anew
    assert not list(sweep.trial(0).glob(".checkpoint_*"))
    check_whole(sweep.folder, undisturbed)


@pytest.mark.slow
def test_the_driver_killed_at_three_moments(sweep: Sweep, undisturbed: Numbers) -> None:
    """Before the first report, while checkpoints are written, and while the report is."""
    wait_for(lambda: (sweep.trial(0) / "params.json").exists())
    sweep.kill()
    assert not has_report(sweep)
    sweep.resume()
    wait_for(lambda: has_report(sweep))
    stop_in_mid_checkpoint(sweep)
    halted = sweep.workers()
    sweep.kill()
    for pid in halted:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep.resume("--report")
    wait_for(lambda: list(sweep.folder.glob(".report-*")))
    sweep.kill()
    assert not (sweep.folder / "report").exists()
    sweep.resume("--report")
    output, _ = sweep.end()
    assert "2 trials have ended, 0 go on" in output
    assert (sweep.folder / "report" / "index.html").exists()
    check_whole(sweep.folder, undisturbed)


@pytest.mark.slow
def test_signals_a_second_driver_and_a_flipped_bit(sweep: Sweep, undisturbed: Numbers) -> None:
    wait_for(lambda: has_report(sweep))
    sweep.process.send_signal(signal.SIGTERM)
    output, errors = sweep.end(code=143)
    assert errors == f"interrupted; go on with: python sweeps/run.py --resume {sweep.folder}\n"
    assert "checkpoint_" in output  # the table so far

    latest = max(sweep.trial(0).glob("checkpoint_*"))
    content = bytearray((latest / "model.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (latest / "model.pt").write_bytes(content)
    sweep.resume()
    wait_for(lambda: "resumed" in read_record(sweep.folder))  # from then on it holds the folder
    command = [sys.executable, "sweeps/run.py", "--resume", str(sweep.folder)]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (second.returncode, second.stdout) == (2, "")
    assert "is being worked on by another run.py" in second.stderr
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
def test_a_trial_that_raises_is_tried_once_more_and_the_sweep_goes_on(sweep: Sweep, undisturbed: Numbers) -> None:
    """Its result.json is a folder, which no report can be added to; when that is mended it goes on."""
    wait_for(lambda: sweep.trial(0).exists(), pause=0)
    (sweep.trial(0) / "result.json").mkdir()
    _, errors = sweep.end(code=1)
    assert "error: trial 0000 failed: IsADirectoryError" in errors
    assert len(json.loads((sweep.trial(0) / "attempts.json").read_text())["errors"]) == 2
    (sweep.trial(0) / "result.json").rmdir()
    sweep.resume("--retry-failed")
    output, _ = sweep.end()
    assert "1 trials have ended, 1 go on" in output
    check_whole(sweep.folder, undisturbed)


@pytest.mark.slow
def test_a_trial_whose_process_dies_again_and_again_is_given_up(sweep: Sweep) -> None:
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
    sweep = Sweep(small_disk / "s", "--beta 4 8")
    _, errors = sweep.end(code=1)
    assert "The disk is full" in errors
    assert "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    sweep.resume("--retry-failed")
    sweep.end()
    check_whole(sweep.folder, undisturbed)
