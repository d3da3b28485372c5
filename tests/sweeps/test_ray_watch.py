"""Processes of the test's own, under the names of Ray's."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import wait_for

from sweeps.ray_watch import watched_ray


@pytest.fixture
def raylet(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that the system calls raylet."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    process = subprocess.Popen([shutil.copy(sleep, tmp_path / "raylet"), "1000"])
    yield process
    process.kill()
    process.wait()


def test_the_end_of_a_process_is_told_by_its_name(raylet: subprocess.Popen[bytes]) -> None:
    ended: list[str] = []
    with watched_ray(ended.append):
        raylet.kill()
        wait_for(lambda: ended)
    assert set(ended) == {"raylet"}


def test_what_ray_raises_after_such_an_end_comes_second(raylet: subprocess.Popen[bytes]) -> None:
    ended: list[str] = []

    def run() -> None:
        with watched_ray(ended.append):
            raylet.kill()
            raylet.wait()
            raise RuntimeError("of Ray")

    with pytest.raises(RuntimeError, match="of Ray"):
        run()
    assert set(ended) == {"raylet"}


def test_an_end_after_the_watch_is_ordinary(raylet: subprocess.Popen[bytes]) -> None:
    ended: list[str] = []
    with watched_ray(ended.append):
        pass
    raylet.kill()
    raylet.wait()
    assert not ended


def test_ray_still_has_the_switch_that_keeps_its_logs_from_the_terminal() -> None:
    from ray._private import worker

    assert worker._worker_logs_enabled in (True, False)
