"""Run the stages of a sweep: the search, then the confirmation of the search's best configurations."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch

from betavae.data import FactorImages
from betavae.process import available_cores, prepare_process
from betavae.records.sweep import CONFIRM_FOLDER, SEARCH_FOLDER
from betavae.records.trial import Trial, Trials
from betavae.records.weights import stored_names
from betavae.text import one_line
from sweeps.choosing import choose_models, files_to_read, rule_of
from sweeps.cluster import Resources, running_ray
from sweeps.interrupts import Interruption, starting_ray
from sweeps.loggers.base import LogContext
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.printing import print_escaped
from sweeps.ray_watch import watched_ray
from sweeps.search.plan import confirming_trials
from sweeps.search.ray_search import Stage, confirmation_stage, run_stage, search_stage
from sweeps.storage.mirror import is_record
from sweeps.storage.sweep_folder import SweepFolder
from sweeps.trainable import train_trial


@dataclass(frozen=True)
class StageResult:
    """The trials of a stage after it has run.

    Attributes:
        trials: The stage's trials.
        write_failures: By trial's identifier, a sentence: why the trial could not write to its folder. A resume runs
            the trial again.
    """

    trials: Trials
    write_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def lost_trials(self) -> dict[str, str]:
        """By trial's identifier, why the trial could not be read or could not write."""
        return {**self.trials.unreadable, **self.write_failures}


@dataclass(frozen=True)
class StageResults:
    """The results of a sweep's stages.

    Attributes:
        search: The result of the search.
        confirmation: The result of the confirmation.
        completion: By name of each requested stage, whether all of its trials have ended.
    """

    search: StageResult
    confirmation: StageResult
    completion: dict[str, bool]

    @property
    def trials(self) -> list[Trial]:
        """The readable trials of both stages."""
        return [*self.search.trials.read, *self.confirmation.trials.read]

    @property
    def lost_trials(self) -> dict[str, str]:
        """By trial's name, why a trial of either stage could not be read or could not write."""
        confirming = {f"{CONFIRM_FOLDER}/{name}": reason for name, reason in self.confirmation.lost_trials.items()}
        return {**self.search.lost_trials, **confirming}


def run_stages(
    folder: SweepFolder,
    *,
    known_trials: Trials,
    data: Mapping[str, FactorImages],
    resources: Resources,
    interruption: Interruption,
) -> StageResults:
    """Run all trials that have not ended. Start Ray only if there are any.

    Args:
        folder: The sweep's folder.
        known_trials: Trials of the search that earlier runs of the sweep have started.
        data: The sweep's data sets by name. Every trial must train on the same images.
        resources: The resources of the sweep.
        interruption: The process's signals. After a signal, no further stage starts.
    """
    options, count = folder.options, folder.options.confirm.confirm
    confirmation_result = StageResult(folder.trials(folder.confirmation))
    completion = {SEARCH_FOLDER: False} | ({CONFIRM_FOLDER: False} if count else {})
    with _LazyRay(folder, data, resources=resources, interruption=interruption) as ray:
        search = search_stage(options, folder.search, num_known_trials=len(known_trials.read))
        search_result = ray.run(search, known_trials)
        completion[SEARCH_FOLDER] = _has_ended(search, search_result.trials)
        if count and completion[SEARCH_FOLDER] and interruption.signal is None:
            configs = folder.choose(count, partial(_rated, search_result.trials.read, folder, data))
            trials = confirming_trials(options, configs)
            confirmation = confirmation_stage(options, folder.confirmation, trials)
            confirmation_result = ray.run(confirmation, confirmation_result.trials)
            completion[CONFIRM_FOLDER] = _has_ended(confirmation, confirmation_result.trials)
    return StageResults(search_result, confirmation_result, completion)


class _LazyRay(ExitStack):
    """A Ray that starts with the first stage that has trials to run."""

    def __init__(
        self, folder: SweepFolder, data: Mapping[str, FactorImages], *, resources: Resources, interruption: Interruption
    ) -> None:
        super().__init__()
        self._folder, self._data = folder, data
        self._resources, self._interruption = resources, interruption
        self._is_running = False

    def run(self, stage: Stage, known_trials: Trials) -> StageResult:
        """Run the trials of a stage that have not ended, and return all trials of the stage."""
        if _has_ended(stage, known_trials):
            return StageResult(known_trials)
        folder, resources = self._folder, self._resources
        if not self._is_running:
            self._start()
        context = LogContext(
            sweep=folder.mirror,
            stage=stage.folder,
            options=folder.options,
            num_trials=len(stage.indices),
            factor_names=_factor_names(self._data.values()),
            known_trials=tuple(known_trials.read),
        )
        fingerprints = {name: images.fingerprint for name, images in self._data.items()}
        with RayLoggers(context) as loggers:
            write_failures = run_stage(
                stage,
                trainable=partial(train_trial, fingerprints=fingerprints, evaluation=folder.options.evaluation),
                known_trials=known_trials,
                resources=resources,
                callbacks=[loggers],
            )
        self._interruption.install_handlers()  # again: Ray's search has replaced one
        return StageResult(folder.read_and_mend(stage.folder), write_failures)

    def _start(self) -> None:
        folder, interruption = self._folder, self._interruption
        with ExitStack() as stack:
            end = partial(interruption.end_without_ray, resume_command=folder.resume_command)
            stack.enter_context(watched_ray(end))
            cluster_resources = self._enter_ray()
            self.push(stack.pop_all())  # last in, first out: the watch ends before Ray is stopped
        self._is_running = True
        interruption.check()
        folder.note_resources(cluster_resources)

    def _enter_ray(self) -> dict[str, float]:
        try:
            with starting_ray():
                return self.enter_context(running_ray(self._resources, address=self._folder.options.resources.address))
        except Exception as error:  # Ray raises plain Exceptions
            raise OSError(f"Ray must start, but: {str(error).partition(chr(10))[0]}") from error


def _factor_names(data: Iterable[FactorImages]) -> tuple[str, ...]:
    """Return the names of the factors of data sets, each once."""
    return tuple(dict.fromkeys(name for images in data if images.has_factors for name in images.factors.names))


def _rated(trials: list[Trial], folder: SweepFolder, data: Mapping[str, FactorImages]) -> list[Trial]:
    """Return the trials with the scores of the rule that chooses which configurations are confirmed."""
    rule = rule_of(folder.options.report, trials)
    if rule is None:
        return trials
    folder.mirror.pull(lambda name: is_record(name) or name.endswith(stored_names(files_to_read(rule, trials))))
    prepare_process(num_threads=available_cores())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    selection, problems = choose_models(trials, rule, data, device=device, mirror=folder.mirror)
    for problem in problems:
        print_escaped(f"warning: {one_line(problem)}", file=sys.stderr)
    return selection.rated(trials)


def _has_ended(stage: Stage, trials: Trials) -> bool:
    """Return whether each trial of a stage has ended or cannot be read. Other folders do not count."""
    ended = {trial.index for trial in trials.read if trial.status != "unfinished"}
    return ended | trials.unreadable_indices >= set(stage.indices)
