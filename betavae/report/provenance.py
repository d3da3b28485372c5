"""How each number was taken, and with what: in words, beside the number."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib
import torch

from betavae.records.sweep import Sweep
from betavae.report.portrait import Portrait


def describe_scores(sweep: Sweep, portrait: Portrait) -> str:
    """A model's scores, and where it is."""
    scores = portrait.scores
    said = f"MIG {scores['mig']['score']:.4f}"
    if "mig_exact" in scores:
        exact = scores["mig_exact"]
        said += f", exact {exact['score']:.4f} ({exact['score_without_shape']:.4f} without shape)"
    where = portrait.checkpoint.relative_to(sweep.folder)
    return (
        f"{said}, at step {scores['step']} of {portrait.trial.config.steps}, seed {portrait.trial.config.seed}: {where}"
    )


def describe_mig(portraits: Sequence[Portrait]) -> str:
    """How the live score was taken, and the exact one if it was, as the first checkpoint says."""
    if not portraits:
        return "MIG as the trials reported it; no checkpoint could be read that would say how it was taken."
    mig, data = portraits[0].scores["mig"], portraits[0].scores["data"]
    said = (
        f"MIG: {mig['estimator']}, {mig['num_rows']:,} images ({mig['rows']}, drawn with seed {mig['rows_seed']}); a "
        f"perfect code would have {mig['ceiling']:.2f}; data {data['source']}, SHA-256 {data['sha256'][:12]}..."
    )
    exact = portraits[0].scores.get("mig_exact")
    return said if exact is None else f"{said} Exact MIG: {describe_exact(exact)}; a perfect code would have 1."


def describe_exact(score: Mapping[str, Any]) -> str:
    """How `mig_exact` was taken."""
    return f"{score['estimator']}, all {score['num_rows']:,} images"


def provenance(sweep: Sweep, portraits: Sequence[Portrait], how: str) -> dict[str, str]:
    """What it takes to do it all again."""
    record = sweep.record
    git = record.get("git") or {}
    taken_again = ", ".join(
        f"{portrait.trial.trial_id} {portrait.rescored:.4f} (recorded {portrait.scores['mig']['score']:.4f})"
        for portrait in portraits
    )
    return {
        "Command": record.get("command", "not recorded"),
        "Started, ended": f"{record.get('start', 'not recorded')}, {record.get('end', 'not recorded')}",
        "Scores": how,
        "Taken again here": taken_again or "no checkpoint could be read",
        "Data": ", ".join(f"{name} {value}" for name, value in record.get("data", {}).items()),
        "Versions": ", ".join(f"{name} {value}" for name, value in record.get("versions", {}).items()),
        "Code": f"commit {git['commit']}{', modified' if git['modified'] else ''}" if git else "not a git checkout",
        "Resources": json.dumps(record.get("resources", {})),
        "Options": json.dumps(record.get("options", {})),
        "Decided": json.dumps(record.get("decided", {})),
        "This page": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, python {platform.python_version()}, "
        f"torch {torch.__version__}, matplotlib {matplotlib.__version__}",
    }
