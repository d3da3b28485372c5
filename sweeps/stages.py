"""A sweep's stages, one after the other: the search, then the confirmation of its best."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from betavae.analysis.results import CONFIRM_FOLDER, SEARCH_FOLDER, Trial, num_ended
from sweeps.board import Board
from sweeps.cluster import Resources, running_ray
from sweeps.folder import SweepFolder
from sweeps.interrupts import Interruption
from sweeps.progress import TrialLog
from sweeps.search import Stage, confirmation_stage, run_stage, search_stage
from sweeps.trial import train_trial


@dataclass(frozen=True)
class Ran:
    """What has become of a sweep's stages.

    Attributes:
        trials: Of the search.
        confirming: Of its confirmation.
        done: By stage that was asked for, whether all of its trials have ended.
    """

    trials: list[Trial]
    confirming: list[Trial]
    done: dict[str, bool]


def run_stages(folder: SweepFolder, *, known: list[Trial], resources: Resources, interruption: Interruption) -> Ran:
    """Run what has not ended, in one Ray, which is not started for nothing.

    Args:
        folder: The sweep's.
        known: The search's trials that are there already.
        resources: What it may take.
        interruption: A signal that has come ends it after the stage that runs.
    """
    options, count = folder.options, folder.options.confirm.confirm
    confirming = folder.trials(folder.confirmation)
    done = {SEARCH_FOLDER: False} | ({} if count is None else {CONFIRM_FOLDER: False})
    with _LateRay(folder, resources=resources, interruption=interruption) as ray:
        search = search_stage(options, folder.search, num_known=len(known))
        trials = ray.run(search, known)
        done[SEARCH_FOLDER] = _has_ended(search, trials)
        if count is not None and done[SEARCH_FOLDER] and interruption.signal is None:
            confirmation = confirmation_stage(options, folder.confirmation, folder.choose(count, trials))
            confirming = ray.run(confirmation, confirming)
            done[CONFIRM_FOLDER] = _has_ended(confirmation, confirming)
    return Ran(trials, confirming, done)


class _LateRay(ExitStack):
    """A Ray that starts when there is something to run."""

    def __init__(self, folder: SweepFolder, *, resources: Resources, interruption: Interruption) -> None:
        super().__init__()
        self._folder, self._resources, self._interruption = folder, resources, interruption
        self._is_running = False

    def run(self, stage: Stage, known: list[Trial]) -> list[Trial]:
        """Run what has not ended of a stage, and return its trials."""
        if _has_ended(stage, known):
            return known
        folder, resources = self._folder, self._resources
        if not self._is_running:
            started = self.enter_context(running_ray(resources, address=folder.options.resources.address))
            self._is_running = True
            self._interruption.watch()
            folder.note_resources(started)
        with TrialLog(stage.folder, folder.options, num_planned=len(stage.planned), known=known) as log:
            callbacks = [Board(folder.mirror, stage.folder, known=known), log]
            run_stage(stage, trainable=train_trial, known=known, resources=resources, callbacks=callbacks)
        self._interruption.watch()  # Ray's search, which took the signals, has left its own handlers
        return folder.trials(stage.folder)


def _has_ended(stage: Stage, trials: Sequence[Trial]) -> bool:
    return num_ended(trials) >= len(stage.planned)
