"""The analysis command: from a sweep's folder alone to one offline page, its figures and its table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from betavae.analysis.exact import EXACT_SCORE, add_exact_score
from betavae.analysis.report import Report, check_output, write_report
from betavae.analysis.results import Trial, ranked, read_sweep
from betavae.checkpoint import CheckpointError
from betavae.data import DSprites
from betavae.process import prepare_process
from sweeps.command_line import parse_analysis_options
from sweeps.importance import importances
from sweeps.options import ReportOptions

DONE, BAD_INPUT = 0, 2

REPORT_FOLDER = "report"
"""Where a sweep's report goes, below its folder; it may be deleted and made again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse a sweep as the command line asks; return the exit code."""
    options = parse_analysis_options(sys.argv[1:] if arguments is None else arguments)
    try:
        options.report.check()
        report = analyze(options.folder, output=options.output, options=options.report)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    for problem in report.problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(report.page)
    return DONE


def analyze(folder: Path, *, output: Path | None = None, options: ReportOptions) -> Report:
    """Write the report of a sweep that has ended, runs still or was killed, or of a copy of one.

    Args:
        folder: The sweep's. Only its checkpoints are written to, and only exact scores.
        output: Where the report goes; `report` below the sweep's folder if None.
        options: What it shows.

    Raises:
        ValueError: If the folder is no sweep's, or has no score yet.
        OSError: If the report cannot be written.
    """
    folder = folder.expanduser().resolve()
    sweep = read_sweep(folder)
    if not ranked(sweep.trials):
        raise ValueError(
            f"{folder} must hold a trial with a finished evaluation, but none of its {len(sweep.trials)} trials has "
            "one yet; wait for the first."
        )
    output = folder / REPORT_FOLDER if output is None else output
    check_output(output)
    prepare_process(num_threads=os.cpu_count() or 1)
    data, device = DSprites.open(), "cuda" if torch.cuda.is_available() else "cpu"
    problems = _score_exactly(ranked(sweep.trials)[: options.exact], data, device=device)
    sweep = read_sweep(folder)  # with what the exact scores have added, and a running sweep meanwhile
    return write_report(
        sweep,
        output,
        data=data,
        device=device,
        num_best=options.top,
        importances=importances(sweep.trials),
        problems=problems,
    )


def _score_exactly(trials: Sequence[Trial], data: DSprites, *, device: str) -> list[str]:
    """Take the exact scores that have not been taken; say which could not be."""
    problems = []
    for trial in trials:
        checkpoint = trial.best_checkpoint
        try:
            if checkpoint is None:
                raise CheckpointError("no checkpoint can be read.")
            if checkpoint.scores.get(EXACT_SCORE, {}).get("data", {}).get("sha256") != data.fingerprint:
                _score_with_bar(checkpoint.folder, data, device=device, name=trial.trial_id)
        except (CheckpointError, OSError) as error:
            problems.append(f"Trial {trial.trial_id} has no exact MIG: {error}")
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
