"""The machines that a sweep runs on: Ray on this machine or an existing Ray cluster, and the resources of trials."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from betavae.data import data_environment
from betavae.errors import InputError
from betavae.extensions import extension_environment, extension_packages
from sweeps.mps import multi_process_service
from sweeps.options.options import ResourceOptions
from sweeps.storage.locations import check_location
from sweeps.storage.mirror import Mirror

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of trials that fail while a sweep ends: the next resume runs them again
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of a future change
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails before its first report has no score
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_TOKEN_NAME = ".betavae-lab-token"
"""Name of the file, in the home folder of every machine, in which the cluster files store the cluster's token."""

_DELETE_SECONDS = 5.0
"""Time for Ray's last processes to end after it is stopped. Until then they may write to its folder."""

_OBJECT_STORE_BYTES = 80 * 2**20  # the data set is mapped from a file; the store holds only small messages


@dataclass(frozen=True)
class Resources:
    """The resources of a sweep, checked against those that exist.

    Attributes:
        num_cpus: Total number of CPU cores.
        num_gpus: Total number of GPUs; with 0, trials train on the CPU.
        trials_per_gpu: Number of trials that share a GPU.
        cpus_per_trial: Number of CPU cores of a trial.
    """

    num_cpus: int
    num_gpus: int
    trials_per_gpu: int = 1
    cpus_per_trial: int = 1

    @property
    def per_trial(self) -> dict[str, float]:
        """The resources of one trial, as Ray names them."""
        on_gpu = {"gpu": 1 / self.trials_per_gpu} if self.num_gpus else {}
        return {"cpu": self.cpus_per_trial, **on_gpu}

    @property
    def num_concurrent(self) -> int:
        """The number of trials that run at once."""
        num_on_cpus = self.num_cpus // self.cpus_per_trial
        return min(self.num_gpus * self.trials_per_gpu, num_on_cpus) if self.num_gpus else num_on_cpus


def available_gpus() -> int:
    """Return the number of GPUs of this machine that torch can use."""
    return torch.cuda.device_count()


def local_resources(options: ResourceOptions, *, cpus_found: int, gpus_found: int) -> Resources:
    """Return the requested resources, by default all resources of this machine.

    Raises:
        InputError: If more is requested than exists, naming both numbers.
    """
    if options.num_gpus is not None and options.num_gpus > gpus_found:
        raise InputError(
            f"--num-gpus must be at most {gpus_found}, the number of GPUs of this machine, but got {options.num_gpus}; "
            f"give --num-gpus {gpus_found}, or run on a machine with more GPUs."
        )
    if options.num_cpus is not None and options.num_cpus > cpus_found:
        raise InputError(
            f"--num-cpus must be at most {cpus_found}, the number of cores that this process may use, but got "
            f"{options.num_cpus}; give --num-cpus {cpus_found}, or raise the limit (taskset, SLURM's --cpus-per-task, "
            "a container's limit)."
        )
    num_gpus = gpus_found if options.num_gpus is None else options.num_gpus
    num_cpus = options.num_cpus or cpus_found
    _check_cores(options.cpus_per_trial, num_cpus)
    return Resources(num_cpus, num_gpus, _known_number(options), options.cpus_per_trial)


def _check_cores(cpus_per_trial: int, num_cpus: int) -> None:
    if cpus_per_trial > num_cpus:
        raise InputError(
            f"--cpus-per-trial must be at most {num_cpus}, the number of cores of the sweep, but got "
            f"{cpus_per_trial}; give --cpus-per-trial {num_cpus}."
        )


def _known_number(options: ResourceOptions) -> int:
    """Return the number of trials that share a GPU; 1 where it is still to be measured."""
    return 1 if options.trials_per_gpu == "auto" else options.trials_per_gpu


def quiet_ray(*, address: str | None) -> None:
    """Set the environment so that Ray starts fast, without banners, and with a token. Call before importing Ray.

    Ray listens on all interfaces even on this machine alone. It then gets a fresh token, never that of a cluster.

    Raises:
        InputError: If other users could read the file of the cluster's token.
    """
    os.environ.update(_QUIET)
    if address is None:
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_token_of_this_process())
    elif not os.environ.get("RAY_AUTH_TOKEN") and (token_file := _token_file()) is not None:
        _check_token_file(token_file)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)


@functools.cache
def _token_of_this_process() -> str:
    """Return a random token for this process and its children. The token is never written to a file."""
    return secrets.token_hex(32)


def _token_file() -> Path | None:
    """Return the file of the cluster's token: $RAY_AUTH_TOKEN_PATH, or else the file in the home folder, if any."""
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(path)
    home_file = Path(os.path.expanduser("~"), _TOKEN_NAME)
    return home_file if home_file.exists() else None


def _check_token_file(path: Path) -> None:
    """Refuse a token that other users may know: whoever has the token can run code on the cluster.

    Raises:
        InputError: If other users can read or write the file, another user owns it, or the file is missing.
    """
    if not hasattr(os, "getuid"):
        return
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"The token file {path} must exist, but: {error.strerror}.") from error
    quoted = shlex.quote(str(path))
    if status.st_uid not in (os.getuid(), 0):
        raise InputError(
            f"The token file {path} must be yours, but belongs to user {status.st_uid}: 'chown {os.getuid()} {quoted}'."
        )
    if status.st_mode & 0o077:
        raise InputError(
            f"The token file {path} must be readable by you alone, but has mode {status.st_mode & 0o777:03o}: "
            f"'chmod 600 {quoted}'; anyone who has read the file can run code on the cluster."
        )


def join_cluster(address: str) -> None:
    """Join the Ray cluster at an address. Its machines will run this checkout's code, with this process's data paths.

    Raises:
        InputError: If there is no cluster at the address.
    """
    import ray  # late, see quiet_ray

    root = Path(__file__).parent.parent
    runtime_env = {
        "py_modules": [str(root / "betavae"), str(root / "sweeps"), *extension_packages()],
        "env_vars": data_environment() | extension_environment(),
    }
    try:
        ray.init(address=address, runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise InputError(f"--address must be the address of a Ray cluster, but {address}: {error}") from error


@contextmanager
def running_ray(resources: Resources, *, address: str | None) -> Iterator[dict[str, float]]:
    """Start Ray on this machine, unless a cluster has been joined, and give Ray's resources; then stop or leave Ray."""
    import ray
    from ray.tune.execution import class_cache

    # Tune would copy keys (AWS_SECRET_ACCESS_KEY) to places that Ray logs; each machine has its own environment
    class_cache.ENV_VARS_TO_PROPAGATE.clear()
    # the loggers print a trial's error in one line; Ray would print all chained tracebacks, twice
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    share_gpus = address is None and resources.num_gpus > 0 and resources.trials_per_gpu > 1
    with (
        contextlib.nullcontext() if address is not None else _session_cleanup(),
        multi_process_service() if share_gpus else contextlib.nullcontext(),
    ):
        try:
            if address is None:
                _start_ray(resources)
            yield ray.cluster_resources()  # type: ignore[no-untyped-call]
        finally:
            ray.shutdown()


def _start_ray(resources: Resources) -> None:
    """Start Ray on this machine, protected by this process's token."""
    import ray
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray read the environment at its import, perhaps before `quiet_ray`: read it again
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    ray.init(
        address="local",
        num_cpus=resources.num_cpus,
        num_gpus=resources.num_gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
    )


@contextmanager
def _session_cleanup() -> Iterator[None]:
    """Delete the session folders that this process's Ray makes during a block, also after an error, and no others."""
    earlier_sessions = _sessions()
    try:
        yield
    finally:
        for session in _sessions() - earlier_sessions:
            _delete_session(session)


def _sessions() -> set[Path]:
    """Return the session folders of Ray that this process has made; their names end in the process ID."""
    from ray._common.utils import get_default_ray_temp_dir

    folder = Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]
    return set(folder.glob(f"session_*_{os.getpid()}"))


def _delete_session(session: Path) -> None:
    """Delete a session's folder, and the link to it. Repeat while the session's last processes still write."""
    deadline = time.monotonic() + _DELETE_SECONDS
    shutil.rmtree(session, ignore_errors=True)
    while session.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
        shutil.rmtree(session, ignore_errors=True)
    latest_link = session.with_name("session_latest")
    if latest_link.is_symlink() and not latest_link.exists():
        with contextlib.suppress(OSError):  # owned by another user, or deleted already
            latest_link.unlink()


def cluster_resources(options: ResourceOptions) -> Resources:
    """Return the requested resources, by default all present resources of the cluster that was joined.

    Raises:
        InputError: If no core and no GPU is present or requested, or fewer cores than a trial has.
    """
    cpus_found, gpus_found = cluster_cores_and_gpus()
    num_gpus = gpus_found if options.num_gpus is None else options.num_gpus
    num_cpus = cpus_found if options.num_cpus is None else options.num_cpus
    if options.trials_per_gpu == "auto":
        raise InputError(
            "--trials-per-gpu must be a number on a cluster, since auto measures the GPUs of this machine; measure on "
            "one machine of the cluster without --address, and give the number that is printed."
        )
    if num_gpus + num_cpus == 0:
        raise InputError(
            "The cluster must have a core or a GPU, but has none yet; give by --num-gpus the number that will join."
        )
    per_gpu, cpus_per_trial = _known_number(options), options.cpus_per_trial
    if options.num_cpus is None:
        num_cpus = max(num_cpus, num_gpus * per_gpu * cpus_per_trial)  # more machines may join
    _check_cores(cpus_per_trial, num_cpus)
    return Resources(num_cpus, num_gpus, per_gpu, cpus_per_trial)


def cluster_cores_and_gpus() -> tuple[int, int]:
    """Return the present numbers of CPU cores and GPUs of the cluster that was joined."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0)), int(resources.get("GPU", 0))


def check_shared(results: Mirror) -> None:
    """Check that every machine of the cluster that was joined can write to the folder of the results.

    Raises:
        InputError: Naming the first machine that cannot.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    results.local.mkdir(parents=True, exist_ok=True)
    results.check_writable()
    for node in [node for node in ray.nodes() if node["Alive"]]:  # type: ignore[no-untyped-call]
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f".shared-{node['NodeID']}"
        task = ray.remote(num_cpus=0)(_write_probe).options(scheduling_strategy=on_node)
        problem = ray.get(task.remote(results, name))
        if problem is not None:
            raise InputError(f"{node['NodeManagerAddress']}: {problem}")
        if results.read_text(name) is None:
            raise InputError(
                "--results must be a folder that every machine of the cluster shares, but "
                f"{node['NodeManagerAddress']} does not write to {results.location}: use a folder on network storage."
            )
        results.delete(name)


def _write_probe(results: Mirror, name: str) -> str | None:
    """Try to write an empty file to the results; return the problem if this machine cannot hold copies of results."""
    try:
        check_location(results.location)
    except ValueError as error:
        return str(error)
    with contextlib.suppress(OSError, ValueError):
        results.check_writable()
        results.write_text(name, "")
    return None
