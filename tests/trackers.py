"""Trackers without a network, and what they have written, read back."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SUMMARY = ("outcome", "ending")
PICTURES = ("reconstructions", "traversal_by_kl", "mutual_information")

_BLOCK_BYTES, _HEADER_BYTES = 32768, 7


@pytest.fixture
def trackers_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, no key, no settings of this machine's user, and no log outside `tmp_path`."""
    for name in os.environ:
        if name.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / ".user"))
    monkeypatch.setenv("NETRC", str(tmp_path / ".user" / "netrc"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run, which takes seconds to make."""
    from sweeps.loggers.mlflow_log import MlflowLog

    mlflow = MlflowLog.load()
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def with_store(empty_store: Path, trackers_offline: None) -> Any:
    """Give a sweep's folder the store that MLflow's log would make there."""

    def put(folder: Path) -> None:
        (folder / "mlflow").mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlflow" / "mlflow.db")

    return put


@dataclass
class TrackedTrial:
    """What a tracker has of a trial.

    Attributes:
        group: The sweep.
        name: Its name.
        tags: Its tags.
        config: Its configuration.
        curves: By name, steps and values in the order in which they were written.
        pictures: By name, the steps that have one.
        summary: What is said of its end, and the best score.
        status: How the tracker says that it ended.
    """

    group: str = ""
    name: str = ""
    tags: set[str] = field(default_factory=set)
    config: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    pictures: dict[str, list[int]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    status: Any = None


def tracked(name: str, folder: Path) -> dict[str, TrackedTrial]:
    """What a tracker has of the trials of a sweep, by the names of the trials."""
    return {"wandb": in_wandb, "mlflow": in_mlflow}[name](folder)


def in_mlflow(folder: Path) -> dict[str, TrackedTrial]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder.absolute() / 'mlflow' / 'mlflow.db'}")
    trials = {}
    for experiment in client.search_experiments(filter_string="name != 'Default'"):
        for run in client.search_runs([experiment.experiment_id]):
            trial = TrackedTrial(experiment.name, run.info.run_name, config=run.data.params, status=run.info.status)
            trial.tags = {run.data.tags[name] for name in ("stage", "dataset", "objective")}
            trial.summary = {name: run.data.tags.get(name) for name in ("outcome", "ending", "best_step")}
            for name, value in run.data.metrics.items():
                history = client.get_metric_history(run.info.run_id, name)
                if name.startswith("best_"):
                    trial.summary[name] = value
                else:
                    trial.curves[name] = [(each.step, each.value) for each in history]
            for file in client.list_artifacts(run.info.run_id, "images"):
                if file.path.endswith(".png"):
                    picture, _, step, *_ = Path(file.path).name.split("+")
                    trial.pictures.setdefault(picture, []).append(int(step))
            assert trial.name not in trials, "two runs of one trial"
            trials[trial.name] = trial
    return trials


def in_wandb(folder: Path) -> dict[str, TrackedTrial]:
    """From the runs that are offline, in the order in which `wandb sync` would send them."""
    trials: dict[str, TrackedTrial] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        first, *records = [record for record in records_of(file) if not record.HasField("header")]
        assert first.run.run_id == file.stem.removeprefix("run-")
        trial = trials.setdefault(first.run.display_name, TrackedTrial())
        trial.group, trial.name, trial.tags = first.run.run_group, first.run.display_name, set(first.run.tags)
        trial.config = {name: value for name, value in values_of(first.run.config.update).items() if name[0] != "_"}
        trial.status = None
        for record in records:
            ending = values_of(record.summary.update)
            trial.summary |= {name: ending[name] for name in ending if name in SUMMARY or name.startswith("best_")}
            add_row(trial, values_of(record.history.item), file.parent / "files")
            if record.HasField("exit"):
                trial.status = record.exit.exit_code
    return trials


def add_row(trial: TrackedTrial, row: dict[str, Any], files: Path) -> None:
    for name, value in row.items():
        if name.endswith("/path"):  # of a picture
            assert (files / value).is_file()
            trial.pictures.setdefault(name.removesuffix("/path"), []).append(row["_step"])
        elif name[0] != "_" and isinstance(value, (int, float)) and not name.startswith(PICTURES):
            trial.curves.setdefault(name, []).append((row["_step"], value))


def values_of(items: Any) -> dict[str, Any]:
    """The values of W&B's items, by name, or by the names on the way to them."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def records_of(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: W&B's messages in LevelDB's log format, behind a header of 7 bytes.

    A record has a checksum (4 bytes), its length (2) and its type (1): whole, first, middle or last of several.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = file.read_bytes(), _HEADER_BYTES, b""
    while place + _HEADER_BYTES <= len(content):
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _HEADER_BYTES:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        start = place + _HEADER_BYTES
        parts, place = parts + content[start : start + length], start + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""
