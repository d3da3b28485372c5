"""The raw numbers of docs/results.md and their figure, from the folders of sweeps that were confirmed.

python studies/collect.py results/beta-vae results/beta-tcvae --json docs/results.json --figure docs/results.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from betavae.analysis.confirmation import Confirmed, confirmed
from betavae.analysis.palette import RC_PARAMS
from betavae.analysis.plots import confirmation_points
from betavae.analysis.results import Sweep, read_sweep
from betavae.analysis.seed_study import reproduced

_RECORDED = ("versions", "git", "data", "resources", "start", "end")
"""Of `sweep.json`: what a number depends on."""

_TOLD_APART_BY = ("objective", "beta", "latent_size")


def collected(found: Sequence[tuple[Sweep, Sequence[Confirmed]]]) -> dict[str, Any]:
    """Every configuration that was confirmed, with seeds and scores in one order; and the seed study's numbers."""
    configurations = []
    for sweep, confirmations in found:
        for one in confirmations:
            values = one.to_dict()
            configurations.append({"study": sweep.folder.name, **values.pop("config"), **values})
    return {
        "studies": {sweep.folder.name: {name: sweep.record.get(name) for name in _RECORDED} for sweep, _ in found},
        "configurations": configurations,
        "seed_study": [one.to_dict() for sweep, _ in found for one in reproduced(sweep.trials)],
    }


def main() -> None:
    """Read the sweeps, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--json", required=True, type=Path)
    parser.add_argument("--figure", required=True, type=Path)
    arguments = parser.parse_args()
    sweeps = [read_sweep(folder) for folder in arguments.folders]
    found = [(sweep, confirmed(sweep.trials, sweep.confirming)) for sweep in sweeps]
    arguments.json.write_text(json.dumps(collected(found), indent=1) + "\n")
    with matplotlib.rc_context(RC_PARAMS):
        together = sorted((one for _, those in found for one in those), key=lambda one: one.median, reverse=True)
        confirmation_points(together, _TOLD_APART_BY).savefig(arguments.figure, dpi=200, facecolor="white")


if __name__ == "__main__":
    main()
