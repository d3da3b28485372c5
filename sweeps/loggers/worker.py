"""A thread that makes calls for a caller who does not wait for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable

Call = Callable[[], object]


class Worker:
    """Makes calls one after another, in a thread that the end of the process does not wait for.

    The first error of the calls of a subject is kept for the caller's thread, where `raise_error` or `close` raises it.

    Args:
        name: The name of the thread.
        patience: Seconds without a call that succeeds, after which `close` gives up.
    """

    def __init__(self, name: str, *, patience: float) -> None:
        self._calls: queue.SimpleQueue[tuple[Hashable, Call] | None] = queue.SimpleQueue()
        self._errors: dict[Hashable, Exception] = {}
        self._patience, self._num_successes, self._is_abandoned = patience, 0, False
        self._thread = threading.Thread(target=self._make_calls, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, subject: Hashable, call: Call) -> None:
        """Add a call of a subject to the queue."""
        self._calls.put((subject, call))

    def raise_error(self, subject: Hashable) -> None:
        """Raise the first error of the calls of a subject, once; do nothing if there is none."""
        if subject in self._errors:
            raise self._errors.pop(subject)

    def close(self) -> None:
        """Wait until the calls are made, and end the thread; give up if no call succeeds for too long.

        Raises:
            TimeoutError: If calls are given up.
            Exception: The first error that has not been raised yet.
        """
        self._calls.put(None)
        while self._thread.is_alive():
            num_successes = self._num_successes
            self._thread.join(self._patience)
            if self._thread.is_alive() and self._num_successes == num_successes:
                self._is_abandoned = True
                raise TimeoutError(f"it has not answered for {self._patience:g} s")
        for error in self._errors.values():
            raise error

    def _make_calls(self) -> None:
        while (item := self._calls.get()) is not None and not self._is_abandoned:
            subject, call = item
            try:
                call()
                self._num_successes += 1
            except Exception as error:  # of any kind: raised in the caller's thread, where it costs a warning
                self._errors.setdefault(subject, error)
