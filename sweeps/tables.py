"""What a person sees of a sweep that has ended: its tables, and the best in a line."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from betavae.config import TrialConfig
from betavae.records.trial import Trial, ranked
from betavae.report.confirmation import Confirmed
from betavae.report.findings import counted
from betavae.report.seed_study import Reproduced, explain
from betavae.text import one_line


def format_table(trials: Sequence[Trial], *, factor_names: Sequence[str], root: Path) -> str:
    """The trials that have a score, best first, as aligned text.

    Every number of a row is of the same evaluation: the trial's best by `mig`.
    """
    header = ["mig", *factor_names, "beta", "beta_norm", "z", "lr", "step", "recon", "kl", "active", "best checkpoint"]
    rows = [header] + [_row(trial, factor_names, root) for trial in ranked(list(trials))]
    return _align(rows)


def format_confirmation_table(confirmations: Sequence[Confirmed]) -> str:
    """The confirmed configurations, the highest median first, as aligned text."""
    header = ["median", "quartiles", "search", "beta", "z", "lr", "mig of each new seed"]
    rows = [header] + [
        [
            f"{one.median:.4f}",
            "{:.3f} .. {:.3f}".format(*one.quartiles),
            "-" if one.search_score is None else f"{one.search_score:.4f}",
            f"{one.config.beta:.4g}",
            f"{one.config.latent_size}",
            f"{one.config.lr:.3g}",
            "  ".join(f"{score:.3f}" for score in one.scores),
        ]
        for one in confirmations
    ]
    return (
        "\nconfirmed: mig at the end of training with seeds that took no part in the choice; search: the highest that "
        f"it was chosen by,\nselected with labels\n{_align(rows)}"
    )


def format_seed_study_table(found: Sequence[Reproduced]) -> str:
    """The seed study's numbers, published and here, beside the whole set's: medians over the seeds."""
    rows = [["gap", "published", "its protocol", "whole set", "models"]]
    for one in found:
        models = f"{_describe_whole(one.config)}, {counted(one.num_seeds, 'seed')}"
        for name, own in one.own_rows.items():
            published = f"{one.published[name]:.4f}" if one.published else "-"
            rows.append([name, published, f"{own:.4f}", f"{one.whole_set[name]:.4f}", models if name == "mig" else ""])
    return f"\nThe seed study, medians over the seeds:\n{_align(rows)}\n{textwrap.fill(explain(found), 120)}"


def describe_best(trials: Sequence[Trial], confirmations: Sequence[Confirmed] = ()) -> str:
    """The best in a line: the configuration that was confirmed best, or else the search's best trial."""
    if confirmations:
        first = confirmations[0]
        promised = ""
        if first.search_score is not None:
            promised = f" ({first.search_score:.3f} in the search, selected with labels)"
        return (
            f"best       {_describe_whole(first.config)}: median mig {first.median:.3f} over "
            f"{counted(first.num_seeds, 'new seed')}{promised}"
        )
    scored = ranked(trials)
    best, middle = scored[0], float(np.median([trial.last_score for trial in scored]))
    return (
        f"best       {one_line(best.trial_id)}, mig {best.score:.3f}, selected with labels (median of all at their end "
        f"{middle:.3f}): {_describe_whole(best.config)}, seed {best.config.seed}"
    )


def describe_curves(location: str) -> str:
    """The command that shows a sweep's curves."""
    return f"curves     {shlex.join(['tensorboard', '--logdir', location])}"


def _row(trial: Trial, factor_names: Sequence[str], root: Path) -> list[str]:
    best, config, checkpoint = trial.best, trial.config, trial.best_checkpoint
    assert best is not None  # a ranked trial has a score
    return [
        f"{best['mig']:.4f}",
        *(_number(best.get(f"mig/{name}"), ".3f") for name in factor_names),
        f"{config.beta:.4g}",
        f"{config.beta_norm:.4g}",
        f"{config.latent_size}",
        f"{config.lr:.3g}",
        f"{best['step']}",
        _number(best.get("loss/recon_nats"), ".1f"),
        _number(best.get("loss/kl_nats"), ".2f"),
        _number(best.get("active_units"), ".0f"),
        one_line(str(checkpoint.folder.relative_to(root))) if checkpoint else "-",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Columns to the right, the last one, which is long, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append("  ".join([*map(str.rjust, cells, widths), last]))
    return "\n".join(lines)


def _describe_whole(config: TrialConfig) -> str:
    return f"beta {config.beta:.4g}, latent size {config.latent_size}, lr {config.lr:.3g}"
