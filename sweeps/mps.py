"""NVIDIA's multi-process service, by which the kernels of several trials run on a GPU at once, not in turns."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CONTROL = "nvidia-cuda-mps-control"
_PIPES = "CUDA_MPS_PIPE_DIRECTORY"
_LOGS = "CUDA_MPS_LOG_DIRECTORY"
_DEVICES = "CUDA_VISIBLE_DEVICES"
_START_SECONDS, _END_SECONDS = 10.0, 30.0

_SCRIPT = f'"$0" -f & read -r _; echo quit | "$0"; wait; rm -rf "${_PIPES}"'
"""The service, until the shell's input ends: when this process ends it or dies."""


@contextmanager
def multi_process_service() -> Iterator[bool]:
    """Run the service meanwhile, for the processes that are started meanwhile, and say whether it runs.

    It does not where its program is missing or does not start: a line on stderr says so. Where the environment names a
    service already, that one is used.
    """
    if _PIPES in os.environ:
        yield True
        return
    control = shutil.which(_CONTROL)
    if control is None:
        _say_missing()
        yield False
        return
    folder = tempfile.mkdtemp(prefix="betavae-mps-")
    earlier = {name: os.environ.get(name) for name in (_PIPES, _LOGS)}
    shell: subprocess.Popen[bytes] | None = None
    try:
        os.environ.update({_PIPES: folder, _LOGS: folder})
        # all GPUs: the service would give those of a selection other numbers than its clients know
        environment = {name: value for name, value in os.environ.items() if name != _DEVICES}
        # a session of its own: Ctrl-C must not reach it before the trials have ended
        shell = subprocess.Popen(
            ["sh", "-c", _SCRIPT, control],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        runs = _wait_for(Path(folder, "control"), shell)
        if not runs:
            _say_missing()
        yield runs
    finally:
        for name, value in earlier.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if shell is not None:
            _end(shell)
        shutil.rmtree(folder, ignore_errors=True)


def _say_missing() -> None:
    print(
        f"{_CONTROL} is missing or did not start: the trials of a GPU take turns, which is no faster than one trial.",
        file=sys.stderr,
        flush=True,
    )


def _wait_for(pipe: Path, shell: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _START_SECONDS
    while not pipe.exists() and shell.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    return pipe.exists()


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End the service; by force if it still waits for a process that uses it."""
    try:
        shell.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()
