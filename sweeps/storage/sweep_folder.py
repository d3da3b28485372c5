"""A sweep's folder: made once, never written over, and the record of what was asked for and what came."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.extensions import extension_names
from betavae.files import replace_json, replace_text
from betavae.records.record import FORMAT, SWEEP_COPY_FILE, SWEEP_FILE, read_record, read_record_and_problems
from betavae.records.sweep import CONFIRM_FOLDER, SEARCH_FOLDER, name_in_sweep
from betavae.records.trial import PARAMS_FILE, Trial, Trials
from betavae.report.settings import settings_of
from sweeps.options.options import Options
from sweeps.options.recorded import options_from_dict, options_to_dict
from sweeps.search.plan import check_resume, confirming_seed, search_seed
from sweeps.storage.lease import Lease
from sweeps.storage.locations import joined, resolved
from sweeps.storage.mirror import Mirror, fetched, is_sweep_file
from sweeps.storage.stage_folder import StageFolder, refuse

_LEASE_FILE = ".driver"
_RECORDED_PACKAGES = ("betavae-lab", "numpy", "optuna", "ray", "torch")


class _TakenError(InputError):
    """Another process of this machine works on the folder."""


class SweepFolder:
    """A sweep's folder, held by this process alone, with its record.

    Use `create` or `resume`, and `close`.

    Attributes:
        mirror: Where it is, and where the driver's copy is if it is on other storage.
        options: What the sweep is asked for, in all: a resume may raise the number of trials.
    """

    def __init__(self, mirror: Mirror, options: Options) -> None:
        self.mirror, self.options = mirror, options
        self._record: dict[str, Any] = {}
        self._lock = FileLock(mirror.lock_file, timeout=0)
        self._lease = None if mirror.url is None else Lease(mirror, _LEASE_FILE)
        try:
            self._lock.acquire()  # the system lets go of it when this process ends, however it ends
        except Timeout as error:
            raise _TakenError(
                f"{mirror.location} is being worked on by another run.py; wait for it, or end it first."
            ) from error
        if self._lease is not None:
            mirror.check_writable()
            self._lease.acquire()

    @classmethod
    def create(cls, options: Options, *, data: Mapping[str, FactorImages], arguments: Sequence[str]) -> SweepFolder:
        """Make a new folder, and write down what was asked for.

        Raises:
            FileExistsError: If there is one of that name: nothing is ever written over.
            InputError: If it cannot be written.
        """
        folder = cls._at_new(options)
        mirror = folder.mirror
        mirror.clear()
        mirror.local.mkdir(parents=True, exist_ok=True)
        folder._write(
            {
                "format": FORMAT,
                "options": options_to_dict(options),
                "decided": {"grace_steps": options.grace_steps},
                "data": {name: {"source": each.source, "sha256": each.fingerprint} for name, each in data.items()},
                **_provenance(arguments),
                "start": _now(),
            }
        )
        return folder

    @classmethod
    def _at_new(cls, options: Options) -> SweepFolder:
        """Take the name that was asked for, or the first default one that no other driver has, whoever comes first."""
        for mirror in _new_places(options):
            try:
                _check_new(mirror)
                return cls(mirror, options)
            except (FileExistsError, _TakenError):
                if options.sweep.name is not None:
                    raise
        raise AssertionError("there is always one more name")

    @classmethod
    def resume(cls, options: Options, *, data: Mapping[str, FactorImages], arguments: Sequence[str]) -> SweepFolder:
        """Take up the sweep that `options.sweep.resume` names, and write down that this was done.

        Raises:
            InputError: If it is no sweep's folder, another process works on it, an option would change the study, or
                the data are not those it was started with.
        """
        assert options.sweep.resume is not None
        check_resumable(options, data=data)
        mirror = Mirror.at(resolved(options.sweep.resume))
        folder = cls(mirror, options)
        mirror.clear()
        mirror.pull(is_sweep_file)
        record, problems = read_record_and_problems(mirror.local)
        folder._record = record
        resumed = {**_provenance(arguments), "start": _now()}
        record.pop("outcome", None)
        folder._write({"options": options_to_dict(options), "resumed": [*record.get("resumed", []), resumed]})
        _warn(problems)
        for kept in (folder.search, folder.confirmation):
            for trial in folder.mended_trials(kept).read:
                if options.sweep.retry_failed:
                    kept.trial(trial.index).forget_failure()
        return folder

    def close(self) -> None:
        """Let the next process work on it."""
        if self._lease is not None:
            self._lease.release()
            self.mirror.clear()
        self._lock.release()

    @property
    def location(self) -> str:
        """Where it is kept: a path, or a URL."""
        return self.mirror.location

    @property
    def search(self) -> StageFolder:
        """Where the search's trials are."""
        return StageFolder(self.mirror.child(SEARCH_FOLDER), self.options.search.rank_by)

    @property
    def confirmation(self) -> StageFolder:
        """Where the trials are that confirm the search's best."""
        return StageFolder(self.mirror.child(CONFIRM_FOLDER), self.options.search.rank_by)

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return shlex.join(["python", "sweeps/run.py", "--resume", self.location])

    def trials(self, kept: StageFolder | None = None) -> Trials:
        """Read the trials of a stage, of the search if none is named; those of no use to this sweep as unreadable."""
        kept = kept or self.search
        trials = kept.read_all(self._record)
        for trial in trials.read.copy():
            if difference := self._difference(kept, trial):
                refuse(
                    trials,
                    trial,
                    f"its {PARAMS_FILE} says {difference} as the sweep has it. Mend the file, or delete {trial.folder} "
                    "to have it trained anew.",
                )
        return trials

    def _difference(self, kept: StageFolder, trial: Trial) -> str:
        """Say which value this sweep would not give to a trial; return nothing if there is none."""
        seed_of = search_seed if kept.path == self.search.path else confirming_seed
        seed = seed_of(self.options, trial.index)
        if trial.config.seed != seed:
            return f"seed {trial.config.seed}, not {seed}"
        return self.options.space.unlike(trial.config)

    def mended_trials(self, kept: StageFolder) -> Trials:
        """Read the trials that are kept there while none of them runs; mend what is damaged, and say so."""
        trials = self.trials(kept)
        for trial in trials.read:
            if trial.problems:
                kept.trial(trial.index).mend(trial)
                _warn(trial.problems)
        return trials

    def choose(self, count: int, trials: Sequence[Trial]) -> list[TrialConfig]:
        """Return the configurations to be confirmed: those of the highest median score, with seed 0.

        What has once been chosen is written down and stays chosen, whatever the search finds later; a larger `count`
        adds the best of those that are left.
        """
        recorded = self._record.get("chosen", [])
        chosen = [TrialConfig.from_dict(values) for values in recorded[:count]]
        for setting in settings_of([trial for trial in trials if trial.status != "failed"]):
            if len(chosen) < count and setting.config not in chosen:
                chosen.append(setting.config)
        if len(chosen) > len(recorded):
            self._write({"chosen": [config.to_dict() for config in chosen]})
        return chosen

    def keep(self, name: str, text: str) -> str:
        """Write a file into the folder, whatever it held, and return where it is."""
        replace_text(self.mirror.local / name, text)
        self.mirror.push(name)
        return joined(self.location, name)

    def note_resources(self, cluster_resources: Mapping[str, float]) -> None:
        """Write down what the sweep runs on."""
        kinds = {name: value for name, value in cluster_resources.items() if ":" not in name}  # no addresses of nodes
        self._write({"resources": kinds})

    def note_end(self, trials: Sequence[Trial], *, done: Mapping[str, bool], lost: Mapping[str, str]) -> None:
        """Write down how each stage and all of its trials ended.

        Args:
            trials: Those that can be read.
            done: By stage that was asked for, whether all of its trials have ended.
            lost: By name, why a trial could not be read or could not write.
        """
        outcome = {name: "done" if is_done else "interrupted" for name, is_done in done.items()}
        failures = {name_in_sweep(trial): trial.error for trial in trials if trial.error} | dict(lost)
        counts = Counter(trial.status for trial in trials)
        self._write({"end": _now(), "outcome": {**outcome, **counts, "failures": failures}})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._record |= values
        for name in (SWEEP_FILE, SWEEP_COPY_FILE):  # one after the other: whatever happens, one of them is whole
            replace_json(self.mirror.local / name, self._record)
            self.mirror.push(name)


def check_destination(options: Options, *, data: Mapping[str, FactorImages]) -> str:
    """Where a sweep would go, if it can.

    Raises:
        FileExistsError: If there is one of that name.
        InputError: If a sweep that is to be resumed cannot be.
    """
    if options.sweep.resume is not None:
        check_resumable(options, data=data)
        return resolved(options.sweep.resume)
    for mirror in _new_places(options, make=False):
        if not mirror.exists():
            return mirror.location
        if options.sweep.name is not None:
            raise FileExistsError(_exists(mirror))
    raise AssertionError("there is always one more name")


def check_resumable(options: Options, *, data: Mapping[str, FactorImages]) -> None:
    """See that what `options.sweep.resume` names can be gone on with, as asked and with these data.

    Raises:
        InputError: If not.
    """
    assert options.sweep.resume is not None
    with fetched(options.sweep.resume, is_sweep_file) as mirror:
        record = read_record(mirror.local)
    check_resume(options, options_from_dict(record.get("options", {})))
    for name, each in data.items():
        fingerprint = record.get("data", {}).get(name, {}).get("sha256", "unknown")
        if fingerprint != each.fingerprint:
            raise InputError(
                f"{options.sweep.resume} was started with {name} data of SHA-256 {fingerprint[:12]}..., but this "
                f"machine has {each.fingerprint[:12]}...: scores would not compare. Use the same source of the data."
            )


def _new_places(options: Options, *, make: bool = True) -> Iterator[Mirror]:
    """Give the place with the name that was asked for; else without end those of the preset and the time."""
    name = options.sweep.name or f"{options.sweep.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    for count in itertools.count(1):
        numbered = name if count == 1 else f"{name}-{count}"
        yield Mirror.at(joined(resolved(options.sweep.results), numbered), make=make)


def _check_new(mirror: Mirror) -> None:
    """See that there is no such folder yet; one of this machine is made."""
    try:
        if mirror.url is None:
            mirror.local.mkdir(parents=True)
        elif mirror.exists():
            raise FileExistsError
    except FileExistsError as error:
        raise FileExistsError(_exists(mirror)) from error
    except OSError as error:
        raise OSError(
            f"--results must be a folder that can be written, but {mirror.location}: {error.strerror}."
        ) from error


def _exists(mirror: Mirror) -> str:
    place = mirror.location
    return f"{place} exists, and is not written over; give another --name, or go on with it by --resume {place}."


def _provenance(arguments: Sequence[str]) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES}
    return {
        "command": shlex.join(["python", "sweeps/run.py", *arguments]),
        "versions": {"python": platform.python_version()} | versions,
        "git": _git_state(),
        "extensions": list(extension_names()),
    }


def _warn(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_state() -> dict[str, Any] | None:
    """Commit of this code, and whether it was changed since; None outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
