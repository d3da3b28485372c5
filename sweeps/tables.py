"""What a person sees of a sweep: its plan, and at the end its tables and the best in a line."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from betavae.columns import Column, derived_fields, field_column, report_columns, shown_fields
from betavae.config import PARTS, TrialConfig
from betavae.data import FactorImages
from betavae.metrics.base import NUM_ROWS
from betavae.parts import parameters_of
from betavae.records.trial import Trial, num_ended, ranked
from betavae.report.confirmation import Confirmed
from betavae.report.findings import counted
from betavae.report.seed_study import Reproduced, explain
from betavae.text import one_line
from sweeps.cluster import Resources
from sweeps.options.options import Options
from sweeps.search.plan import num_configurations, num_trials, trial_config
from sweeps.search.space import Branch, Point, Range, ends, written

_EACH = ("steps", "batch_size")
"""Parameters that the plan names in a sentence, where all trials share them."""


def describe_plan(
    options: Options,
    *,
    known: Sequence[Trial],
    resources: Resources,
    data: Mapping[str, FactorImages],
    location: str,
) -> str:
    """Return what is about to happen, in a few lines."""
    gpus, cores = counted(resources.num_gpus, "GPU"), counted(resources.num_cpus, "CPU core")
    place = gpus if resources.num_gpus else f"{cores}, one thread each"
    lines = [
        f"preset     {options.sweep.preset}",
        f"trials     {describe_number(options)}, by {options.search.search} search, {_describe_scheduler(options)}",
        f"over       {_describe_tried(options)}",
        f"each       {_describe_shared(options)}, scored on {NUM_ROWS:,} images of the whole set",
        f"on         {resources.num_concurrent} at a time: {place}",
        *(f"data       {describe_data(name, each)}" for name, each in data.items()),
        f"results    {location}",
    ]
    if options.confirm.confirm is not None:
        lines.insert(4, f"then       the best {options.confirm.confirm} again, with {options.num_seeds} new seeds each")
    if known:
        ended = num_ended(known)
        lines.append(f"resumed    {ended} ended, {len(known) - ended} to run on from their latest checkpoints")
    return "\n".join(lines)


def describe_number(options: Options) -> str:
    """Return the number of trials of the search, with that of its configurations if they are repeated."""
    if options.search.repeats is None:
        return f"{num_trials(options)}"
    configurations = counted(num_configurations(options), "configuration")
    return f"{num_trials(options)} ({configurations}, each with the same {counted(options.search.repeats, 'seed')})"


def describe_data(name: str, data: FactorImages) -> str:
    """Return where a data set comes from."""
    return f"{name}, {data.source}, SHA-256 {data.fingerprint[:12]}..."


def format_table(trials: Sequence[Trial], *, root: Path) -> str:
    """Return the trials that have a score, best first, as aligned text.

    Every number of a row is of the same evaluation: the trial's best.
    """
    scored = ranked(trials)
    if not scored:
        return "no trial has a score"
    configs = [trial.config for trial in scored]
    reported = report_columns({name: None for trial in scored for name in trial.best or {}}, rank_by=scored[0].rank_by)
    scores = [column for column in reported if column.name.partition("/")[0] == scored[0].rank_by]
    others = [column for column in reported if column.name.startswith("loss/") or column.name == "active_units"]
    rows = [
        [column.symbol for column in (*scores, *_fields(configs))]
        + ["step", *(column.symbol for column in others), "best checkpoint"]
    ]
    return _align(rows + [_row(trial, scores, _fields(configs), others, root) for trial in scored])


def format_confirmation_table(confirmations: Sequence[Confirmed]) -> str:
    """Return the confirmed configurations, the highest median first, as aligned text."""
    fields = _fields([each.config for each in confirmations])
    rank_by = confirmations[0].trials[0].rank_by
    header = ["median", "quartiles", "search", *(column.symbol for column in fields), f"{rank_by} of each new seed"]
    rows = [
        [
            f"{each.median:.4f}",
            "{:.3f} .. {:.3f}".format(*each.quartiles),
            "-" if each.search_score is None else f"{each.search_score:.4f}",
            *_values(each.config, fields),
            "  ".join(f"{score:.3f}" for score in each.final_scores),
        ]
        for each in confirmations
    ]
    return (
        f"\nconfirmed: {rank_by} at the end of training, with seeds that took no part in the choice\n"
        f"search: the score that the configuration was chosen by, selected with labels\n{_align([header, *rows])}"
    )


def format_seed_study_table(reproductions: Sequence[Reproduced]) -> str:
    """Return the seed study's numbers, published and here, beside the whole set's: medians over the seeds."""
    rows = [["gap", "published", "its protocol", "whole set", "models"]]
    for each in reproductions:
        models = f"{describe_config(each.config)}, {counted(each.num_seeds, 'seed')}"
        for name, own in each.own_rows.items():
            published = f"{each.published[name]:.4f}" if each.published else "-"
            rows.append([name, published, f"{own:.4f}", f"{each.whole_set[name]:.4f}", models if name == "mig" else ""])
    return f"\nThe seed study, medians over the seeds:\n{_align(rows)}\n{textwrap.fill(explain(reproductions), 120)}"


def describe_best(trials: Sequence[Trial], confirmations: Sequence[Confirmed] = ()) -> str:
    """Return the best in a line: the configuration that was confirmed best, or else the search's best trial."""
    configs = [trial.config for trial in trials]
    if confirmations:
        first = confirmations[0]
        selected = ""
        if first.search_score is not None:
            selected = f" ({first.search_score:.3f} in the search, selected with labels)"
        score = f"median {first.trials[0].rank_by} {first.median:.3f} over {counted(first.num_seeds, 'new seed')}"
        return f"best       {describe_config(first.config, configs)}: {score}{selected}"
    scored = ranked(trials)
    best, middle = scored[0], float(np.median([trial.last_score for trial in scored]))
    return (
        f"best       {one_line(best.trial_id)}, {best.rank_by} {best.score:.3f}, selected with labels (median of all "
        f"at their end {middle:.3f}): {describe_config(best.config, configs)}, seed {best.config.seed}"
    )


def describe_curves(location: str) -> str:
    """Return the command that shows a sweep's curves."""
    return f"curves     {shlex.join(['tensorboard', '--logdir', location])}"


def describe_config(config: TrialConfig, among: Sequence[TrialConfig] = ()) -> str:
    """Return what a config tries: `beta 8, latent size 10, lr 0.001`, and in what else it differs from others."""
    columns = [(field_column(name), config.value(name)) for name in shown_fields([config, *among])]
    return ", ".join(f"{column.label} {column.write(value)}" for column, value in columns if value is not None)


def describe_point(point: Point) -> str:
    """Return all that a planned trial is shown by, with what follows from it."""
    config = trial_config(point, seed=0)
    derived = "".join(f", {name} {value:.4g}" for name, value in config.derived().items())
    return f"{config.objective.name}, {describe_config(config)}{derived}"


def _describe_tried(options: Options) -> str:
    """Return every axis of more than one value, and over what the derived numbers reach."""
    axes = {name: axis for branch in options.space.branches() for name, axis in branch.tried.items()}
    kinds = {kind: names for kind in PARTS if len(names := options.space.names_of(kind)) > 1}
    tried = ", ".join(f"{field_column(name).label} {written(axis)}" for name, axis in {**kinds, **axes}.items())
    derived = "; ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in _derived_ranges(options).items())
    return f"{tried or 'one configuration'}{f' ({derived})' if derived else ''}"


def _derived_ranges(options: Options) -> dict[str, tuple[float, float]]:
    """Return the extent of each derived number over the corners of the space."""
    extents: dict[str, tuple[float, float]] = {}
    for branch in options.space.branches():
        for point in _corners(branch):
            for name, value in trial_config(point, seed=0).derived().items():
                low, high = extents.get(name, (math.inf, -math.inf))
                extents[name] = min(low, value), max(high, value)
    return {name: (low, high) for name, (low, high) in extents.items() if low < high}


def _corners(branch: Branch) -> Iterator[Point]:
    """Give the point of the lowest values, and that of the highest."""
    for pick in (min, max):
        yield {
            **branch.parts,
            **{name: pick(ends(axis)) if _is_ordered(axis) else ends(axis)[0] for name, axis in branch.axes.items()},
        }


def _is_ordered(axis: object) -> bool:
    return isinstance(axis, Range) or (isinstance(axis, tuple) and all(isinstance(v, (int, float)) for v in axis))


def _describe_shared(options: Options) -> str:
    """Return what all trials have in common: parts, steps, images of a step."""
    parts = [names[0] for kind in PARTS if len(names := options.space.names_of(kind)) == 1]
    numbers = {name: options.space.axis(name) for name in _EACH}
    steps, batch = (axis[0] if isinstance(axis, tuple) and len(axis) == 1 else None for axis in numbers.values())
    count = "" if steps is None else f"{steps} "
    return ", ".join([*parts, f"{count}steps of {'several numbers of' if batch is None else batch} images"])


def _describe_scheduler(options: Options) -> str:
    name, grace, steps = options.search.scheduler, options.grace_steps, options.max_steps
    if name == "none":
        return "each run to its end"
    if grace >= steps:
        return f"{name}, which stops none: it may from {grace} steps on, and trials end at {steps}"
    return f"{name}, which may stop one from {grace} steps on"


def _fields(configs: Sequence[TrialConfig]) -> list[Column]:
    """Return the columns of what trials try, each objective's parameters followed by what derives from them."""
    names = shown_fields(configs)
    derived = derived_fields(configs)
    of_every_trial = [name for name in names if name in parameters_of(TrialConfig)]
    of_parts = [name for name in names if name not in of_every_trial]
    return [field_column(name) for name in (*of_parts, *derived, *of_every_trial)]


def _values(config: TrialConfig, columns: Sequence[Column]) -> list[str]:
    derived = config.derived()
    return [column.write(derived.get(column.name, config.value(column.name))) for column in columns]


def _row(
    trial: Trial, scores: Sequence[Column], fields: Sequence[Column], others: Sequence[Column], root: Path
) -> list[str]:
    best, checkpoint = trial.best or {}, trial.best_checkpoint
    return [
        *(column.write(best.get(column.name)) for column in scores),
        *_values(trial.config, fields),
        f"{best['step']}",
        *(column.write(best.get(column.name)) for column in others),
        one_line(str(checkpoint.folder.relative_to(root))) if checkpoint else "-",
    ]


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Align columns to the right, and the last one, which is long, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append("  ".join([*map(str.rjust, cells, widths), last]))
    return "\n".join(lines)
