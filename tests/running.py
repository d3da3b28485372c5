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

from betavae.analysis.results import Sweep
from sweeps.search_folder import FIRST_CONFIRMING

REPOSITORY = Path(__file__).parents[1]
STEPS, EVERY = 120, 40
SMALL = f"-z 3 -b 16 --lr 1e-3 --steps {STEPS} --eval-every {EVERY} --scheduler none --num-gpus 0 --exact 0 --no-report"
PATIENCE = 120.0  # seconds, after which something that should have happened has not

Numbers = dict[int, list[dict[str, Any]]]
"""By seed, what each report of a trial said, without the speed."""


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
        output, errors = self.process.communicate(timeout=PATIENCE)
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


def wait_for(what: Callable[[], Any], *, pause: float = 0.05, patience: float = PATIENCE) -> Any:
    deadline = time.monotonic() + patience
    while not (result := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)
    return result


def numbers(sweep: Sweep) -> Numbers:
    return {
        trial.config.seed: [
            {name: value for name, value in report.items() if name != "images_per_second"} for report in trial.reports
        ]
        for trial in (*sweep.trials, *sweep.confirming)
    }


def searched(all_numbers: Numbers) -> Numbers:
    """Those of the search, without what confirms."""
    return {seed: said for seed, said in all_numbers.items() if seed < FIRST_CONFIRMING}
