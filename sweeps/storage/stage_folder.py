"""The folder of one stage: the trials of a search, or of its confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betavae.records.trial import (
    PARAMS_FILE,
    Trial,
    Trials,
    folder_in_sweep,
    identifier_of,
    read_trial,
    read_trials,
    trial_folder_name,
)
from sweeps.storage.mirror import Mirror, is_record
from sweeps.storage.trial_folder import TrialFolder


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage, with a subfolder per trial, named after the trial's number.

    Attributes:
        mirror: The folder.
        rank_by: The score that ranks the trials.
    """

    mirror: Mirror
    rank_by: str

    @property
    def path(self) -> Path:
        """The local path: of the folder, or of the driver's copy."""
        return self.mirror.local

    def trial(self, index: int) -> TrialFolder:
        """Return the folder of a trial, by the trial's number."""
        return TrialFolder(self.mirror.child(trial_folder_name(index)), rank_by=self.rank_by)

    def read(self, index: int) -> Trial:
        """Read the current state of a trial, by the trial's number.

        Raises:
            ValueError: If a file is damaged.
            OSError: If a file cannot be read.
        """
        folder = self.trial(index)
        folder.refresh()
        return read_trial(folder.path, rank_by=self.rank_by)

    def read_all(self, record: Mapping[str, Any]) -> Trials:
        """Read every trial of the stage. A trial whose number differs from its folder's counts as unreadable.

        Args:
            record: The sweep's record; see `read_trials`.
        """
        self.mirror.pull(is_record)
        trials = read_trials(self.path, record)
        for trial in trials.read.copy():
            expected_folder = self.trial(trial.index).path
            if trial.folder != expected_folder:
                mark_unreadable(
                    trials,
                    trial,
                    f"its {PARAMS_FILE} says that it is trial {trial.index}, whose folder is {expected_folder.name}. "
                    f"If it is a copy, move it out of {self.path}.",
                )
        return trials


def mark_unreadable(trials: Trials, trial: Trial, reason: str) -> None:
    """Move a trial from the readable to the unreadable trials, with the reason."""
    trials.read.remove(trial)
    trials.unreadable[identifier_of(trial.folder)] = (
        f"Trial {folder_in_sweep(trial.folder)} could not be read: {reason}"
    )
