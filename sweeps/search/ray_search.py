"""A stage of a sweep in Ray: its trials are started, stopped early, and started again after a resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from betavae.records.trial import PlannedTrial, Trial, Trials
from sweeps.cluster import Resources
from sweeps.options.options import Options
from sweeps.search.draws import Draw, OptunaDraw, PlannedDraw
from sweeps.search.plan import num_trials, planned_trials, starting_order
from sweeps.search.stopping import NoStopping, StoppingRule, stopping_rule, told
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import UNWRITTEN

_RAY_FOLDER = ".ray"
"""Ray's own notes, below the sweep's folder: written, since it must, and never read."""

_WAITING = (RayTrial.PENDING, RayTrial.PAUSED)
"""What Ray calls a trial that may run; the first kind goes first."""


@dataclass(frozen=True)
class Stage:
    """Trials that are run together: a sweep's search, or the confirmation of its best.

    Attributes:
        folder: Where the trials are kept.
        planned: Their numbers, in the order in which they start.
        draw: Where their configurations come from.
        rule: What stops one early.
        rank_by: The reported score that search and rule maximise.
    """

    folder: StageFolder
    planned: Sequence[int]
    draw: Draw
    rule: StoppingRule
    rank_by: str


def search_stage(options: Options, folder: StageFolder, *, num_known: int = 0) -> Stage:
    """Return the search that is asked for; `num_known` of its trials have begun before."""
    draw: Draw = (
        OptunaDraw(options, num_known=num_known)
        if options.search.search == "optuna"
        else PlannedDraw(dict(enumerate(planned_trials(options))))
    )
    assert num_trials(options) == len(starting_order(options))
    return Stage(folder, starting_order(options), draw, stopping_rule(options), options.search.rank_by)


def confirmation_stage(options: Options, folder: StageFolder, planned: Mapping[int, PlannedTrial]) -> Stage:
    """Return the confirmation: every planned trial runs to its end."""
    return Stage(folder, list(planned), PlannedDraw(planned), NoStopping(), options.search.rank_by)


def run_stage(
    stage: Stage,
    *,
    trainable: Callable[..., None],
    known: Trials,
    resources: Resources,
    callbacks: Sequence[tune.Callback],
) -> Mapping[str, str]:
    """Run every trial of a stage that has not ended, in a Ray that has been started.

    Args:
        stage: What is tried, and where it is kept.
        trainable: Called with a trial's config and `stage_folder`, in a process of its own, as often as that is lost.
        known: Trials that are there already. Draw and rule are told those that have ended; the others are resumed
            before any new one starts. Trials that cannot be read are left alone.
        resources: What one trial takes, and how many run at a time.
        callbacks: Told every report, after it is written down.

    Returns:
        By identifier, why a trial could not write to its folder; all others have written there how they ended.

    Raises:
        OSError: If what the sweep has decided cannot be written.
    """
    search = SweepSearch(stage, known=known)
    if search.num_left == 0:
        return {}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, stage_folder=stage.folder), resources.per_trial),
        tune_config=tune.TuneConfig(
            metric=stage.rank_by,
            mode="max",
            num_samples=search.num_left,
            max_concurrent_trials=resources.num_concurrent,
            search_alg=search,
            scheduler=RuleScheduler(told(stage.rule, known.read), rank_by=stage.rank_by, folder=stage.folder),
            reuse_actors=True,
            trial_dirname_creator=_ray_folder,
        ),
        run_config=tune.RunConfig(
            name=_RAY_FOLDER,
            storage_path=str(stage.folder.path.parent),
            verbose=0,
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=-1),  # train_trial says itself when it is enough
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        raise _failed_write(error) or error from None
    return search.unwritten


class SweepSearch(Searcher):
    """Gives Ray the trials that have not ended, then new ones, and writes each down before it starts.

    Args:
        stage: What is tried, and where it is kept.
        known: Trials that are there already.

    Attributes:
        num_left: Trials that are still to be run.
        unwritten: By identifier, why a trial could not write to its folder.
    """

    def __init__(self, stage: Stage, *, known: Trials) -> None:
        super().__init__(metric=stage.rank_by, mode="max")
        self._folder, self._draw = stage.folder, stage.draw
        self.unwritten: dict[str, str] = {}
        self._unfinished = []
        for trial in sorted(known.read, key=lambda trial: trial.index):
            planned = PlannedTrial(trial.index, trial.config)
            self._draw.begin(planned)
            if trial.status == "unfinished":
                self._unfinished.append(planned)
            else:
                self._draw.end(trial.index, _score(trial))
        taken = {trial.index for trial in known.read} | {int(name) for name in known.unreadable if name.isdecimal()}
        self._new = [index for index in stage.planned if index not in taken]
        self.num_left = len(self._unfinished) + len(self._new)
        self._running: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial: its number and all of its parameters."""
        if self._unfinished:
            planned = self._unfinished.pop(0)
        else:
            planned = self._draw.next(self._new.pop(0))
            self._folder.trial(planned.index).plan(planned)
        self._running[trial_id] = planned.index
        return planned.to_dict()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in why a trial cannot write to its folder; all else is read there."""
        if UNWRITTEN in result:
            self.unwritten[f"{self._running[trial_id]:04}"] = result[UNWRITTEN]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the draw how a trial ended, as its folder says; one whose folder cannot be read counts as failed."""
        index = self._running.pop(trial_id)
        try:
            score = _score(self._folder.read(index))
        except (ValueError, OSError):  # the sweep names it at its end, when it reads all folders again
            score = None
        self._draw.end(index, score)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the trials' folders hold the whole state."""


class RuleScheduler(FIFOScheduler):
    """Ray's scheduler, first in first out, that stops the trials that a rule stops.

    Args:
        rule: What decides.
        rank_by: The reported score that it decides by.
        folder: Where it is written down that a trial was stopped.
    """

    def __init__(self, rule: StoppingRule, *, rank_by: str, folder: StageFolder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rule, self._rank_by, self._folder = rule, rank_by, folder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ask the rule; the last report ends the trial anyway."""
        if self._rank_by not in result:  # Ray's own, of a trial that failed before its first report
            return TrialScheduler.CONTINUE
        index, step = trial.config["index"], result["step"]
        stops = self._rule.stops(index, step=step, score=result[self._rank_by])
        if step >= trial.config["steps"]:
            self._rule.ended(index)
            return TrialScheduler.CONTINUE
        if not stops:
            return TrialScheduler.CONTINUE
        self._folder.trial(index).stop(step)
        return TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first that waits, of those that have not ended; Ray's own looks through all trials every time."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status in _WAITING]
        return min(waiting, key=lambda trial: (_WAITING.index(trial.status), trial.trial_id), default=None)


def _failed_write(error: BaseException | None) -> OSError | None:
    """Return the error of the system that Ray has wrapped, once or twice; None if it was another."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _score(trial: Trial) -> float | None:
    """Return what the draw learns of a trial that has ended."""
    return trial.score if trial.reports and trial.status != "failed" else None


def _ray_folder(trial: Any) -> str:
    """Return a short name: Ray's default holds the whole config, and grows past what file systems take."""
    return str(trial.trial_id)
