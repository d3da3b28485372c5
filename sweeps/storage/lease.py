"""A lock on a remote folder, where the operating system's file locks do not work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from typing import Any

from betavae.errors import InputError
from sweeps.storage.mirror import Mirror

_BEAT_SECONDS = 10.0
_DEAD_AFTER_BEATS = 3


class Lease:
    """A lock in the form of a remote file, which its holder rewrites periodically: the heartbeat.

    A process that wants the lock watches the file for a few beats; if the file does not change, its holder is dead.
    Clocks of different machines are never compared. The lock is not strict: if two processes acquire it within the
    same second, both may find it free. The later one then holds it, and the earlier one ends at its next beat.

    Args:
        mirror: The folder to lock.
        name: The name of the file.
        beat_seconds: The time between two beats.
    """

    def __init__(self, mirror: Mirror, name: str, *, beat_seconds: float = _BEAT_SECONDS) -> None:
        self._mirror, self._name, self._beat_seconds = mirror, name, beat_seconds
        self._token = str(uuid.uuid4())
        self._is_released = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def acquire(self) -> None:
        """Take the lock, and hold it until `release` or the end of this process.

        Raises:
            InputError: If another process holds the lock.
        """
        holder = self._read()
        if holder is not None and not _is_dead(holder):
            for _ in range(_DEAD_AFTER_BEATS):
                time.sleep(self._beat_seconds)
                if self._read() != holder:
                    raise InputError(
                        f"{self._mirror.location} is in use by another run.py, process {holder['pid']} on "
                        f"{holder['host']}; wait until it ends, or stop it."
                    )
        self._write(beat=0)
        self._thread.start()

    def release(self) -> None:
        """Release the lock, if this process has acquired it."""
        if self._thread.is_alive():
            self._is_released.set()
            self._thread.join()
            if self._is_holder():
                self._mirror.delete(self._name)

    def _beat(self) -> None:
        """Rewrite the file until the lock is released; end this process if another one has taken the lock."""
        beat = 0
        while not self._is_released.wait(self._beat_seconds):
            with contextlib.suppress(OSError):  # storage has stayed away: the next beat tries again
                if not self._is_holder():
                    print(f"error: another run.py has taken over {self._mirror.location}", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                beat += 1
                self._write(beat=beat)

    def _is_holder(self) -> bool:
        holder = self._read()
        return holder is not None and holder["token"] == self._token

    def _read(self) -> dict[str, Any] | None:
        text = self._mirror.read_text(self._name)
        return None if text is None else json.loads(text)

    def _write(self, *, beat: int) -> None:
        holder = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "beat": beat}
        self._mirror.write_text(self._name, json.dumps(holder))


def _is_dead(holder: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that has ended."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # the process runs, under another user
    return False
