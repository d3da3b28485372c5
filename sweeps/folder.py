"""A sweep's folder: made once, never written over, and the record of what was asked for and what came."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from betavae.analysis.results import SWEEP_FILE
from betavae.checkpoint import write_json
from betavae.data import DSprites
from sweeps.options import Options, options_to_dict

_RECORDED_PACKAGES = ("betavae-lab", "numpy", "optuna", "ray", "torch")


def create_folder(options: Options) -> Path:
    """Make the sweep's folder.

    Raises:
        FileExistsError: If there is one of that name: nothing is ever written over.
        OSError: If it cannot be written.
    """
    name = options.sweep.name or f"{options.sweep.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = options.sweep.results.expanduser().resolve() / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise FileExistsError(f"{folder} exists, and is not written over; give another --name.") from error
    except OSError as error:
        raise OSError(f"--results must be a folder that can be written, but {folder}: {error.strerror}.") from error
    return folder


class SweepRecord:
    """`sweep.json`: written at the start, and once more at the end with how it went."""

    def __init__(self, folder: Path, options: Options, *, data: DSprites, arguments: Sequence[str]) -> None:
        self._path = folder / SWEEP_FILE
        self._values: dict[str, Any] = {
            "options": options_to_dict(options),
            "decided": {"eval_every": options.eval_every, "grace_steps": options.grace_steps},
            "command": shlex.join(["python", "sweeps/run.py", *arguments]),
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES},
            "git": _git_state(),
            "data": {"source": data.source, "sha256": data.fingerprint},
        }

    def start(self, cluster_resources: Mapping[str, float]) -> None:
        """Write what is known before the first trial."""
        kinds = {name: value for name, value in cluster_resources.items() if ":" not in name}  # no addresses of nodes
        self._write({"resources": kinds, "start": _now()})

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Add how it ended."""
        self._write({"end": _now(), "outcome": dict(outcome)})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._values |= values
        temporary = self._path.with_suffix(".tmp")
        write_json(temporary, self._values)
        temporary.replace(self._path)


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
