"""One process at a time on a remote folder, where the system's locks do not reach."""

from __future__ import annotations

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
    """A remote file that its holder rewrites again and again; one that stays the same is of a holder that is gone.

    No clocks are compared: whoever wants the folder watches the file for a while. What the file cannot do: two that
    come in the same second may both find it free, and then the later one holds it and the earlier one ends.

    Args:
        mirror: What is held.
        name: The file's.
        beat_seconds: How often it is rewritten.
    """

    def __init__(self, mirror: Mirror, name: str, *, beat_seconds: float = _BEAT_SECONDS) -> None:
        self._mirror, self._name, self._beat_seconds = mirror, name, beat_seconds
        self._token = str(uuid.uuid4())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def acquire(self) -> None:
        """Take it, and keep it until `release` or this process's end.

        Raises:
            InputError: If another process holds it.
        """
        holder = self._read()
        if holder is not None and not _is_dead(holder):
            for _ in range(_DEAD_AFTER_BEATS):
                time.sleep(self._beat_seconds)
                if self._read() != holder:
                    raise InputError(
                        f"{self._mirror.location} is being worked on by another run.py, process {holder['pid']} of "
                        f"{holder['host']}; wait for it, or end it first."
                    )
        self._write(beat=0)
        self._thread.start()

    def release(self) -> None:
        """Let go of it, if it was taken."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join()
            if self._is_held():
                self._mirror.delete(self._name)

    def _keep(self) -> None:
        beat = 0
        while not self._ended.wait(self._beat_seconds):
            if not self._is_held():
                print(f"error: another run.py has taken over {self._mirror.location}", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            beat += 1
            self._write(beat=beat)

    def _is_held(self) -> bool:
        holder = self._read()
        return holder is not None and holder["token"] == self._token

    def _read(self) -> dict[str, Any] | None:
        text = self._mirror.read_text(self._name)
        return None if text is None else json.loads(text)

    def _write(self, *, beat: int) -> None:
        holder = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "beat": beat}
        self._mirror.write_text(self._name, json.dumps(holder))


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether it was a process of this machine that is no more."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, as another user's
    return False
