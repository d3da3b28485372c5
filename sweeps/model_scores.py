"""Take scores of a sweep's models, and keep each in its checkpoint as soon as it is taken."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.evaluation import EncodedSamples, metrics_of, named_data
from betavae.metrics import EncodedSample, Metric, Rows, Score, Scores
from betavae.models import VAE
from betavae.records.checkpoint import (
    CODES_FILE,
    CONFIG_FILE,
    SCORES_FILE,
    CheckpointError,
    add_scores,
    check_checkpoint,
    load_model,
    read_codes,
)
from betavae.records.sweep import CONFIRM_FOLDER, Sweep
from betavae.records.trial import Checkpoint, Trial, ranked
from betavae.records.weights import MODEL_FILE
from betavae.report.confirmation import confirmed
from betavae.text import one_line
from sweeps.options.options import ReportOptions
from sweeps.printing import print_escaped
from sweeps.storage.mirror import Mirror

_EXACT = "mig_exact"

_SECONDS_PER_IMAGE = 2e-4
"""To encode an image on two cores: the share of the encoding in the progress bar."""


@dataclass(frozen=True)
class ScoredModel:
    """A model, and the names of the scores to take of it.

    Attributes:
        name: The trial's name in the sweep.
        checkpoint: The checkpoint of the model; None if none can be read.
        scores: Names of scores, or `all`.
    """

    name: str
    checkpoint: Checkpoint | None
    scores: tuple[str, ...]


@dataclass(frozen=True)
class TakenScores:
    """The outcome of taking scores, apart from the scores that the checkpoints now hold.

    Attributes:
        unwritten: By checkpoint folder and name, scores that could not be written to the checkpoint.
        problems: A sentence for each model whose scores could not all be taken or written.
    """

    unwritten: dict[Path, dict[str, Score]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def models_to_score(sweep: Sweep, options: ReportOptions, *, data: Mapping[str, FactorImages]) -> list[ScoredModel]:
    """Return the models whose scores are asked for: the best of the search, and the confirmed ones at their end.

    The numbers of the options hold for each data set. By default `mig_exact` is taken where there are factors.
    """
    models = []
    for name, part in sweep.by_dataset().items():
        exact = int(name in data and data[name].has_factors) if options.exact is None else options.exact
        models += _models_of_part(part, replace(options, exact=exact))
    return models


def _models_of_part(sweep: Sweep, options: ReportOptions) -> list[ScoredModel]:
    models = [
        ScoredModel(trial.trial_id, trial.chosen_checkpoint, scores)
        for rank, trial in enumerate(ranked(sweep.trials))
        if (scores := _scores_of(rank, options))
    ]
    chosen_by = () if sweep.chosen_by_score is None else (sweep.chosen_by_score,)
    finished = [trial for trial in sweep.confirming if trial.status == "finished"]
    is_known = all(trial.final_score(name) is not None for trial in finished for name in chosen_by)
    score = sweep.chosen_by_score if is_known else None
    for rank, confirmation in enumerate(confirmed(sweep.trials, sweep.confirming, score=score)):
        if scores := tuple(dict.fromkeys((*(() if is_known else chosen_by), *_scores_of(rank, options)))):
            models += [_final_model(trial, scores) for trial in confirmation.trials]
    return models


def _scores_of(rank: int, options: ReportOptions) -> tuple[str, ...]:
    """Return the scores to take of the model or the configuration of a rank, from 0."""
    exact = (_EXACT,) if rank < (options.exact or 0) else ()
    return (*exact, *(options.scores or ())) if options.top is None or rank < options.top else exact


def _final_model(trial: Trial, scores: tuple[str, ...]) -> ScoredModel:
    return ScoredModel(f"{CONFIRM_FOLDER}/{trial.trial_id}", trial.final_checkpoint, scores)


def take_model_scores(
    models: Iterable[ScoredModel], data: Mapping[str, FactorImages], *, device: str, mirror: Mirror
) -> TakenScores:
    """Take the scores that checkpoints lack, with a progress bar on a terminal.

    Each score is written to its checkpoint when it is taken, so that an interruption loses no other.

    Args:
        models: The models.
        data: The whole data sets, by name.
        device: Where to encode.
        mirror: The sweep's folder.
    """
    taken, tasks = TakenScores(), []
    for model in models:
        try:
            task = _task_of(model, data)
        except (ValueError, OSError) as error:
            taken.problems.append(f"Trial {model.name} has no {_listed(model.scores)}: {error}")
            continue
        if task.metrics:
            tasks.append(task)
    with Bar(sum(task.seconds for task in tasks)) as bar:
        for number, task in enumerate(tasks, start=1):
            bar.begin(f"scores of {one_line(task.name)}, model {number} of {len(tasks)}", ", ".join(task.metrics))
            _take(task, device=device, mirror=mirror, taken=taken, bar=bar)
    return taken


@dataclass(frozen=True)
class _Task:
    """The scores that a checkpoint lacks.

    Attributes:
        name: The trial's name in the sweep.
        checkpoint: The checkpoint.
        data: The whole set of its images.
        metrics: By name, the metrics and the images that they score, those that need no encoding first.
        codes: Images that the checkpoint holds encoded; None if it holds none of these data.
    """

    name: str
    checkpoint: Checkpoint
    data: FactorImages
    metrics: Mapping[str, tuple[Metric, Rows]]
    codes: EncodedSample | None

    @property
    def seconds(self) -> float:
        """About how long the scores take on two cores."""
        selections = {rows.indices.tobytes(): rows for _, rows in self.metrics.values()}
        num_images = sum(len(rows.indices) for rows in selections.values() if not _is_of(self.codes, rows))
        return num_images * _SECONDS_PER_IMAGE + sum(metric.seconds for metric, _ in self.metrics.values())


def _task_of(model: ScoredModel, data: Mapping[str, FactorImages]) -> _Task:
    checkpoint = model.checkpoint
    if checkpoint is None:
        raise CheckpointError("no checkpoint can be read.")
    dataset = TrialConfig.read(checkpoint.folder / CONFIG_FILE).dataset
    if dataset.name not in data:
        raise InputError(f"the images of {dataset.name} are not here.")
    images = data[dataset.name]
    codes = _kept_codes(checkpoint, images)
    missing = {
        name: (metric, rows)
        for name, (metric, rows) in metrics_of(model.scores, dataset=dataset, data=images).items()
        if _fingerprint(checkpoint.scores, name) != images.fingerprint
    }
    order = sorted(missing, key=lambda name: (not _is_of(codes, missing[name][1]), missing[name][0].seconds))
    return _Task(model.name, checkpoint, images, {name: missing[name] for name in order}, codes)


def _fingerprint(scores: Scores, name: str) -> object:
    """Return the fingerprint of the images that a score was taken on; None without the score."""
    if name not in scores:
        return None
    data = scores[name].details.get("data")
    return data.get("sha256") if isinstance(data, dict) else scores.data_fingerprint


def _kept_codes(checkpoint: Checkpoint, images: FactorImages) -> EncodedSample | None:
    if checkpoint.scores.data_fingerprint != images.fingerprint:
        return None
    try:
        check_checkpoint(checkpoint.folder, only=(CODES_FILE,))
        return read_codes(checkpoint.folder).unlabelled_sample()
    except (CheckpointError, ValueError):  # then the model encodes these images again
        return None


def _is_of(sample: EncodedSample | None, rows: Rows) -> bool:
    return sample is not None and np.array_equal(sample.rows.indices, rows.indices)


def _take(task: _Task, *, device: str, mirror: Mirror, taken: TakenScores, bar: Bar) -> None:
    samples = _samples(task, device=device, bar=bar)
    not_taken: dict[str, list[str]] = {}
    not_written: dict[str, list[str]] = {}
    for name, (metric, rows) in task.metrics.items():
        try:
            score = named_data(samples.score(metric, rows), task.data)
        except (ValueError, ArithmeticError, OSError) as error:
            not_taken.setdefault(str(error), []).append(name)
            continue
        bar.advance(metric.seconds)
        if reason := _keep(task.checkpoint.folder, {name: score}, mirror):
            not_written.setdefault(reason, []).append(name)
            taken.unwritten.setdefault(task.checkpoint.folder, {})[name] = score
    taken.problems.extend(f"Trial {task.name} has no {_listed(names)}: {reason}" for reason, names in not_taken.items())
    taken.problems.extend(
        f"Trial {task.name} has {_listed(names)}, shown here, which could not be written to its checkpoint: {reason}."
        for reason, names in not_written.items()
    )


def _samples(task: _Task, *, device: str, bar: Bar) -> EncodedSamples:
    folder = task.checkpoint.folder

    def load() -> VAE:
        check_checkpoint(folder, only=(CONFIG_FILE, MODEL_FILE))
        return load_model(folder, device)

    def encoded(num_images: int) -> None:
        bar.advance(num_images * _SECONDS_PER_IMAGE)

    samples = EncodedSamples(load, task.data, device=device, on_progress=encoded)
    if task.codes is not None:
        samples.add(task.codes)
    return samples


def _keep(folder: Path, scores: Mapping[str, Score], mirror: Mirror) -> str:
    """Write scores to a checkpoint; return why they could not be written, an empty text if they are."""
    try:
        add_scores(folder, scores)
        mirror.push(str((folder / SCORES_FILE).relative_to(mirror.local)))
    except (CheckpointError, OSError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


class _TimeLeft(ProgressColumn):
    """The time left at the mean speed so far: one score may take minutes without a step of the bar."""

    def render(self, task: Task) -> Text:
        """Return the time in hours, minutes and seconds; dashes before the first step."""
        if not task.completed or task.total is None or task.elapsed is None:
            return Text("-:--:-- left")
        seconds = task.elapsed * max(task.total - task.completed, 0) / task.completed
        return Text(f"{timedelta(seconds=round(seconds))} left")


class Bar(AbstractContextManager["Bar"]):
    """A progress bar on a terminal, else a line for each model.

    Args:
        seconds: About how long all takes; the bar's unit.
    """

    def __init__(self, seconds: float) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), _TimeLeft()
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task("", total=seconds)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, title: str, names: str) -> None:
        """Show what is done next."""
        self._progress.start()
        self._progress.update(self._task, description=title)
        if self._progress.disable:
            print_escaped(f"{title}: {names} ...", file=sys.stderr)

    def advance(self, seconds: float) -> None:
        """Add a share of the whole."""
        self._progress.advance(self._task, seconds)
