"""A run.py of a test's own, in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from betavae.records.sweep import Sweep

REPOSITORY = Path(__file__).parents[1]
STEPS, EVERY = 120, 40
SMALL = (
    f"-z 3 -b 16 --lr 1e-3 --steps {STEPS} --eval-every {EVERY} --scheduler none --num-gpus 0 --exact 0 --final-scores "
    "--no-report"
)
IDLE_SECONDS = 120.0
"""Processes that have done nothing for so long wait for something that will not come."""

CPU_SECONDS = 1800.0
"""Processes that have used so much will not end by themselves: the longest sweep of a test uses about 100."""

_BUSY_CORES = 0.2
"""An idle Ray wants less: 0.06 of a core, measured; one that starts or trains wants 0.3 to 3."""

Numbers = dict[str, list[dict[str, Any]]]
"""By stage and number, what each report of a trial said, without the speed."""


class RunningSweep:
    """A run.py of a test's own, and what is in its folder.

    Args:
        folder: Where the sweep is made.
        options: More than `SMALL`.
        url: Where it is made instead.
    """

    def __init__(self, folder: Path, options: str, *, url: str | None = None) -> None:
        self.folder, self.location = folder, url or str(folder)
        results, _, name = self.location.rpartition("/")
        self.process = self._start(f"--results {results} --name {name} {SMALL} {options}".split())

    def resume(self, options: str = "") -> None:
        self.process = self._start(["--resume", self.location, "--no-report", "--exact", "0", *options.split()])

    def end(self, *, code: int = 0) -> tuple[str, str]:
        """Wait for it, and return what it said."""
        output, errors = output_of(self.process)
        assert self.process.returncode == code, errors
        return output, errors

    def discard(self) -> None:
        """End it and all its processes, if they run still."""
        for pid in [*descendants(self.process.pid), self.process.pid] if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()

    def kill(self) -> None:
        """The driver alone, as the system would; its Ray goes with it."""
        self.process.kill()
        output_of(self.process)

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


class Patience:
    """How long to wait for processes: as long as they work, or would if they got a processor.

    So a machine that is loaded makes a test slow, and does not make it fail.

    Args:
        root: The processes are those below this one; below the test's own if None.
        idle_seconds: A spell without work that is too long.
        cpu_seconds: Work that is too much.
    """

    def __init__(
        self, root: int | None = None, *, idle_seconds: float = IDLE_SECONDS, cpu_seconds: float = CPU_SECONDS
    ) -> None:
        self._root, self._idle_seconds, self._cpu_seconds = root, idle_seconds, cpu_seconds
        self._used, self._idle = 0.0, 0.0
        self._looked, self._times = time.monotonic(), self._times_of_threads()

    def check(self) -> None:
        """Raise AssertionError if it is at its end."""
        passed = time.monotonic() - self._looked
        if passed < min(1.0, self._idle_seconds / 4):
            return
        before, self._times = self._times, self._times_of_threads()
        self._looked += passed
        gains = [
            (ran - before.get(thread, (0, 0))[0], waited - before.get(thread, (0, 0))[1])
            for thread, (ran, waited) in self._times.items()
        ]
        self._used += sum(ran for ran, _ in gains)
        is_busy = sum(ran + waited for ran, waited in gains) > _BUSY_CORES * passed
        self._idle = 0.0 if is_busy else self._idle + passed
        assert self._idle < self._idle_seconds, f"nothing has been done for {self._idle:.0f} s"
        assert self._used < self._cpu_seconds, f"it has not ended after {self._used:.0f} s of computing"

    def _times_of_threads(self) -> dict[Path, tuple[float, float]]:
        """Seconds that each thread has run, and has waited for a processor."""
        times = {}
        root = os.getpid() if self._root is None else self._root
        for pid in [*descendants(root), *([] if self._root is None else [root])]:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):  # it has ended
                    ran, waited, _ = map(int, path.read_text().split())
                    times[path] = ran / 1e9, waited / 1e9
        return times


def output_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process says until it ends, which is waited for patiently."""
    patience = Patience(process.pid)
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            patience.check()


def wait_for(what: Callable[[], Any], *, pause: float = 0.05, idle_seconds: float = IDLE_SECONDS) -> Any:
    patience = Patience(idle_seconds=idle_seconds)
    while not (result := what()):
        patience.check()
        time.sleep(pause)
    return result


def numbers(sweep: Sweep) -> Numbers:
    return {
        f"{trial.folder.parent.name}/{trial.index}": [
            {name: value for name, value in report.items() if name != "images_per_second"} for report in trial.reports
        ]
        for trial in (*sweep.trials, *sweep.confirming)
    }


def searched(all_numbers: Numbers) -> Numbers:
    """Those of the search, without what confirms."""
    return {name: said for name, said in all_numbers.items() if name.startswith("search/")}
