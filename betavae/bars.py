"""Progress bars on a terminal, for work that takes seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


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
