"""The machines a sweep runs on: an embedded Ray, quiet, and what its trials may take of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sweeps.options import ResourceOptions

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "disabled",  # the embedded cluster listens on this machine alone
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of a change to come
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails before its first report ends without one
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
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
        raise ValueError(f"--num-cpus asks for {asked.num_cpus} cores, but this machine has {cpus_found}.")
    num_gpus = gpus_found if asked.num_gpus is None else asked.num_gpus
    return Resources(asked.num_cpus or cpus_found, num_gpus, asked.trials_per_gpu)


def quiet_ray() -> None:
    """Set what makes Ray start fast and without banners; to be called before Ray is first imported."""
    os.environ.update(_QUIET)


@contextmanager
def embedded_ray(resources: Resources) -> Iterator[dict[str, float]]:
    """Start a Ray of our own on this machine, give its resources, and end it."""
    import ray  # late, see quiet_ray

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
