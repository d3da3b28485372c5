"""Calls that are made for somebody who does not wait."""

import threading
import time
from collections.abc import Callable

import pytest

from sweeps.loggers.worker import Worker


def raising(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_calls_are_made_in_their_order_in_one_other_thread() -> None:
    made: list[tuple[int, threading.Thread]] = []
    worker = Worker("test", patience=60)
    worker.start()
    for number in range(100):
        worker.submit(number, lambda number=number: made.append((number, threading.current_thread())))  # type: ignore[misc]
    worker.close()
    assert [number for number, _ in made] == list(range(100))
    assert {thread for _, thread in made}.isdisjoint({threading.current_thread()})
    assert len({thread for _, thread in made}) == 1


def test_the_first_error_of_a_subject_is_raised_once_and_other_calls_are_made() -> None:
    made: list[str] = []
    worker = Worker("test", patience=60)
    worker.start()
    for error in (ValueError("first"), ValueError("second")):
        worker.submit("a", raising(error))
    worker.submit("b", lambda: made.append("b"))
    while not made:
        time.sleep(0.001)
    worker.raise_error("b")
    with pytest.raises(ValueError, match="first"):
        worker.raise_error("a")
    worker.raise_error("a")
    worker.close()


def test_an_error_that_nobody_has_asked_for_is_raised_at_the_end() -> None:
    worker = Worker("test", patience=60)
    worker.start()
    worker.submit("a", raising(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        worker.close()


def test_the_end_does_not_wait_for_a_call_that_hangs() -> None:
    released, made = threading.Event(), []
    worker = Worker("test", patience=0.1)
    worker.start()
    worker.submit("a", released.wait)
    worker.submit("a", lambda: made.append("too late"))
    with pytest.raises(TimeoutError, match=r"it has not answered for 0\.1 s"):
        worker.close()
    released.set()
    worker._thread.join()
    assert not made  # calls that were given up are not made behind the back of the next stage
    assert worker._thread.daemon  # else the interpreter would wait for it


def test_the_end_waits_for_calls_that_take_long_together() -> None:
    made: list[float] = []
    worker = Worker("test", patience=0.5)
    worker.start()
    for _ in range(4):
        worker.submit("a", lambda: made.append(time.sleep(0.2) or 0.0))  # 0.8 s, but never 0.5 s without a success
    worker.close()
    assert len(made) == 4


def test_calls_that_fail_do_not_make_the_end_wait() -> None:
    worker = Worker("test", patience=0.2)
    worker.start()
    for _ in range(100):
        worker.submit("a", lambda: raising(OSError("no route"))() if time.sleep(0.1) is None else None)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        worker.close()
    assert time.monotonic() - start < 5  # of ten seconds
