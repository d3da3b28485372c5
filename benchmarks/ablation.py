"""What each part of the fast step is worth: a step without it against the whole, in turns, each in its own process.

python benchmarks/ablation.py
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from measure import Row, main, processes, ratios, take_turns
from torch import nn
from training_step import BATCH_SIZE, NUM_STEPS, images_per_second, start_ours, training_of_this_process

from betavae.models.layers import Upsample, UpsampleToPixels

REPEATS = 5
WHOLE = "all of it, bfloat16"


def start_without_heap() -> None:
    """As glibc has it: every large activation is new memory."""
    start_ours("bfloat16", keep_heap=False)


def start_without_channels_last() -> None:
    """Weights, and so activations, channel by channel."""
    start_ours("bfloat16")
    training_of_this_process().model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def start_with_bias_inside() -> None:
    """Transposed convolutions with their bias as an argument."""
    Upsample.forward = nn.ConvTranspose2d.forward  # type: ignore[method-assign, assignment]
    start_ours("bfloat16")


def start_with_general_last_layer() -> None:
    """The last transposed convolution, to one channel, as the others."""
    UpsampleToPixels.forward = Upsample.forward  # type: ignore[method-assign]
    start_ours("bfloat16")


def start_with_plain_adam() -> None:
    """Adam tensor by tensor."""
    start_ours("bfloat16")
    run = training_of_this_process()
    run._optimizer = torch.optim.Adam(run.model.parameters(), lr=run.config.lr, foreach=False, fused=False)


CONTENDERS: dict[str, Callable[[], None]] = {
    WHOLE: partial(start_ours, "bfloat16"),
    "in float32": partial(start_ours, "float32"),
    "without keeping the heap": start_without_heap,
    "without channels_last": start_without_channels_last,
    "bias as an argument of the transposed convolutions": start_with_bias_inside,
    "last layer as a general transposed convolution": start_with_general_last_layer,
    "Adam not fused": start_with_plain_adam,
}


def measure() -> list[Row]:
    """The table's rows."""
    with processes(CONTENDERS) as pools:
        speeds = take_turns({name: partial(_speed_in, pool) for name, pool in pools.items()}, repeats=REPEATS)
    how = f"images/s, {REPEATS} turns of {NUM_STEPS} steps of {BATCH_SIZE}, one thread"
    rows = [Row(f"step, {WHOLE}", f"{speeds[WHOLE]:.0f}", "", how, {"images_per_second": speeds[WHOLE].values})]
    return rows + [
        Row(f"{name} / {WHOLE}", f"{ratios(speed, speeds[WHOLE]):.2f}", "", "turn by turn", {"raw": speed.values})
        for name, speed in speeds.items()
        if name != WHOLE
    ]


def _speed_in(pool: ProcessPoolExecutor) -> float:
    return pool.submit(images_per_second).result()


if __name__ == "__main__":
    main(measure)
