"""The training speed of every objective and every network, relative to a beta-VAE's with `burgess`.

python benchmarks/methods.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from measure import Row, Spread, main, processes, ratios, take_turns
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.models import ARCHITECTURES
from betavae.objectives import OBJECTIVES
from betavae.process import prepare_process
from betavae.training import TrainingRun

OBJECTIVE_BATCHES = (64, 128)
NETWORK_BATCHES = (128, 512, 2048)
IMAGES_PER_TURN = 6_144
REPEATS = 7
BASE = "beta-vae"
BASE_NETWORK = "burgess"

_training: dict[str, TrainingRun] = {}
"""The training of this process, as `run`."""


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the operations of a step.

    Attributes:
        flop: Of matrix products and convolutions; a multiplication and an addition are two.
        num_kernels: Operations that compute or copy, not views or new memory: on a GPU each is about one kernel.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop, self.num_kernels = 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count it."""
        result = func(*args, **(kwargs or {}))
        self.num_kernels += not (func.is_view or func.__name__.startswith(("empty", "new_empty", "_unsafe_view")))
        if func.overloadpacket in flop_registry:
            self.flop += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def start(objective: str, network: str, batch_size: int) -> None:
    """Make this process train as a trial does."""
    prepare_process()
    torch.set_num_threads(1)
    config = TrialConfig(
        objective=OBJECTIVES[objective](), architecture=ARCHITECTURES[network](), batch_size=batch_size
    )
    _training["run"] = run = TrainingRun.start(config, DSprites.open())
    run.advance(5)


def images_per_second() -> float:
    """Return how many images this process trains on in a second of a core's time."""
    run = _training["run"]
    num_steps = -(-IMAGES_PER_TURN // run.config.batch_size)
    begin = time.process_time()
    run.advance(num_steps)
    return num_steps * run.config.batch_size / (time.process_time() - begin)


def work_of_a_step() -> tuple[float, int]:
    """Return the GFLOP of a step in matrix products and convolutions, and its number of kernels."""
    run = _training["run"]
    with Work() as work:
        run.advance(1)
    return work.flop / 1e9, work.num_kernels


def compare(setups: Mapping[str, Callable[[], None]]) -> tuple[dict[str, Spread], dict[str, tuple[float, int]]]:
    """Return the images per second of each setup, in turns, and the work of its steps."""
    with processes(setups) as pools:
        contenders = {name: (lambda pool=pool: pool.submit(images_per_second).result()) for name, pool in pools.items()}
        speeds = take_turns(contenders, repeats=REPEATS)
        return speeds, {name: pool.submit(work_of_a_step).result() for name, pool in pools.items()}


def rows_of(kind: str, base: str, setups: Mapping[str, Callable[[], None]], batch_size: int) -> list[Row]:
    """Return a row per setup: its speed relative to that of `base`."""
    speeds, work = compare(setups)
    rows = []
    for name, speed in speeds.items():
        gflop, num_kernels = work[name]
        goal = "0.65" if name == "factor-vae" else ""
        how = f"{speed.median:.0f} images/s of one core; a step: {gflop:.1f} GFLOP, {num_kernels} kernels"
        raw = {"images_per_second": speed.values, "gflop": gflop, "kernels": num_kernels}
        rows.append(
            Row(f"{kind} {name} / {base}, batch {batch_size}", f"{ratios(speed, speeds[base]):.2f}", goal, how, raw)
        )
    return rows


def measure() -> list[Row]:
    """Return the table's rows."""
    rows = []
    for batch_size in OBJECTIVE_BATCHES:
        setups = {name: partial(start, name, BASE_NETWORK, batch_size) for name in OBJECTIVES}
        rows += rows_of("objective", BASE, setups, batch_size)
    for batch_size in NETWORK_BATCHES:
        setups = {name: partial(start, BASE, name, batch_size) for name in ARCHITECTURES}
        rows += rows_of("network", BASE_NETWORK, setups, batch_size)
    return rows


if __name__ == "__main__":
    main(measure)
