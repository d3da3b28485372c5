"""See at once when Ray's own processes end: Ray itself takes up to a minute, prints pages and ends the driver in C."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_SECONDS = 0.2
_NEEDED = ("gcs_server", "raylet")
"""The processes of Ray that a sweep cannot do without, as the system calls them."""


@contextmanager
def watched_ray(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end`, in a thread, with the name of the first process that ends of a Ray which this driver starts.

    Enter it before Ray starts, and leave it before Ray is stopped. An exception that leaves the block after such an
    end is of no interest: `end` is called before it is raised. Where there is no /proc, nothing is seen.

    Args:
        end: Ends the driver.
    """
    from ray._private import worker  # late: to import Ray takes a second

    worker._worker_logs_enabled = False  # else Ray prints the log of a raylet that has ended
    watch = _Watch()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_PAUSE_SECONDS):
            if (lost := watch.lost_process()) is not None:
                end(lost)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        if (lost := watch.lost_process()) is not None:
            end(lost)
        raise
    finally:
        is_over.set()
        thread.join()


class _Watch:
    """Which of Ray's processes have been seen among this process's children."""

    def __init__(self) -> None:
        self._seen = _running_children(_NEEDED)

    def lost_process(self) -> str | None:
        """Return the name of a process of Ray that has ended, and None while all run that have been seen."""
        running = _running_children(_NEEDED)
        lost = [name for process, name in self._seen.items() if process not in running]
        self._seen |= running
        return lost[0] if lost else None


def _running_children(names: Collection[str]) -> dict[int, str]:
    """Return the children of this process that have these names and run: name by process."""
    running = {}
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended
            for process in listed.read_text().split():
                name, state = _name_and_state(process)
                if name in names and state != "Z":
                    running[int(process)] = name
    return running


def _name_and_state(process: str) -> tuple[str, str]:
    try:
        described, _, rest = Path("/proc", process, "stat").read_text().rpartition(")")
    except OSError:  # it has ended, and is no child any more
        return "", "Z"
    return described.partition("(")[2], rest.split()[0]
