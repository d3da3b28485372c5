"""One offline page of a sweep, or of each of its data sets, and its figures, tables and summary as files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch

from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.files import replacing_folder, write_json
from betavae.records.checkpoint import CheckpointError
from betavae.records.sweep import Sweep
from betavae.records.trial import Trial, ranked
from betavae.report.confirmation import Confirmed, confirmed
from betavae.report.datasets import compare_datasets, setting_rows
from betavae.report.differences import differences
from betavae.report.findings import Importances
from betavae.report.headline import headline
from betavae.report.methods import MethodComparison, best_rows, compare_methods
from betavae.report.overview import NOT_COMPARED, DatasetFinding, claim, render_overview
from betavae.report.page import render_page
from betavae.report.palette import RC_PARAMS
from betavae.report.portrait import Portrait, portray
from betavae.report.seed_study import reproduced
from betavae.report.settings import setting_values, settings_of
from betavae.report.table import Row, table_rows, write_csv

PAGE_FILE = "index.html"
SUMMARY_FILE = "summary.json"
TABLE_FILE = "trials.csv"
METHODS_FILE = "methods.csv"
DATASETS_FILE = "datasets.csv"


@dataclass(frozen=True)
class Report:
    """A report that has been written.

    Attributes:
        page: Its page, a path or a URL.
        problems: What could not be read or done, a sentence each, as the page shows it.
    """

    page: str
    problems: tuple[str, ...]


def write_report(
    sweep: Sweep,
    output: Path,
    *,
    data: Mapping[str, FactorImages],
    device: torch.device | str = "cpu",
    num_best: int = 3,
    importances: Mapping[str, Importances],
    problems: Sequence[str] = (),
) -> Report:
    """Write the page and its files; an earlier report in the same place is replaced when the new one is whole.

    Of a sweep with several data sets, each has a report of its own, in a folder of its name, and the page of all links
    to them.

    Args:
        sweep: At least one of its trials has a score.
        output: The report's folder.
        data: The whole data sets of the trials, by name. A model of a data set that is not there is not shown.
        device: Where to compute.
        num_best: Number of the best models of each data set that are shown, beside the median and the worst.
        importances: By data set, of the hyper-parameters, see `importance_bars`; those of a data set may be missing.
        problems: Shown on the page, a sentence each.

    Returns:
        Where the page is, with `problems` and what could not be read here.

    Raises:
        InputError: If `output` holds something that is no report.
        OSError: If it cannot be written.
    """
    check_output(output)
    parts = sweep.by_dataset()
    contents = {
        name: _content(
            part,
            data={name: data[name]} if name in data else {},
            device=device,
            num_best=num_best,
            importances=importances.get(name, {}),
            problems=problems,
        )
        for name, part in parts.items()
        if any(trial.reports for trial in part.trials)
    }
    with replacing_folder(output) as folder, matplotlib.rc_context(RC_PARAMS):
        if len(parts) == 1:
            (content,) = contents.values()
            _write_page(content, folder)
        else:
            for name, content in contents.items():
                (folder / name).mkdir()
                _write_page(content, folder / name, num_datasets=len(parts))
            _write_overview(sweep, contents, folder, problems=problems)
    return Report(str(output / PAGE_FILE), tuple(_all_problems(sweep, contents, problems)))


@dataclass(frozen=True)
class _Content:
    """What the report of one data set shows.

    Attributes:
        part: The sweep's trials of the data set.
        data: The whole data set, by name; empty if it is not there.
        portraits: The models, the best first.
        importances: Of the hyper-parameters.
        problems: A sentence each.
        rows: The table of the trials.
        methods: The comparison of the objectives; None if there are not two to compare.
        confirmations: The highest median first.
    """

    part: Sweep
    data: Mapping[str, FactorImages]
    portraits: Sequence[Portrait]
    importances: Importances
    problems: Sequence[str]
    rows: Sequence[Row]
    methods: MethodComparison | None
    confirmations: Sequence[Confirmed]


def _content(
    part: Sweep,
    *,
    data: Mapping[str, FactorImages],
    device: torch.device | str,
    num_best: int,
    importances: Importances,
    problems: Sequence[str],
) -> _Content:
    portraits, damaged = _portray(part, num_best=num_best, data=data, device=device)
    return _Content(
        part,
        data,
        portraits,
        importances,
        problems=[*part.unreadable, *problems, *damaged, *differences(part, portraits, data)],
        rows=table_rows(part),
        methods=compare_methods(part.trials, score=part.chosen_by_score),
        confirmations=confirmed(part.trials, part.confirming, score=part.chosen_by_score),
    )


def _write_page(content: _Content, folder: Path, *, num_datasets: int = 1) -> None:
    """Write the report of one data set to a folder."""
    write_csv(folder / TABLE_FILE, content.rows)
    if content.methods is not None:
        write_csv(folder / METHODS_FILE, best_rows(content.methods))
    write_json(folder / SUMMARY_FILE, _summary(content))
    page = render_page(
        content.part,
        rows=content.rows,
        confirmations=content.confirmations,
        portraits=content.portraits,
        data=content.data,
        importances=content.importances,
        problems=content.problems,
        methods=content.methods,
        folder=folder,
        num_datasets=num_datasets,
    )
    _write_text(folder / PAGE_FILE, page)


def _write_overview(sweep: Sweep, contents: Mapping[str, _Content], folder: Path, *, problems: Sequence[str]) -> None:
    """Write the page of all data sets, and the files with all trials and all settings."""
    rows = [row for part in sweep.by_dataset().values() for row in table_rows(part)]
    findings = {
        name: DatasetFinding(
            content.part,
            headline(content.part.trials, content.confirmations, selection=content.part.selection),
            content.confirmations,
            content.portraits,
            content.methods,
        )
        for name, content in contents.items()
    }
    write_csv(folder / TABLE_FILE, rows)
    write_csv(folder / DATASETS_FILE, setting_rows(sweep.trials))
    all_problems = _all_problems(sweep, contents, problems)
    write_json(folder / SUMMARY_FILE, _summary_of_all(sweep, contents, rows, all_problems))
    page = render_overview(
        sweep,
        findings,
        comparison=compare_datasets(sweep.trials),
        problems=all_problems,
        page_file=PAGE_FILE,
    )
    _write_text(folder / PAGE_FILE, page)


def _all_problems(sweep: Sweep, contents: Mapping[str, _Content], problems: Sequence[str]) -> list[str]:
    """Return the problems of all data sets, each once."""
    of_parts = [problem for content in contents.values() for problem in content.problems]
    return list(dict.fromkeys([*sweep.unreadable, *problems, *of_parts]))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_output(output: Path) -> None:
    """Refuse a place where no report can go.

    Raises:
        InputError: If it holds something that is no report.
        OSError: If it cannot be written.
    """
    is_report = all((output / name).is_file() for name in (PAGE_FILE, SUMMARY_FILE, TABLE_FILE))
    if output.is_dir() and any(output.iterdir()) and not is_report:
        raise InputError(f"{output} must be a new folder or an earlier report, but holds something else.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists() and not output.is_dir():
            raise NotADirectoryError(0, "it is a file")
        with tempfile.TemporaryDirectory(dir=output.parent):
            pass
    except OSError as error:
        raise OSError(
            f"The report's folder must be one that can be written, but {output}: {error.strerror}; name another with "
            "--output."
        ) from error


def _portray(
    sweep: Sweep, *, num_best: int, data: Mapping[str, FactorImages], device: torch.device | str
) -> tuple[list[Portrait], list[str]]:
    """Portray the best models, the median one and the worst; return also which checkpoints are damaged.

    Without the data set of the trials, there are no portraits, and a sentence says so.
    """
    portraits: list[Portrait] = []
    damaged: dict[str, str] = {}

    def attempt(trial: Trial, title: str) -> None:
        try:
            portraits.append(_portray_trial(trial, title, data=data, device=device))
        except CheckpointError as error:
            damaged[trial.trial_id] = f"Trial {trial.trial_id} is not shown: {error}"

    scored = ranked(sweep.trials)
    name = scored[0].config.dataset.name
    if name not in data:
        return [], [f"No model of {name} is shown: its images are not here."]
    for rank, trial in enumerate(scored, start=1):
        if len(portraits) < num_best:
            attempt(trial, "best" if rank == 1 else f"rank {rank}")
    for title, trial in (("median", scored[len(scored) // 2]), ("worst", scored[-1])):
        if trial.trial_id not in {portrait.trial.trial_id for portrait in portraits}:
            attempt(trial, title)
    return portraits, list(damaged.values())


def _portray_trial(
    trial: Trial, title: str, *, data: Mapping[str, FactorImages], device: torch.device | str
) -> Portrait:
    checkpoint = trial.chosen_checkpoint
    if checkpoint is None:
        wanted = "a checkpoint" if trial.choice is None else "a checkpoint of the end"
        raise CheckpointError(f"{trial.folder} must hold {wanted} with its scores, but has none that can be read.")
    return portray(trial, checkpoint, title=title, data=data[trial.config.dataset.name], device=device)


def _summary(content: _Content) -> dict[str, Any]:
    """Return the summary of one data set."""
    part = content.part
    finding = headline(part.trials, content.confirmations, selection=part.selection)
    methods = content.methods
    return {
        "sweep": part.folder.name,
        "claim": finding.claim,
        "certainty": finding.certainty,
        "ended": part.has_ended,
        "rank_by": part.rank_by,
        "chosen_by": None if part.selection is None else part.selection.label,
        "problems": list(content.problems),
        "settings": [
            {
                "config": setting_values(setting.config),
                "median": setting.median,
                "quartiles": list(setting.quartiles),
                "seeds": list(setting.seeds),
                "scores": list(setting.scores),
                "best_scores": list(setting.best_scores),
            }
            for setting in settings_of(part.trials)
        ],
        "confirmed": [confirmation.to_dict() for confirmation in content.confirmations],
        **({} if methods is None else {"methods": _summarize_methods(methods)}),
        "seed_study": [setting.to_dict() for setting in reproduced(part.trials)],
        "trials": list(content.rows),
        "models": [_summarize(part, portrait) for portrait in content.portraits],
        "record": part.record,
    }


def _summary_of_all(
    sweep: Sweep, contents: Mapping[str, _Content], rows: Sequence[Row], problems: Sequence[str]
) -> dict[str, Any]:
    """Return the summary of several data sets: that of each, without what is of all."""
    of_all = ("sweep", "ended", "rank_by", "problems", "trials", "record")
    return {
        "sweep": sweep.folder.name,
        "claim": claim(sweep),
        "certainty": NOT_COMPARED,
        "ended": sweep.has_ended,
        "rank_by": sweep.rank_by,
        "problems": list(problems),
        "datasets": {
            name: {key: value for key, value in _summary(content).items() if key not in of_all}
            for name, content in contents.items()
        },
        "trials": list(rows),
        "record": sweep.record,
    }


def _summarize_methods(methods: MethodComparison) -> dict[str, Any]:
    shares = methods.shares()
    return {"best_values": best_rows(methods), "shares": None if shares is None else asdict(shares)}


def _summarize(sweep: Sweep, portrait: Portrait) -> dict[str, Any]:
    return {
        "title": portrait.title,
        "trial": portrait.trial.trial_id,
        "checkpoint": str(portrait.checkpoint.relative_to(sweep.folder)),
        "score_taken_again": portrait.rescored,
        "rotation": None if portrait.rotation is None else asdict(portrait.rotation),
        "scores": portrait.scores.to_dict(),
    }
