"""The machines a sweep runs on: a Ray of its own or a cluster that is there, and what its trials may take of it."""

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
from sweeps.options.options import ResourceOptions
from sweeps.storage.locations import check_location
from sweeps.storage.mirror import Mirror

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of trials that fail while a sweep ends: they go on with the next resume
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of a change to come
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails before its first report ends without one
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_TOKEN_NAME = ".betavae-lab-token"
"""The file in the home folder where the cluster files put the cluster's token, on every machine."""

_CLEANING_SECONDS = 5.0
"""How long the folder of a Ray that was ended may keep filling, while its last processes end."""

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
        InputError: If more was asked for than there is, naming both numbers.
    """
    if asked.num_gpus is not None and asked.num_gpus > gpus_found:
        raise InputError(
            f"--num-gpus asks for {asked.num_gpus} GPUs, but this machine has {gpus_found}; "
            f"ask for --num-gpus {gpus_found}, or run on a machine that has them."
        )
    if asked.num_cpus is not None and asked.num_cpus > cpus_found:
        raise InputError(
            f"--num-cpus asks for {asked.num_cpus} cores, but this process may use {cpus_found} of this machine's; ask "
            f"for --num-cpus {cpus_found}, or let it use more (taskset, SLURM's --cpus-per-task, a container's limit)."
        )
    num_gpus = gpus_found if asked.num_gpus is None else asked.num_gpus
    return Resources(asked.num_cpus or cpus_found, num_gpus, asked.trials_per_gpu)


def quiet_ray(*, address: str | None) -> None:
    """Set what makes Ray start fast, without banners, and with a token; to be called before Ray is first imported.

    A Ray of our own listens on all interfaces, so it has a token of its own too, whatever token a cluster has.

    Raises:
        InputError: If others could read the file of the cluster's token.
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
    """Return what only this process and its children know: it is never written down."""
    return secrets.token_hex(32)


def _token_file() -> Path | None:
    """Return the file of the cluster's token: the one that the environment names, or ours if it is there."""
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(named)
    ours = Path(os.path.expanduser("~"), _TOKEN_NAME)
    return ours if ours.exists() else None


def _check_token_file(path: Path) -> None:
    """Refuse a token that others know: who has it runs code on the cluster.

    Raises:
        InputError: If it can be read or written by others, belongs to another user, or is not there.
    """
    if not hasattr(os, "getuid"):
        return
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"The token file {path} must be there, but: {error.strerror}.") from error
    quoted = shlex.quote(str(path))
    if status.st_uid not in (os.getuid(), 0):
        raise InputError(
            f"The token file {path} must be yours, but belongs to user {status.st_uid}: 'chown {os.getuid()} {quoted}'."
        )
    if status.st_mode & 0o077:
        raise InputError(
            f"The token file {path} must be readable by you alone, but has mode {status.st_mode & 0o777:03o}: "
            f"'chmod 600 {quoted}'; who has read it can run code on the cluster."
        )


def join_cluster(address: str) -> None:
    """Join the Ray cluster at an address; the trials will run this process's own code on the data that it names.

    Raises:
        InputError: If there is none.
    """
    import ray  # late, see quiet_ray

    root = Path(__file__).parent.parent
    own_code = {
        "py_modules": [str(root / "betavae"), str(root / "sweeps"), *extension_packages()],
        "env_vars": data_environment() | extension_environment(),
    }
    try:
        ray.init(address=address, runtime_env=own_code, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise InputError(f"--address must be that of a Ray cluster, but {address}: {error}") from error


@contextmanager
def running_ray(resources: Resources, *, address: str | None) -> Iterator[dict[str, float]]:
    """Give the resources of the cluster that was joined, or of a Ray of our own on this machine; then leave it."""
    import ray
    from ray.tune.execution import class_cache

    # Tune would copy keys (AWS_SECRET_ACCESS_KEY) to where Ray logs them; each machine has its own environment
    class_cache.ENV_VARS_TO_PROPAGATE.clear()
    # a trial's error is said by ourselves, in a line; Ray would print the whole chain of tracebacks, twice
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with contextlib.nullcontext() if address is not None else _no_session_left():
        try:
            if address is None:
                _start_ray(resources)
            yield ray.cluster_resources()  # type: ignore[no-untyped-call]
        finally:
            ray.shutdown()


def _start_ray(resources: Resources) -> None:
    """Start a Ray on this machine that refuses whoever lacks this process's token."""
    import ray
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray reads the environment when it is imported: again, in case that was before `quiet_ray`
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
def _no_session_left() -> Iterator[None]:
    """Delete the folders that this process's Ray makes meanwhile, however it ends, and nobody else's."""
    before = _sessions()
    try:
        yield
    finally:
        for session in _sessions() - before:
            _delete_session(session)


def _sessions() -> set[Path]:
    """Return folders of Rays that this process has started; their names end in its number."""
    from ray._common.utils import get_default_ray_temp_dir

    folder = Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]
    return set(folder.glob(f"session_*_{os.getpid()}"))


def _delete_session(session: Path) -> None:
    """Delete a session's folder, while its last processes may be writing, and the link to it."""
    deadline = time.monotonic() + _CLEANING_SECONDS
    shutil.rmtree(session, ignore_errors=True)
    while session.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
        shutil.rmtree(session, ignore_errors=True)
    latest = session.with_name("session_latest")
    if latest.is_symlink() and not latest.exists():
        with contextlib.suppress(OSError):  # another's, or gone already
            latest.unlink()


def resources_of_cluster(asked: ResourceOptions) -> Resources:
    """Take what was asked for, or all that the cluster that was joined has now.

    Raises:
        InputError: If neither a core nor a GPU is there or asked for.
    """
    cpus_found, gpus_found = found_in_cluster()
    num_gpus = gpus_found if asked.num_gpus is None else asked.num_gpus
    num_cpus = cpus_found if asked.num_cpus is None else asked.num_cpus
    if num_gpus + num_cpus == 0:
        raise InputError(
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
        InputError: Naming a machine that does not.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    results.local.mkdir(parents=True, exist_ok=True)
    results.check_writable()
    for node in [node for node in ray.nodes() if node["Alive"]]:  # type: ignore[no-untyped-call]
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f".shared-{node['NodeID']}"
        problem = ray.get(ray.remote(num_cpus=0)(_leave_note).options(scheduling_strategy=there).remote(results, name))
        if problem is not None:
            raise InputError(f"{node['NodeManagerAddress']}: {problem}")
        if results.read_text(name) is None:
            raise InputError(
                "--results must be a folder that every machine of the cluster shares, but "
                f"{node['NodeManagerAddress']} does not write to {results.location}: put it on network storage."
            )
        results.delete(name)


def _leave_note(results: Mirror, name: str) -> str | None:
    """Write a note where the results go, if that can be done; return why copies of them cannot be kept here."""
    try:
        check_location(results.location)
    except ValueError as error:
        return str(error)
    with contextlib.suppress(OSError, ValueError):
        results.check_writable()
        results.write_text(name, "")
    return None
