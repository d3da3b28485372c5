"""The logger of MLflow, which writes each trial as a run of an experiment per sweep."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from betavae.errors import InputError
from sweeps.loggers.tracker import Ending, RunPlan, TrackedRun, Tracker
from sweeps.options.options import Options
from sweeps.printing import without_credentials
from sweeps.storage.locations import is_remote

_URI = "MLFLOW_TRACKING_URI"

_FOLDER, _DATABASE = "mlflow", "mlflow.db"
"""The folder of the default store, in the sweep's folder, and its database."""

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Kinds of stores that opening would make or change."""

_KEY = "betavae.run"
"""The tag that identifies a run."""

_OTHER_CHARACTERS = re.compile(r"[^\w.\- :/]", re.ASCII)
"""Characters that MLflow does not allow in the name of a metric or a picture."""

_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MlflowLog(Tracker):
    """Writes each trial as a run of MLflow, to the store of $MLFLOW_TRACKING_URI or to one in the sweep's folder.

    Args:
        context: The stage.
    """

    name = "mlflow"
    package = "mlflow"
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",  # else lines about each new database
    }

    @classmethod
    def check(cls, options: Options) -> None:
        """Refuse a sweep if MLflow is not installed or cannot use the store, or if the store would be lost.

        Raises:
            InputError: With the fix.
        """
        mlflow, uri, location = cls.load(), os.environ.get(_URI), options.sweep.location
        if uri is None:
            if is_remote(location):
                raise InputError(f"mlflow needs a store, which {location} cannot hold: set {_URI}.")
        elif urlsplit(uri).scheme in ("", "file"):
            raise InputError(
                f"{_URI} must name a server or a database, such as sqlite:///mlflow.db, but is {uri!r}: MLflow's files "
                "cannot hold a metric `mig` beside `mig/shape`."
            )
        elif not uri.startswith(_DATABASES):
            try:
                mlflow.MlflowClient(uri)
            except mlflow.MlflowException as error:
                reason = without_credentials(str(error))
                raise InputError(f"{_URI} must name a store that MLflow can use, but: {reason}") from error

    def open(self, plan: RunPlan) -> TrackedRun:
        """Begin a run, or continue it if the store has it."""
        client = self._client()
        experiment = self._experiment(client, plan.group)
        runs = client.search_runs([experiment], f"tags.`{_KEY}` = '{plan.key}'", max_results=1)
        run = runs[0] if runs else client.create_run(experiment, run_name=plan.name, tags={_KEY: plan.key})
        run_id = run.info.run_id
        client.update_run(run_id, status="RUNNING")
        missing = {name: value for name, value in plan.config.items() if name not in run.data.params}
        _log_batch(client, run_id, params=missing, tags={**plan.tags, "outcome": "running"})
        history = client.get_metric_history(run_id, self.context.stage.rank_by)
        return _MlflowRun(client, run_id, step=max((metric.step for metric in history), default=0))

    def _client(self) -> Any:
        mlflow, uri = self.load(), os.environ.get(_URI)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # else a line for each attempt
        if uri is None:
            self._folder.mkdir(exist_ok=True)
            uri = f"sqlite:///{self._folder / _DATABASE}"
        return mlflow.MlflowClient(uri)

    def _experiment(self, client: Any, name: str) -> str:
        """Return the identifier of the sweep's experiment, which is made if it is missing."""
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        pictures = None if _URI in os.environ else (self._folder / "artifacts").as_uri()
        return str(client.create_experiment(name, artifact_location=pictures))

    @property
    def _folder(self) -> Path:
        return self.context.sweep.local.absolute() / _FOLDER


@dataclass
class _MlflowRun(TrackedRun):
    client: Any
    run_id: str

    def log(self, step: int, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray]) -> None:
        _log_batch(self.client, self.run_id, step=step, metrics=numbers)
        for name, pixels in pictures.items():
            self.client.log_image(self.run_id, pixels, key=_allowed(name), step=step, synchronous=True)

    def end(self, ending: Ending) -> None:
        _log_batch(self.client, self.run_id, tags={"outcome": ending.status, "ending": ending.text})
        if ending.best is not None:
            score, step = ending.best
            best = {f"best_{ending.rank_by}": score}
            _log_batch(self.client, self.run_id, step=step, metrics=best, tags={"best_step": str(step)})
        self.client.set_terminated(self.run_id, _STATUS[ending.status])


def _log_batch(
    client: Any,
    run_id: str,
    *,
    step: int = 0,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        [Metric(_allowed(name), value, now, step) for name, value in (metrics or {}).items()],
        [Param(name, str(value)) for name, value in (params or {}).items()],
        [RunTag(name, value) for name, value in (tags or {}).items()],
        synchronous=True,
    )


def _allowed(name: str) -> str:
    return _OTHER_CHARACTERS.sub("_", name)
