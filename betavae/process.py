"""How a process that trains on a CPU is set up."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare_process(*, num_threads: int = 1) -> None:
    """Give this process `num_threads` threads, and let it keep the memory it has once had.

    Call it once in a process that trains; it changes the whole process. Without the second, glibc returns every
    large activation to the system and takes it anew: thousands of page faults a step, a third of a step's time.
    """
    torch.set_num_threads(num_threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has no such knob
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
