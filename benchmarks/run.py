"""Runs every benchmark, one after the other: a table in Markdown, and all numbers in JSON.

python benchmarks/run.py                        run all of them; nothing else should run on the machine
python benchmarks/run.py scores memory          run these
python benchmarks/run.py --output figures.json  keep the numbers
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from measure import Row, machine, markdown

BENCHMARKS = ("training_step", "ablation", "sweep", "memory", "data", "scores", "many_trials", "workers", "methods")


def main() -> None:
    """Run the benchmarks that are named, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="all of them if none is named")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    arguments = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    for name in arguments.names or BENCHMARKS:
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows[name] = [Row(**row) for row in json.loads(done.stdout)]
        print(f"\n{name}\n\n{markdown(rows[name])}", flush=True)
        if arguments.output is not None:
            figures = {name: [vars(row) for row in measured] for name, measured in rows.items()}
            record = {"machine": machine(), "end": datetime.now(UTC).isoformat(timespec="seconds"), "figures": figures}
            arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
