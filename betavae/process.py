"""Set up a process that trains on a CPU, and tell what it may use: cores, and native bfloat16."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare_process(*, num_threads: int = 1) -> None:
    """Set the number of threads of this process, and let it keep freed memory.

    Call this once in a process that trains; it changes the whole process. Otherwise glibc returns every large
    activation to the system and allocates it anew: thousands of page faults, and a third of the time, of a step.

    Args:
        num_threads: Threads of an operation on the CPU.
    """
    torch.set_num_threads(num_threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl lacks it
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def deterministic_convolutions() -> Iterator[None]:
    """Let cuDNN choose among those algorithms meanwhile that give the same bits each time. A CPU has no others."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # A CPU without these instructions is ten times slower than in float32. torch has no public function that tells.
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def available_cores(*, root: Path = Path("/")) -> int:
    """Return how many cores this process may use, by its affinity and by the CPU quotas of its control groups.

    Args:
        root: The folder that holds /proc and the file systems of the control groups.

    Returns:
        The smallest limit, rounded down, but at least 1.
    """
    return max(1, int(min([_cores_by_affinity(), *_cores_by_quota(root)])))


def _cores_by_affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cores_by_quota(root: Path) -> Iterator[float]:
    """Yield the cores that each control group of this process allows, if it has a quota."""
    for folder in _control_groups(root):
        quota = _read_numbers(folder / "cpu.max")  # version 2: microseconds of quota and of period, or "max" and that
        if not quota:
            quota = _read_numbers(folder / "cpu.cfs_quota_us") + _read_numbers(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and min(quota) > 0:  # version 1 has -1 for no quota
            yield quota[0] / quota[1]


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups, of either version, that limit this process's CPU, innermost first."""
    groups: dict[str, str] = {}
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)  # version 2 has one group, with no controllers named
    for line in _read_lines(root / "proc/self/mountinfo"):
        words = line.split(" ")
        mounted, mount_point, options = words[3], words[4], words[-1].split(",")
        controller = "" if " - cgroup2 " in line else "cpu" if " - cgroup " in line and "cpu" in options else None
        if controller in groups:
            top, group_path = root / mount_point.lstrip("/"), Path(groups[controller])
            folder = top / group_path.relative_to(mounted) if group_path.is_relative_to(mounted) else top
            yield from (group for group in (folder, *folder.parents) if group.is_relative_to(top))


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:  # another system than Linux, or a group that this process does not see
        return []


def _read_numbers(path: Path) -> list[int]:
    words = " ".join(_read_lines(path)).split()
    return [int(word) for word in words if word.lstrip("-").isdigit()]
