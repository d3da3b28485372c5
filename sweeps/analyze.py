"""The analysis command: from a sweep's folder alone to one offline page, its figures and its table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

if __name__ == "__main__":  # first: what is imported below takes seconds, and may be installed from another checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from sweeps.interrupts import begin_script

    script_interruption = begin_script()

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from betavae.config import TrialConfig
from betavae.data import DATASETS, FactorImages
from betavae.errors import InputError
from betavae.evaluation import take_score
from betavae.extensions import check_extensions, load_extensions
from betavae.metrics import Score
from betavae.process import available_cores, prepare_process
from betavae.records.checkpoint import (
    CONFIG_FILE,
    MODEL_FILE,
    SAMPLES_FILE,
    SCORES_FILE,
    CheckpointError,
    add_scores,
    load_model,
)
from betavae.records.sweep import CONFIRM_FOLDER, Sweep, name_in_sweep, read_sweep
from betavae.records.trial import Checkpoint, ranked
from betavae.report.confirmation import confirmed
from betavae.report.export import CARD_FILE, best_checkpoint, check_export, export_best
from betavae.report.findings import counted
from betavae.report.write import PAGE_FILE, Report, check_output, write_report
from betavae.text import one_line
from sweeps.options.command_line import parse_analysis_options
from sweeps.options.options import ReportOptions
from sweeps.printing import say
from sweeps.search.importance import importances
from sweeps.storage.locations import joined
from sweeps.storage.mirror import Mirror, fetched, is_record

DONE, BAD_INPUT = 0, 2

_EXACT = "mig_exact"

_NUM_NAMED = 3
"""Trials that a message names, of those that failed for one reason or another."""

REPORT_FOLDER = "report"
"""Where a sweep's report goes, below its folder; it may be deleted and made again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse a sweep as the command line asks; return the exit code."""
    try:
        load_extensions()
        options = parse_analysis_options(sys.argv[1:] if arguments is None else arguments)
        options.report.check()
        if options.export is not None:
            check_export(options.export)
        report = analyze(options.folder, output=options.output, options=options.report, export=options.export)
    except (InputError, OSError) as error:
        say(f"error: {one_line(str(error))}", file=sys.stderr)
        return BAD_INPUT
    for problem in report.problems:
        say(f"warning: {one_line(problem)}", file=sys.stderr)
    say(report.page)
    if options.export is not None:
        say(str(options.export / CARD_FILE))
    return DONE


def analyze(location: str, *, output: Path | None = None, options: ReportOptions, export: Path | None = None) -> Report:
    """Write the report of a sweep that has ended, runs still or was killed, or of a copy of one.

    Args:
        location: The sweep's folder or URL. Only its checkpoints are written to, and only exact scores: where they
            cannot be, the report shows the scores all the same.
        output: Where the report goes; `report` below the sweep's folder if None.
        options: What it shows.
        export: Where the best model goes, in a folder of its own; None for nowhere.

    Raises:
        InputError: If there is no sweep, it has no score yet, or the best model cannot be read.
        OSError: If the report or the model cannot be written.
    """
    with fetched(location, _is_shown) as mirror:
        sweep = read_sweep(mirror.local)
        check_extensions(sweep.record)
        if not ranked(sweep.trials):
            raise InputError(
                f"{mirror.location} must hold a trial with a finished evaluation, but {_why_no_score(sweep)}"
            )
        if export is not None:
            best_checkpoint(sweep)  # before any work: it must be there, and whole
        place = mirror.local / REPORT_FOLDER if output is None else output
        check_output(place)
        prepare_process(num_threads=available_cores())
        data, device = _open_data(sweep), "cuda" if torch.cuda.is_available() else "cpu"
        wanted = _to_score_exactly(sweep, count=options.exact)
        exact = _score_exactly(wanted, data, device=device, mirror=mirror)
        # again: with what the exact scores have added, and a running sweep meanwhile
        sweep = read_sweep(mirror.local).with_scores(exact.unkept)
        report = write_report(
            sweep,
            place,
            data=data,
            device=device,
            num_best=options.top,
            importances=importances(sweep.trials),
            problems=exact.problems,
        )
        if output is None:
            mirror.drop(REPORT_FOLDER)
            mirror.push(REPORT_FOLDER)
            page = joined(joined(mirror.location, REPORT_FOLDER), PAGE_FILE)
            report = replace(report, page=page)
        if export is not None:
            export_best(sweep, export, data=data)
        return report


def _is_shown(name: str) -> bool:
    """Whether a report needs a file of a sweep's folder."""
    return is_record(name) or name.endswith((MODEL_FILE, SAMPLES_FILE))


def _why_no_score(sweep: Sweep) -> str:
    """Say what has become of the trials of a sweep that has no score, and what to do."""
    trials = (*sweep.trials, *sweep.confirming)
    failed = [f"{name_in_sweep(trial)}: {trial.error}" for trial in trials if trial.status == "failed"]
    waiting = len(trials) - len(failed)
    if not failed and not sweep.unreadable:
        return f"none of its trials has one yet; {'wait for the first' if waiting else 'none has started'}."
    facts = [f"{counted(len(failed), 'trial')} failed ({_first_few(failed)})"] if failed else []
    facts += [f"some cannot be read ({_first_few(sweep.unreadable)})"] if sweep.unreadable else []
    facts += [f"{counted(waiting, 'trial')} had none yet"] if waiting else []
    return f"{' and '.join(facts)}."


def _first_few(reasons: Sequence[str]) -> str:
    shown = "; ".join(reason.rstrip(".") for reason in reasons[:_NUM_NAMED])
    return f"{shown}; and {len(reasons) - _NUM_NAMED} more" if len(reasons) > _NUM_NAMED else shown


def _to_score_exactly(sweep: Sweep, *, count: int) -> dict[str, Checkpoint | None]:
    """By name, the search's best checkpoints, and the last ones of the best confirmed configurations, all seeds."""
    best = {trial.trial_id: trial.best_checkpoint for trial in ranked(sweep.trials)[:count]}
    confirming = [trial for one in confirmed(sweep.trials, sweep.confirming)[:count] for trial in one.trials]
    return best | {f"{CONFIRM_FOLDER}/{trial.trial_id}": trial.final_checkpoint for trial in confirming}


@dataclass(frozen=True)
class _Exact:
    """The exact scores that were taken.

    Attributes:
        unkept: By checkpoint, what could not be written there.
        problems: Which could not be taken or kept, and why: a sentence each.
    """

    unkept: dict[Path, dict[str, Score]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def _score_exactly(
    wanted: Mapping[str, Checkpoint | None], data: Mapping[str, FactorImages], *, device: str, mirror: Mirror
) -> _Exact:
    """Take the exact scores that have not been taken; say which could not be, or could not be kept."""
    exact = _Exact()
    for name, checkpoint in wanted.items():
        try:
            if checkpoint is None:
                raise CheckpointError("no checkpoint can be read.")
            dataset = TrialConfig.read(checkpoint.folder / CONFIG_FILE).dataset
            if _scored_on(checkpoint) == data[dataset.name].fingerprint:
                continue
            score = _score_with_bar(checkpoint.folder, data, device=device, name=name)
        except (CheckpointError, OSError) as error:
            exact.problems.append(f"Trial {name} has no exact MIG: {error}")
            continue
        try:
            add_scores(checkpoint.folder, {_EXACT: score})
            mirror.push(str((checkpoint.folder / SCORES_FILE).relative_to(mirror.local)))
        except (CheckpointError, OSError) as error:
            exact.unkept[checkpoint.folder] = {_EXACT: score}
            exact.problems.append(
                f"Trial {name} has an exact MIG, which is shown here, but its checkpoint could not keep it: "
                f"{getattr(error, 'strerror', None) or error}."
            )
    return exact


def _scored_on(checkpoint: Checkpoint) -> str | None:
    """Return the fingerprint of the images that a checkpoint's exact score was taken of, if it was."""
    if _EXACT not in checkpoint.scores:
        return None
    data = checkpoint.scores[_EXACT].details.get("data")
    return data.get("sha256") if isinstance(data, dict) else None


def _score_with_bar(checkpoint: Path, data: Mapping[str, FactorImages], *, device: str, name: str) -> Score:
    dataset = TrialConfig.read(checkpoint / CONFIG_FILE).dataset
    images, what, console = data[dataset.name], f"exact MIG of {one_line(name)}", Console(stderr=True)
    if not console.is_terminal:
        say(f"{what}: encoding {len(images):,} images ...", file=sys.stderr)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=len(images))
        return take_score(
            _EXACT,
            load_model(checkpoint, device),
            images,
            dataset=dataset,
            device=device,
            on_progress=lambda count: progress.advance(task, count),
        )


def _open_data(sweep: Sweep) -> dict[str, FactorImages]:
    """Open the data sets that the sweep's trials are of, by name."""
    names = dict.fromkeys(trial.config.dataset.name for trial in (*sweep.trials, *sweep.confirming))
    return {name: DATASETS[name]().open() for name in names}


if __name__ == "__main__":
    sys.exit(script_interruption.run(main))
