"""`--trials-per-gpu auto`: measure how many trials should share a GPU.

Trials of the costliest configuration train on the first GPU, one, then two, four and so on, as long as their total
speed grows and the memory suffices. Each is a process of its own, as in the sweep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from betavae.config import TrialConfig
from betavae.extensions import load_extensions
from betavae.process import prepare_process
from betavae.text import one_line
from betavae.training import TrainingRun
from sweeps.mps import multi_process_service

_SECONDS = 1.5
_LEAST_GAIN = 1.1
"""The least ratio of the total speed to that of half as many trials."""

_SHARE_OF_MEMORY = 0.9
_NAMING_SECONDS = 30
_COMMAND = "from sweeps.gpu_sharing import train_on_request; train_on_request()"


@dataclass(frozen=True)
class Measured:
    """What trials that share a GPU do.

    Attributes:
        number: Number of trials.
        images_per_second: Their total speed.
        share_of_memory: The share of the GPU's memory that is in use, by them and by others.
    """

    number: int
    images_per_second: float
    share_of_memory: float


@dataclass(frozen=True)
class Sharing:
    """The number of trials that should share a GPU, with the measurements behind it.

    Attributes:
        number: The number.
        measured: The measurements, in order.
        reason: Why there were no more; empty if the total speed had stopped growing.
        has_failed: Whether that is since a trial failed, which may be due to another process.
    """

    number: int
    measured: Sequence[Measured]
    reason: str = ""
    has_failed: bool = False

    def describe(self) -> str:
        """Return the measurements in a line."""
        speeds = ", ".join(f"{each.number}: {each.images_per_second:,.0f}" for each in self.measured)
        memory = f", with {self.measured[-1].share_of_memory:.0%} of its memory in use" if self.measured else ""
        end = f" ({self.reason})" if self.reason else ""
        return f"{self.number} a GPU; images/s in all of so many: {speeds or 'not measured'}{memory}{end}"


def measure_sharing(config: TrialConfig, *, most: int) -> Sharing:
    """Return how many trials of a configuration should share a GPU of this machine.

    Args:
        config: The costliest trial.
        most: The most trials for which there are CPU cores.
    """
    measured: list[Measured] = []
    with multi_process_service(), ExitStack() as stack:
        workers: list[_Worker] = []
        number = 1
        while number <= most:
            try:
                workers += [stack.enter_context(_worker(config)) for _ in range(number - len(workers))]
                measured.append(_together(workers))
            except _WorkerError as error:
                reason = f"{number} failed: {one_line(str(error))}"
                return Sharing(max(1, number // 2), measured, reason, has_failed=True)
            if len(measured) > 1 and measured[-1].images_per_second < _LEAST_GAIN * measured[-2].images_per_second:
                return Sharing(number // 2, measured)
            if 2 * measured[-1].share_of_memory > _SHARE_OF_MEMORY:
                return Sharing(number, measured, "the memory does not suffice for twice as many")
            number *= 2
    return Sharing(number // 2, measured, "the CPU cores do not suffice for twice as many")


def names_of_gpus() -> list[str]:
    """Return the names and the memory of this machine's GPUs, as nvidia-smi gives them; none if it cannot."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NAMING_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


class _WorkerError(RuntimeError):
    """A trial could not be trained."""


class _Worker:
    """A process that trains when it is asked to."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process, self._errors = process, errors

    def ask(self) -> None:
        """Ask for a measurement."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` tells why the process ended
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """Return the measurement.

        Raises:
            _WorkerError: If the process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last_line = self._errors.read().strip().rpartition("\n")[2]
            raise _WorkerError(last_line or f"exit code {self._process.returncode}")
        answer: dict[str, float] = json.loads(line)
        return answer


@contextmanager
def _worker(config: TrialConfig) -> Iterator[_Worker]:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as errors:  # not a pipe, which may fill
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, json.dumps(config.to_dict())],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _Worker(process, errors)
        finally:
            process.kill()
            process.communicate()


def _together(workers: Sequence[_Worker]) -> Measured:
    """Return what workers do at the same time. Those that are new have not answered yet."""
    _ask(workers)  # the answers come when all are ready
    answers = _ask(workers)
    return Measured(
        len(workers),
        sum(answer["images_per_second"] for answer in answers),
        max(answer["share_of_memory"] for answer in answers),
    )


def _ask(workers: Sequence[_Worker]) -> list[dict[str, float]]:
    for worker in workers:
        worker.ask()
    return [worker.answer() for worker in workers]


def train_on_request() -> None:
    """Train the configuration of the command line for a moment, at each line of input; print speed and memory."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an extension may print
    load_extensions()
    config = TrialConfig.from_dict(json.loads(sys.argv[1]))
    prepare_process()
    run = TrainingRun.start(config, config.dataset.open(), device="cuda")
    run.advance(10)
    run.evaluate()  # which needs more memory than training
    for _ in sys.stdin:
        start, first_step = time.perf_counter(), run.step
        while time.perf_counter() - start < _SECONDS:
            run.advance(10)
        num_updates = config.updates_until(run.step) - config.updates_until(first_step)
        speed = num_updates * config.batch_size / (time.perf_counter() - start)
        free, total = torch.cuda.mem_get_info()
        answer = {"images_per_second": speed, "share_of_memory": 1 - free / total}
        print(json.dumps(answer), file=answers, flush=True)
