"""Concurrent trials: total images per second of one worker and of two.

python benchmarks/workers.py
"""

from __future__ import annotations

from functools import partial

from measure import Row, Spread, main, processes
from training_step import images_per_second, start_ours

REPEATS = 5


def measure() -> list[Row]:
    """Return the table's rows."""
    with processes({str(number): partial(start_ours, "auto") for number in range(2)}) as pools:
        first, second = pools.values()
        alone, together = [], []
        for _ in range(REPEATS):
            alone.append(first.submit(images_per_second).result())
            both = [pool.submit(images_per_second) for pool in (first, second)]
            together.append(sum(each.result() for each in both))
    one, two = Spread(tuple(alone)), Spread(tuple(together))
    gain = Spread(tuple(b / a for a, b in zip(alone, together, strict=True)))
    how = f"images/s in all, {REPEATS} turns, one thread each"
    return [
        Row("one worker", f"{one:.0f}", "", how, {"images_per_second": one.values}),
        Row("two workers", f"{two:.0f}", "", how, {"images_per_second": two.values}),
        Row("two workers / one", f"{gain:.2f}", "2", "turn by turn", {"ratio": gain.values}),
    ]


if __name__ == "__main__":
    main(measure)
