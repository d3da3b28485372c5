"""Memory: the private memory of each further trial, the data set's share, and the growth of a long trial.

python benchmarks/memory.py
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from measure import Row, main, private_megabytes, processes

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.process import prepare_process
from betavae.training import TrainingRun

NUM_TRIALS = 3
LONG_STEPS = 20_000

_training: dict[str, TrainingRun] = {}
"""The training of this process, as `run`."""


def start_trial(seed: int) -> None:
    """Train, score and draw once, as a trial does."""
    prepare_process()
    data = DSprites.open()
    _training["run"] = run = TrainingRun.start(TrialConfig(seed=seed), data)
    run.advance(100)
    evaluate(run.model, data)


def mapped_megabytes() -> tuple[float, float]:
    """Return how much of the mapped data set this process sees, and its share where other processes see it too; MB."""
    seen = shared = 0.0
    in_data_set = False
    for line in Path("/proc", str(os.getpid()), "smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            in_data_set = "dsprites" in line
        elif in_data_set and line.startswith("Rss:"):
            seen += int(line.split()[1])
        elif in_data_set and line.startswith("Pss:"):
            shared += int(line.split()[1])
    return seen * 1024 / 1e6, shared * 1024 / 1e6


def touch_all() -> None:
    """Read every image once, as an epoch does."""
    _training["run"]._data.verify()


def grow() -> list[float]:
    """Return this process's own memory in MB along a long trial in small batches: at step 500, then every 5,000."""
    prepare_process()
    run = TrainingRun.start(TrialConfig(batch_size=4, steps=LONG_STEPS), DSprites.open())
    run.advance(500)
    megabytes = [private_megabytes()]
    for step in range(5_000, LONG_STEPS + 1, 5_000):
        run.advance(step - run.step)
        megabytes.append(private_megabytes())
    return megabytes


def measure() -> list[Row]:
    """Return the table's rows."""
    with processes({str(seed): partial(start_trial, seed) for seed in range(NUM_TRIALS)}) as pools:
        for pool in pools.values():
            pool.submit(touch_all).result()
        private = [pool.submit(private_megabytes).result() for pool in pools.values()]
        mapped = [pool.submit(mapped_megabytes).result() for pool in pools.values()]
    with processes({"long": prepare_process}) as pools:
        grown = pools["long"].submit(grow).result()
    each = max(private)
    total = sum(share for _, share in mapped)
    how = f"private memory, without Ray's own, of {NUM_TRIALS} processes that train and score: the largest"
    return [
        Row("memory of a further trial", f"{each:.0f} MB", "300 MB", how, {"megabytes": private}),
        Row("data set in memory", f"{total:.0f} MB in all", "377 MB", f"{NUM_TRIALS} processes that map it, "
            f"each seeing {mapped[0][0]:.0f} MB", {"megabytes": mapped}),
        Row("growth over a long trial", f"{grown[-1] - grown[0]:+.1f} MB", "0", f"step 500 to {LONG_STEPS:,}, batches "
            f"of 4; at first {grown[0]:.0f} MB", {"megabytes": grown}),
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure)
