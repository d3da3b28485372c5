"""The raw numbers of docs/results.md, from the reports of sweeps that were confirmed.

python studies/collect.py results/beta-vae results/beta-tcvae > docs/results.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from betavae.analysis.report import SUMMARY_FILE


def collected(folders: list[Path]) -> dict[str, Any]:
    """Every configuration that was confirmed: its hyper-parameters, seeds and scores in one order."""
    summaries = [json.loads((folder / "report" / SUMMARY_FILE).read_text()) for folder in folders]
    return {
        "studies": {
            summary["sweep"]: {
                name: summary["record"].get(name) for name in ("versions", "git", "data", "resources", "start", "end")
            }
            for summary in summaries
        },
        "configurations": [
            {
                "study": summary["sweep"],
                **one["config"],
                "search_score_selected_with_labels": one["search_score"],
                "median": one["median"],
                "quartiles": one["quartiles"],
                "seeds": one["seeds"],
                "mig": one["mig"],
                "mig_exact": one["mig_exact"],
            }
            for summary in summaries
            for one in summary["confirmed"]
        ],
    }


if __name__ == "__main__":
    print(json.dumps(collected([Path(folder) for folder in sys.argv[1:]]), indent=1))
