"""A training step against the usual loop's: `burgess`, batches of 64, one thread, in turns.

python benchmarks/training_step.py             print the table
python benchmarks/training_step.py --profile   print the cost of a step, operation by operation
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from measure import Row, main, matmul_gflops, processes, ratios, seconds, take_turns
from plain_loop import PlainLoop, PlainVAE
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from betavae.config import Precision, TrialConfig
from betavae.data import DSprites
from betavae.process import prepare_process
from betavae.training import TrainingRun

BATCH_SIZE = 64
NUM_STEPS = 150
REPEATS = 7

_training: dict[str, TrainingRun | PlainLoop] = {}
"""The training of this process, as `run`."""


def start_ours(precision: Precision, *, keep_heap: bool = True) -> None:
    """Make this process train as a trial does."""
    if keep_heap:
        prepare_process()
    torch.set_num_threads(1)
    config = TrialConfig(batch_size=BATCH_SIZE, precision=precision)
    _training["run"] = run = TrainingRun.start(config, DSprites.open())
    run.advance(20)


def start_plain() -> None:
    """Make this process train by the usual loop, with one thread too."""
    torch.set_num_threads(1)
    _training["run"] = loop = PlainLoop(batch_size=BATCH_SIZE)
    loop.train(20)


def training_of_this_process() -> TrainingRun:
    """Return the run that `start_ours` has started."""
    run = _training["run"]
    assert isinstance(run, TrainingRun)
    return run


def images_per_second() -> float:
    """Return how fast this process trains."""
    run = _training["run"]
    train = run.advance if isinstance(run, TrainingRun) else run.train
    return NUM_STEPS * BATCH_SIZE / seconds(lambda: train(NUM_STEPS))


def flops_per_image() -> float:
    """Return the operations of a step, forward and backward; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:  # of the usual layers: our last layer takes a few more
        pixels, mean, logvar = PlainVAE()(torch.rand(BATCH_SIZE, 1, 64, 64))
        (pixels.sum() + mean.sum() + logvar.sum()).backward()
    return float(counter.get_total_flops()) / BATCH_SIZE


def measure() -> list[Row]:
    """Return the table's rows."""
    setups: dict[str, Callable[[], None]] = {
        "plain": start_plain,
        "float32": partial(start_ours, "float32"),
        "bfloat16": partial(start_ours, "bfloat16"),
    }
    with processes(setups) as pools:
        contenders = {name: (lambda pool=pool: pool.submit(images_per_second).result()) for name, pool in pools.items()}
        speeds = take_turns(contenders, repeats=REPEATS)
        peaks = {
            name: pools[name].submit(matmul_gflops, dtype).result()
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        }
    flops = flops_per_image()
    how = f"images/s, {REPEATS} turns of {NUM_STEPS} steps of {BATCH_SIZE}, one thread: median (least to most)"
    raw = {"images_per_second": {name: speed.values for name, speed in speeds.items()}, "peak_gflops": peaks}
    rows = [Row("step, usual loop", f"{speeds['plain']:.0f}", "", how, raw)]
    for name, goal in (("float32", "1.5"), ("bfloat16", "2.2, at best 2.5")):
        gain, share = ratios(speeds[name], speeds["plain"]), speeds[name].median * flops / 1e9 / peaks[name]
        rows.append(Row(f"step, ours, {name}", f"{speeds[name]:.0f}", "", how, {}))
        rows.append(Row(f"step, ours in {name} / usual loop", f"{gain:.2f}", goal, "turn by turn", {}))
        how_share = f"{flops / 1e6:.1f} MFLOP an image; product of two 2048 x 2048 matrices: {peaks[name]:.0f} GFLOP/s"
        rows.append(Row(f"step, {name}, share of the matrix product's rate", f"{share:.0%}", "", how_share, {}))
    return rows


def print_profile(precision: Precision) -> None:
    """Print the costs of a step, the greatest first."""
    start_ours(precision)
    run = training_of_this_process()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run.advance(50)
    print(precision)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=48))


if __name__ == "__main__":
    if "--profile" in sys.argv:
        for chosen in ("float32", "bfloat16"):
            print_profile(chosen)
    else:
        main(measure)
