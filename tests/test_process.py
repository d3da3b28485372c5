import os
from pathlib import Path

import pytest

from betavae import process
from betavae.process import available_cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"


@pytest.fixture(autouse=True)
def _sixty_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_cores_by_affinity", lambda: 64)


def write_system(root: Path, *, groups: str, mounts: str, quotas: dict[str, str]) -> None:
    """Write what the kernel shows: this process's groups, where they are mounted, and files below /sys/fs/cgroup."""
    files = {"proc/self/cgroup": groups, "proc/self/mountinfo": f"31 23 0:28 / / rw - ext4 /dev/vda rw\n{mounts}\n"}
    for name, text in (files | {f"sys/fs/cgroup/{name}": text for name, text in quotas.items()}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("quotas", "cores"),
    [
        ({}, 64),
        ({"a/b/cpu.max": "max 100000\n"}, 64),
        ({"a/b/cpu.max": "400000 100000\n"}, 4),
        ({"a/b/cpu.max": "250000 100000\n"}, 2),
        ({"a/b/cpu.max": "10000 100000\n"}, 1),
        ({"a/b/cpu.max": "800000 100000\n", "a/cpu.max": "300000 100000\n", "cpu.max": "max 100000\n"}, 3),
        ({"a/b/cpu.max": "max 100000\n", "cpu.max": "500000 100000\n"}, 5),
        ({"a/c/cpu.max": "100000 100000\n"}, 64),  # another group
    ],
)
def test_the_least_quota_of_nested_groups_counts(quotas: dict[str, str], cores: int, tmp_path: Path) -> None:
    write_system(tmp_path, groups="0::/a/b\n", mounts=V2, quotas=quotas)
    assert available_cores(root=tmp_path) == cores


@pytest.mark.parametrize(
    ("mounted", "folder", "cores"),
    [("/", "a/b/", 3), ("/a/b", "", 3), ("/elsewhere", "", 3)],  # a container sees its own group as the mount's top
)
def test_quotas_of_version_1_count_too(mounted: str, folder: str, cores: int, tmp_path: Path) -> None:
    files = {f"{folder}cpu.cfs_quota_us": "350000\n", f"{folder}cpu.cfs_period_us": "100000\n"}
    write_system(
        tmp_path,
        groups="5:memory:/m\n4:cpu,cpuacct:/a/b\n0::/a\n",
        mounts=f"{V1_MEMORY}\n{V1.format(root=mounted)}",
        quotas={f"cpu,cpuacct/{name}": text for name, text in files.items()},
    )
    assert available_cores(root=tmp_path) == cores


def test_no_quota_of_version_1_is_no_limit(tmp_path: Path) -> None:
    quotas = {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    write_system(tmp_path, groups="4:cpu,cpuacct:/\n", mounts=V1.format(root="/"), quotas=quotas)
    assert available_cores(root=tmp_path) == 64


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert available_cores(root=tmp_path) == 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity")
def test_the_affinity_limits_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()  # what the fixture has set
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores(root=tmp_path) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert available_cores(root=tmp_path) == len(allowed)
