"""The ranked table: a row per trial, with all that was reported and tried, and the columns that a page shows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from betavae.columns import (
    BEST,
    FINAL,
    OBJECTIVE_PARAMETERS,
    Column,
    derived_fields,
    describe_objectives,
    field_column,
    has_several_objectives,
    report_column,
    report_columns,
    table_fields,
)
from betavae.metrics import METRICS
from betavae.metrics.information_gaps import MigExact
from betavae.metrics.mig_part import MigExactPart
from betavae.records.sweep import Sweep
from betavae.records.trial import Trial, ranked
from betavae.text import spreadsheet_cell

Row = dict[str, Any]

_CHOICE = "choice"
"""The score by the rule that chooses models."""

_RANK, _TRIAL, _STATUS, _STEP = (
    Column("rank", "rank among all trials", "rank", "d"),
    Column("trial", "identifier of the trial", "trial", ""),
    Column("status", "how the trial ended", "status", ""),
    Column("step", "steps at the evaluation of this row", "at step", "d"),
)


def table_rows(sweep: Sweep) -> list[Row]:
    """Return a row per trial that has started: the ranked ones, then those without a score, which have no rank.

    All scores and losses of a row are of one evaluation: the trial's best by the ranking score; the last, if a rule has
    scored the final model. Then the best ranking score has a column of its own.
    """
    scored = ranked(sweep.trials)
    others = [trial for trial in sweep.trials if not trial.reports]
    rows = [_row(sweep, trial, rank) for rank, trial in enumerate(scored, start=1)]
    return rows + [_row(sweep, trial, None) for trial in others]


def page_rows(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """Return the rows as a page shows them: with several objectives, the parameters of each row's in one cell.

    Args:
        sweep: The rows are of its trials.
        rows: From `table_rows`.
    """
    configs = [trial.config for trial in sweep.trials]
    if not has_several_objectives(configs):
        return list(rows)
    described = dict(zip((trial.trial_id for trial in sweep.trials), describe_objectives(configs), strict=True))
    return [row | {OBJECTIVE_PARAMETERS.name: described[row["trial"]]} for row in rows]


def page_columns(sweep: Sweep, rows: Sequence[Row]) -> list[Column]:
    """Return the columns that a page shows: of other scores than the ranking score, not those of the factors.

    Of the scores that no chosen model's report has, `mig_exact` alone: a table of its own shows the others. With
    several objectives, only the losses that all of them have, no derived numbers, and the parameters in one column.

    Args:
        sweep: The rows are of its trials.
        rows: From `page_rows`. Columns without a value in any row are left out.
    """
    configs = [trial.config for trial in sweep.trials]
    is_mixed = has_several_objectives(configs)
    names = [name for name in _names(rows) if any(row.get(name) is not None for row in rows)]
    reported = report_columns(names, rank_by=sweep.rank_by)
    chosen_by = sweep.chosen_by_score
    reports = [trial.chosen_report or {} for trial in sweep.trials]
    shown = {sweep.rank_by, MigExact.name, *(name for report in reports for name in report)} - {chosen_by}
    scores = [column for column in reported if column.name in METRICS and column.name in shown]
    factors = [column for column in reported if column.name.startswith(f"{sweep.rank_by}/")]
    losses = [column for column in reported if column.name.startswith("loss/")]
    fields = [field_column(name) for name in (*table_fields(configs), "seed")]
    derived = [field_column(name) for name in derived_fields(configs)]
    if is_mixed:
        scored = [row for row in rows if row["rank"] is not None]
        losses = [column for column in losses if all(row.get(column.name) is not None for row in scored)]
        place = [column.name for column in fields].index("objective") + 1
        fields, derived = [*fields[:place], OBJECTIVE_PARAMETERS, *fields[place:]], []
    choice = [] if sweep.selection is None else [Column(_CHOICE, sweep.selection.label, sweep.selection.label, ".4f")]
    is_ruled = sweep.selection is not None
    finals = [report_column(f"{BEST}{sweep.rank_by}")] if is_ruled else _final_columns(sweep.rank_by, names)
    columns = [_RANK, _TRIAL, *choice, *scores, *finals, *fields, _STATUS, _STEP, *factors, *losses, *derived]
    return [column for column in columns if column.name in names]


def _final_columns(rank_by: str, names: Sequence[str]) -> list[Column]:
    """Return the columns of scores at the end of training: of the ranking score and the exact MIG."""
    shown = dict.fromkeys(f"{FINAL}{name}" for name in (rank_by, MigExact.name, MigExactPart.name))
    return [report_column(name) for name in shown if name in names]


def heading(column: Column) -> str:
    """Return the head of a page's column: the label of a score, the symbol of anything else."""
    return column.label if column.name.removeprefix(FINAL).removeprefix(BEST) in METRICS else column.symbol


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows with a header; a missing value is empty, and no text is a formula to a spreadsheet."""
    names = _names(rows)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow([spreadsheet_cell(name) for name in names])
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: object) -> object:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def _row(sweep: Sweep, trial: Trial, rank: int | None) -> Row:
    checkpoint, report = trial.chosen_checkpoint, trial.chosen_report or {}
    return {
        "rank": rank,
        "trial": trial.trial_id,
        **({} if sweep.selection is None else {_CHOICE: trial.choice}),
        "status": trial.status,
        **report,
        **_requested_scores(trial),
        **_final_scores(trial),
        **({} if sweep.selection is None or not trial.reports else {f"{BEST}{trial.rank_by}": trial.score}),
        **trial.config.to_dict(),
        **trial.config.derived(),
        "last_step": trial.step,
        "checkpoint": None if checkpoint is None else str(checkpoint.folder.relative_to(sweep.folder)),
        "error": trial.error,
    }


def _final_scores(trial: Trial) -> Row:
    """Return the ranking score and the scores on request of a final model, whose training ran to its end."""
    if trial.status != "finished" or not trial.reports:
        return {}
    last, checkpoint = trial.reports[-1], trial.final_checkpoint
    taken = {} if checkpoint is None else {name: score.value for name, score in checkpoint.scores.by_name.items()}
    names = [trial.rank_by, *(name for name, metric in METRICS.items() if not metric.is_live)]
    known = {**taken, **last}
    return {f"{FINAL}{name}": known[name] for name in names if name in known}


def _requested_scores(trial: Trial) -> Row:
    """Return the scores of the chosen checkpoint that the trial itself does not report."""
    report, checkpoint = trial.chosen_report, trial.chosen_checkpoint
    if report is None or checkpoint is None:
        return {}
    numbers = [score.numbers(name) for name, score in checkpoint.scores.by_name.items() if name not in report]
    return {key: value for each in numbers for key, value in each.items()}
