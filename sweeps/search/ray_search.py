"""Which trials are tried, and which go on: the search, from its start or from where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray import tune
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from betavae.records.trial import Trial, Trials
from sweeps.cluster import Resources
from sweeps.options.options import MAX_SEEDS, Options
from sweeps.search.axes import AXES, Axis, Range
from sweeps.search.plan import Params, num_trials, planned_trials
from sweeps.search.stopping import MedianStopping, NoStopping, RuleScheduler, StoppingRule, SuccessiveHalving
from sweeps.storage.stage_folder import SearchFolder, trial_seed
from sweeps.storage.trial_folder import UNWRITTEN

METRIC = "mig"
"""What search and scheduler maximise."""

_KEEP_ONE_OF = 3
"""Of so many trials that reach a rung, ASHA lets one go on."""

_MAX_STARTUP_TRIALS = 10
"""TPE draws its first trials at random: a third of them, at most so many, so that a short search learns too."""

_RAY_FOLDER = ".ray"
"""Ray's own notes, below the sweep's folder: written, since it must, and never read."""


@dataclass(frozen=True)
class Stage:
    """Trials that are run together: a sweep's search, or the confirmation of its best.

    Attributes:
        folder: Where the trials are kept, absolute.
        shared: The fields of TrialConfig that all of them have.
        planned: Their numbers, in the order in which they begin.
        draw: Where the other fields come from.
        rule: What stops one early.
    """

    folder: SearchFolder
    shared: Params
    planned: Sequence[int]
    draw: Draw
    rule: StoppingRule


def search_stage(options: Options, folder: SearchFolder, *, num_known: int = 0) -> Stage:
    """The search that is asked for; `num_known` of its trials have begun before."""
    draw: Draw = (
        OptunaDraw(options, num_known=num_known)
        if options.search.search == "optuna"
        else PlannedDraw(dict(enumerate(planned_trials(options))))
    )
    return Stage(folder, options.trial_values(), range(num_trials(options)), draw, stopping_rule(options))


def confirmation_stage(options: Options, folder: SearchFolder, chosen: Sequence[Params]) -> Stage:
    """Each chosen point of the search space with new seeds, and to the end.

    All have their first seed before any has its second.
    """
    indices = [confirming_index(choice, number) for number in range(options.num_seeds) for choice in range(len(chosen))]
    planned = {index: chosen[index // MAX_SEEDS] | {"seed": folder.seed(index)} for index in indices}
    return Stage(folder, options.trial_values(), indices, PlannedDraw(planned), NoStopping())


def run_stage(
    stage: Stage,
    *,
    trainable: Callable[..., None],
    known: Trials,
    resources: Resources,
    callbacks: Sequence[tune.Callback],
) -> Mapping[str, str]:
    """Run every trial of a stage that has not ended, in a Ray that has been started.

    Return, by identifier, why a trial could not write to its folder; all others have written there how they ended.

    Args:
        stage: What is tried, and where it is kept.
        trainable: Called with a trial's config and `search_folder`, in a process of its own, as often as that is lost.
        known: Trials that are there already: those that have ended are told to search and scheduler, the others go on
            before any new one; those that cannot be read are left alone.
        resources: What one trial takes, and how many run at a time.
        callbacks: Told of every report, after it is written down.

    Raises:
        OSError: If what the sweep has decided cannot be written.
    """
    search = SweepSearch(stage, known=known)
    if search.num_left == 0:
        return {}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, search_folder=stage.folder), resources.per_trial),
        param_space=stage.shared,
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=search.num_left,
            max_concurrent_trials=resources.num_concurrent,
            search_alg=search,
            scheduler=RuleScheduler(informed(stage.rule, known.read), metric=METRIC, search_folder=stage.folder),
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


class Draw(Protocol):
    """Where new trials come from."""

    def next(self, index: int) -> Params:
        """Hyper-parameters of the trial number `index`."""
        ...

    def begin(self, index: int, params: Params) -> None:
        """Take in that a trial of an earlier run resumes."""
        ...

    def end(self, index: int, score: float | None) -> None:
        """Take in how a trial ended; without a score it failed."""
        ...


class PlannedDraw:
    """A plan made beforehand, which learns nothing: by the trial's number, its hyper-parameters and seed."""

    def __init__(self, planned: Mapping[int, Params]) -> None:
        self._planned = planned

    def next(self, index: int) -> Params:
        """Return what the plan has for this number."""
        return self._planned[index]

    def begin(self, index: int, params: Params) -> None:
        """Do nothing: a fixed plan does not learn."""

    def end(self, index: int, score: float | None) -> None:
        """Do nothing: a fixed plan does not learn."""


class OptunaDraw:
    """Optuna's TPE, asked and told; after a resume it is told again all that it knew."""

    def __init__(self, options: Options, *, num_known: int) -> None:
        self._seed = options.sweep.seed
        self._space = {name: _distribution(getattr(options.search, name), whole=name == "latent_size") for name in AXES}
        self._numbers: dict[int, int] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = TPESampler(
            multivariate=True,
            constant_liar=True,  # several trials run at once: the liar keeps them apart
            n_startup_trials=min(_MAX_STARTUP_TRIALS, math.ceil(num_trials(options) / 3)),
            # after a resume it must not draw its first trials again; numpy's generator takes 32 bits
            seed=(options.sweep.seed + 7919 * num_known) % 2**32,
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def next(self, index: int) -> Params:
        """Return what the sampler proposes, with the trial's seed."""
        trial = self._study.ask(self._space)
        self._numbers[index] = trial.number
        return trial.params | {"seed": trial_seed(self._seed, index)}

    def begin(self, index: int, params: Params) -> None:
        """Add the trial to the study as one that runs."""
        known = {name: params[name] for name in AXES}
        self._numbers[index] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(
            optuna.trial.create_trial(state=TrialState.RUNNING, params=known, distributions=self._space)
        )

    def end(self, index: int, score: float | None) -> None:
        """Tell the sampler the score, or that the trial failed."""
        if score is None:
            self._study.tell(self._numbers[index], state=TrialState.FAIL)
        else:
            self._study.tell(self._numbers[index], score)


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
        super().__init__(metric=METRIC, mode="max")
        self._folder, self._shared, self._draw = stage.folder, stage.shared, stage.draw
        self.unwritten: dict[str, str] = {}
        by_index = {stage.folder.index(trial.config.seed): trial for trial in known.read}
        self._unfinished = []
        for index, trial in sorted(by_index.items()):
            self._draw.begin(index, trial.config.to_dict())
            if trial.status == "unfinished":
                self._unfinished.append({name: getattr(trial.config, name) for name in (*AXES, "seed")})
            else:
                self._draw.end(index, _score(trial))
        taken = by_index.keys() | {int(name) for name in known.unreadable if name.isdecimal()}
        self._new = [index for index in stage.planned if index not in taken]
        self.num_left = len(self._unfinished) + len(self._new)
        self._running: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Params | None:
        """The next trial's own hyper-parameters; the shared ones are Ray's already."""
        if self._unfinished:
            params = self._unfinished.pop(0)
        else:
            params = self._draw.next(self._new.pop(0))
            self._folder.trial(params["seed"]).plan(self._shared | params)
        self._running[trial_id] = params["seed"]
        return params

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in why a trial cannot write to its folder; all else is read there."""
        if UNWRITTEN in result:
            self.unwritten[f"{self._folder.index(self._running[trial_id]):04}"] = result[UNWRITTEN]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the draw how a trial ended, as its folder says; one whose folder cannot be read counts as failed."""
        seed = self._running.pop(trial_id)
        try:
            score = _score(self._folder.read(seed))
        except (ValueError, OSError):  # the sweep names it at its end, when it reads all folders again
            score = None
        self._draw.end(self._folder.index(seed), score)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the trials' folders hold the whole state."""


def confirming_index(choice: int, number: int) -> int:
    """The number of the trial that gives the confirmed configuration `choice` its new seed `number`.

    It stays what it is when more configurations, or more seeds, are asked for.
    """
    return choice * MAX_SEEDS + number


def stopping_rule(options: Options) -> StoppingRule:
    """The rule of `--scheduler`, which has seen nothing yet."""
    grace = min(options.grace_steps, options.trial.steps)
    if options.search.scheduler == "asha":
        return SuccessiveHalving(grace_steps=grace, max_steps=options.trial.steps, keep_one_of=_KEEP_ONE_OF)
    if options.search.scheduler == "median":
        return MedianStopping(grace_steps=grace, min_others=_KEEP_ONE_OF)
    return NoStopping()


def informed(rule: StoppingRule, known: Sequence[Trial]) -> StoppingRule:
    """Tell the rule what trials reported before; what it decided then is in their folders."""
    for trial in known:
        for report in trial.reports:
            rule.stops(trial.config.seed, step=report["step"], score=report[METRIC])
    return rule


def _failed_write(error: BaseException | None) -> OSError | None:
    """The error of the system that Ray has wrapped, as text, once or twice; None if it was another."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _score(trial: Trial) -> float | None:
    """What the draw learns of a trial that has ended."""
    return trial.score if trial.reports and trial.status != "failed" else None


def _distribution(axis: Axis, *, whole: bool) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if whole:
        return IntDistribution(int(axis.low), int(axis.high), log=True)
    return FloatDistribution(axis.low, axis.high, log=True)


def _ray_folder(trial: Any) -> str:
    """Ray's default name holds the whole config, and grows past what file systems take."""
    return str(trial.trial_id)
