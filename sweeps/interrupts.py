"""Ctrl-C and SIGTERM: once to end cleanly, twice to end at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

_STOP_SEARCH = getattr(signal, "SIGUSR1", signal.SIGINT)
"""What Ray's search takes as the wish to end; while none runs, it interrupts whatever does."""


class Interruption:
    """Which signal has come, if one has.

    Attributes:
        signal: The first one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)

    def watch(self) -> None:
        """Take signals from here on: the first ends a search cleanly, and anything else by KeyboardInterrupt.

        To be called again once Ray has started, which takes SIGTERM for itself.
        """
        signal.signal(signal.SIGINT, self._take)
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(_STOP_SEARCH, _interrupt)  # until Ray's search takes it, which then ends cleanly

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        os.kill(os.getpid(), _STOP_SEARCH)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
