"""The models of a sweep over objectives, by objective and value: the medians of their scores at the end of training.

python studies/methods_table.py results/methods-small

Scores that the trials did not take at their end (`--final-scores`) are put into their checkpoints first; without a
rule, analyze.py takes those of the best:

python sweeps/analyze.py results/methods-small --select udr --scores mig_exact total_correlation
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.columns import field_column, report_column
from betavae.config import PARTS
from betavae.parts import parameters_of, split_field
from betavae.records.sweep import read_sweep
from betavae.records.trial import Trial
from betavae.report.findings import varied_fields
from betavae.report.settings import Setting, settings_of
from sweeps.printing import input_errors_end_the_script

SCORES = ("mig", "mig_exact", "total_correlation")
LOSSES = ("loss/kl_nats", "loss/recon_nats")


def rows_of(trials: Sequence[Trial]) -> list[list[str]]:
    """Return a row for each setting whose trials ran to their end: the objectives in alphabetical order."""
    complete = [trial for trial in trials if trial.is_complete]
    varied = [split_field(name)[1] for name in varied_fields(complete)]
    rows = [_row(setting, varied) for setting in settings_of(complete)]
    return sorted(rows, key=lambda row: (row[0], _number(row[1])))


def heading() -> list[str]:
    """Return the names of the columns."""
    scores = [f"{report_column(name).label}: median (lowest to highest)" for name in SCORES]
    return ["objective", "value", "seeds", *scores, *(f"{report_column(name).label}, median" for name in LOSSES)]


def _row(setting: Setting, varied: Sequence[str]) -> list[str]:
    objective = setting.config.objective
    of_objectives = {name for part in PARTS["objective"].values() for name in parameters_of(part)}
    others = [name for name in varied if name not in of_objectives and name != "objective"]
    columns = [field_column(name) for name in (*parameters_of(type(objective)), *others) if name in varied]
    values = ", ".join(f"{column.label} {column.write(setting.config.value(column.name))}" for column in columns)
    losses = [float(np.median([trial.reports[-1][name] for trial in setting.trials])) for name in LOSSES]
    scores = [_spread([trial.final_score(name) for trial in setting.trials]) for name in SCORES]
    return [objective.name, values, str(setting.num_seeds), *scores, *(f"{loss:.1f}" for loss in losses)]


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "not taken"
    return f"{np.median(known):.3f} ({min(known):.3f} to {max(known):.3f})"


def _number(text: str) -> list[float]:
    """Return the numbers in a text, so that 10 comes after 2."""
    return [float(word.strip(",")) for word in text.split() if word.strip(",").replace(".", "", 1).isdigit()]


def main() -> None:
    """Print the table of each sweep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    folders: list[Path] = parser.parse_args().folders
    for folder in folders:
        print(f"| {' | '.join(heading())} |\n{'|---' * len(heading())}|")
        for row in rows_of(read_sweep(folder).trials):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
