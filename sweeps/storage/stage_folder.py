"""Where the trials of a search, or of its confirmation, are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betavae.records.trial import PARAMS_FILE, Trial, Trials, folder_in_sweep, read_trial, read_trials
from sweeps.storage.mirror import Mirror, is_record
from sweeps.storage.trial_folder import TrialFolder


@dataclass(frozen=True)
class StageFolder:
    """Where the trials of one stage are kept: a folder each, numbered as they were planned.

    Attributes:
        mirror: Where it is.
        rank_by: The score that ranks the trials.
    """

    mirror: Mirror
    rank_by: str

    @property
    def path(self) -> Path:
        """Where it is, or where the driver's copy is."""
        return self.mirror.local

    def trial(self, index: int) -> TrialFolder:
        """Return the folder of the trial of that number."""
        return TrialFolder(self.mirror.child(f"trial_{index:04}"), rank_by=self.rank_by)

    def read(self, index: int) -> Trial:
        """Read the trial of that number as it is by now.

        Raises:
            ValueError: If a file is damaged.
            OSError: If a file cannot be read.
        """
        folder = self.trial(index)
        folder.refresh()
        return read_trial(folder.path, rank_by=self.rank_by)

    def read_all(self, record: Mapping[str, Any]) -> Trials:
        """Read every trial that has a folder here; one whose number is not that of its folder counts as unreadable.

        Args:
            record: The sweep's, see `read_trials`.
        """
        self.mirror.pull(is_record)
        trials = read_trials(self.path, record)
        for trial in trials.read.copy():
            expected = self.trial(trial.index).path
            if trial.folder != expected:
                refuse(
                    trials,
                    trial,
                    f"its {PARAMS_FILE} says that it is trial {trial.index}, whose folder is {expected.name}. If it is "
                    f"a copy, move it out of {self.path}.",
                )
        return trials


def refuse(trials: Trials, trial: Trial, reason: str) -> None:
    """Count a trial as one that cannot be read."""
    trials.read.remove(trial)
    trials.unreadable[trial.folder.name.removeprefix("trial_")] = (
        f"Trial {folder_in_sweep(trial.folder)} could not be read: {reason}"
    )
