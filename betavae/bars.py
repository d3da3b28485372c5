"""A bar on a terminal, for what takes seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(items: Iterable[T], doing: str, *, total: int) -> Iterable[T]:
    """Give the items one by one; on a terminal a bar says how many of them are done, and goes at the end.

    Args:
        items: What is worked on.
        doing: What is done with them.
        total: How many there are.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return track(items, description=doing, total=total, console=console, transient=True)
