"""The machines a sweep runs on: a Ray of its own or a cluster that is there, and what its trials may take of it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from sweeps.options import ResourceOptions
from sweeps.storage import Mirror

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of a change to come
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails before its first report ends without one
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_TOKEN_FILE = Path.home() / ".betavae-lab-token"
"""Where the cluster files put the cluster's token, on every machine."""

_OBJECT_STORE_BYTES = 80 * 2**20  # the data set is mapped from a file; only small messages pass through the store


@dataclass(frozen=True)
class Resources:
    """What the sweep takes, checked against what there is.

    Attributes:
        num_cpus: CPU cores in all.
        num_gpus: GPUs in all; with 0 every trial takes a core.
        trials_per_gpu: Trials that share a GPU.
    """

    num_cpus: int
    num_gpus: int
    trials_per_gpu: int

    @property
    def per_trial(self) -> dict[str, float]:
        """What Ray is asked for, for one trial."""
        return {"cpu": 1, "gpu": 1 / self.trials_per_gpu} if self.num_gpus else {"cpu": 1}

    @property
    def num_concurrent(self) -> int:
        """Trials that run at a time."""
        on_gpus = self.num_gpus * self.trials_per_gpu
        return min(on_gpus, self.num_cpus) if self.num_gpus else self.num_cpus


def available_gpus() -> int:
    """GPUs of this machine that torch can use."""
    return torch.cuda.device_count()


def decide_resources(asked: ResourceOptions, *, cpus_found: int, gpus_found: int) -> Resources:
    """Take what was asked for, or all there is.

    Raises:
        ValueError: If more was asked for than there is, naming both numbers.
    """
    if asked.num_gpus is not None and asked.num_gpus > gpus_found:
        raise ValueError(
            f"--num-gpus asks for {asked.num_gpus} GPUs, but this machine has {gpus_found}; "
            f"ask for --num-gpus {gpus_found}, or run on a machine that has them."
        )
    if asked.num_cpus is not None and asked.num_cpus > cpus_found:
        raise ValueError(
            f"--num-cpus asks for {asked.num_cpus} cores, but this process may use {cpus_found} of this machine's; ask "
            f"for --num-cpus {cpus_found}, or let it use more (taskset, SLURM's --cpus-per-task, a container's limit)."
        )
    num_gpus = gpus_found if asked.num_gpus is None else asked.num_gpus
    return Resources(asked.num_cpus or cpus_found, num_gpus, asked.trials_per_gpu)


def quiet_ray(*, address: str | None) -> None:
    """Set what makes Ray start fast and without banners; to be called before Ray is first imported."""
    os.environ.update(_QUIET)
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "disabled"  # a Ray of our own listens on this machine alone
    elif _TOKEN_FILE.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(_TOKEN_FILE))


def join_cluster(address: str) -> None:
    """Join the Ray cluster at an address; the trials will run this process's own code, which is sent along.

    Raises:
        ValueError: If there is none.
    """
    import ray  # late, see quiet_ray

    root = Path(__file__).parent.parent
    own_code = {"py_modules": [str(root / "betavae"), str(root / "sweeps")]}
    try:
        ray.init(address=address, runtime_env=own_code, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ValueError(f"--address must be that of a Ray cluster, but {address}: {error}") from error


@contextmanager
def running_ray(resources: Resources, *, address: str | None) -> Iterator[dict[str, float]]:
    """Give the resources of the cluster that was joined, or of a Ray of our own on this machine; then leave it."""
    import ray

    if address is None:
        ray.init(
            address="local",
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
        )
    # a trial's error is said by ourselves, in a line; Ray would print the whole chain of tracebacks, twice
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def resources_of_cluster(asked: ResourceOptions) -> Resources:
    """Take what was asked for, or all that the cluster that was joined has now.

    Raises:
        ValueError: If neither a core nor a GPU is there or asked for.
    """
    cpus_found, gpus_found = found_in_cluster()
    num_gpus = gpus_found if asked.num_gpus is None else asked.num_gpus
    num_cpus = cpus_found if asked.num_cpus is None else asked.num_cpus
    if num_gpus + num_cpus == 0:
        raise ValueError(
            "The cluster must have a core or a GPU, but has none yet; say by --num-gpus how many will join."
        )
    return Resources(max(num_cpus, num_gpus * asked.trials_per_gpu), num_gpus, asked.trials_per_gpu)


def found_in_cluster() -> tuple[int, int]:
    """CPU cores and GPUs of the cluster that was joined, as it is now."""
    import ray

    found = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(found.get("CPU", 0)), int(found.get("GPU", 0))


def check_shared(results: Mirror) -> None:
    """See that every machine of the cluster reads and writes where the results go, in a Ray that has been joined.

    Raises:
        ValueError: Naming a machine that does not.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    results.local.mkdir(parents=True, exist_ok=True)
    results.check_writable()
    for node in [node for node in ray.nodes() if node["Alive"]]:  # type: ignore[no-untyped-call]
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f".shared-{node['NodeID']}"
        ray.get(ray.remote(num_cpus=0)(_leave_note).options(scheduling_strategy=there).remote(results, name))
        if results.read_text(name) is None:
            raise ValueError(
                "--results must be a folder that every machine of the cluster shares, but "
                f"{node['NodeManagerAddress']} does not write to {results.location}: put it on network storage."
            )
        results.delete(name)


def _leave_note(results: Mirror, name: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        results.check_writable()
        results.write_text(name, "")
