"""How each number was taken, and with what: in words, beside the number."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib
import torch

from betavae.columns import report_column
from betavae.data import FactorSpace
from betavae.metrics import METRICS, Score, Scores
from betavae.records.sweep import Sweep
from betavae.report.confirmation import requested_metrics
from betavae.report.portrait import Portrait
from betavae.schedules import number_text


def describe_scores(sweep: Sweep, portrait: Portrait) -> str:
    """Return a model's scores, and where it is."""
    scores, trial = portrait.scores, portrait.trial
    column = report_column(trial.rank_by)
    described = [f"{column.label} {column.write(portrait.score)}"]
    described += [
        _describe_requested(name, score, portrait) for name, score in requested_scores(scores, trial.rank_by).items()
    ]
    where = portrait.checkpoint.relative_to(sweep.folder)
    return f"{', '.join(described)}, at step {scores.step} of {trial.config.steps}, seed {trial.config.seed}: {where}"


def requested_scores(scores: Scores, rank_by: str) -> dict[str, Score]:
    """Return those of the scores that are taken on request, such as `mig_exact`, by name."""
    return {name: scores[name] for name in requested_metrics(rank_by) if name in scores}


def describe_ordered(score: Score, space: FactorSpace) -> str:
    """Return the score of the factors that have an order: `0.31 without shape`; nothing if it has not been taken."""
    ordered = score.details.get("score_of_ordered_factors")
    return (
        "" if ordered is None or not space.categorical else f"{ordered:.3f} without {' and '.join(space.categorical)}"
    )


def describe_method(portraits: Sequence[Portrait], rank_by: str) -> str:
    """Return how the ranking score was taken, and the scores on request, as the first checkpoint records it.

    Args:
        portraits: May be empty.
        rank_by: The ranking score.
    """
    label = report_column(rank_by).label
    if not portraits:
        return f"{label} as the trials reported it; no checkpoint could be read that records how it was taken."
    scores = portraits[0].scores
    described = [
        f"{label}: {describe_score(scores[rank_by])}; data {scores.data_source}, SHA-256 "
        f"{scores.data_fingerprint[:12]}..."
    ]
    for name, score in requested_scores(scores, rank_by).items():
        requested = report_column(name).label
        described.append(f"{requested[0].upper()}{requested[1:]}: {describe_score(score)}.")
    return " ".join(described)


def describe_score(score: Score) -> str:
    """Return how a score was taken, and the scores of a perfect code and of chance where they are known."""
    drawn = "" if score.rows_seed is None else f", drawn with seed {score.rows_seed}"
    described = f"{score.estimator}, {score.num_rows:,} images ({score.rows}{drawn})"
    references = [] if score.ceiling is None else [f"a perfect code would have {score.ceiling:.2f}"]
    references += [] if score.chance is None else [f"chance gives {score.chance:.3f}"]
    return "; ".join([described, *references])


def describe_metrics(names: Sequence[str]) -> list[str]:
    """Return what each metric is, in a sentence; those that are not known here are left out."""
    documented = [(METRICS[name].label, METRICS[name].__doc__) for name in names if name in METRICS]
    return [f"{label}: {documentation.partition(chr(10))[0]}" for label, documentation in documented if documentation]


def provenance(sweep: Sweep, portraits: Sequence[Portrait], method: str) -> dict[str, str]:
    """Return all that it takes to repeat the sweep, by heading.

    Args:
        sweep: Its record is read.
        portraits: The models that were scored again.
        method: How the scores were taken.
    """
    record = sweep.record
    git = record.get("git") or {}
    return {
        "Command": record.get("command", "not recorded"),
        "Time": _describe_time(record),
        "Scores": method,
        "Taken again here": ", ".join(map(_describe_rescored, portraits)) or "no checkpoint could be read",
        "Data": _describe_data(record.get("data", {})),
        "Versions": ", ".join(f"{name} {value}" for name, value in record.get("versions", {}).items()),
        "Code": f"commit {git['commit']}{', modified' if git['modified'] else ''}" if git else "not a git checkout",
        "Resources": _describe_resources(record.get("resources", {})),
        **{f"Options: {group}": _describe_values(values) for group, values in record.get("options", {}).items()},
        "Decided": _describe_values(record.get("decided", {})),
        "This page": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, python {platform.python_version()}, "
        f"torch {torch.__version__}, matplotlib {matplotlib.__version__}",
    }


def _describe_time(record: Mapping[str, Any]) -> str:
    """Return when a sweep started and ended, and how long that took, pauses included."""
    try:
        start, end = (datetime.fromisoformat(record[name]).astimezone(UTC) for name in ("start", "end"))
    except (KeyError, TypeError, ValueError):  # it still runs, or its record was changed by hand
        return f"from {record.get('start', 'not recorded')} to {record.get('end', 'not recorded')}"
    hours, minutes = divmod(round((end - start).total_seconds() / 60), 60)
    return f"{hours} h {minutes:02} min, from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _describe_resources(resources: Mapping[str, Any]) -> str:
    """Return Ray's resources, those in bytes in gigabytes."""
    values = {
        name.replace("_", " "): f"{value / 1e9:.1f} GB" if "memory" in name and isinstance(value, float) else value
        for name, value in resources.items()
    }
    return _describe_values(values)


def _describe_values(values: Mapping[str, Any]) -> str:
    """Return named values in words, without those that are not set: `preset quick, beta 1 4`."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in values.items() if value is not None
    )


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_in_words, value))
    return number_text(value) if isinstance(value, float) else str(value)


def _describe_requested(name: str, score: Score, portrait: Portrait) -> str:
    column, ordered = report_column(name), describe_ordered(score, portrait.space)
    return f"{column.label} {column.write(score.value)}{f' ({ordered})' if ordered else ''}"


def _describe_rescored(portrait: Portrait) -> str:
    again = "not at an evaluation" if portrait.rescored is None else f"{portrait.rescored:.4f}"
    return f"{portrait.trial.trial_id} {again} (recorded {portrait.score:.4f})"


def _describe_data(data: dict[str, Any]) -> str:
    return "; ".join(
        f"{dataset}: {', '.join(f'{name} {value}' for name, value in facts.items())}" for dataset, facts in data.items()
    )
