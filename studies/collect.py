"""Adds studies to the raw numbers of docs/results.md, and draws the configurations with several new seeds.

python studies/collect.py results/beta-vae results/beta-tcvae --json docs/results.json --figure docs/results.png

A study that the file holds already is replaced. The others stay, so that their folders need not be here.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.columns import report_column
from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.files import replace_json
from betavae.records.sweep import Sweep, read_sweep
from betavae.report.comparison_plots import confirmation_points
from betavae.report.confirmation import confirmed
from betavae.report.palette import RC_PARAMS
from betavae.report.seed_study import medians, reproduced
from betavae.report.settings import Setting, setting_values, settings_of
from sweeps.choosing import rated_by_score
from sweeps.options.options import ReportOptions
from sweeps.printing import input_errors_end_the_script

_RECORDED = ("versions", "git", "data", "resources", "start", "end")
"""What a number depends on, of `sweep.json`."""

_LEAST_SEEDS = 5
"""Seeds of a configuration without a confirmation from which the figure draws it."""

_EXACT = "mig_exact"
_CHANCE = 0.0
"""Its value of networks that were never trained, to four decimals (`studies/untrained.py`)."""

_LABEL_WIDTH = 14
"""Characters in a line of a study's name: six studies fit side by side."""

_SEARCH_SCORES = "search_score_selected_"
_SEARCH_SCORE = f"{_SEARCH_SCORES}with_labels"


@dataclass(frozen=True)
class Recorded:
    """One configuration of `results.json` with several new seeds: what its figure needs.

    Attributes:
        study: The name of its study.
        config: With seed 0.
        final_scores: `mig_exact` of each new seed at the end of training.
        search_score: The median `mig_exact` in the search; None if the configuration was chosen by another score, or
            without a search.
    """

    study: str
    config: TrialConfig
    final_scores: tuple[float, ...]
    search_score: float | None

    @property
    def median(self) -> float:
        """The median of `final_scores`."""
        return float(np.median(self.final_scores))


def collected(sweep: Sweep) -> dict[str, Any]:
    """Return one study: its configurations, each with its seeds and scores in one order.

    These are the configurations that were confirmed. A study without a confirmation gives every configuration with
    trials that ran to their end.
    """
    name = sweep.folder.name
    seed_study = reproduced(sweep.trials)
    options = ReportOptions(select=sweep.select)
    confirmations = confirmed(rated_by_score(sweep.trials, options), sweep.confirming, score=options.chosen_by_score)
    complete = [trial for trial in sweep.trials if trial.is_complete]
    unselected = [] if seed_study or confirmations else settings_of(complete)
    return {
        "studies": {name: {key: sweep.record.get(key) for key in _RECORDED}},
        "configurations": [
            *({"study": name, **values.pop("config"), **values} for values in (one.to_dict() for one in confirmations)),
            *({"study": name, **setting_values(one.config), **_at_the_end(one)} for one in unselected),
        ],
        "seed_study": [{"study": name, **one.to_dict()} for one in seed_study],
    }


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known studies, those that are new in place of their namesakes."""
    lists = {
        key: [one for one in known.get(key, []) if one["study"] not in new["studies"]] + new[key]
        for key in ("configurations", "seed_study")
    }
    return {**known, "studies": {**known.get("studies", {}), **new["studies"]}, **lists}


def confirmed_in(results: Mapping[str, Any]) -> list[Recorded]:
    """Return the configurations with new seeds, the highest median of `mig_exact` first.

    These are the confirmed ones, and those of a study that had no search but five seeds or more.
    """
    names = {*PARTS, *parameters_by_name()}
    confirmations = [
        Recorded(
            one["study"],
            TrialConfig.from_dict({name: value for name, value in one.items() if name in names}),
            tuple(one[_EXACT]),
            one.get(_SEARCH_SCORE) if one.get("score") == _EXACT else None,
        )
        for one in results["configurations"]
        if (any(name.startswith(_SEARCH_SCORES) for name in one) or len(one["seeds"]) >= _LEAST_SEEDS)
        and None not in one.get(_EXACT, [None])
    ]
    return sorted(confirmations, key=lambda one: one.median, reverse=True)


def main() -> None:
    """Read the sweeps, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--json", required=True, type=Path)
    parser.add_argument("--figure", required=True, type=Path)
    arguments = parser.parse_args()
    results = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for folder in arguments.folders:
        results = merged(results, collected(read_sweep(folder)))
    replace_json(arguments.json, results)
    with matplotlib.rc_context(RC_PARAMS):
        label = report_column(_EXACT).label
        drawn = confirmed_in(results)
        names = [f"{textwrap.fill(one.study, _LABEL_WIDTH)}\n{len(one.final_scores)} new seeds" for one in drawn]
        figure = confirmation_points(drawn, names, label=label, ceiling=1.0, chance=_CHANCE)
        figure.savefig(arguments.figure, dpi=200, facecolor="white")


def _at_the_end(setting: Setting) -> dict[str, Any]:
    """Return the scores of a setting's trials at the end of training, and the medians of the gaps.

    A sweep that looked at no factor has the scores that were taken of its models later, and no `mig`.
    """
    exact = {_EXACT: [trial.final_score(_EXACT) for trial in setting.trials]}
    part = [trial.final_score("mig_exact_part") for trial in setting.trials]
    if None in exact[_EXACT] and None not in part:
        exact["mig_exact_part"] = part
    if any("mig" not in trial.reports[-1] for trial in setting.trials):
        return {"seeds": list(setting.seeds), **exact}
    return {
        "seeds": list(setting.seeds),
        "mig": [trial.reports[-1]["mig"] for trial in setting.trials],
        **exact,
        "medians": medians(setting.trials, "mig"),
    }


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
