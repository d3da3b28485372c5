"""NVIDIA's multi-process service, by which the kernels of several trials run on a GPU at once, not in turns."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONTROL = "nvidia-cuda-mps-control"
_PIPES = "CUDA_MPS_PIPE_DIRECTORY"
_LOGS = "CUDA_MPS_LOG_DIRECTORY"
_START_SECONDS = 10.0

_SCRIPT = '"$0" -f & read -r _; echo quit | "$0"; wait'
"""The service, until the shell's input ends: when this process ends it or dies."""


@contextmanager
def multi_process_service() -> Iterator[bool]:
    """Run the service meanwhile, for the processes that are started meanwhile, and say whether it runs.

    It does not where its program is missing or does not start. Where the environment names a service already, that one
    is used.
    """
    control = shutil.which(_CONTROL)
    if control is None or _PIPES in os.environ:
        yield control is not None
        return
    with tempfile.TemporaryDirectory(prefix="betavae-mps-", ignore_cleanup_errors=True) as folder:
        os.environ.update({_PIPES: folder, _LOGS: folder})
        # a session of its own: Ctrl-C must not reach it before the trials have ended
        shell = subprocess.Popen(
            ["sh", "-c", _SCRIPT, control],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield _wait_for(Path(folder, "control"), shell)
        finally:
            del os.environ[_PIPES], os.environ[_LOGS]
            shell.communicate()


def _wait_for(pipe: Path, shell: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _START_SECONDS
    while not pipe.exists() and shell.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    return pipe.exists()
