"""What a page says of a trial where a reader points at it."""

from __future__ import annotations

from collections.abc import Sequence

from betavae.columns import report_column
from betavae.records.sweep import Sweep, name_in_sweep
from betavae.records.trial import Trial
from betavae.report.findings import describe_config
from betavae.report.portrait import Portrait


def anchor_of(portrait: Portrait) -> str:
    """Return the name of a model's section on the page."""
    return f"{portrait.title.replace(' ', '_')}_{portrait.trial.trial_id}"


def trial_notes(sweep: Sweep, portraits: Sequence[Portrait], varied: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return by trial, named as in the sweep: `text`, and `model`, the section of its model, if the page has one.

    Args:
        sweep: All of its trials have a note.
        portraits: The models on the page.
        varied: The fields that differ between trials.
    """
    anchors = {name_in_sweep(portrait.trial): anchor_of(portrait) for portrait in reversed(portraits)}
    named = {name_in_sweep(trial): trial for trial in (*sweep.trials, *sweep.confirming)}
    label = "" if sweep.selection is None else sweep.selection.label
    texts = {name: _describe(trial, varied, label) for name, trial in named.items()}
    return {name: {"text": text, "model": anchors.get(name, "")} for name, text in texts.items()}


def _describe(trial: Trial, varied: Sequence[str], choice_label: str) -> str:
    setting = describe_config(trial.config, varied)
    choice = "" if trial.choice is None else f"{choice_label} {trial.choice:.4f}"
    scores = ", ".join(filter(None, [choice, _score(trial)]))
    return ". ".join(filter(None, [scores, setting, f"Seed {trial.config.seed}, {trial.status}"]))


def _score(trial: Trial) -> str:
    if not trial.reports:
        return ""
    column = report_column(trial.rank_by)
    best, last = column.write(trial.score), column.write(trial.last_score)
    return f"{column.label} {last}" if best == last else f"best {column.label} {best}, at the end {last}"
