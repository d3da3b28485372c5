"""A stage of a sweep in Ray: start its trials, stop them early, and restart them after a resume."""

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
from sweeps.search.plan import planned_trials, starting_order
from sweeps.search.stopping import NoStopping, StoppingRules, replay_trials, stopping_rules
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import WRITE_FAILURE

_RAY_FOLDER = ".ray"
"""Folder below the sweep's for Ray's own state, which Ray insists on writing. It is never read."""

_WAITING_STATUSES = (RayTrial.PENDING, RayTrial.PAUSED)
"""Ray's statuses of a trial that is ready to run; trials of the first status run first."""


@dataclass(frozen=True)
class Stage:
    """A stage of a sweep: the search, or the confirmation of the search's best configurations.

    Attributes:
        folder: The folder of the trials.
        indices: The trials' numbers, in the order in which they start.
        draw: The source of the configurations.
        rules: The stopping rule of each data set.
        rank_by: The reported score that draw and rules maximise.
    """

    folder: StageFolder
    indices: Sequence[int]
    draw: Draw
    rules: StoppingRules
    rank_by: str


def search_stage(options: Options, folder: StageFolder, *, num_known_trials: int = 0) -> Stage:
    """Return the search; earlier runs of the sweep have started `num_known_trials` of its trials."""
    draw: Draw = (
        OptunaDraw(options, num_known_trials=num_known_trials)
        if options.search.search == "optuna"
        else PlannedDraw(dict(enumerate(planned_trials(options))))
    )
    return Stage(folder, starting_order(options), draw, stopping_rules(options), options.search.rank_by)


def confirmation_stage(options: Options, folder: StageFolder, trials: Mapping[int, PlannedTrial]) -> Stage:
    """Return the confirmation, in which every trial runs all its steps."""
    return Stage(folder, list(trials), PlannedDraw(trials), StoppingRules(NoStopping), options.search.rank_by)


def run_stage(
    stage: Stage,
    *,
    trainable: Callable[..., None],
    known_trials: Trials,
    resources: Resources,
    callbacks: Sequence[tune.Callback],
) -> Mapping[str, str]:
    """Run every trial of a stage that has not ended. Ray must be running.

    Args:
        stage: The stage.
        trainable: The function that trains a trial, given its config and `stage_folder`. It runs in a process of its
            own, and again in a new process if the process dies.
        known_trials: Trials that earlier runs of the sweep have started. Unfinished ones resume before any new trial
            starts; the others are added to draw and rules. Unreadable ones are not run.
        resources: The resources of one trial, and the number of trials that run at once.
        callbacks: Ray callbacks. They receive every report after it is written to the trial's folder.

    Returns:
        By trial's identifier, why the trial could not write to its folder. The folders of all other trials hold their
        outcomes.

    Raises:
        OSError: If a decision of a stopping rule cannot be written.
    """
    search = SweepSearch(stage, known_trials=known_trials)
    if search.num_remaining == 0:
        return {}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, stage_folder=stage.folder), resources.per_trial),
        tune_config=tune.TuneConfig(
            metric=stage.rank_by,
            mode="max",
            num_samples=search.num_remaining,
            max_concurrent_trials=resources.num_concurrent,
            search_alg=search,
            scheduler=RuleScheduler(
                replay_trials(stage.rules, known_trials.read), rank_by=stage.rank_by, folder=stage.folder
            ),
            reuse_actors=True,
            trial_dirname_creator=_ray_folder,
        ),
        run_config=tune.RunConfig(
            name=_RAY_FOLDER,
            storage_path=str(stage.folder.path.parent),
            verbose=0,
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=-1),  # no limit: train_trial counts errors and deaths
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        raise _os_error_behind(error) or error from None
    return search.write_failures


class SweepSearch(Searcher):
    """Gives Ray the unfinished trials, then new ones. The plan of a new trial is written before the trial starts.

    Args:
        stage: The stage.
        known_trials: Trials that earlier runs of the sweep have started.

    Attributes:
        num_remaining: Number of trials that have not ended.
        write_failures: By trial's identifier, why the trial could not write to its folder.
    """

    def __init__(self, stage: Stage, *, known_trials: Trials) -> None:
        super().__init__(metric=stage.rank_by, mode="max")
        self._folder, self._draw = stage.folder, stage.draw
        self.write_failures: dict[str, str] = {}
        self._unfinished = []
        for trial in sorted(known_trials.read, key=lambda trial: trial.index):
            plan = PlannedTrial(trial.index, trial.config)
            self._draw.begin(plan)
            if trial.status == "unfinished":
                self._unfinished.append(plan)
            else:
                self._draw.end(trial.index, _score(trial))
        known_indices = {trial.index for trial in known_trials.read} | known_trials.unreadable_indices
        self._new = [index for index in stage.indices if index not in known_indices]
        self.num_remaining = len(self._unfinished) + len(self._new)
        self._running: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the number and all parameters of the next trial."""
        if self._unfinished:
            trial = self._unfinished.pop(0)
        else:
            trial = self._draw.next(self._new.pop(0))
            self._folder.trial(trial.index).plan(trial)
        self._running[trial_id] = trial.index
        return trial.to_dict()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store why a trial cannot write to its folder. All other results are read from the folder."""
        if WRITE_FAILURE in result:
            self.write_failures[f"{self._running[trial_id]:04}"] = result[WRITE_FAILURE]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Add the trial's score to the draw, from the trial's folder. A trial that cannot be read counts as failed."""
        index = self._running.pop(trial_id)
        try:
            score = _score(self._folder.read(index))
        except (ValueError, OSError):  # reported at the end of the sweep, which reads all folders again
            score = None
        self._draw.end(index, score)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the trials' folders hold the whole state."""


class RuleScheduler(FIFOScheduler):
    """Ray's first-in-first-out scheduler with a stopping rule for each data set.

    Args:
        rules: The stopping rules.
        rank_by: The reported score that the rules use.
        folder: The trials' folder; a stopped trial is recorded there.
    """

    def __init__(self, rules: StoppingRules, *, rank_by: str, folder: StageFolder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules, self._rank_by, self._folder = rules, rank_by, folder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Apply the rule of the trial's data set.

        After its last report a trial ends by itself, and counts as finished, not as stopped.
        """
        if self._rank_by not in result:  # a result of Ray's own, for a trial that failed before its first report
            return TrialScheduler.CONTINUE
        index, step = trial.config["index"], result["step"]
        rule = self._rules.of(trial.config["dataset"])
        stops = rule.stops(index, step=step, score=result[self._rank_by])
        if step >= trial.config["steps"]:
            rule.ended(index)
            return TrialScheduler.CONTINUE
        if not stops:
            return TrialScheduler.CONTINUE
        self._folder.trial(index).stop(step)
        return TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first waiting trial. Ray's own method would search all trials at each call, ended ones too."""
        waiting_trials = [trial for trial in tune_controller.get_live_trials() if trial.status in _WAITING_STATUSES]
        return min(
            waiting_trials, key=lambda trial: (_WAITING_STATUSES.index(trial.status), trial.trial_id), default=None
        )


def _os_error_behind(error: BaseException | None) -> OSError | None:
    """Return the OSError that Ray has wrapped, once or twice, in its own; None if the cause is another error."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _score(trial: Trial) -> float | None:
    """Return the score of an ended trial for the draw; None if the trial failed or has no report."""
    return trial.score if trial.reports and trial.status != "failed" else None


def _ray_folder(trial: Any) -> str:
    """Return a short folder name. Ray's default contains the whole config, which file systems may find too long."""
    return str(trial.trial_id)
