"""What each data set costs: a batch's share of a training step, and a trial's own memory.

Data sets from official files are represented by as many random images as take 0.5 GB, in the form of `shapes3d`.

python benchmarks/datasets.py
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import Row, main, private_megabytes, processes, ratios, take_turns

from betavae.config import TrialConfig
from betavae.data import DATASETS, ArrayImages, FactorImages, FactorSpace
from betavae.data.xysquares import XYSquaresDataset
from betavae.process import prepare_process
from betavae.training import TrainingRun

MADE_HERE = ("dsprites", "color-dsprites", "noisy-dsprites", "xysquares")
ARRAY = "shapes3d, random images"
BATCH_SIZES = (64, 128)
NUM_BATCHES = 200
NUM_STEPS = 40
NUM_ARRAY_IMAGES = 40_960
REPEATS = 7
GOAL = "0.10"

_training: dict[str, TrainingRun] = {}
"""The training of this process, as `run`."""

_steps = itertools.count()


def start(name: str, batch_size: int, array: Path) -> None:
    """Make this process train as a trial does."""
    prepare_process()
    torch.set_num_threads(1)
    dataset = DATASETS[name]() if name in MADE_HERE else XYSquaresDataset()  # of the same shape
    data = dataset.open() if name in MADE_HERE else open_array(array)
    _training["run"] = run = TrainingRun.start(TrialConfig(dataset=dataset, batch_size=batch_size), data)
    run.advance(5)


def open_array(path: Path) -> FactorImages:
    """Map the random images."""
    factors = FactorSpace(("a", "b"), (range(NUM_ARRAY_IMAGES // 64), range(64)))
    return ArrayImages(np.load(path, mmap_mode="r"), factors, source="random", pixels_sha256="", path=path)


def batch_milliseconds() -> float:
    """Return the time in which a core makes a batch of images."""
    run, begin = _training["run"], time.process_time()
    for _ in range(NUM_BATCHES):
        step = next(_steps)
        run._data.training_images(run.learner._order.batch(step), seed=0, step=step)
    return 1000 * (time.process_time() - begin) / NUM_BATCHES


def step_milliseconds() -> float:
    """Return the time in which a core takes a training step, its images included."""
    run, begin = _training["run"], time.process_time()
    run.advance(NUM_STEPS)
    return 1000 * (time.process_time() - begin) / NUM_STEPS


def ask(pool: ProcessPoolExecutor, act: Callable[[], float]) -> float:
    """Return a number that another process measures."""
    return pool.submit(act).result()


def measure() -> list[Row]:
    """Return the table's rows."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "array.npy"
        np.save(array, np.random.default_rng(0).integers(0, 256, (NUM_ARRAY_IMAGES, 64, 64, 3), dtype=np.uint8))
        for batch_size in BATCH_SIZES:
            rows += rows_of(batch_size, array)
    return rows


def rows_of(batch_size: int, array: Path) -> list[Row]:
    """Return a row per data set."""
    setups = {name: partial(start, name, batch_size, array) for name in (*MADE_HERE, ARRAY)}
    rows = []
    with processes(setups) as pools:
        batches, steps = (
            take_turns({name: partial(ask, pool, act) for name, pool in pools.items()}, repeats=REPEATS)
            for act in (batch_milliseconds, step_milliseconds)
        )
        memory = {name: pool.submit(private_megabytes).result() for name, pool in pools.items()}
    for name in setups:
        shares = ratios(batches[name], steps[name])
        how = (
            f"{batches[name].median:.2f} of {steps[name].median:.1f} ms of a core; "
            f"{1000 * batch_size / steps[name].median:.0f} images/s; {memory[name]:.0f} MB of its own"
        )
        raw = {"batch_ms": batches[name].values, "step_ms": steps[name].values, "megabytes": memory[name]}
        rows.append(Row(f"images of {name} / a step, batch {batch_size}", f"{shares:.3f}", GOAL, how, raw))
    return rows


if __name__ == "__main__":
    main(measure)
