"""The logger of Weights & Biases, which writes each trial as a run of a group per sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from betavae.errors import InputError
from sweeps.loggers.tracker import Ending, RunPlan, TrackedRun, Tracker
from sweeps.options.options import Options
from sweeps.storage.locations import is_remote

_PROJECT = "betavae-lab"
"""The project, unless $WANDB_PROJECT or a settings file names one."""

_FINISH_SECONDS = 30.0
"""Time to upload the rest of a run at its end, unless $WANDB_FINISH_TIMEOUT gives another. W&B has no limit itself."""

_ONLINE, _OFFLINE = ("online", "run"), ("offline", "dryrun")
"""Values of $WANDB_MODE, each with an older word for it."""


class WandbLog(Tracker):
    """Writes each trial as a run of Weights & Biases. $WANDB_MODE=offline writes to the sweep's folder, to sync later.

    Args:
        context: The stage.
    """

    name = "wandb"
    package = "wandb"
    environment = {
        "WANDB_SILENT": "true",  # no prompt for a key, and no line for each run
        "WANDB_ERROR_REPORTING": "false",  # to W&B's developers
    }

    @classmethod
    def check(cls, options: Options) -> None:
        """Refuse a sweep if W&B is not installed or knows no key, or if its files would be lost.

        Raises:
            InputError: With the fix.
        """
        wandb, location = cls.load(), options.sweep.location
        mode = wandb.setup().settings.mode
        try:
            has_key = mode not in _ONLINE or wandb.login(prompt=False, verify=False)
        finally:
            wandb.teardown()  # the service that `setup` has started
        if mode not in (*_ONLINE, *_OFFLINE):
            raise InputError(f"WANDB_MODE must be online or offline, but is {mode}; leave wandb out, or change it.")
        if not has_key:
            raise InputError(
                "wandb needs an API key of Weights & Biases, but there is none: call `wandb login`, or set "
                "WANDB_MODE=offline."
            )
        if mode in _OFFLINE and "WANDB_DIR" not in os.environ and is_remote(location):
            raise InputError(f"wandb needs a folder for runs that are offline, which {location} is not: set WANDB_DIR.")

    def open(self, plan: RunPlan) -> TrackedRun:
        """Begin a run, or continue it if W&B has it."""
        wandb = self.load()
        is_online = wandb.setup().settings.mode in _ONLINE
        try:
            run = self._init(wandb, plan)
        except Exception:
            if not self._runs:  # the service would refuse the run, as one in use, when it is opened again
                self.disconnect()
            raise
        run.summary["outcome"] = "running"
        # beside the folders of the runs, since each driver makes a new one
        step_file = Path(run.dir).parents[1] / f"{plan.key}.step"
        return _WandbRun(run, wandb.Image, step_file, step=run.step - 1 if is_online else _read_step(step_file))

    def _init(self, wandb: Any, plan: RunPlan) -> Any:
        settings = wandb.setup().settings
        return wandb.init(
            project=settings.project or _PROJECT,
            group=plan.group,
            job_type=plan.tags["stage"],
            name=plan.name,
            id=plan.key,
            tags=list(dict.fromkeys(plan.tags.values())),
            config=dict(plan.config),
            dir=None if "WANDB_DIR" in os.environ else str(self.context.sweep.local),
            resume="allow",
            reinit="create_new",
            settings=_settings(wandb, settings.finish_timeout or _FINISH_SECONDS),
        )

    def disconnect(self) -> None:
        """End W&B's service process.

        Raises:
            RuntimeError: If the process has failed.
        """
        try:
            self.load().teardown()
        except SystemExit as error:
            raise RuntimeError(f"W&B's service process ended with exit code {error.code}") from error


@dataclass
class _WandbRun(TrackedRun):
    """A run, whose latest step is also in a file: a run that is offline cannot be asked for it later."""

    run: Any
    image: Any
    step_file: Path

    def log(self, step: int, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray]) -> None:
        images = {name: self.image(pixels) for name, pixels in pictures.items()}
        self.run.log({**numbers, **images}, step=step, commit=True)
        self.step_file.write_text(str(step))

    def end(self, ending: Ending) -> None:
        self.run.summary.update({"outcome": ending.status, "ending": ending.text})
        if ending.best is not None:
            score, step = ending.best
            self.run.summary.update({f"best_{ending.rank_by}": score, "best_step": step})
        if ending.status == "interrupted":
            self.run.mark_preempting()
        self.run.finish(exit_code=0 if ending.status in ("finished", "stopped") else 1)


def _read_step(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):  # ValueError: the machine failed while the file was written
        return 0


def _settings(wandb: Any, finish_seconds: float) -> Any:
    """Return settings of a run: it holds what the logger writes, not what W&B finds out of the machine and the code."""
    return wandb.Settings(
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        finish_timeout=finish_seconds,
        finish_timeout_raises=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
