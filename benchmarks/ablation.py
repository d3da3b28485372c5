"""The gain of each part of the fast training step: a step without it against the whole step, in turns.

Each variant runs in a process of its own.

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
    """Start with glibc's own limits, under which every large activation is new memory."""
    start_ours("bfloat16", keep_heap=False)


def start_without_channels_last() -> None:
    """Start with weights, and so activations, stored channel by channel."""
    start_ours("bfloat16")
    training_of_this_process().model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def start_with_bias_inside() -> None:
    """Start with transposed convolutions that take their bias as an argument."""
    Upsample.forward = nn.ConvTranspose2d.forward  # type: ignore[method-assign, assignment]
    start_ours("bfloat16")


def start_with_general_last_layer() -> None:
    """Start with a last transposed convolution, to one channel, that is computed as the others are."""
    UpsampleToPixels.forward = Upsample.forward  # type: ignore[method-assign]
    start_ours("bfloat16")


def start_with_plain_adam() -> None:
    """Start with an Adam that updates tensor by tensor."""
    start_ours("bfloat16")
    run = training_of_this_process()
    run.learner._optimizer = torch.optim.Adam(run.model.parameters(), lr=run.config.lr, foreach=False, fused=False)


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
    """Return the table's rows."""
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
