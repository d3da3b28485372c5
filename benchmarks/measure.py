"""Tools of every benchmark: contenders that take turns, each in a process of its own, and rows of one table."""

from __future__ import annotations

import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.process import available_cores

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: The quantity.
        value: The measured number with its unit, and with its spread where it was repeated.
        goal: The number to reach; empty where none is set.
        how: How the number was measured.
        raw: The single measurements.
    """

    what: str
    value: str
    goal: str
    how: str
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Repeats of one number: the median, the smallest and the largest."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.values)

    def __format__(self, spec: str) -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:{spec}} ({low:{spec}} to {high:{spec}})"


def take_turns(contenders: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, Spread]:
    """Call each contender in turn, `repeats` times, so that a slow minute of the machine affects all of them."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, measure in contenders.items():
            values[name].append(measure())
    return {name: Spread(tuple(each)) for name, each in values.items()}


def ratios(above: Spread, below: Spread) -> Spread:
    """Return the ratio of each pair of repeats."""
    return Spread(tuple(a / b for a, b in zip(above.values, below.values, strict=True)))


@contextmanager
def processes(setups: Mapping[str, Callable[[], None]]) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """Give a fresh process per name, set up once and kept: no process changes the state of another."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=context, initializer=setup))
            for name, setup in setups.items()
        }


def seconds(act: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def private_megabytes() -> float:
    """Return the private memory of this process in MB; Linux only.

    Pages that are mapped from a file and not written to belong to the page cache, even if no other process maps them.
    """
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) * 1024 / 1e6


def matmul_gflops(dtype: torch.dtype, *, size: int = 2048, repeats: int = 5) -> float:
    """Return the best rate of a square matrix product in this process with its threads: a bound in practice."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    a @ b
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(repeats)) / 1e9


def machine() -> dict[str, Any]:
    """Return the machine and the versions that the numbers depend on."""
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": available_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "bfloat16": bool(torch.cpu._is_avx512_bf16_supported()),
    }


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    lines = ["| what | measured | goal | how |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.value} | {row.goal} | {row.how} |" for row in rows)])


def main(measure: Callable[[], Sequence[Row]]) -> None:
    """Run one benchmark: print a table, or JSON with `--json`."""
    rows = measure()
    print(json.dumps([asdict(row) for row in rows]) if "--json" in sys.argv else markdown(rows))
