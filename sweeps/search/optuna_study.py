"""Write a sweep, of any search, as Optuna studies, which `optuna-dashboard` and Optuna's own plots show."""

from __future__ import annotations

import functools
import os
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.files import temporary_beside
from betavae.metrics import METRICS
from betavae.records.sweep import CONFIRM_FOLDER, Sweep, name_in_sweep
from betavae.records.trial import Status, Trial
from betavae.text import printable
from sweeps.options.recorded import options_from_dict
from sweeps.search.distributions import spanning_distribution
from sweeps.search.space import Branch, Space, ends

_STATES: dict[Status, TrialState] = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unfinished": TrialState.RUNNING,
}


def check_study_file(path: Path) -> None:
    """Refuse a file that exists.

    Raises:
        FileExistsError: If it exists, or a folder of its name does.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"Studies are written to a new file, but {path} exists; give another --export-optuna.")


def write_studies(sweep: Sweep, path: Path) -> list[str]:
    """Write a sweep as Optuna studies to a new SQLite file, whole or not at all.

    The study of the search has the name of the sweep's folder, `NAME`; with several data sets each has a study,
    `NAME/DATASET`. The confirmation has a study of its own, `NAME/confirm` or `NAME/DATASET/confirm`, since its seeds
    are others and its scores were not selected. All studies maximise the score that ranks trials.

    A trial of a study is a trial of the sweep, in the order of their numbers, whichever search has drawn it:

    - State: COMPLETE if it ran all its steps, PRUNED if a stopping rule stopped it, FAIL if it failed, RUNNING if it
      runs or was interrupted.
    - Value: in a search the highest ranking score during training; in a confirmation the score at the last step. A
      failed or running trial has none.
    - Parameters: those that the sweep varies, under the names of its axes. Numbers have a range from the smallest to
      the largest value of the axis, on the parameter's scale; names, booleans and axes with a schedule are categories.
    - Intermediate values: the score by step.
    - User attributes: `trial` (its name in the sweep), `seed`, `status`; `error` of a failed trial; `choice`, the score
      by the rule that chooses models; `final/SCORE`, every score at the last step; `checkpoint`, the folder of the
      model that stands for the trial, below the sweep's, and `checkpoint/SCORE`, the scores that its checkpoint holds.

    Times are those of the export, since a sweep records no time of a trial.

    Args:
        sweep: The sweep.
        path: The file; it must not exist.

    Returns:
        A sentence for each trial that is left out, because its values lie outside the sweep's axes.

    Raises:
        FileExistsError: If the file exists.
        InputError: If the sweep's record does not hold its options.
        OSError: If the file cannot be written.
    """
    check_study_file(path)
    space = options_from_dict(sweep.record.get("options", {})).space
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.touch(exist_ok=False)
        problems = _fill(temporary, sweep, space)
        path.open("x").close()  # refuses to replace a file that another process has made meanwhile
        os.replace(temporary, path)
    except optuna.exceptions.StorageInternalError as error:
        raise OSError(f"{path} could not be written: {error.__cause__ or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return problems


def _fill(path: Path, sweep: Sweep, space: Space) -> list[str]:
    """Write the studies to an empty file; return a sentence for each trial that is left out."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # a connection of our own: in a URL, some names of files would need escapes
    storage = RDBStorage("sqlite://", engine_kwargs={"creator": functools.partial(sqlite3.connect, path)})
    problems: list[str] = []
    try:
        for name, dataset, trials, is_confirmation in _studies_of(sweep):
            study = _new_study(storage, name, dataset=dataset, rank_by=sweep.rank_by)
            for trial in sorted(trials, key=lambda trial: trial.index):
                if mismatch := space.mismatch(trial.config):
                    problems.append(f"Trial {name_in_sweep(trial)} is left out of the Optuna study: {mismatch}.")
                else:
                    study.add_trial(_frozen_trial(trial, sweep, space, is_confirmation=is_confirmation))
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return problems


def _studies_of(sweep: Sweep) -> Iterator[tuple[str, str, Sequence[Trial], bool]]:
    """Yield name, data set and trials of each study, and whether the trials are of the confirmation."""
    parts = sweep.by_dataset()
    for dataset, part in parts.items():
        name = sweep.folder.name if len(parts) == 1 else f"{sweep.folder.name}/{dataset}"
        if part.trials:
            yield name, dataset, part.trials, False
        if part.confirming:
            yield f"{name}/{CONFIRM_FOLDER}", dataset, part.confirming, True


def _new_study(storage: RDBStorage, name: str, *, dataset: str, rank_by: str) -> optuna.Study:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([rank_by])
    study.set_user_attr("dataset", dataset)
    return study


def _frozen_trial(trial: Trial, sweep: Sweep, space: Space, *, is_confirmation: bool) -> FrozenTrial:
    state = _STATES[trial.status]
    score = trial.last_score if is_confirmation else trial.score
    has_value = bool(trial.reports) and state in (TrialState.COMPLETE, TrialState.PRUNED)
    params, distributions = _parameters(trial.config, space)
    return optuna.trial.create_trial(
        state=state,
        value=score if has_value else None,
        params=params,
        distributions=distributions,
        intermediate_values={report["step"]: float(report[trial.rank_by]) for report in trial.reports},
        user_attrs=_attributes(trial, sweep),
    )


def _parameters(config: TrialConfig, space: Space) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return the varied parameters of a config and their distributions, by the names of their axes."""
    branch = _branch_of(config, space)
    parameters = parameters_by_name()
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for kind in PARTS:
        if kind != "dataset" and len(names := space.names_of(kind)) > 1:
            params[kind], distributions[kind] = config.value(kind), spanning_distribution(None, names)
    for name, axis in branch.varied_axes.items():
        axis_name = branch.axis_names[name]
        params[axis_name] = config.value(name)
        distributions[axis_name] = spanning_distribution(parameters[name], ends(axis))
    return params, distributions


def _branch_of(config: TrialConfig, space: Space) -> Branch:
    parts = {kind: config.value(kind) for kind in PARTS}
    return next(branch for branch in space.branches() if branch.parts == parts)


def _attributes(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    """Return what a study holds of a trial beside parameters and scores, as JSON values."""
    attributes: dict[str, Any] = {
        "trial": name_in_sweep(trial),
        "seed": trial.config.seed,
        "status": trial.status,
    }
    if trial.error is not None:
        attributes["error"] = printable(trial.error)
    if trial.choice is not None:
        attributes["choice"] = trial.choice
    if trial.reports:
        attributes |= {f"final/{name}": value for name, value in trial.reports[-1].items() if name in METRICS}
    if (checkpoint := trial.chosen_checkpoint) is not None:
        attributes["checkpoint"] = checkpoint.folder.relative_to(sweep.folder).as_posix()
        attributes |= {f"checkpoint/{name}": score.value for name, score in checkpoint.scores.by_name.items()}
    return attributes
