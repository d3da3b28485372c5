"""The data set: its first use on a machine (render, verify, write), and each later open in a new process.

python benchmarks/data.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from measure import Row, Spread, main

REPEATS = 3
_OPEN = """
import time
from betavae.data import DSprites
start = time.perf_counter()
DSprites.open()
print(time.perf_counter() - start)
"""


def opening_seconds(cache: str) -> float:
    """Return how long `DSprites.open` takes in a new process, without its imports."""
    environment = os.environ | {"BETAVAE_CACHE": cache}
    done = subprocess.run([sys.executable, "-c", _OPEN], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure() -> list[Row]:
    """Return the table's rows."""
    first, later = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            first.append(opening_seconds(cache))
            later += [opening_seconds(cache) for _ in range(REPEATS)]
    opened_first, opened_later = Spread(tuple(first)), Spread(tuple(1000 * seconds for seconds in later))
    return [
        Row("data, first use", f"{opened_first:.1f} s", "6 s", f"rendered, hashed, written, {REPEATS} times",
            {"seconds": opened_first.values}),
        Row("data, later open", f"{opened_later:.1f} ms", "50 ms", f"size and time compared, {len(later)} times",
            {"milliseconds": opened_later.values}),
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure)
