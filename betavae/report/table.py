"""The ranked table: a row per trial, with everything that one wants to sort by."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from betavae.records.sweep import Sweep
from betavae.records.trial import Report, Trial, ranked
from betavae.report.scores import exact_score
from betavae.text import spreadsheet_cell

Row = dict[str, Any]


def table_rows(sweep: Sweep) -> list[Row]:
    """A row per trial that has started: the ranked ones, then those without a score, which have no rank.

    Every score of a row, and its losses, are of one evaluation: the trial's best by `mig`.
    """
    scored = ranked(sweep.trials)
    others = [trial for trial in sweep.trials if not trial.reports]
    rows = [_row(sweep, trial, rank) for rank, trial in enumerate(scored, start=1)]
    return rows + [_row(sweep, trial, None) for trial in others]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows with a header; what a trial lacks is empty, and no text is a formula to a spreadsheet."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow([spreadsheet_cell(name) for name in names])
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: object) -> object:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def _row(sweep: Sweep, trial: Trial, rank: int | None) -> Row:
    config, checkpoint = trial.config, trial.best_checkpoint
    return {
        "rank": rank,
        "trial": trial.trial_id,
        "status": trial.status,
        **_scores(trial.best or {}),
        "mig_exact": exact_score(checkpoint),
        **config.to_dict(),
        "beta_norm": config.beta_norm,
        "last_step": trial.step,
        "checkpoint": None if checkpoint is None else str(checkpoint.folder.relative_to(sweep.folder)),
        "error": trial.error,
    }


def _scores(report: Report) -> Row:
    """What the trial reported under design.md's names, without what Ray adds."""
    own = ("mig", "loss/", "active_units", "images_per_second")
    return {name: value for name, value in report.items() if name == "step" or name.startswith(own)}
