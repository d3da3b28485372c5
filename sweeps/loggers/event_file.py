"""A file of TensorBoard's events, written without a thread of its own, so that its errors are raised to the caller."""

from __future__ import annotations

import io
import itertools
import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_numbers = itertools.count()
"""The files of this process, so that no two share a name."""


class EventFile:
    """A new file of events; TensorBoard reads the files of a folder in the order of their names.

    It is open while `flush` writes, and at no other time.

    Args:
        folder: Where it is made.
        purge_step: TensorBoard forgets what earlier files hold from this step on; None to keep all.

    Raises:
        OSError: If it cannot be made.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{next(_numbers):06}"
        self._path, self._buffer = folder / name, io.BytesIO()
        self._path.open("xb").close()  # no file of another's, nor through a link that waits under its name
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, *summaries: Summary, step: int = 0) -> None:
        """Keep summaries of one step, to be written by `flush`."""
        for summary in summaries:
            self._add(Event(step=step, summary=summary))

    def flush(self) -> None:
        """Write what has been added.

        Raises:
            OSError: If it cannot be written.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "ab") as file:
            file.write(self._buffer.getvalue())
        self._buffer = io.BytesIO()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        RecordWriter(self._buffer).write(event.SerializeToString())
