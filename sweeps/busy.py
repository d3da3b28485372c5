"""A sign of life on a terminal, for what takes seconds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from rich.console import Console


def busy(doing: str) -> AbstractContextManager[object]:
    """Say on a terminal what is being done, as long as it is; in a pipe nothing."""
    console = Console(stderr=True)
    return console.status(doing) if console.is_terminal else nullcontext()
