"""A trial's folder: all that is known of the trial, written by the one process that trains it.

    params.json            what it trains
    result.json            a line per report
    checkpoint_000000875/  at a step: the best, the latest, and the one before that
    outcome.json           once it has been stopped by the scheduler
    error.txt              once it has failed: the traceback
    failure.json           whether another try would fail in the same way
    attempts.json          where it was started from, and what went wrong

Nothing else is state: a trial goes on from here alone, wherever and however its process ended. On remote storage the
process works on a copy of its own, and pushes every change.
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
from betavae.records.checkpoint import CheckpointError, check_checkpoint, read_history, read_scores
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
"""On remote storage: which process trains."""

_LOCK_SECONDS = 600.0
_NUM_LATEST = 2
"""Checkpoints kept beside the best: should the latest be damaged, the trial goes on from the one before."""

NUM_KEPT = 1 + _NUM_LATEST
"""Checkpoints that a trial leaves, at most: its best one too."""

MAX_ERRORS = 2
"""A trial that raises is tried once more; what raises twice would do so for ever."""

MAX_DEATHS = 4
"""A trial whose process dies so often on one machine without getting on is given up; one on lost machines is not."""


UNWRITTEN = "unwritten"
"""Under this name a trial that cannot write to its folder reports why: to the driver alone, since it cannot write."""


class LostTrialError(RuntimeError):
    """A trial that another process has taken over, since this one was believed to be dead."""


class TrialFolder:
    """One trial's folder; see the module.

    Attributes:
        mirror: Where it is, and where the copy is that is worked on if it is on other storage.

    Args:
        rank_by: The score by which the best checkpoint is kept.
    """

    def __init__(self, mirror: Mirror, *, rank_by: str = RANK_BY) -> None:
        self.mirror, self._rank_by = mirror, rank_by
        self._token: str | None = None
        self._reports: tuple[Report, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is, or where the copy is."""
        return self.mirror.local

    @property
    def name(self) -> str:
        """How messages name the trial: its stage and its number."""
        return folder_in_sweep(self.path)

    @property
    def reports(self) -> tuple[Report, ...]:
        """What was reported up to the checkpoint that the trial resumed from, and has been committed since."""
        return self._reports

    def plan(self, planned: PlannedTrial) -> None:
        """Write down what is to be trained, before anything is.

        Raises:
            FileExistsError: If the folder holds a trial: none is ever planned over.
            OSError: If it cannot be written.
        """
        if holds_something(self.path):
            raise FileExistsError(f"{self.path} holds a trial, which is not planned over.")
        self.path.mkdir(parents=True, exist_ok=True)
        replace_json(self.path / PARAMS_FILE, planned.to_dict())
        self.mirror.push(PARAMS_FILE)

    @contextmanager
    def held(self) -> Iterator[TrialFolder]:
        """The folder to train in, with other processes kept out, such as one that lost its driver and does not know.

        Raises:
            FileNotFoundError: If this machine does not see what the driver wrote.
            TimeoutError: If another process of this machine trains here still.
        """
        if self.mirror.url is None:
            self._check_seen()
            with _locked(self.mirror.lock_file):
                yield self
            return
        copy = Mirror.at(self.mirror.url)
        with _locked(copy.lock_file):
            copy.clear()
            copy.pull(lambda name: not is_event_file(name))
            folder = TrialFolder(copy, rank_by=self._rank_by)
            folder._check_seen()
            folder._take()
            try:
                yield folder
            finally:
                copy.clear()

    def resume_point(self) -> Path | None:
        """The latest checkpoint that is whole, with `result.json` written again as it was then; None without one.

        A damaged checkpoint is put aside under another name.
        """
        for leftover in self.path.glob(".checkpoint_*"):
            shutil.rmtree(leftover)
        for checkpoint in reversed(self.checkpoints()):
            try:
                check_checkpoint(checkpoint)
            except CheckpointError:
                aside = checkpoint.with_name(f"damaged_{checkpoint.name}")
                shutil.rmtree(aside, ignore_errors=True)
                checkpoint.rename(aside)
                self.mirror.push(aside.name)
                self.mirror.drop(checkpoint.name)
                continue
            self._write_reports(read_history(checkpoint).reports)
            return checkpoint
        self._reports = ()
        self.mirror.delete(RESULT_FILE)
        return None

    def checkpoints(self) -> list[Path]:
        """All of them, by step."""
        return sorted(self.path.glob("checkpoint_*"))

    def commit(self, run: TrainingRun, *, scores: Scores, report: Report) -> None:
        """Keep a checkpoint and its report; then let go of those that are no longer needed.

        Raises:
            LostTrialError: If another process has taken over.
            OSError: If a file cannot be written.
        """
        self._check_taken()
        checkpoint = checkpoint_name(run.step)
        run.save(self.path / checkpoint, scores=scores, report=report, earlier=self._reports)
        self.mirror.push(checkpoint)
        self._write_reports((*self._reports, report))
        self._prune()

    def stop(self, step: int) -> None:
        """Note that the scheduler has stopped the trial."""
        replace_json(self.path / OUTCOME_FILE, {"status": "stopped", "step": step})
        self.mirror.push(OUTCOME_FILE)

    def note_start(self, *, step: int, node: str) -> int:
        """Note where the trial goes on from, and return how often its process has died there, on this machine."""
        attempts = self._attempts()
        raised = {start for start, _ in attempts["errors"]}
        deaths = 0
        for number, start in reversed(list(enumerate(attempts["starts"], start=1))):
            if start != [step, node]:
                break
            deaths += number not in raised
        self._write_attempts(attempts | {"starts": [*attempts["starts"], [step, node]]})
        return deaths

    def note_error(self, error: Exception) -> int:
        """Note that the trial raised since its last start, and return how often it has."""
        attempts = self._attempts()
        errors = [*attempts["errors"], [len(attempts["starts"]), repr(error)]]
        self._write_attempts(attempts | {"errors": errors})
        return len(errors)

    def fail(self, error: BaseException, *, would_recur: bool) -> None:
        """Note that the trial has failed, and why: the last line says it.

        Args:
            error: Why.
            would_recur: Whether another try would fail in the same way.
        """
        replace_json(self.path / FAILURE_FILE, {"would_recur": would_recur})
        self.mirror.push(FAILURE_FILE)
        replace_text(self.path / ERROR_FILE, printable("".join(traceback.format_exception(error))))  # through no link
        self.mirror.push(ERROR_FILE)

    def forget_failure(self) -> None:
        """Let a trial that has failed be tried again."""
        for name in (ERROR_FILE, FAILURE_FILE, _ATTEMPTS_FILE):
            self.mirror.delete(name)

    def refresh(self) -> None:
        """See what its process has written meanwhile, if that works on a copy of its own."""
        self.mirror.pull(_is_small)

    def _check_seen(self) -> None:
        if not (self.path / PARAMS_FILE).exists():
            raise FileNotFoundError(
                f"{socket.gethostname()} must see {self.mirror.location}, but does not: a sweep's folder must be on "
                "storage that all machines share."
            )

    def _take(self) -> None:
        self._token = str(uuid.uuid4())
        self.mirror.write_text(_OWNER_FILE, self._token)

    def _check_taken(self) -> None:
        if self._token is not None and self.mirror.read_text(_OWNER_FILE) != self._token:
            raise LostTrialError(f"{self.mirror.location} has been taken over by another process.")

    def mend(self, trial: Trial) -> None:
        """Write again what was read of the trial in spite of damage, so that its files say so themselves.

        Args:
            trial: As it was read from here.
        """
        replace_json(self.path / PARAMS_FILE, PlannedTrial(trial.index, trial.config).to_dict())
        self.mirror.push(PARAMS_FILE)
        self._write_reports(trial.reports)

    def _write_reports(self, reports: tuple[Report, ...]) -> None:
        """Write `result.json` whole: a line that was damaged meanwhile is whole again."""
        replace_text(self.path / RESULT_FILE, "".join(json.dumps(report, allow_nan=False) + "\n" for report in reports))
        self.mirror.push(RESULT_FILE)
        self._reports = reports

    def _prune(self) -> None:
        checkpoints = self.checkpoints()
        best = max(checkpoints, key=self._score)
        for checkpoint in checkpoints[:-_NUM_LATEST]:
            if checkpoint != best:
                doomed = checkpoint.with_name(f".{checkpoint.name}")  # at once out of sight, then slowly gone
                checkpoint.rename(doomed)
                shutil.rmtree(doomed)
                self.mirror.drop(checkpoint.name)

    def _score(self, checkpoint: Path) -> float:
        """Return a checkpoint's score; the lowest of all for one that is damaged."""
        try:
            return read_scores(checkpoint)[self._rank_by].value
        except (CheckpointError, KeyError):
            return -math.inf

    def _attempts(self) -> dict[str, list[list[Any]]]:
        """Read where the trial was started from; a file that is damaged counts as none."""
        try:
            attempts = read_json(self.path / _ATTEMPTS_FILE)
        except (ValueError, FileNotFoundError):
            attempts = None
        return attempts if _is_attempts(attempts) else {"starts": [], "errors": []}

    def _write_attempts(self, attempts: Mapping[str, Any]) -> None:
        replace_json(self.path / _ATTEMPTS_FILE, attempts)
        self.mirror.push(_ATTEMPTS_FILE)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(f"{path} is held by another process, {_LOCK_SECONDS:g} s long.") from error
    try:
        yield
    finally:
        lock.release()


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint's folder at this step."""
    return f"checkpoint_{step:09}"


def is_event_file(name: str) -> bool:
    """Whether it is TensorBoard's."""
    return "events.out.tfevents" in name


def _is_attempts(value: object) -> TypeGuard[dict[str, list[list[Any]]]]:
    """Whether it holds pairs: step and machine of each start; number of the start and exception of each error."""
    if not isinstance(value, dict) or value.keys() != {"starts", "errors"}:
        return False
    return all(
        isinstance(pairs, list)
        and all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) for pair in pairs)
        for pairs in value.values()
    )


def _is_small(name: str) -> bool:
    """Whether it is one of the files that tell how the trial goes, and no part of a checkpoint."""
    return "/" not in name and not is_event_file(name)
