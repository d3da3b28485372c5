"""A GPU: images per second of the usual loop, of one trial, and of several that share the card.

python benchmarks/gpu.py             print the table
python benchmarks/gpu.py --compiled  measure compiled networks, too, which take minutes to compile
python benchmarks/gpu.py --profile   print the kernels of a step, the costliest first

`burgess`, batches of 64 unless another is named. Without a GPU that torch can use, nothing is measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from measure import Row, Spread, main, processes, seconds, take_turns
from plain_loop import PlainLoop
from torch.profiler import ProfilerActivity, profile
from training_step import flops_per_image

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.process import prepare_process
from betavae.training import TrainingRun
from sweeps.mps import multi_process_service
from sweeps.options.presets import PRESETS
from sweeps.search.space import ends

BATCH_SIZE = 64
SECONDS = 1.0
REPEATS = 3
IN_TURNS = (2, 4)
AT_ONCE = (2, 4, 8)
NUM_GPUS = 4
_LENGTHS = ("steps", "batch_size", "eval_every")

_training: dict[str, TrainingRun | PlainLoop] = {}
"""The training of this process, as `run`."""


def start_plain() -> None:
    """Make this process train by the usual loop."""
    torch.set_num_threads(1)
    _training["run"] = PlainLoop(batch_size=BATCH_SIZE, device="cuda")
    _train(20)


def start_ours(**values: Any) -> None:
    """Make this process train as a trial does.

    Args:
        values: Values of a `TrialConfig`.
    """
    prepare_process()
    config = TrialConfig.from_dict({"batch_size": BATCH_SIZE, **values})
    _training["run"] = TrainingRun.start(config, DSprites.open(), device="cuda")
    _train(20)


def images_per_second() -> float:
    """Return how fast this process trains, over about a second."""
    steps = max(10, round(SECONDS / (seconds(lambda: _train(50)) / 50)))
    run = _training["run"]
    batch_size = run.config.batch_size if isinstance(run, TrainingRun) else BATCH_SIZE
    return steps * batch_size / seconds(lambda: _train(steps))


def _train(num_steps: int) -> None:
    run = _training["run"]
    run.advance(num_steps) if isinstance(run, TrainingRun) else run.train(num_steps)


def megabytes() -> float:
    """Return the memory of the card that this process's tensors have had at most, in MB."""
    return torch.cuda.max_memory_reserved() / 1e6


def scoring_seconds() -> float:
    """Return how long one evaluation of a sweep takes in this process."""
    run = _training["run"]
    assert isinstance(run, TrainingRun)
    run.evaluate()
    return seconds(run.evaluate)


def matmul_tflops(*, size: int = 8192, repeats: int = 10) -> float:
    """Return the best rate of a square matrix product in bfloat16."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> None:
        a @ b
        torch.cuda.synchronize()

    multiply()
    return 2 * size**3 / min(seconds(multiply) for _ in range(repeats)) / 1e12


WAYS: Mapping[str, Mapping[str, Any]] = {
    "float32, kernel by kernel": {"precision": "float32", "cuda_graph": False},
    "float32, graph": {"precision": "float32"},
    "bfloat16, kernel by kernel": {"precision": "bfloat16", "cuda_graph": False},
    "bfloat16, graph": {"precision": "bfloat16"},
    "bfloat16, graph, batches of 512": {"precision": "bfloat16", "batch_size": 512},
    "factor-vae, bfloat16, graph": {"objective": "factor-vae", "precision": "bfloat16"},
}
"""Ways to train one trial, by name."""

COMPILED_WAYS: Mapping[str, Mapping[str, Any]] = {
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True, "cuda_graph": False},
    "bfloat16, compiled, graph": {"precision": "bfloat16", "compile": True},
}

DEFAULT_WAY = "bfloat16, graph"


def measure() -> list[Row]:
    """Return the table's rows."""
    if not torch.cuda.is_available():
        sys.exit("error: benchmarks/gpu.py needs a GPU that torch can use, but torch finds none.")
    setups: dict[str, Callable[[], None]] = {"plain": start_plain}
    ways = {**WAYS, **(COMPILED_WAYS if "--compiled" in sys.argv else {})}
    setups |= {name: partial(start_ours, **values) for name, values in ways.items()}
    with _started(setups) as pools:
        contenders = {name: (lambda pool=pool: pool.submit(images_per_second).result()) for name, pool in pools.items()}
        speeds = take_turns(contenders, repeats=REPEATS)
        scoring = pools[DEFAULT_WAY].submit(scoring_seconds).result()
        memory = pools[DEFAULT_WAY].submit(megabytes).result()
    for name, speed in speeds.items():
        _say(name, speed)
    one, plain = speeds[DEFAULT_WAY], speeds["plain"]
    shared = {f"{number} trials in turns": _speed_of_several(number) for number in IN_TURNS}
    with multi_process_service() as runs:
        shared |= {f"{number} trials at once": _speed_of_several(number) for number in (AT_ONCE if runs else ())}
    how = f"images/s, {REPEATS} turns of about a second: median (least to most)"
    how_shared = f"{how}; {DEFAULT_WAY}"
    return [
        Row("the card", torch.cuda.get_device_name(), "", f"torch {torch.__version__}", {}),
        Row("usual loop", f"{plain:,.0f}", "", how, {"images_per_second": plain.values}),
        *(_speed_row(name, speeds[name], plain, how=how) for name in ways),
        *(_speed_row(name, speed, plain, how=how_shared) for name, speed in shared.items()),
        *_derived({"1 trial": one, **shared}, scoring=scoring, memory=memory),
    ]


def _speed_row(name: str, speed: Spread, plain: Spread, *, how: str) -> Row:
    raw = {"images_per_second": speed.values}
    return Row(name, f"{speed:,.0f}: {speed.median / plain.median:.1f} times", "", how, raw)


@contextmanager
def _started(setups: Mapping[str, Callable[[], None]]) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """Give a process per name, each of which has been set up."""
    with processes(setups) as pools:
        for started in [pool.submit(time.time) for pool in pools.values()]:
            started.result()
        yield pools


def _speed_of_several(number: int) -> Spread:
    """Return the total speed of trials that share the card."""
    totals = []
    with _started({str(each): partial(start_ours, **WAYS[DEFAULT_WAY]) for each in range(number)}) as pools:
        for _ in range(REPEATS):
            speeds = [pool.submit(images_per_second) for pool in pools.values()]
            totals.append(sum(speed.result() for speed in speeds))
    _say(f"{number} trials", Spread(tuple(totals)))
    return Spread(tuple(totals))


def _say(name: str, speed: Spread) -> None:
    print(f"{name}: {speed:,.0f} images/s", file=sys.stderr, flush=True)


def _derived(totals: Mapping[str, Spread], *, scoring: float, memory: float) -> list[Row]:
    peak, flops = matmul_tflops(), flops_per_image()
    best, name = max((speed.median, name) for name, speed in totals.items())
    share = best * flops / 1e12 / peak
    how = f"{name}; {flops / 1e6:.1f} MFLOP an image; product of two 8192 x 8192 matrices: {peak:.0f} TFLOP/s"
    full = PRESETS["full"]
    steps, batch_size, eval_every = (int(max(ends(full.space.axes[name]))) for name in _LENGTHS)
    trials = full.search.trials or 0
    hours = trials * (steps * batch_size / best + steps / eval_every * scoring) / NUM_GPUS / 3600
    how_full = f"{trials} trials to their ends, {name} a GPU, at {best:,.0f} images/s"
    how_memory = "torch.cuda.max_memory_reserved, images included"
    return [
        Row("share of the card's matrix rate", f"{share:.1%}", "", how, {"tflops": peak}),
        Row("memory of one trial's tensors", f"{memory:.0f} MB", "", how_memory, {}),
        Row("one evaluation", f"{scoring:.2f} s", "", "the scores of a sweep", {}),
        Row(f"preset full on {NUM_GPUS} GPUs", f"{hours:.1f} h", "", how_full, {}),
    ]


def print_profile() -> None:
    """Print the kernels of a step, the costliest first."""
    for values in (WAYS[DEFAULT_WAY], WAYS["float32, graph"]):
        start_ours(**values)
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            _train(50)
        print(values)
        print(profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=30, max_name_column_width=90))


if __name__ == "__main__":
    print_profile() if "--profile" in sys.argv else main(measure)
