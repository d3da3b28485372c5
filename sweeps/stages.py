"""A sweep's stages, one after the other: the search, then the confirmation of its best."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from betavae.data import FactorImages
from betavae.records.sweep import CONFIRM_FOLDER, SEARCH_FOLDER
from betavae.records.trial import Trial, Trials, num_ended
from sweeps.cluster import Resources, running_ray
from sweeps.interrupts import Interruption, starting_ray
from sweeps.loggers.base import LogContext
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.ray_watch import watched_ray
from sweeps.search.plan import confirming_trials
from sweeps.search.ray_search import Stage, confirmation_stage, run_stage, search_stage
from sweeps.storage.sweep_folder import SweepFolder
from sweeps.trial import train_trial


@dataclass(frozen=True)
class StageResult:
    """A stage's trials after it has run.

    Attributes:
        trials: Those that are there now.
        unwritten: By identifier, why a trial could not write to its folder: a sentence. A resume tries it again.
    """

    trials: Trials
    unwritten: Mapping[str, str] = field(default_factory=dict)

    @property
    def lost(self) -> dict[str, str]:
        """By identifier, why a trial could not be read or could not write."""
        return {**self.trials.unreadable, **self.unwritten}


@dataclass(frozen=True)
class StageResults:
    """The results of a sweep's stages.

    Attributes:
        search: The search.
        confirmation: Its confirmation.
        done: By stage that was asked for, whether all of its trials have ended.
    """

    search: StageResult
    confirmation: StageResult
    done: dict[str, bool]

    @property
    def trials(self) -> list[Trial]:
        """Trials of both that can be read."""
        return [*self.search.trials.read, *self.confirmation.trials.read]

    @property
    def lost(self) -> dict[str, str]:
        """By name, why a trial of either could not be read or could not write."""
        confirming = {f"{CONFIRM_FOLDER}/{name}": why for name, why in self.confirmation.lost.items()}
        return {**self.search.lost, **confirming}


def run_stages(
    folder: SweepFolder,
    *,
    known: Trials,
    data: Mapping[str, FactorImages],
    resources: Resources,
    interruption: Interruption,
) -> StageResults:
    """Run what has not ended, in one Ray, which is not started for nothing.

    Args:
        folder: The sweep's.
        known: The search's trials that are there already.
        data: The sweep's data sets by name: every trial must train on the same images.
        resources: What it may take.
        interruption: A signal that has come ends it after the stage that runs.
    """
    options, count = folder.options, folder.options.confirm.confirm
    confirmed = StageResult(folder.trials(folder.confirmation))
    done = {SEARCH_FOLDER: False} | ({} if count is None else {CONFIRM_FOLDER: False})
    with _LateRay(folder, data, resources=resources, interruption=interruption) as ray:
        search = search_stage(options, folder.search, num_known=len(known.read))
        searched = ray.run(search, known)
        done[SEARCH_FOLDER] = _has_ended(search, searched.trials)
        if count is not None and done[SEARCH_FOLDER] and interruption.signal is None:
            chosen = folder.choose(count, searched.trials.read)
            planned = confirming_trials(options, chosen)
            confirmation = confirmation_stage(options, folder.confirmation, planned)
            confirmed = ray.run(confirmation, confirmed.trials)
            done[CONFIRM_FOLDER] = _has_ended(confirmation, confirmed.trials)
    return StageResults(searched, confirmed, done)


class _LateRay(ExitStack):
    """A Ray that starts when there is something to run."""

    def __init__(
        self, folder: SweepFolder, data: Mapping[str, FactorImages], *, resources: Resources, interruption: Interruption
    ) -> None:
        super().__init__()
        self._folder, self._data = folder, data
        self._resources, self._interruption = resources, interruption
        self._is_running = False

    def run(self, stage: Stage, known: Trials) -> StageResult:
        """Run what has not ended of a stage, and return its trials."""
        if _has_ended(stage, known):
            return StageResult(known)
        folder, resources = self._folder, self._resources
        if not self._is_running:
            self._start()
        context = LogContext(
            sweep=folder.mirror,
            stage=stage.folder,
            options=folder.options,
            num_planned=len(stage.planned),
            factor_names=tuple(dict.fromkeys(name for each in self._data.values() for name in each.factors.names)),
            known=tuple(known.read),
        )
        fingerprints = {name: each.fingerprint for name, each in self._data.items()}
        with RayLoggers(context) as loggers:
            unwritten = run_stage(
                stage,
                trainable=partial(train_trial, fingerprints=fingerprints),
                known=known,
                resources=resources,
                callbacks=[loggers],
            )
        self._interruption.watch()  # Ray's search has left its own handler
        return StageResult(folder.mended_trials(stage.folder), unwritten)

    def _start(self) -> None:
        folder, interruption = self._folder, self._interruption
        with ExitStack() as starting:
            end = partial(interruption.end_lost, resume_command=folder.resume_command)
            starting.enter_context(watched_ray(end))
            started = self._enter_ray()
            self.push(starting.pop_all())  # so that the watch ends before Ray does
        self._is_running = True
        interruption.check()
        folder.note_resources(started)

    def _enter_ray(self) -> dict[str, float]:
        try:
            with starting_ray():
                return self.enter_context(running_ray(self._resources, address=self._folder.options.resources.address))
        except Exception as error:  # Ray raises this class itself
            raise OSError(f"Ray must start, but: {str(error).partition(chr(10))[0]}") from error


def _has_ended(stage: Stage, trials: Trials) -> bool:
    return num_ended(trials.read) + len(trials.unreadable) >= len(stage.planned)
