"""The command `analyze.py`, or `betavae-analyze`: write the report of a sweep from the sweep's folder alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":  # first: the imports below take seconds, and may find another checkout's packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from sweeps.interrupts import begin_script

    script_interruption = begin_script()

import torch

from betavae.data import DATA_VARIABLE, FactorImages, use_data_root
from betavae.errors import InputError
from betavae.extensions import check_extensions, load_extensions
from betavae.process import available_cores, prepare_process
from betavae.records.checkpoint import CODES_FILE, SAMPLES_FILE
from betavae.records.sweep import Selection, Sweep, name_in_sweep, read_sweep
from betavae.records.weights import MODEL_FILE, stored_names
from betavae.report.export import Export, best_checkpoints, check_export, export_best
from betavae.report.findings import counted
from betavae.report.write import PAGE_FILE, Report, check_output, write_report
from betavae.selection.rules import Rule
from betavae.text import one_line
from sweeps.choosing import as_among, choose_models, files_to_read, rule_of, scores_now
from sweeps.model_scores import models_to_score, take_model_scores
from sweeps.options.command_line import parse_analysis_options
from sweeps.options.fields import errors_naming_flags
from sweeps.options.options import ReportOptions
from sweeps.printing import print_error, print_escaped
from sweeps.search.importance import importances
from sweeps.search.optuna_study import check_study_file, write_studies
from sweeps.storage.locations import child_location
from sweeps.storage.mirror import Mirror, is_record, local_copy

DONE, BAD_INPUT = 0, 2

_NUM_SHOWN = 3
"""The number of best models that a report shows, unless `--top` says another."""

_MAX_REASONS = 3
"""The most reasons that one message lists."""

REPORT_FOLDER = "report"
"""Folder of the report in the sweep's folder. It may be deleted: `analyze.py` writes it again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report that the command line describes; return the exit code."""
    try:
        load_extensions()
        options = parse_analysis_options(sys.argv[1:] if arguments is None else arguments)
        options.report.check()
        if options.data_root is not None:
            with errors_naming_flags():
                use_data_root(options.data_root)
        if options.export is not None:
            check_export(options.export)
        if options.export_optuna is not None:
            check_study_file(options.export_optuna)
        analysis = analyze(
            options.folder,
            output=options.output,
            options=options.report,
            export=options.export,
            study_file=options.export_optuna,
        )
    except (InputError, OSError) as error:
        print_error(error)
        return BAD_INPUT
    for problem in (*analysis.report.problems, *analysis.problems):
        print_escaped(f"warning: {one_line(problem)}", file=sys.stderr)
    for path in (analysis.report.page, *analysis.files):
        print_escaped(str(path))
    return DONE


@dataclass(frozen=True)
class Analysis:
    """What `analyze` has written.

    Attributes:
        report: The report.
        files: The cards of the exported models, then the file of Optuna studies.
        problems: A sentence for each part of an export that is missing.
    """

    report: Report
    files: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def analyze(
    location: str,
    *,
    output: Path | None = None,
    options: ReportOptions,
    export: Path | None = None,
    study_file: Path | None = None,
) -> Analysis:
    """Write the report of a sweep that has ended, still runs or was killed, or of a copy of a sweep.

    Args:
        location: The sweep's folder or URL. Apart from the report, only scores are written, to checkpoints; if they
            cannot be written, the report shows them nevertheless.
        output: The folder of the report; None for `report` in the sweep's folder.
        options: The content of the report.
        export: A new folder for the best model, or for those of several data sets; None to export no model.
        study_file: A new file for the sweep as Optuna studies; None to write none.

    Raises:
        InputError: If there is no sweep, the sweep has no score yet, or the best model cannot be read.
        OSError: If the report, the model or the studies cannot be written.
    """
    with local_copy(location, lambda name: _is_needed(name, options)) as mirror:
        sweep = read_sweep(mirror.local)
        check_extensions(sweep.record)
        if not any(trial.reports for trial in sweep.trials):
            raise InputError(
                f"{mirror.location} must hold a trial with a finished evaluation, but {_reason_for_no_score(sweep)}"
            )
        options = _completed(options, sweep)
        if export is not None and options.select is None:
            best_checkpoints(sweep)  # raise before any work if one is missing or damaged
        report_folder = mirror.local / REPORT_FOLDER if output is None else output
        check_output(report_folder)
        prepare_process(num_threads=available_cores())
        data, problems = _open_data(sweep)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        rule = rule_of(options, sweep.trials)
        selection: Selection | None = None
        if rule is not None:
            selection, not_scored = _choose(sweep, rule, data, device=device, mirror=mirror)
            problems += not_scored
            if export is not None:
                best_checkpoints(sweep.with_selection(selection))  # as above, of the models that are chosen
        models = models_to_score(sweep.with_selection(selection), options, data=data)
        taken = take_model_scores(models, data, device=device, mirror=mirror)
        # again, to include the scores that were taken, and what a running sweep has added
        sweep = read_sweep(mirror.local).with_scores(taken.unwritten)
        sweep = sweep.with_selection(scores_now(selection, sweep.trials))
        report = write_report(
            sweep,
            report_folder,
            data=data,
            device=device,
            num_best=_NUM_SHOWN if options.top is None else options.top,
            importances={name: importances(part.trials) for name, part in sweep.by_dataset().items()},
            problems=[*problems, *taken.problems],
        )
        if output is None:
            mirror.drop(REPORT_FOLDER)
            mirror.push(REPORT_FOLDER)
            page = child_location(child_location(mirror.location, REPORT_FOLDER), PAGE_FILE)
            report = replace(report, page=page)
        exported = Export() if export is None else export_best(sweep, export, data=data)
        if study_file is None:
            return Analysis(report, exported.cards, exported.problems)
        problems = write_studies(sweep, study_file)
        return Analysis(report, (*exported.cards, study_file), (*exported.problems, *problems))


def _choose(
    sweep: Sweep, rule: Rule, data: Mapping[str, FactorImages], *, device: str, mirror: Mirror
) -> tuple[Selection | None, list[str]]:
    """Return the scores by a rule, None if no model has one, and a sentence for each model that could not be scored."""
    files = stored_names(files_to_read(rule, sweep.trials))
    mirror.pull(lambda name: name.endswith(files))
    selection, problems = choose_models(sweep.trials, rule, data, device=device, mirror=mirror)
    return selection if selection.scores else None, problems


def _completed(options: ReportOptions, sweep: Sweep) -> ReportOptions:
    """Return the options, with the sweep's own rule if none is given, and `--exact` 0 if it looked at no factor.

    Raises:
        InputError: If `--udr-among setting` is given and no setting has two trials.
    """
    if options.udr_among == "setting" and len({trial.setting for trial in sweep.trials}) == len(sweep.trials):
        raise InputError("--udr-among setting needs a setting with two trials or more; give --udr-among all.")
    if options.select is None:
        options = replace(options, select=sweep.select)
    if options.select == sweep.select:
        among = options.udr_among or as_among(sweep.udr_among)
        min_kl = sweep.udr_min_kl if options.udr_min_kl is None else options.udr_min_kl
        options = replace(options, udr_among=among, udr_min_kl=min_kl)
    if options.exact is None and replace(options, select=sweep.select).is_label_free:
        return replace(options, exact=0)
    return options


def _is_needed(name: str, options: ReportOptions) -> bool:
    """Return whether the report needs a file of a sweep's folder."""
    codes = (CODES_FILE,) if options.scores else ()
    return is_record(name) or name.endswith(stored_names((MODEL_FILE, SAMPLES_FILE, *codes)))


def _reason_for_no_score(sweep: Sweep) -> str:
    """Return the end of a sentence: the states of the trials of a sweep that has no score."""
    trials = (*sweep.trials, *sweep.confirming)
    failures = [f"{name_in_sweep(trial)}: {trial.error}" for trial in trials if trial.status == "failed"]
    num_others = len(trials) - len(failures)
    if not failures and not sweep.unreadable:
        return f"no trial has one yet; {'wait for the first' if num_others else 'no trial has started'}."
    facts = [f"{counted(len(failures), 'trial')} failed ({_first_reasons(failures)})"] if failures else []
    facts += [f"some cannot be read ({_first_reasons(sweep.unreadable)})"] if sweep.unreadable else []
    facts += [f"{counted(num_others, 'trial')} had none yet"] if num_others else []
    return f"{' and '.join(facts)}."


def _first_reasons(reasons: Sequence[str]) -> str:
    text = "; ".join(reason.rstrip(".") for reason in reasons[:_MAX_REASONS])
    return f"{text}; and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else text


def _open_data(sweep: Sweep) -> tuple[dict[str, FactorImages], list[str]]:
    """Open the data sets of the sweep's trials; look for files where the sweep did, unless told otherwise.

    Returns:
        The data sets by name, and a sentence for each that cannot be opened here.
    """
    root = sweep.record.get("options", {}).get("sweep", {}).get("data_root")
    if isinstance(root, str) and not os.environ.get(DATA_VARIABLE) and Path(root).is_dir():
        use_data_root(root)
    data: dict[str, FactorImages] = {}
    problems = []
    datasets = {trial.config.dataset.name: trial.config.dataset for trial in (*sweep.trials, *sweep.confirming)}
    for name, dataset in datasets.items():
        try:
            data[name] = dataset.open()
        except (InputError, OSError) as error:
            problems.append(f"The images of {name} cannot be opened: {error}")
    return data, problems


if __name__ == "__main__":
    sys.exit(script_interruption.run(main))
