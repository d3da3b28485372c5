"""Where the trials of a search, or of its confirmation, are kept, and their seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from betavae.analysis.results import Trial, read_trial
from sweeps.storage import Mirror
from sweeps.trial_folder import TrialFolder

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
        """What has become of the trial with this seed by now."""
        folder = self.trial(seed)
        folder.refresh()
        return read_trial(folder.path)

    def index(self, seed: int) -> int:
        """The number of the trial with this seed."""
        return seed - self.seed(0)

    def seed(self, index: int) -> int:
        """The seed of trial 0, 1, ..."""
        return trial_seed(self.sweep_seed, self.first + index)


def trial_seed(sweep_seed: int, index: int) -> int:
    """Seed of a sweep's trial 0, 1, ...: no two trials of one sweep, and of two sweeps, share one."""
    return sweep_seed * _SEEDS_PER_SWEEP + index
