"""TensorBoard event files, written without a thread, so that the caller receives the errors."""

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
"""Numbers of this process's event files, so that no two share a name."""


class EventFile:
    """A new event file. TensorBoard reads the files of a folder in the order of their names.

    The file is open only while `flush` writes.

    Args:
        folder: The folder of the file.
        purge_step: From this step on, TensorBoard discards the events of earlier files; None to keep all events.

    Raises:
        OSError: If the file cannot be made.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{next(_numbers):06}"
        self._path, self._buffer = folder / name, io.BytesIO()
        self._path.open("xb").close()  # `x` refuses an existing file, and a link that someone has planted
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, *summaries: Summary, step: int = 0) -> None:
        """Add summaries of one step to the buffer, which `flush` writes."""
        for summary in summaries:
            self._add(Event(step=step, summary=summary))

    def flush(self) -> None:
        """Write the buffer to the file.

        Raises:
            OSError: If the file cannot be written.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "ab") as file:
            file.write(self._buffer.getvalue())
        self._buffer = io.BytesIO()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        RecordWriter(self._buffer).write(event.SerializeToString())
