"""A sweep's folder: made once, never written over, and the record of what was asked for and what came."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from betavae.analysis.results import SEARCH_FOLDER, SWEEP_FILE, Trial, read_record, read_trials
from betavae.data import DSprites
from betavae.files import replace_json
from sweeps.options import Options, options_from_dict, options_to_dict
from sweeps.plan import check_resume
from sweeps.trial_folder import SearchFolder, TrialFolder

_LOCK_FILE = ".lock"
_RECORDED_PACKAGES = ("betavae-lab", "numpy", "optuna", "ray", "torch")


class SweepFolder:
    """A sweep's folder, held by this process alone, with its record.

    Use `create` or `resume`.

    Attributes:
        path: Where it is, absolute.
        options: What the sweep is asked for, in all: a resume may raise the number of trials.
    """

    def __init__(self, path: Path, options: Options, *, record: dict[str, Any]) -> None:
        self.path, self.options = path, options
        self._record = record
        self._lock = FileLock(path / _LOCK_FILE, timeout=0)
        try:
            self._lock.acquire()  # the system lets go of it when this process ends, however it ends
        except Timeout as error:
            raise ValueError(f"{path} is being worked on by another run.py; wait for it, or end it first.") from error

    @classmethod
    def create(cls, options: Options, *, data: DSprites, arguments: Sequence[str]) -> SweepFolder:
        """Make a new folder, and write down what was asked for.

        Raises:
            FileExistsError: If there is one of that name: nothing is ever written over.
            OSError: If it cannot be written.
        """
        folder = cls(_make_folder(options), options, record={})
        folder._write(
            {
                "options": options_to_dict(options),
                "decided": {"eval_every": options.eval_every, "grace_steps": options.grace_steps},
                "data": {"source": data.source, "sha256": data.fingerprint},
                **_provenance(arguments),
                "start": _now(),
            }
        )
        return folder

    @classmethod
    def resume(cls, options: Options, *, data: DSprites, arguments: Sequence[str]) -> SweepFolder:
        """Take up the sweep that `options.sweep.resume` names, and write down that this was done.

        Raises:
            ValueError: If it is no sweep's folder, another process works on it, an option would change the study, or
                the data are not those it was started with.
        """
        assert options.sweep.resume is not None
        path = options.sweep.resume.expanduser().resolve()
        record = read_record(path)
        check_resume(options, options_from_dict(record["options"]))
        if record["data"]["sha256"] != data.fingerprint:
            raise ValueError(
                f"{path} was started with data of SHA-256 {record['data']['sha256'][:12]}..., but this machine has "
                f"{data.fingerprint[:12]}...: scores would not compare. Use the same source of dSprites."
            )
        folder = cls(path, options, record=record)
        resumed = {**_provenance(arguments), "start": _now()}
        record.pop("outcome", None)
        folder._write({"options": options_to_dict(options), "resumed": [*record.get("resumed", []), resumed]})
        if options.sweep.retry_failed:
            for trial in folder.trials():
                TrialFolder(trial.folder).forget_failure()
        return folder

    @property
    def search(self) -> SearchFolder:
        """Where the search's trials are."""
        return SearchFolder(self.path / SEARCH_FOLDER, self.options.sweep.seed)

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return shlex.join(["python", "sweeps/run.py", "--resume", str(self.path)])

    def trials(self) -> list[Trial]:
        """The search's trials, as their folders are now."""
        return read_trials(self.search.path)

    def note_resources(self, cluster_resources: Mapping[str, float]) -> None:
        """Write down what the sweep runs on."""
        kinds = {name: value for name, value in cluster_resources.items() if ":" not in name}  # no addresses of nodes
        self._write({"resources": kinds})

    def note_end(self, trials: Sequence[Trial], *, done: bool) -> None:
        """Write down how the search and its trials ended."""
        outcome: dict[str, Any] = {
            "search": "done" if done else "interrupted",
            **Counter(trial.status for trial in trials),
            "failures": {trial.trial_id: trial.error for trial in trials if trial.error is not None},
        }
        self._write({"end": _now(), "outcome": outcome})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._record |= values
        replace_json(self.path / SWEEP_FILE, self._record)


def _make_folder(options: Options) -> Path:
    name = options.sweep.name or f"{options.sweep.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = options.sweep.results.expanduser().resolve() / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise FileExistsError(
            f"{folder} exists, and is not written over; give another --name, or go on with it by --resume {folder}."
        ) from error
    except OSError as error:
        raise OSError(f"--results must be a folder that can be written, but {folder}: {error.strerror}.") from error
    return folder


def _provenance(arguments: Sequence[str]) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES}
    return {
        "command": shlex.join(["python", "sweeps/run.py", *arguments]),
        "versions": {"python": platform.python_version()} | versions,
        "git": _git_state(),
    }


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
    root = Path(__file__).parent.parent
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
