"""One offline page of a sweep, and its figures, table and summary as files."""

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
from betavae.report.confirmation import confirmed
from betavae.report.differences import differences
from betavae.report.findings import Importances
from betavae.report.headline import headline
from betavae.report.methods import MethodComparison, best_rows, compare_methods
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
    importances: Importances,
    problems: Sequence[str] = (),
) -> Report:
    """Write the page and its files; an earlier report in the same place is replaced when the new one is whole.

    Args:
        sweep: At least one of its trials has a score.
        output: The report's folder.
        data: The whole data sets of the trials, by name. A model of a data set that is not there is not shown.
        device: Where to compute.
        num_best: Number of the best models that are shown, beside the median and the worst.
        importances: Of the hyper-parameters, see `importance_bars`; may be empty.
        problems: Shown on the page, a sentence each.

    Returns:
        Where the page is, with `problems` and what could not be read here.

    Raises:
        InputError: If `output` holds something that is no report.
        OSError: If it cannot be written.
    """
    check_output(output)
    portraits, damaged = _portray(sweep, num_best=num_best, data=data, device=device)
    problems = [*sweep.unreadable, *problems, *damaged, *differences(sweep, portraits, data)]
    rows, methods = table_rows(sweep), compare_methods(sweep.trials)
    with replacing_folder(output) as folder, matplotlib.rc_context(RC_PARAMS):
        write_csv(folder / TABLE_FILE, rows)
        if methods is not None:
            write_csv(folder / METHODS_FILE, best_rows(methods))
        write_json(folder / SUMMARY_FILE, _summary(sweep, rows, portraits, problems, methods))
        page = render_page(
            sweep,
            rows=rows,
            portraits=portraits,
            data=data,
            importances=importances,
            problems=problems,
            methods=methods,
            folder=folder,
        )
        (folder / PAGE_FILE).write_text(page, encoding="utf-8", errors="backslashreplace")
    return Report(str(output / PAGE_FILE), tuple(problems))


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
    """Portray the best models, the median one and the worst; return also which checkpoints are damaged."""
    portraits: list[Portrait] = []
    damaged: dict[str, str] = {}

    def attempt(trial: Trial, title: str) -> None:
        try:
            portraits.append(_portray_trial(trial, title, data=data, device=device))
        except CheckpointError as error:
            damaged[trial.trial_id] = f"Trial {trial.trial_id} is not shown: {error}"

    scored = ranked(sweep.trials)
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
    name = trial.config.dataset.name
    if name not in data:
        raise CheckpointError(f"its data set {name} must be here to look at the model, but is not.")
    checkpoint = trial.chosen_checkpoint
    if checkpoint is None:
        raise CheckpointError(f"{trial.folder} must hold a checkpoint with its scores, but has none that can be read.")
    return portray(trial, checkpoint, title=title, data=data[name], device=device)


def _summary(
    sweep: Sweep,
    rows: Sequence[Row],
    portraits: Sequence[Portrait],
    problems: Sequence[str],
    methods: MethodComparison | None,
) -> dict[str, Any]:
    confirmations = confirmed(sweep.trials, sweep.confirming)
    finding = headline(sweep.trials, confirmations)
    return {
        "sweep": sweep.folder.name,
        "claim": finding.claim,
        "certainty": finding.certainty,
        "ended": sweep.has_ended,
        "rank_by": sweep.rank_by,
        "problems": list(problems),
        "settings": [
            {
                "config": setting_values(setting.config),
                "median": setting.median,
                "quartiles": list(setting.quartiles),
                "seeds": list(setting.seeds),
                "best_scores": list(setting.best_scores),
            }
            for setting in settings_of(sweep.trials)
        ],
        "confirmed": [confirmation.to_dict() for confirmation in confirmations],
        **({} if methods is None else {"methods": _summarize_methods(methods)}),
        "seed_study": [setting.to_dict() for setting in reproduced(sweep.trials)],
        "trials": list(rows),
        "models": [_summarize(sweep, portrait) for portrait in portraits],
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
