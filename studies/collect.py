"""Adds studies to the raw numbers of docs/results.md, and draws what was confirmed.

python studies/collect.py results/beta-vae results/beta-tcvae --json docs/results.json --figure docs/results.png

A study that the file has is replaced, others stay: their folders need not be here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.config import TrialConfig
from betavae.files import replace_json
from betavae.records.sweep import Sweep, read_sweep
from betavae.report.confirmation import confirmed, exact_scores
from betavae.report.palette import RC_PARAMS
from betavae.report.plots import confirmation_points
from betavae.report.seed_study import medians, reproduced
from betavae.report.settings import Setting, setting_values, settings_of

_RECORDED = ("versions", "git", "data", "resources", "start", "end")
"""Of `sweep.json`: what a number depends on."""

_TOLD_APART_BY = ("objective", "beta", "latent_size", "batch_size")


@dataclass(frozen=True)
class Recorded:
    """One configuration of `results.json` that was confirmed: what its figure needs.

    Attributes:
        config: With seed 0.
        scores: `mig` of each new seed at the end of training.
        search_score: What the search had promised.
    """

    config: TrialConfig
    scores: tuple[float, ...]
    search_score: float | None

    @property
    def median(self) -> float:
        """Of `scores`."""
        return float(np.median(self.scores))


def collected(sweep: Sweep) -> dict[str, Any]:
    """One study: every configuration with its seeds and scores in one order.

    Those that were confirmed; of a study that chose none, every one with trials that ran to their end.
    """
    name = sweep.folder.name
    seed_study = reproduced(sweep.trials)
    confirmations = confirmed(sweep.trials, sweep.confirming)
    unselected = [] if seed_study or confirmations else settings_of([one for one in sweep.trials if one.is_complete])
    return {
        "studies": {name: {key: sweep.record.get(key) for key in _RECORDED}},
        "configurations": [
            *({"study": name, **values.pop("config"), **values} for values in (one.to_dict() for one in confirmations)),
            *({"study": name, **setting_values(one.config), **_at_the_end(one)} for one in unselected),
        ],
        "seed_study": [{"study": name, **one.to_dict()} for one in seed_study],
    }


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What is known, but for the studies that are new."""
    lists = {
        key: [one for one in known.get(key, []) if one["study"] not in new["studies"]] + new[key]
        for key in ("configurations", "seed_study")
    }
    return {"studies": {**known.get("studies", {}), **new["studies"]}, **lists}


def confirmed_in(results: Mapping[str, Any]) -> list[Recorded]:
    """The configurations that a search had chosen, the highest median first."""
    fields = TrialConfig.__dataclass_fields__
    found = [
        Recorded(
            TrialConfig.from_dict({name: value for name, value in one.items() if name in fields}),
            tuple(one["mig"]),
            one["search_score_selected_with_labels"],
        )
        for one in results["configurations"]
        if "search_score_selected_with_labels" in one
    ]
    return sorted(found, key=lambda one: one.median, reverse=True)


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
        figure = confirmation_points(confirmed_in(results), _TOLD_APART_BY)
        figure.savefig(arguments.figure, dpi=200, facecolor="white")


def _at_the_end(setting: Setting) -> dict[str, Any]:
    """The scores of a setting's trials at the end of training, and the medians of the gaps."""
    return {
        "seeds": [trial.config.seed for trial in setting.trials],
        "mig": [trial.last_score for trial in setting.trials],
        "mig_exact": list(exact_scores(setting.trials)),
        "medians": medians(setting.trials, "mig"),
    }


if __name__ == "__main__":
    main()
