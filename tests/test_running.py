"""The tests' own patience: it follows what processes do, not the clock."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from running import Patience, output_of, wait_for

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_process_that_only_waits_is_given_up(start: Start) -> None:
    patience = Patience(start("import time; time.sleep(1e6)").pid, idle_seconds=0.5)
    with pytest.raises(AssertionError, match="nothing has been done"):
        wait_for(lambda: patience.check())


def test_what_nobody_works_on_is_not_waited_for() -> None:
    with pytest.raises(AssertionError, match="nothing has been done"):
        wait_for(lambda: False, idle_seconds=0.5)


def test_a_process_that_works_is_waited_for_however_long(start: Start) -> None:
    process = start("import time\nwhile time.process_time() < 3: pass\nprint('done')")
    patience = Patience(process.pid, idle_seconds=0.5)

    def has_ended() -> bool:
        patience.check()
        return process.poll() is not None

    assert wait_for(has_ended)
    assert output_of(process) == ("done\n", "")


def test_a_process_that_never_stops_working_is_given_up(start: Start) -> None:
    patience = Patience(start("while True: pass").pid, cpu_seconds=1.0)
    with pytest.raises(AssertionError, match="has not ended after"):
        wait_for(lambda: patience.check())
