"""The analysis command: from a sweep's folder alone to one offline page, its figures and its table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from betavae.analysis.confirmation import confirmed
from betavae.analysis.exact import EXACT_SCORE, add_exact_score
from betavae.analysis.export import CARD_FILE, best_checkpoint, check_export, export_best
from betavae.analysis.report import PAGE_FILE, Report, check_output, write_report
from betavae.analysis.results import CONFIRM_FOLDER, Checkpoint, Sweep, ranked, read_sweep
from betavae.checkpoint import MODEL_FILE, SAMPLES_FILE, SCORES_FILE, CheckpointError
from betavae.data import DSprites
from betavae.process import available_cores, prepare_process
from sweeps.command_line import parse_analysis_options
from sweeps.importance import importances
from sweeps.options import ReportOptions
from sweeps.storage import Mirror, fetched, is_record, joined

DONE, BAD_INPUT = 0, 2

REPORT_FOLDER = "report"
"""Where a sweep's report goes, below its folder; it may be deleted and made again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse a sweep as the command line asks; return the exit code."""
    try:
        options = parse_analysis_options(sys.argv[1:] if arguments is None else arguments)
        options.report.check()
        if options.export is not None:
            check_export(options.export)
        report = analyze(options.folder, output=options.output, options=options.report, export=options.export)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    for problem in report.problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(report.page)
    if options.export is not None:
        print(options.export / CARD_FILE)
    return DONE


def analyze(location: str, *, output: Path | None = None, options: ReportOptions, export: Path | None = None) -> Report:
    """Write the report of a sweep that has ended, runs still or was killed, or of a copy of one.

    Args:
        location: The sweep's folder or URL. Only its checkpoints are written to, and only exact scores.
        output: Where the report goes; `report` below the sweep's folder if None.
        options: What it shows.
        export: Where the best model goes, in a folder of its own; None for nowhere.

    Raises:
        ValueError: If there is no sweep, it has no score yet, or the best model cannot be read.
        OSError: If the report or the model cannot be written.
    """
    with fetched(location, _is_shown) as mirror:
        sweep = read_sweep(mirror.local)
        if not ranked(sweep.trials):
            raise ValueError(
                f"{mirror.location} must hold a trial with a finished evaluation, but none of its trials "
                "has one yet; wait for the first."
            )
        if export is not None:
            best_checkpoint(sweep)  # before any work: it must be there, and whole
        place = mirror.local / REPORT_FOLDER if output is None else output
        check_output(place)
        prepare_process(num_threads=available_cores())
        data, device = DSprites.open(), "cuda" if torch.cuda.is_available() else "cpu"
        wanted = _to_score_exactly(sweep, count=options.exact)
        problems = _score_exactly(wanted, data, device=device, mirror=mirror)
        report = write_report(
            read_sweep(mirror.local),  # with what the exact scores have added, and a running sweep meanwhile
            place,
            data=data,
            device=device,
            num_best=options.top,
            importances=importances(sweep.trials),
            problems=problems,
        )
        if output is None:
            mirror.drop(REPORT_FOLDER)
            mirror.push(REPORT_FOLDER)
            page = joined(joined(mirror.location, REPORT_FOLDER), PAGE_FILE)
            report = replace(report, page=page)
        if export is not None:
            export_best(read_sweep(mirror.local), export)
        return report


def _is_shown(name: str) -> bool:
    """Whether a report needs a file of a sweep's folder."""
    return is_record(name) or name.endswith((MODEL_FILE, SAMPLES_FILE))


def _to_score_exactly(sweep: Sweep, *, count: int) -> dict[str, Checkpoint | None]:
    """By name, the search's best checkpoints, and the last ones of the best confirmed configurations, all seeds."""
    best = {trial.trial_id: trial.best_checkpoint for trial in ranked(sweep.trials)[:count]}
    confirming = [trial for one in confirmed(sweep.trials, sweep.confirming)[:count] for trial in one.trials]
    return best | {f"{CONFIRM_FOLDER}/{trial.trial_id}": trial.final_checkpoint for trial in confirming}


def _score_exactly(
    wanted: Mapping[str, Checkpoint | None], data: DSprites, *, device: str, mirror: Mirror
) -> list[str]:
    """Take the exact scores that have not been taken; say which could not be."""
    problems = []
    for name, checkpoint in wanted.items():
        try:
            if checkpoint is None:
                raise CheckpointError("no checkpoint can be read.")
            if checkpoint.scores.get(EXACT_SCORE, {}).get("data", {}).get("sha256") != data.fingerprint:
                _score_with_bar(checkpoint.folder, data, device=device, name=name)
                mirror.push(str((checkpoint.folder / SCORES_FILE).relative_to(mirror.local)))
        except (CheckpointError, OSError) as error:
            problems.append(f"Trial {name} has no exact MIG: {error}")
    return problems


def _score_with_bar(checkpoint: Path, data: DSprites, *, device: str, name: str) -> None:
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"exact MIG of {name}: encoding {len(data):,} images ...", file=sys.stderr, flush=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"exact MIG of {name}", total=len(data))
        add_exact_score(checkpoint, data, device=device, on_progress=lambda count: progress.advance(task, count))


if __name__ == "__main__":
    sys.exit(main())
