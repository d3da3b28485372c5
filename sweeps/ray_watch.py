"""A watch that reports the end of one of Ray's processes within a second.

Ray itself notices the end after up to a minute, prints pages of dumps, and ends the driver from C code.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_SECONDS = 0.2
_RAY_PROCESSES = ("gcs_server", "raylet")
"""The names, in the process table, of the processes of Ray that a sweep needs."""


@contextmanager
def watched_ray(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end` with the name of the first of Ray's processes that ends during a block.

    Enter the block before this driver starts Ray, and leave it before Ray is stopped. `end` is called in a thread, or
    before an exception leaves the block: the exception is a consequence of the process's end. Without /proc, nothing
    is watched.

    Args:
        end: Ends the driver.
    """
    from ray._private import worker  # late: importing Ray takes a second

    worker._worker_logs_enabled = False  # else Ray prints the log of an ended raylet
    watch = _Watch()
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.wait(_PAUSE_SECONDS):
            if (process := watch.ended_process()) is not None:
                end(process)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        if (process := watch.ended_process()) is not None:
            end(process)
        raise
    finally:
        is_over.set()
        thread.join()


class _Watch:
    """The processes of Ray that have run as children of this process so far."""

    def __init__(self) -> None:
        self._processes = _running_children(_RAY_PROCESSES)

    def ended_process(self) -> str | None:
        """Return the name of a process of Ray that has ended; None while all run."""
        running_processes = _running_children(_RAY_PROCESSES)
        ended_names = [name for pid, name in self._processes.items() if pid not in running_processes]
        self._processes |= running_processes
        return ended_names[0] if ended_names else None


def _running_children(names: Collection[str]) -> dict[int, str]:
    """Return the names of this process's running children that have one of `names`, by process ID."""
    running_processes = {}
    for children_file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            for pid in children_file.read_text().split():
                name, state = _name_and_state(pid)
                if name in names and state != "Z":
                    running_processes[int(pid)] = name
    return running_processes


def _name_and_state(pid: str) -> tuple[str, str]:
    try:
        pid_and_name, _, rest = Path("/proc", pid, "stat").read_text().rpartition(")")
    except OSError:  # the process has ended
        return "", "Z"
    return pid_and_name.partition("(")[2], rest.split()[0]
