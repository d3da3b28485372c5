import os
import signal
from collections.abc import Iterator

import pytest

from sweeps.interrupts import Interruption


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_either_signal_interrupts_and_decides_the_exit_code(number: int, code: int) -> None:
    interruption = Interruption()
    interruption.watch()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert (interruption.signal, interruption.exit_code) == (number, code)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ends_a_search_cleanly_and_the_second_everything(number: int) -> None:
    interruption, asked = Interruption(), []
    interruption.watch()
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))  # as Ray's search takes it
    os.kill(os.getpid(), number)
    assert (asked, interruption.signal) == ([True], number)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
