"""A cluster of three machines on this one, launched by `ray up`; machines are killed, and nothing is lost.

It needs root, namespaces, Debian's openssh-server openssh-client rsync iproute2, and a virtual environment outside of
/tmp and /root, which every machine of the rig has of its own:
    python3 -m venv /opt/lab
    /opt/lab/bin/pip install -c constraints.txt '.[test]'
    PYTHONPATH=. /opt/lab/bin/python -m pytest -m rig tests/rig
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Numbers, numbers, wait_for

from betavae.records.sweep import read_sweep

HERE, REPOSITORY = Path(__file__).parent, Path(__file__).parents[2]
RIG = Path("/opt/betavae-rig")
PYTHON = Path(sys.prefix)
TOKEN = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.betavae-lab-token"
SMALL = (
    "--num-gpus 0 --num-cpus 2 -z 3 -b 16 --lr 1e-3 --beta 4 8 --steps 600 --eval-every 100 --scheduler none "
    "--exact 0 --no-report --final-scores"
)
SSH = [
    *("ssh", "-i", str(RIG / "id"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=2"),
]
PATIENCE = 180.0  # seconds: machines come slowly
HEAD, WORKER = "rig-head", "rig-worker1"


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root"
    if any(PYTHON.is_relative_to(private) for private in ("/tmp", "/root")):
        return "needs a virtual environment outside of /tmp and /root"
    tools = [tool for tool in ("ip", "sshd", "ssh", "rsync", "unshare") if shutil.which(tool) is None]
    return f"needs {', '.join(tools)}" if tools else ""


pytestmark = [pytest.mark.rig, pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")]


def on_rig(script: str, *words: str) -> None:
    subprocess.run(["bash", HERE / script, *words], env=os.environ | {"RIG": str(RIG)}, check=True, timeout=300)


def launch() -> None:
    """`ray up`, as a laptop on the rig's network would; then wait for both workers."""
    text = (HERE / "cluster.yaml").read_text()
    for name, value in (("RIG", RIG), ("PYTHON", PYTHON), ("CHECKOUT", REPOSITORY)):
        text = text.replace(name, str(value))
    (RIG / "cluster.yaml").write_text(text)
    ray = str(PYTHON / "bin" / "ray")
    on_laptop(f"RAY_UP_enable_autoscaler_v2=0 {ray} up -y --no-config-cache {RIG}/cluster.yaml")
    wait_for(lambda: "/2.0 CPU" in on_head(f"{TOKEN} {ray} status").communicate()[0], pause=0.5, idle_seconds=PATIENCE)


def on_laptop(command: str) -> None:
    on_rig("laptop.sh", "bash", "-c", command)


def on_head(command: str) -> subprocess.Popen[str]:
    words = ["ip", "netns", "exec", "rig-laptop", *SSH, "root@10.77.0.2", command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(options: str) -> subprocess.Popen[str]:
    return on_head(f"cd ~/betavae-lab && {PYTHON}/bin/python sweeps/run.py --address auto {options}")


def kill_machine(name: str) -> None:
    pid_file = RIG / f"{name}.pid"
    os.killpg(int(pid_file.read_text()), signal.SIGKILL)
    pid_file.unlink()  # up.sh would take what is still dying for a machine that runs
    time.sleep(3)


def reported(name: str) -> Numbers:
    return numbers(read_sweep(RIG / "results" / name))


def half_way(name: str) -> bool:
    files = list((RIG / "results" / name).glob("search/*/result.json"))
    return sum(len(file.read_text().splitlines()) for file in files) >= 4


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[Numbers]:
    """The cluster, and what a sweep reports there when nothing happens."""
    shutil.rmtree(RIG, ignore_errors=True)
    (RIG / "results").mkdir(parents=True)
    (RIG / "token").write_text(secrets.token_hex(32))
    (RIG / "token").chmod(0o600)
    on_rig("up.sh")
    try:
        launch()
        sweep = run(f"{SMALL} --results {RIG}/results --name undisturbed")
        output = sweep.communicate()[0]
        assert sweep.returncode == 0, output
        yield reported("undisturbed")
    finally:
        on_rig("down.sh")


def test_results_that_the_machines_do_not_share_are_refused(undisturbed: object) -> None:
    sweep = run(f"{SMALL} --results /tmp/results --name private")
    output = sweep.communicate()[0]
    assert sweep.returncode == 2
    assert "--results must be a folder that every machine of the cluster shares" in output


def test_a_sweep_is_submitted_from_a_laptop(undisturbed: Numbers) -> None:
    options = f"--address auto {SMALL} --results {RIG}/results --name submitted"
    on_laptop(
        f"RAY_UP_enable_autoscaler_v2=0 {PYTHON}/bin/ray submit --no-config-cache {RIG}/cluster.yaml "
        f"{REPOSITORY}/sweeps/run.py -- {options}"
    )
    assert reported("submitted") == undisturbed


def test_a_sweep_is_submitted_as_a_job(undisturbed: Numbers) -> None:
    """Through ssh, as docs/cluster.md says."""
    options = f"--address auto {SMALL} --results {RIG}/results --name job"
    on_laptop(
        f"{' '.join(SSH)} -f -N -L 8265:127.0.0.1:8265 root@10.77.0.2 && RAY_AUTH_MODE=token "
        f"RAY_AUTH_TOKEN_PATH={RIG}/token {PYTHON}/bin/ray job submit --address http://127.0.0.1:8265 -- "
        f"{PYTHON}/bin/python /root/betavae-lab/sweeps/run.py {options}"
    )
    assert reported("job") == undisturbed


def test_a_worker_machine_is_killed(undisturbed: Numbers) -> None:
    sweep = run(f"{SMALL} --results {RIG}/results --name worker")
    wait_for(lambda: half_way("worker"), pause=0.5, idle_seconds=PATIENCE)
    kill_machine(WORKER)
    output = sweep.communicate()[0]
    assert sweep.returncode == 0, output
    assert reported("worker") == undisturbed


def test_the_head_is_killed_and_the_sweep_resumed(undisturbed: Numbers) -> None:
    """The whole cluster is launched again, as it would be after a head is lost."""
    on_rig("up.sh")
    launch()
    sweep = run(f"{SMALL} --results {RIG}/results --name head")
    wait_for(lambda: half_way("head"), pause=0.5, idle_seconds=PATIENCE)
    for machine in (HEAD, WORKER, "rig-worker2"):
        kill_machine(machine)
    sweep.communicate()
    on_rig("up.sh")
    launch()
    resumed = run(f"--no-report --resume {RIG}/results/head")
    output = resumed.communicate()[0]
    assert resumed.returncode == 0, output
    assert "0 ended, 2 to resume" in output
    assert reported("head") == undisturbed
