"""Progress bars on a terminal, for work that takes seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, track

T = TypeVar("T")
S = TypeVar("S", bound=Sized)


def tracked(items: Iterable[T], doing: str, *, total: int) -> Iterable[T]:
    """Return the items to iterate over; on a terminal, show a bar meanwhile.

    Args:
        items: The work, item by item.
        doing: The text beside the bar.
        total: Number of items.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return track(items, description=doing, total=total, console=console, transient=True)


def tracked_blocks(blocks: Iterable[S], doing: str, *, num_rows: int) -> Iterator[S]:
    """Yield blocks of rows; on a terminal, show a bar meanwhile.

    Args:
        blocks: The work, some rows at a time.
        doing: The text beside the bar.
        num_rows: Number of rows of all blocks.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=num_rows)
        for block in blocks:
            yield block
            progress.advance(task, len(block))
