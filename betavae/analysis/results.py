"""Read a sweep's folder: the trials, what they reported, and their checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betavae.checkpoint import SCORES_FILE
from betavae.config import TrialConfig

Report = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep, as its folder tells it.

    Attributes:
        trial_id: Its name in the sweep.
        folder: Where it is.
        config: What it trains.
        reports: What it reported, in order.
        error: The last line of its error, if it failed.
    """

    trial_id: str
    folder: Path
    config: TrialConfig
    reports: tuple[Report, ...]
    error: str | None

    @property
    def best(self) -> Report | None:
        """The report with the highest `mig`; None before the first."""
        return max(self.reports, key=lambda report: report["mig"], default=None)

    @property
    def best_checkpoint(self) -> Path | None:
        """Its checkpoint folder of the highest `mig`."""
        return max(self._checkpoints(), default=(0.0, None))[1]

    @property
    def step(self) -> int:
        """Steps at its last report."""
        return self.reports[-1]["step"] if self.reports else 0

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its planned end."""
        return self.step >= self.config.steps

    def _checkpoints(self) -> Iterator[tuple[float, Path]]:
        for scores in self.folder.glob(f"checkpoint_*/{SCORES_FILE}"):
            yield json.loads(scores.read_text())["mig"]["score"], scores.parent


def read_trials(folder: Path) -> list[Trial]:
    """Read every trial below a sweep's `search` or `confirm` folder; those that have started, by identifier."""
    return [_read_trial(params.parent) for params in sorted(folder.glob("trial_*/params.json"))]


def ranked(trials: list[Trial]) -> list[Trial]:
    """The trials with a score, the highest `mig` first."""
    scored = [trial for trial in trials if trial.best is not None]
    return sorted(scored, key=lambda trial: trial.best["mig"] if trial.best else 0.0, reverse=True)


def _read_trial(folder: Path) -> Trial:
    error = folder / "error.txt"
    results = folder / "result.json"
    return Trial(
        trial_id=folder.name.removeprefix("trial_"),
        folder=folder,
        config=TrialConfig.read(folder / "params.json"),
        reports=tuple(map(json.loads, results.read_text().splitlines())) if results.exists() else (),
        error=error.read_text().rstrip().rpartition("\n")[2] if error.exists() else None,
    )
