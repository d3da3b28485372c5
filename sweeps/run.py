"""The command: sweep beta-VAEs on dSprites, and rank them by a MIG that can be trusted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from betavae.analysis.results import SEARCH_FOLDER, ranked, read_trials
from betavae.data import DSprites
from sweeps.analyze import analyze
from sweeps.cluster import Resources, available_gpus, decide_resources, embedded_ray, quiet_ray
from sweeps.command_line import parse_options
from sweeps.folder import SweepRecord, create_folder
from sweeps.options import Options

if TYPE_CHECKING:
    from sweeps.progress import TrialLog

DONE, TRIAL_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep as the command line asks; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    gpus_found = available_gpus()
    options = parse_options(arguments, gpus_found=gpus_found)
    try:
        options.check()
        resources = decide_resources(options.resources, cpus_found=os.cpu_count() or 1, gpus_found=gpus_found)
        data = DSprites.open()
        folder = create_folder(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    record = SweepRecord(folder, options, data=data, arguments=arguments)
    return sweep(options, folder, resources=resources, data=data, record=record)


def sweep(options: Options, folder: Path, *, resources: Resources, data: DSprites, record: SweepRecord) -> int:
    """Say what will be done, do it, and print the ranked table; return the exit code."""
    quiet_ray()
    # Ray is imported from here on: its environment is set now, and a wrong option has not had to wait for it
    from sweeps.progress import TensorBoardCurves, TrialLog, describe_plan, format_seed_study_table, format_table
    from sweeps.search import num_trials, run_search
    from sweeps.trial import train_trial

    print(describe_plan(options, resources=resources, data=data, folder=folder), flush=True)
    log = TrialLog(num_trials(options))
    with embedded_ray(resources) as cluster_resources:
        record.start(cluster_resources)
        run_search(options, folder, trainable=train_trial, resources=resources, callbacks=[TensorBoardCurves(), log])
    record.end(log.outcome())
    trials = read_trials(folder / SEARCH_FOLDER)
    print(format_table(trials, factor_names=data.factors.names, root=folder))
    if any(trial.config.images < len(data) for trial in trials):
        print(format_seed_study_table(trials, factor_names=data.factors.names))
    ending = _report_ending(log)
    if ending == INTERRUPTED or not options.sweep.report or not ranked(trials):
        return ending
    return _write_report(options, folder) or ending


def _report_ending(log: TrialLog) -> int:
    """Name what did not go well; return the exit code that says so."""
    for trial_id, reason in log.failed.items():
        print(f"error: trial {trial_id} failed: {reason}", file=sys.stderr)
    if log.num_ended < log.num_planned:
        print(f"interrupted: {log.num_planned - log.num_ended} trials did not end", file=sys.stderr)
        return INTERRUPTED
    return TRIAL_FAILED if log.failed else DONE


def _write_report(options: Options, folder: Path) -> int:
    """Analyse the sweep as `analyze.py` does; a report that fails leaves the sweep as it is."""
    try:
        print(f"report     {analyze(folder, options=options.report).page}", flush=True)
    except (ValueError, OSError) as error:
        print(f"error: no report: {error}\nmake it with: python sweeps/analyze.py {folder}", file=sys.stderr)
        return TRIAL_FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
