"""A trial's folder: the whole state of a trial, written by the one process that trains it.

    params.json            the configuration
    result.json            one report per line
    checkpoint_000000875/  a checkpoint, by step: the best, the latest, and the one before the latest
    outcome.json           if the scheduler has stopped the trial: the step
    error.txt              if the trial has failed: the traceback
    failure.json           if the trial has failed: whether another attempt would fail in the same way
    attempts.json          step and machine of every start, and the errors raised since

A trial resumes from these files alone, on any machine, however its process ended. With remote storage the process
works on its own local copy, and pushes every change.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from filelock import FileLock, Timeout

from betavae.files import read_json, replace_json, replace_text
from betavae.metrics import Scores
from betavae.records.checkpoint import (
    CheckpointError,
    check_checkpoint,
    checkpoint_folders,
    checkpoint_name,
    read_history,
    read_scores,
)
from betavae.records.trial import (
    ERROR_FILE,
    FAILURE_FILE,
    OUTCOME_FILE,
    PARAMS_FILE,
    RANK_BY,
    RESULT_FILE,
    PlannedTrial,
    Report,
    Trial,
    folder_in_sweep,
    holds_something,
)
from betavae.text import printable
from betavae.training import TrainingRun
from sweeps.storage.mirror import Mirror

_ATTEMPTS_FILE = "attempts.json"
_OWNER_FILE = ".owner"
"""With remote storage: the token of the process that trains."""

_LOCK_SECONDS = 600.0
_NUM_LATEST = 2
"""Number of latest checkpoints to keep: if the last one is damaged, the trial resumes from the one before."""

NUM_KEPT = 1 + _NUM_LATEST
"""The most checkpoints that a trial leaves: the best and the latest."""

MAX_ERRORS = 2
"""A trial fails at its second error: an error that occurs twice is taken to recur at every attempt."""

MAX_DEATHS = 4
"""A trial fails when its process has died this often at the same step on the same machine. Deaths on different machines
do not add up, since machines of a cluster may be taken away."""


WRITE_FAILURE = "write_failure"
"""Key of the report that a trial sends to the driver, with the reason, if it cannot write to its folder."""


class LostTrialError(RuntimeError):
    """Another process has taken over the trial, since this process was believed to be dead."""


class TrialFolder:
    """The folder of one trial; see the module's docstring.

    Attributes:
        mirror: The folder.

    Args:
        rank_by: The score that selects the best checkpoint.
    """

    def __init__(self, mirror: Mirror, *, rank_by: str = RANK_BY) -> None:
        self.mirror, self._rank_by = mirror, rank_by
        self._token: str | None = None
        self._reports: tuple[Report, ...] = ()

    @property
    def path(self) -> Path:
        """The local path: of the folder, or of its copy."""
        return self.mirror.local

    @property
    def name(self) -> str:
        """The trial's name in messages: stage and number."""
        return folder_in_sweep(self.path)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports up to the checkpoint that the trial resumed from, and those committed since."""
        return self._reports

    def plan(self, trial: PlannedTrial) -> None:
        """Write the configuration, before the trial starts.

        Raises:
            FileExistsError: If the folder already holds a trial, which is never overwritten.
            OSError: If the folder cannot be written.
        """
        if holds_something(self.path):
            raise FileExistsError(f"{self.path} already holds a trial, which is never overwritten.")
        self.path.mkdir(parents=True, exist_ok=True)
        replace_json(self.path / PARAMS_FILE, trial.to_dict())
        self.mirror.push(PARAMS_FILE)

    @contextmanager
    def held(self) -> Iterator[TrialFolder]:
        """Lock the trial and give the folder to train in. With remote storage, it is a fresh local copy.

        The lock excludes other processes, such as one that trains on after its driver has died.

        Raises:
            FileNotFoundError: If this machine cannot read what the driver wrote.
            TimeoutError: If another process of this machine still trains the trial.
        """
        if self.mirror.url is None:
            self._check_visible()
            with _file_lock(self.mirror.lock_file):
                yield self
            return
        copy = Mirror.at(self.mirror.url)
        with _file_lock(copy.lock_file):
            copy.clear()
            copy.pull(lambda name: not is_event_file(name))
            folder = TrialFolder(copy, rank_by=self._rank_by)
            folder._check_visible()
            folder._take_over()
            try:
                yield folder
            finally:
                copy.clear()

    def resume_point(self) -> Path | None:
        """Return the latest undamaged checkpoint, and restore `result.json` to it; return None if there is none.

        A damaged checkpoint is renamed to `damaged_checkpoint_*`.
        """
        for leftover in self.path.glob(".checkpoint_*"):
            shutil.rmtree(leftover)
        for checkpoint in reversed(self.checkpoints()):
            try:
                check_checkpoint(checkpoint)
            except CheckpointError:
                damaged_folder = checkpoint.with_name(f"damaged_{checkpoint.name}")
                shutil.rmtree(damaged_folder, ignore_errors=True)
                checkpoint.rename(damaged_folder)
                self.mirror.push(damaged_folder.name)
                self.mirror.drop(checkpoint.name)
                continue
            self._write_reports(read_history(checkpoint).reports)
            return checkpoint
        self._reports = ()
        self.mirror.delete(RESULT_FILE)
        return None

    def checkpoints(self) -> list[Path]:
        """Return the folders of all checkpoints, by step."""
        return checkpoint_folders(self.path)

    def commit(self, run: TrainingRun, *, scores: Scores, report: Report) -> None:
        """Write a checkpoint and its report; then delete the checkpoints that are no longer needed.

        Raises:
            LostTrialError: If another process has taken over the trial.
            OSError: If a file cannot be written.
        """
        self._check_owner()
        checkpoint = checkpoint_name(run.step)
        run.save(self.path / checkpoint, scores=scores, report=report, earlier=self._reports)
        self.mirror.push(checkpoint)
        self._write_reports((*self._reports, report))
        self._prune()

    def stop(self, step: int) -> None:
        """Record that the scheduler has stopped the trial."""
        replace_json(self.path / OUTCOME_FILE, {"status": "stopped", "step": step})
        self.mirror.push(OUTCOME_FILE)

    def note_start(self, *, step: int, node: str) -> int:
        """Record a start. Return how many starts in a row, at this step and machine, ended in the process's death."""
        attempts = self._attempts()
        starts_with_error = {start for start, _ in attempts["errors"]}
        deaths = 0
        for number, start in reversed(list(enumerate(attempts["starts"], start=1))):
            if start != [step, node]:
                break
            deaths += number not in starts_with_error
        self._write_attempts(attempts | {"starts": [*attempts["starts"], [step, node]]})
        return deaths

    def note_error(self, error: Exception) -> int:
        """Record an error since the last start, and return the number of errors so far."""
        attempts = self._attempts()
        errors = [*attempts["errors"], [len(attempts["starts"]), repr(error)]]
        self._write_attempts(attempts | {"errors": errors})
        return len(errors)

    def fail(self, error: BaseException, *, would_recur: bool) -> None:
        """Record that the trial has failed. The last line of `error.txt` is the error.

        Args:
            error: The reason.
            would_recur: Whether another attempt would fail in the same way.
        """
        replace_json(self.path / FAILURE_FILE, {"would_recur": would_recur})
        self.mirror.push(FAILURE_FILE)
        # `replace_text` follows no link that someone has planted under this name
        replace_text(self.path / ERROR_FILE, printable("".join(traceback.format_exception(error))))
        self.mirror.push(ERROR_FILE)

    def forget_failure(self) -> None:
        """Delete the record of a failure, so that the trial is run again."""
        for name in (ERROR_FILE, FAILURE_FILE, _ATTEMPTS_FILE):
            self.mirror.delete(name)

    def refresh(self) -> None:
        """Pull what the trial's process has pushed, with remote storage; checkpoints excepted."""
        self.mirror.pull(_is_small)

    def _check_visible(self) -> None:
        if not (self.path / PARAMS_FILE).exists():
            raise FileNotFoundError(
                f"{socket.gethostname()} must find {PARAMS_FILE} in {self.mirror.location}, but does not: a sweep's "
                "folder must be on storage that all machines share."
            )

    def _take_over(self) -> None:
        self._token = str(uuid.uuid4())
        self.mirror.write_text(_OWNER_FILE, self._token)

    def _check_owner(self) -> None:
        if self._token is not None and self.mirror.read_text(_OWNER_FILE) != self._token:
            raise LostTrialError(f"{self.mirror.location} has been taken over by another process.")

    def mend(self, trial: Trial) -> None:
        """Rewrite damaged files of the trial with the values that were recovered.

        Args:
            trial: The trial as read from this folder.
        """
        replace_json(self.path / PARAMS_FILE, PlannedTrial(trial.index, trial.config).to_dict())
        self.mirror.push(PARAMS_FILE)
        self._write_reports(trial.reports)

    def _write_reports(self, reports: tuple[Report, ...]) -> None:
        """Rewrite the whole of `result.json`: this also repairs damaged lines."""
        replace_text(self.path / RESULT_FILE, "".join(json.dumps(report, allow_nan=False) + "\n" for report in reports))
        self.mirror.push(RESULT_FILE)
        self._reports = reports

    def _prune(self) -> None:
        checkpoints = self.checkpoints()
        best = max(checkpoints, key=self._score)
        for checkpoint in checkpoints[:-_NUM_LATEST]:
            if checkpoint != best:
                hidden_folder = checkpoint.with_name(f".{checkpoint.name}")  # renaming is atomic, deleting is not
                checkpoint.rename(hidden_folder)
                shutil.rmtree(hidden_folder)
                self.mirror.drop(checkpoint.name)

    def _score(self, checkpoint: Path) -> float:
        """Return a checkpoint's score; minus infinity for a damaged checkpoint."""
        try:
            return read_scores(checkpoint)[self._rank_by].value
        except (CheckpointError, KeyError):
            return -math.inf

    def _attempts(self) -> dict[str, list[list[Any]]]:
        """Return starts and errors; none if the file is missing or damaged."""
        try:
            attempts = read_json(self.path / _ATTEMPTS_FILE)
        except (ValueError, FileNotFoundError):
            attempts = None
        return attempts if _is_attempts(attempts) else {"starts": [], "errors": []}

    def _write_attempts(self, attempts: Mapping[str, Any]) -> None:
        replace_json(self.path / _ATTEMPTS_FILE, attempts)
        self.mirror.push(_ATTEMPTS_FILE)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    lock = FileLock(path, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(
            f"{path} is locked by another process, and was not released within {_LOCK_SECONDS:g} s."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_event_file(name: str) -> bool:
    """Return whether a file is TensorBoard's."""
    return "events.out.tfevents" in name


def _is_attempts(value: object) -> TypeGuard[dict[str, list[list[Any]]]]:
    """Return whether a value has pairs (step, machine) as `starts`, and pairs (start's number, error) as `errors`."""
    if not isinstance(value, dict) or value.keys() != {"starts", "errors"}:
        return False
    return all(
        isinstance(pairs, list)
        and all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) for pair in pairs)
        for pairs in value.values()
    )


def _is_small(name: str) -> bool:
    """Return whether a file lies in the trial's folder itself, not in a checkpoint, and is not TensorBoard's."""
    return "/" not in name and not is_event_file(name)
