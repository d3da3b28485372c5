"""Where the trials of a search, or of its confirmation, are kept, and their seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betavae.records.trial import PARAMS_FILE, Trial, Trials, folder_in_sweep, read_trial, read_trials
from sweeps.storage.mirror import Mirror, is_record
from sweeps.storage.trial_folder import TrialFolder

_SEEDS_PER_SWEEP = 1_000_000

FIRST_CONFIRMING = 500_000
"""The seeds from here on, of those that a sweep may use, are for its confirmation."""


@dataclass(frozen=True)
class SearchFolder:
    """Where the trials of one search are kept: a folder each, numbered as they were planned.

    Attributes:
        mirror: Where it is.
        sweep_seed: What the trials' seeds are derived from.
        first: Where in the sweep's seeds those of these trials begin.
    """

    mirror: Mirror
    sweep_seed: int
    first: int = 0

    @property
    def path(self) -> Path:
        """Where it is, or where the driver's copy is."""
        return self.mirror.local

    def trial(self, seed: int) -> TrialFolder:
        """The folder of the trial with this seed: no two trials of a sweep share one."""
        return TrialFolder(self.mirror.child(f"trial_{self.index(seed):04}"))

    def read(self, seed: int) -> Trial:
        """Read the trial with this seed as it is by now.

        Raises:
            ValueError: If a file is damaged.
            OSError: If a file cannot be read.
        """
        folder = self.trial(seed)
        folder.refresh()
        return read_trial(folder.path)

    def read_all(self, record: Mapping[str, Any], *, shared: Mapping[str, Any]) -> Trials:
        """Read every trial that has a folder here; one that is not of this sweep counts as unreadable.

        Args:
            record: The sweep's, see `read_trials`.
            shared: The fields of TrialConfig that all trials of the sweep have.
        """
        self.mirror.pull(is_record)
        trials = read_trials(self.path, record)
        for trial in trials.read.copy():
            if strange := self._strange_values(trial, shared):
                trials.read.remove(trial)
                trials.unreadable[trial.trial_id] = (
                    f"Trial {folder_in_sweep(trial.folder)} could not be read: {strange}"
                )
        return trials

    def _strange_values(self, trial: Trial, shared: Mapping[str, Any]) -> str:
        """Say which of a trial's values this sweep would not give to the trial in that folder; nothing if none."""
        expected = self.trial(trial.config.seed).path
        if trial.folder != expected:
            return (
                f"its seed {trial.config.seed} is that of {expected.name}. If it is a copy, move it out of {self.path}."
            )
        values = trial.config.to_dict()
        differences = [f"{name} {values[name]}, not {value}" for name, value in shared.items() if values[name] != value]
        if not differences:
            return ""
        return (
            f"its {PARAMS_FILE} says {'; '.join(differences)} as the sweep has it. Mend the file, or delete "
            f"{trial.folder} to have it trained anew."
        )

    def index(self, seed: int) -> int:
        """The number of the trial with this seed."""
        return seed - self.seed(0)

    def seed(self, index: int) -> int:
        """The seed of trial 0, 1, ..."""
        return trial_seed(self.sweep_seed, self.first + index)


def trial_seed(sweep_seed: int, index: int) -> int:
    """Seed of a sweep's trial 0, 1, ...: no two trials of one sweep, and of two sweeps, share one."""
    return sweep_seed * _SEEDS_PER_SWEEP + index
