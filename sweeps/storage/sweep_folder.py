"""A sweep's folder, which is never overwritten, and its record: options, data, environment and outcome."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from betavae.records.trial import PARAMS_FILE, Trial, Trials, by_dataset
from betavae.report.settings import settings_of
from sweeps.invocation import words_of_command, words_to_type
from sweeps.options.options import Options
from sweeps.options.recorded import options_from_dict, options_to_dict, recorded_options
from sweeps.search.plan import check_resume, confirming_seed, search_seed
from sweeps.storage.lease import Lease
from sweeps.storage.locations import child_location, full_location
from sweeps.storage.mirror import Mirror, is_sweep_file, local_copy
from sweeps.storage.stage_folder import StageFolder, mark_unreadable

_ROOT = Path(__file__).parents[2]
_LEASE_FILE = ".driver"
_RECORDED_PACKAGES = ("betavae-lab", "numpy", "optuna", "ray", "torch")


class _InUseError(InputError):
    """Another process of this machine has locked the folder."""


class SweepFolder:
    """A sweep's folder, locked by this process, with the sweep's record.

    Open it by `create` or `resume`, and `close` it.

    Attributes:
        mirror: The folder.
        options: The sweep's options, including those that a resume has changed.
    """

    def __init__(self, mirror: Mirror, options: Options) -> None:
        self.mirror, self.options = mirror, options
        self._record: dict[str, Any] = {}
        self._lock = FileLock(mirror.lock_file, timeout=0)
        self._lease = None if mirror.url is None else Lease(mirror, _LEASE_FILE)
        try:
            self._lock.acquire()  # the operating system releases the lock when this process ends in any way
        except Timeout as error:
            raise _InUseError(
                f"{mirror.location} is in use by another run.py; wait until it ends, or stop it."
            ) from error
        if self._lease is not None:
            mirror.check_writable()
            self._lease.acquire()

    @classmethod
    def create(cls, options: Options, *, data: Mapping[str, FactorImages], arguments: Sequence[str]) -> SweepFolder:
        """Make a new folder and write its record.

        Raises:
            FileExistsError: If `--name` names an existing folder, which is never overwritten.
            InputError: If the folder cannot be written.
        """
        record = {
            "format": FORMAT,
            "options": options_to_dict(options),
            "decided": {"grace_steps": options.grace_steps},
            "data": {name: {"source": images.source, "sha256": images.fingerprint} for name, images in data.items()},
            **_provenance(arguments),
            "start": _now(),
        }
        folder = cls._claim(options)
        folder.mirror.clear()
        folder.mirror.local.mkdir(parents=True, exist_ok=True)
        try:
            folder._write(record)
        except OSError:  # a folder without a record can neither be resumed nor used anew
            folder.close()
            _discard(folder.mirror)
            raise
        return folder

    @classmethod
    def _claim(cls, options: Options) -> SweepFolder:
        """Make and lock the folder of `--name`, or the first default folder that no other driver has made."""
        for mirror in _candidate_folders(options):
            try:
                _make_new(mirror)
            except FileExistsError:
                if options.sweep.name is not None:
                    raise
                continue
            try:
                return cls(mirror, options)
            except _InUseError:
                if options.sweep.name is not None:
                    raise
            except OSError:
                _discard(mirror)
                raise
        raise AssertionError("the default names are endless")

    @classmethod
    def resume(cls, options: Options, *, data: Mapping[str, FactorImages], arguments: Sequence[str]) -> SweepFolder:
        """Open the sweep that `options.sweep.resume` names, and record the resume.

        Raises:
            InputError: If the folder is not a sweep's, another process uses it, an option would change the study, or
                the data differ from those that the sweep was started with.
        """
        assert options.sweep.resume is not None
        check_resumable(options, data=data)
        mirror = Mirror.at(full_location(options.sweep.resume))
        folder = cls(mirror, options)
        mirror.clear()
        mirror.pull(is_sweep_file)
        record, problems = read_record_and_problems(mirror.local)
        folder._record = record
        resumption = {**_provenance(arguments), "start": _now()}
        record.pop("outcome", None)
        folder._write(
            {
                "format": FORMAT,
                "options": options_to_dict(options),
                "resumed": [*record.get("resumed", []), resumption],
            }
        )
        _warn(problems)
        for stage in (folder.search, folder.confirmation):
            for trial in folder.read_and_mend(stage).read:
                if options.sweep.retry_failed:
                    stage.trial(trial.index).forget_failure()
        return folder

    def close(self) -> None:
        """Unlock the folder; with remote storage, delete the driver's copy."""
        if self._lease is not None:
            self._lease.release()
            self.mirror.clear()
        self._lock.release()

    @property
    def location(self) -> str:
        """The folder's path or URL."""
        return self.mirror.location

    @property
    def search(self) -> StageFolder:
        """The folder of the search."""
        return StageFolder(self.mirror.child(SEARCH_FOLDER), self.options.search.rank_by)

    @property
    def confirmation(self) -> StageFolder:
        """The folder of the confirmation."""
        return StageFolder(self.mirror.child(CONFIRM_FOLDER), self.options.search.rank_by)

    @property
    def resume_command(self) -> str:
        """The command that resumes this sweep."""
        return shlex.join([*words_to_type("betavae-sweep"), "--resume", self.location])

    def trials(self, stage: StageFolder | None = None) -> Trials:
        """Read the trials of a stage, by default of the search. A trial that this sweep cannot use is unreadable."""
        stage = stage or self.search
        trials = stage.read_all(self._record)
        for trial in trials.read.copy():
            if mismatch := self._mismatch(stage, trial):
                mark_unreadable(
                    trials,
                    trial,
                    f"its {PARAMS_FILE} says {mismatch} as in the sweep's options. Correct the file, or delete "
                    f"{trial.folder} to train the trial anew.",
                )
        return trials

    def _mismatch(self, stage: StageFolder, trial: Trial) -> str:
        """Return which value of a trial's config contradicts the sweep's options; empty if none does."""
        seed_of = search_seed if stage.path == self.search.path else confirming_seed
        seed = seed_of(self.options, trial.index)
        if trial.config.seed != seed:
            return f"seed {trial.config.seed}, not {seed}"
        return self.options.space.mismatch(trial.config)

    def read_and_mend(self, stage: StageFolder) -> Trials:
        """Read the trials of a stage, repair damaged files and warn of them. None of the trials may be running."""
        trials = self.trials(stage)
        for trial in trials.read:
            if trial.problems:
                stage.trial(trial.index).mend(trial)
                _warn(trial.problems)
        return trials

    def choose(self, count: int, rated_trials: Callable[[], Sequence[Trial]]) -> list[TrialConfig]:
        """Return the configurations to confirm: those of each data set with the highest median score, with seed 0.

        A choice is recorded and final, whatever the search finds later; a larger `count` adds the best of the rest.
        The best configurations of all data sets come before the second best, so that a larger `count` adds at the end.

        Args:
            count: Number of configurations of each data set.
            rated_trials: Return the trials of the search, as rated by the rule that chooses; called if the record holds
                fewer configurations.
        """
        configs = [TrialConfig.from_dict(values) for values in self._record.get("chosen", [])]
        num_chosen = Counter({name: 0 for name in self.options.space.names_of("dataset")})
        num_chosen.update(config.dataset.name for config in configs)
        if min(num_chosen.values()) >= count:
            return configs
        num_recorded, others = len(configs), _other_configs(rated_trials(), configs)
        for rank, name in itertools.product(range(count), num_chosen):
            if num_chosen[name] <= rank and others.get(name):
                configs.append(others[name].pop(0))
                num_chosen[name] += 1
        if len(configs) > num_recorded:
            self._write({"chosen": [config.to_dict() for config in configs]})
        return configs

    def write_file(self, name: str, text: str) -> str:
        """Write or replace a file of the folder, and return the file's location."""
        replace_text(self.mirror.local / name, text)
        self.mirror.push(name)
        return child_location(self.location, name)

    def note_resources(self, cluster_resources: Mapping[str, float]) -> None:
        """Record the resources of the machines that the sweep runs on."""
        kinds = {name: value for name, value in cluster_resources.items() if ":" not in name}  # no addresses of nodes
        self._write({"resources": kinds})

    def recorded_sharing(self, machine: Mapping[str, Any]) -> int | None:
        """Return how many trials should share a GPU, if this was measured on such a machine before."""
        sharing = self._record.get("sharing", {})
        number = sharing.get("trials_per_gpu")
        return number if isinstance(number, int) and sharing.get("machine") == machine else None

    def note_sharing(self, machine: Mapping[str, Any], number: int) -> None:
        """Record how many trials should share a GPU of such a machine."""
        self._write({"sharing": {"machine": dict(machine), "trials_per_gpu": number}})

    def note_end(
        self, trials: Sequence[Trial], *, completion: Mapping[str, bool], lost_trials: Mapping[str, str]
    ) -> None:
        """Record how each stage and its trials ended.

        Args:
            trials: The trials that can be read.
            completion: By name of each requested stage, whether all of its trials have ended.
            lost_trials: By trial's name, why the trial could not be read or could not write.
        """
        outcome = {name: "done" if is_done else "interrupted" for name, is_done in completion.items()}
        failures = {name_in_sweep(trial): trial.error for trial in trials if trial.error} | dict(lost_trials)
        counts = Counter(trial.status for trial in trials)
        self._write({"end": _now(), "outcome": {**outcome, **counts, "failures": failures}})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._record |= values
        for name in (SWEEP_FILE, SWEEP_COPY_FILE):  # in turn, so that one file is intact at any time
            replace_json(self.mirror.local / name, self._record)
            self.mirror.push(name)


def _other_configs(trials: Sequence[Trial], chosen: Sequence[TrialConfig]) -> dict[str, list[TrialConfig]]:
    """Return the configurations of each data set that are not chosen, the highest median score first."""
    groups = by_dataset(trial for trial in trials if trial.status != "failed")
    return {
        name: [setting.config for setting in settings_of(group) if setting.config not in chosen]
        for name, group in groups.items()
    }


def check_destination(options: Options, *, data: Mapping[str, FactorImages]) -> str:
    """Return the location that a sweep would write to; make nothing.

    Raises:
        FileExistsError: If `--name` names an existing folder.
        InputError: If the sweep cannot be resumed.
    """
    if options.sweep.resume is not None:
        check_resumable(options, data=data)
        return full_location(options.sweep.resume)
    for mirror in _candidate_folders(options, make=False):
        if not mirror.exists():
            return mirror.location
        if options.sweep.name is not None:
            raise FileExistsError(_exists_message(mirror))
    raise AssertionError("the default names are endless")


def check_resumable(options: Options, *, data: Mapping[str, FactorImages]) -> None:
    """Refuse a sweep that these options or these data cannot resume.

    Raises:
        InputError: Naming the option or the data.
    """
    assert options.sweep.resume is not None
    with local_copy(options.sweep.resume, is_sweep_file) as mirror:
        record = read_record(mirror.local)
    check_resume(options, options_from_dict(recorded_options(record)))
    for name, images in data.items():
        fingerprint = record.get("data", {}).get(name, {}).get("sha256", "unknown")
        if fingerprint != images.fingerprint:
            raise InputError(
                f"{options.sweep.resume} must resume with the {name} data of SHA-256 {fingerprint[:12]}..., but this "
                f"machine has {images.fingerprint[:12]}..., and scores would not be comparable: use the same source of "
                "the data."
            )


def _candidate_folders(options: Options, *, make: bool = True) -> Iterator[Mirror]:
    """Yield the folder of `--name`, or of preset and time; then the same name with a number: 2, 3, ..."""
    name = options.sweep.name or f"{options.sweep.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    for count in itertools.count(1):
        numbered_name = name if count == 1 else f"{name}-{count}"
        yield Mirror.at(child_location(full_location(options.sweep.results), numbered_name), make=make)


def _make_new(mirror: Mirror) -> None:
    """Make a folder on this machine, or check that a remote one is missing.

    Raises:
        FileExistsError: If the folder exists.
        OSError: If the folder cannot be made.
    """
    try:
        if mirror.url is None:
            mirror.local.mkdir(parents=True)
        elif mirror.exists():
            raise FileExistsError
    except FileExistsError as error:
        raise FileExistsError(_exists_message(mirror)) from error
    except OSError as error:
        raise OSError(
            f"--results must be a folder that can be written, but {mirror.location}: {error.strerror}."
        ) from error


def _discard(mirror: Mirror) -> None:
    """Delete a folder of this machine that was made just now."""
    if mirror.url is None:
        shutil.rmtree(mirror.local, ignore_errors=True)


def _exists_message(mirror: Mirror) -> str:
    folder = mirror.location
    return f"{folder} exists, and a sweep is never overwritten; give another --name, or resume with --resume {folder}."


def _provenance(arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "command": shlex.join([*words_of_command("betavae-sweep"), *arguments]),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _RECORDED_PACKAGES},
        "git": _git_state(),
        "extensions": list(extension_names()),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # found on the path, but not installed
        return "unknown"


def _warn(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_state() -> dict[str, Any] | None:
    """Return the commit of this code, and whether files were modified since; None outside a git checkout.

    An installed package may lie in an environment inside a repository of something else, whose commit says nothing.
    """
    if not (_ROOT / ".git").exists():  # a folder; in another worktree, a file
        return None
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
