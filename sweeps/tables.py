"""Text that `run.py` prints: the plan of a sweep, its tables of trials, and the best result."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from betavae.columns import (
    BEST,
    OBJECTIVE_PARAMETERS,
    Column,
    derived_fields,
    describe_objectives,
    field_column,
    has_several_objectives,
    report_column,
    report_columns,
    shown_fields,
    table_fields,
)
from betavae.config import PARTS, TrialConfig
from betavae.data import FactorImages
from betavae.metrics.base import NUM_ROWS
from betavae.parts import parameters_of, split_field
from betavae.records.trial import Trial, by_dataset, num_ended, ranked
from betavae.report.choice import first_of, labels_of_ranking
from betavae.report.confirmation import Confirmed, confirmed
from betavae.report.findings import counted
from betavae.report.seed_study import Reproduced, explain, reproduced
from betavae.text import one_line
from sweeps.cluster import Resources
from sweeps.options.options import Options
from sweeps.search.plan import num_configurations, num_trials, trial_config
from sweeps.search.space import Axis, Branch, Point, Range, axis_text, ends

_SHARED_PARAMETERS = ("steps", "batch_size", "rotate_until", "starts", "start_steps")
"""Parameters of the line of what all trials share."""


def describe_plan(
    options: Options,
    *,
    known_trials: Sequence[Trial],
    resources: Resources,
    data: Mapping[str, FactorImages],
    location: str,
) -> str:
    """Return the plan of a sweep, one line per topic."""
    gpus, cores = counted(resources.num_gpus, "GPU"), counted(resources.num_cpus, "CPU core")
    threads = "one thread" if resources.cpus_per_trial == 1 else f"{resources.cpus_per_trial} threads"
    devices = gpus if resources.num_gpus else f"{cores}, {threads} each"
    lines = [
        f"preset     {options.sweep.preset}",
        f"trials     {describe_num_trials(options)}, by {options.search.search} search, {_describe_scheduler(options)}",
        f"varied     {_describe_varied(options)}",
        f"fixed      {_describe_shared(options)}, scored on {_describe_scored(data)}",
        f"resources  {resources.num_concurrent} trials at a time, on {devices}",
        *(f"data       {describe_data(name, images)}" for name, images in data.items()),
        f"results    {location}",
    ]
    if options.confirm.confirm:
        best = f"the best {options.confirm.confirm}{' of each data set' if len(data) > 1 else ''}"
        lines.insert(4, f"confirm    {best}, with {options.num_seeds} new seeds each")
    if known_trials:
        count = num_ended(known_trials)
        lines.append(f"resumed    {count} ended, {len(known_trials) - count} to resume from their latest checkpoints")
    return "\n".join(lines)


def describe_num_trials(options: Options) -> str:
    """Return the number of trials of the search; with `--repeats`, also the numbers of configurations and seeds."""
    if options.search.repeats is None:
        return f"{num_trials(options)}"
    configurations = counted(num_configurations(options), "configuration")
    return f"{num_trials(options)} ({configurations}, each with the same {counted(options.search.repeats, 'seed')})"


def describe_data(name: str, data: FactorImages) -> str:
    """Return the name, images, factors, source and fingerprint of a data set."""
    channels, height, width = data.image_shape
    images = f"{len(data):,} images of {height} x {width}{f' x {channels}' if channels > 1 else ''}"
    factors = f"factors {', '.join(data.factors.names)}" if data.has_factors else "no factors"
    return f"{name}, {images}, {factors}, {data.source}, SHA-256 {data.fingerprint[:12]}..."


@dataclass(frozen=True)
class Results:
    """The trials of one data set, as they are printed at the end of a sweep.

    Attributes:
        trials: Of the search, with the score that chooses models, if one does.
        confirmations: The highest median first.
        reproductions: The settings of the seed study.
        dataset: The data set's name, if the sweep has several; else empty.
        chosen_by: The name of the score of final models that chooses models; None if trials rank by their best
            evaluation.
    """

    trials: Sequence[Trial]
    confirmations: Sequence[Confirmed]
    reproductions: Sequence[Reproduced]
    dataset: str = ""
    chosen_by: str | None = None

    @classmethod
    def by_dataset(
        cls, names: Sequence[str], trials: Sequence[Trial], confirming: Sequence[Trial], *, chosen_by: str | None = None
    ) -> list[Results]:
        """Return the results of each data set.

        Args:
            names: The names of the sweep's data sets.
            trials: As the attribute, of all data sets.
            confirming: Of the confirmation.
            chosen_by: As the attribute.
        """
        stages = [by_dataset(trials), by_dataset(confirming)]
        groups = [[stage.get(name, []) for stage in stages] for name in names]
        return [
            cls(
                searched,
                confirmed(searched, again, score=chosen_by) or confirmed(searched, again),
                reproduced(searched),
                name if len(names) > 1 else "",
                chosen_by if any(trial.choice is not None for trial in searched) else None,
            )
            for name, (searched, again) in zip(names, groups, strict=True)
        ]

    def tables(self, *, root: Path) -> str:
        """Return all tables, below the data set's name if the sweep has several; paths are relative to `root`."""
        tables = [
            *([f"\n{self.dataset}"] if self.dataset else []),
            format_table(self.trials, root=root, chosen_by=self.chosen_by),
        ]
        if self.reproductions:
            tables.append(format_seed_study_table(self.reproductions))
        if self.confirmations:
            tables.append(format_confirmation_table(self.confirmations, self.trials))
        return "\n".join(tables)

    def best(self) -> str:
        """Return the line of the best result; empty if no trial has a score."""
        if not any(trial.reports for trial in self.trials):
            return ""
        of = f"{self.dataset}, " if self.dataset else ""
        return f"best       {of}{_describe_best(self.trials, self.confirmations, self.chosen_by)}"


def format_table(trials: Sequence[Trial], *, root: Path, chosen_by: str | None = None) -> str:
    """Return the trials of one data set that have a score, best first, as aligned text.

    All numbers of a row come from one evaluation: the trial's best, or its last if the score that chooses models has
    been taken of that. Then the best ranking score has a column of its own.

    Args:
        trials: Any.
        root: Paths are relative to this folder.
        chosen_by: The name of the score that chooses models; None if trials rank by their best evaluation.
    """
    scored_trials = ranked(trials)
    if not scored_trials:
        return "no trial has a score"
    configs, rank_by = [trial.config for trial in scored_trials], scored_trials[0].rank_by
    names = {name: None for trial in scored_trials for name in trial.chosen_report or {}}
    columns = report_columns([*([] if chosen_by is None else [chosen_by]), *names], rank_by=chosen_by or rank_by)
    score_columns = [column for column in columns if column.name.partition("/")[0] == (chosen_by or rank_by)]
    best_columns = [] if chosen_by is None else [report_column(f"{BEST}{rank_by}")]
    other_columns = [column for column in columns if column.name.startswith("loss/") or column.higher_is_better is None]
    if has_several_objectives(configs):  # a term of one objective would be a dash in most rows
        other_columns = [
            c for c in other_columns if all(c.name in (trial.chosen_report or {}) for trial in scored_trials)
        ]
    fields = _Fields.of(configs)
    rows = [
        [chosen_by if column.name == chosen_by else column.symbol for column in score_columns]
        + [column.symbol for column in (*best_columns, *fields.columns)]
        + ["step", *(column.symbol for column in other_columns)]
        + ["best checkpoint" if chosen_by is None else "checkpoint"]
    ]
    for trial, cells in zip(scored_trials, fields.cells, strict=True):
        scores = _scores_of(trial, chosen_by)
        written = [column.write(scores.get(column.name)) for column in (*score_columns, *best_columns)]
        rows.append(_row(trial, [*written, *cells], other_columns, root))
    return _align(rows)


def format_confirmation_table(confirmations: Sequence[Confirmed], trials: Sequence[Trial]) -> str:
    """Return the confirmed configurations, highest median first, as aligned text.

    Args:
        confirmations: At least one.
        trials: The search's, whose varied fields are shown.
    """
    fields = _Fields.of([*(confirmation.config for confirmation in confirmations), *(trial.config for trial in trials)])
    score = confirmations[0].score
    symbols = [column.symbol for column in fields.columns]
    header = ["median", "quartiles", "search", *symbols, f"{score} of each new seed"]
    rows = [
        [
            f"{confirmation.median:.4f}",
            "{:.3f} .. {:.3f}".format(*confirmation.quartiles),
            "-" if confirmation.search_score is None else f"{confirmation.search_score:.4f}",
            *cells,
            "  ".join(f"{score:.3f}" for score in confirmation.final_scores),
        ]
        for confirmation, cells in zip(confirmations, fields.cells, strict=False)  # those of trials follow
    ]
    return (
        f"\nconfirmation: {score} at the end of training, with seeds that took no part in the selection\n"
        f"search: the score of the configuration in the search, {labels_of_ranking(score)}\n{_align([header, *rows])}"
    )


def format_seed_study_table(reproductions: Sequence[Reproduced]) -> str:
    """Return the seed study's gaps, published and reproduced, beside those of the whole data set, as aligned text."""
    rows = [["gap", "published", "its protocol", "whole set", "models"]]
    configs = [reproduction.config for reproduction in reproductions]
    among = configs if has_several_objectives(configs) else ()
    for reproduction in reproductions:
        models = f"{describe_config(reproduction.config, among)}, {counted(reproduction.num_seeds, 'seed')}"
        for name, gap in reproduction.own_rows.items():
            published_gap = f"{reproduction.published[name]:.4f}" if reproduction.published else "-"
            whole_set = f"{reproduction.whole_set[name]:.4f}"
            rows.append([name, published_gap, f"{gap:.4f}", whole_set, models if name == "mig" else ""])
    return f"\nThe seed study, medians over the seeds:\n{_align(rows)}\n{textwrap.fill(explain(reproductions), 120)}"


def _describe_best(trials: Sequence[Trial], confirmations: Sequence[Confirmed], chosen_by: str | None) -> str:
    """Return the best result: the best confirmed configuration, or else the best trial of the search."""
    configs = [trial.config for trial in trials]
    if confirmations:
        first = confirmations[0]
        search_score = ""
        if first.search_score is not None:
            labels = labels_of_ranking(first.score)
            search_score = f" ({first.search_score:.3f} in the search, selected {labels})"
        score = f"median {first.score} {first.median:.3f} over {counted(first.num_seeds, 'new seed')}"
        return f"{describe_config(first.config, configs)}: {score}{search_score}"
    scored_trials = ranked(trials)
    best, median = scored_trials[0], float(np.median([trial.last_score for trial in scored_trials]))
    if chosen_by is not None and best.choice is not None:
        rated = [trial.choice for trial in scored_trials if trial.choice is not None]
        others = f" (their median {np.median(rated):.3f})" if len(rated) > 1 else ""
        return (
            f"{one_line(best.trial_id)}, {chosen_by} {best.choice:.3f} at its end, {first_of('highest', len(rated))}, "
            f"selected {labels_of_ranking(chosen_by)}{others}: "
            f"{describe_config(best.config, configs)}, seed {best.config.seed}"
        )
    return (
        f"{one_line(best.trial_id)}, {best.rank_by} {best.score:.3f}, selected "
        f"{labels_of_ranking(best.rank_by)} (median final score of all trials {median:.3f}): "
        f"{describe_config(best.config, configs)}, seed {best.config.seed}"
    )


def describe_curves(location: str) -> str:
    """Return a line with the command that shows a sweep's curves."""
    return f"curves     {shlex.join(['tensorboard', '--logdir', location])}"


def describe_config(config: TrialConfig, among: Sequence[TrialConfig] = ()) -> str:
    """Return a config's main fields, and those that vary `among` configs: `beta 8, latent size 10, lr 0.001`."""
    columns = [(field_column(name), config.value(name)) for name in shown_fields([config, *among])]
    return ", ".join(f"{column.label} {column.write(value)}" for column, value in columns if value is not None)


def describe_trial(config: TrialConfig, among: Sequence[TrialConfig]) -> str:
    """Return the objective and the main fields of a trial among others, with the numbers derived from them.

    The fields that vary are those of the trials of this objective and data set.
    """
    kind = (config.objective.name, config.dataset.name)
    alike = [other for other in among if (other.objective.name, other.dataset.name) == kind]
    derived = "".join(f", {name} {value:.4g}" for name, value in config.derived().items())
    return f"{config.objective.name}, {describe_config(config, alike)}{derived}"


def _describe_varied(options: Options) -> str:
    """Return every axis of more than one value, and the ranges of the derived numbers."""
    axes = {
        branch.axis_names[name]: axis
        for branch in options.space.branches()
        for name, axis in branch.varied_axes.items()
    }
    kinds = {kind: names for kind in PARTS if len(names := options.space.names_of(kind)) > 1}
    varied_text = ", ".join(_describe_axis(name, axis) for name, axis in {**kinds, **axes}.items())
    derived_text = "; ".join(
        f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in _derived_ranges(options).items()
    )
    return f"{varied_text or 'one configuration'}{f' ({derived_text})' if derived_text else ''}"


def _describe_axis(name: str, axis: Axis) -> str:
    part, own_name = split_field(name)
    return f"{field_column(own_name).label} {axis_text(axis)}{f' of {part}' if part else ''}"


def _derived_ranges(options: Options) -> dict[str, tuple[float, float]]:
    """Return the range of each derived number over the corners of the space; numbers that do not vary are left out."""
    ranges: dict[str, tuple[float, float]] = {}
    for branch in options.space.branches():
        for point in _corners(branch):
            for name, value in trial_config(point, seed=0).derived().items():
                low, high = ranges.get(name, (math.inf, -math.inf))
                ranges[name] = min(low, value), max(high, value)
    return {name: (low, high) for name, (low, high) in ranges.items() if low < high}


def _corners(branch: Branch) -> Iterator[Point]:
    """Yield the point of the lowest values, then the point of the highest."""
    for extreme in (min, max):
        yield {
            **branch.parts,
            **{name: extreme(ends(axis)) if _is_ordered(axis) else ends(axis)[0] for name, axis in branch.axes.items()},
        }


def _is_ordered(axis: object) -> bool:
    return isinstance(axis, Range) or (isinstance(axis, tuple) and all(isinstance(v, (int, float)) for v in axis))


def _describe_shared(options: Options) -> str:
    """Return what all trials have in common: parts, numbers of steps and images, their starts and their rotations."""
    parts = [names[0] for kind in PARTS if len(names := options.space.names_of(kind)) == 1]
    axes = {name: options.space.axis(name) for name in _SHARED_PARAMETERS}
    steps, batch, rotated, starts, start_steps = (
        axis[0] if isinstance(axis, tuple) and len(axis) == 1 else None for axis in axes.values()
    )
    count = "" if steps is None else f"{steps} "
    rotation = [f"latents rotated until step {rotated}"] if rotated else []
    at_step = "" if start_steps is None else f" at step {start_steps}"
    choice = [] if starts in (None, 1) else [f"the best of {starts} starts by the loss{at_step}"]
    images = "a varied number of" if batch is None else batch
    return ", ".join([*parts, f"{count}steps of {images} images", *choice, *rotation])


def _describe_scored(data: Mapping[str, FactorImages]) -> str:
    """Return how many images of the whole data set are scored; with several, of each."""
    counts = {name: min(NUM_ROWS, len(images)) for name, images in data.items()}
    if len(counts) == 1:
        return f"{min(counts.values()):,} images of the whole data set"
    return " and ".join(f"{count:,} images of the whole {name}" for name, count in counts.items())


def _describe_scheduler(options: Options) -> str:
    name, grace, steps = options.search.scheduler, options.grace_steps, options.max_steps
    if name == "none":
        return "all run to the last step"
    if grace >= steps:
        return f"{name}, which stops none: its grace is {grace} steps, and trials end at {steps}"
    return f"{name}, which stops trials from step {grace} on"


@dataclass(frozen=True)
class _Fields:
    """The fields of configs, as a table shows them.

    Attributes:
        columns: A column per field; derived numbers follow the parameters of the parts.
        cells: By config, the text of each column.
    """

    columns: tuple[Column, ...]
    cells: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, configs: Sequence[TrialConfig]) -> _Fields:
        """Return the fields of these configs; with several objectives, the parameters of each in one column."""
        names = table_fields(configs)
        common = [name for name in names if name in parameters_of(TrialConfig)]
        parts = [name for name in names if name not in common]
        texts: list[dict[str, str]]
        if has_several_objectives(configs):
            last, texts = [OBJECTIVE_PARAMETERS], [{OBJECTIVE_PARAMETERS.name: t} for t in describe_objectives(configs)]
        else:
            last = [field_column(name) for name in derived_fields(configs)]
            derived = [config.derived() for config in configs]
            texts = [{c.name: c.write(values.get(c.name)) for c in last} for values in derived]
        columns = (*map(field_column, parts), *last, *map(field_column, common))
        cells = [
            tuple(text.get(column.name, column.write(config.value(column.name))) for column in columns)
            for config, text in zip(configs, texts, strict=True)
        ]
        return cls(columns, tuple(cells))


def _scores_of(trial: Trial, chosen_by: str | None) -> dict[str, float | None]:
    """Return the scores of a trial's row, without those of the score that chooses if it has not scored the trial."""
    scores: dict[str, float | None] = {**(trial.chosen_report or {}), f"{BEST}{trial.rank_by}": trial.score}
    if chosen_by is None:
        return scores
    if trial.choice is None:
        scores = {name: score for name, score in scores.items() if name.partition("/")[0] != chosen_by}
    return {**scores, chosen_by: trial.choice}


def _row(trial: Trial, cells: Sequence[str], other_columns: Sequence[Column], root: Path) -> list[str]:
    report, checkpoint = trial.chosen_report or {}, trial.chosen_checkpoint
    return [
        *cells,
        f"{report['step']}",
        *(column.write(report.get(column.name)) for column in other_columns),
        one_line(str(checkpoint.folder.relative_to(root))) if checkpoint else "-",
    ]


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Align the last column, which is long, to the left, and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append("  ".join([*map(str.rjust, cells, widths), last]))
    return "\n".join(lines)
