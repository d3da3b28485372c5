"""Who can reach a sweep that runs on this machine, and what it writes down of the keys in its environment."""

import contextlib
import os
import re
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from ray.tune.execution import class_cache
from running import RunningSweep, command_of, descendants, wait_for

from betavae.data.cache import cache_folder
from sweeps import cluster
from sweeps.cluster import quiet_ray

KEYS = {
    "AWS_ACCESS_KEY_ID": "marked-key-id",
    "AWS_SECRET_ACCESS_KEY": "marked-secret",
    "AWS_SESSION_TOKEN": "marked-session",
    "AWS_SECURITY_TOKEN": "marked-security",
    "GOOGLE_APPLICATION_CREDENTIALS": "marked-google",
    "AZURE_STORAGE_KEY": "marked-azure",
    "WANDB_API_KEY": "marked-other",
}
CALLS = [
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",  # which runs code
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a cluster's token, which is as before once the test has ended."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder whose name leaves room for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="bv") as folder:
        yield Path(folder)


def environment_of(pid: int) -> dict[str, str]:
    try:
        words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def files_with(folder: Path, words: list[str]) -> list[str]:
    """The files below a folder that hold any of the words."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in words)]


def answers(address: str, token: str | None) -> set[str]:
    """What a port says to a stranger with this token, or with none: to Ray's calls, and to its agent's by HTTP."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    codes = set()
    with grpc.insecure_channel(address) as channel:
        for call in CALLS:
            try:
                channel.unary_unary(f"/ray.rpc.{call}")(b"", timeout=30, metadata=metadata)
                codes.add("OK")
            except grpc.RpcError as error:
                codes.add(error.code().name)
    if codes == {"UNAVAILABLE"}:  # it does not speak gRPC
        url = f"http://{address}/get_or_create_runtime_env"
        try:
            urllib.request.urlopen(urllib.request.Request(url, b"", dict(metadata)), timeout=30).close()
            codes = {"OK"}
        except urllib.error.HTTPError as error:
            codes = {"UNAUTHENTICATED"} if error.code in (401, 403) else {str(error.code)}
            error.close()
    return codes - {"UNIMPLEMENTED"}


def listening(pids: list[int]) -> list[str]:
    """Addresses at which these processes can be reached."""
    addresses = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            listened = [socket for socket in psutil.Process(pid).net_connections() if socket.status == "LISTEN"]
            addresses += [(socket.laddr.ip.strip(":") or "127.0.0.1", socket.laddr.port) for socket in listened]
    return [f"{ip}:{port}" for ip, port in addresses]


@pytest.mark.slow
@pytest.mark.ray
def test_a_running_sweep_lets_no_stranger_in_writes_no_key_down_and_leaves_nothing(
    environment: pytest.MonkeyPatch, short_folder: Path, tmp_path: Path
) -> None:
    """A token that the environment has for a cluster is neither used nor needed."""
    (tmp_path / "home").mkdir()
    (tmp_path / "token").write_text("token of a cluster")
    environment.setenv("BETAVAE_CACHE", str(cache_folder()))
    own = {"HOME": str(tmp_path / "home"), "TMPDIR": str(short_folder), "RAY_AUTH_TOKEN": "token of a cluster"}
    for name, value in (KEYS | own | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}).items():
        environment.setenv(name, value)
    other = short_folder / "ray" / f"session_2000-01-01_00-00-00_000000_{os.getpid()}"
    other.mkdir(parents=True)
    sweep = RunningSweep(tmp_path / "s", "--beta 4 --steps 1000000 --eval-every 20")
    try:
        wait_for((sweep.trial(0) / "result.json").exists)
        (session,) = set(other.parent.glob("session_2*")) - {other}
        children = descendants(sweep.process.pid)
        (token,) = {environment_of(pid).get("RAY_AUTH_TOKEN", "") for pid in children if "raylet" in command_of(pid)}
        addresses = listening([sweep.process.pid, *children])
        assert len(addresses) >= 4
        for known in (None, "token of a cluster"):
            assert [answers(address, known) for address in addresses] == [{"UNAUTHENTICATED"}] * len(addresses)
        assert any("OK" in answers(address, token) for address in addresses)
        assert len(token) == 64
        for pid in children:
            assert token not in command_of(pid)
            assert environment_of(pid).get("RAY_AUTH_MODE", "token") == "token"
        for folder in (session, tmp_path):
            assert files_with(folder, [token, *KEYS.values()]) == []
        sweep.process.send_signal(signal.SIGTERM)
        output, errors = sweep.end(code=143)
    finally:
        sweep.discard()
    assert not any(secret in output + errors for secret in [token, *KEYS.values()])
    assert files_with(tmp_path, [token, *KEYS.values()]) == []
    assert list(other.parent.glob("session_*")) == [other]


def test_tune_still_has_a_set_of_names_to_propagate() -> None:
    """It is private there: a version without it fails here."""
    assert isinstance(class_cache.ENV_VARS_TO_PROPAGATE, set)


def test_a_ray_of_our_own_has_a_fresh_token_whatever_a_cluster_has(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RAY_AUTH_MODE", "disabled")
    environment.setenv("RAY_AUTH_TOKEN", "token of a cluster")
    environment.setenv("RAY_AUTH_TOKEN_PATH", "/token/of/a/cluster")
    quiet_ray(address=None)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert re.fullmatch(r"[0-9a-f]{64}", os.environ["RAY_AUTH_TOKEN"])
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_a_cluster_has_the_token_of_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("HOME", str(tmp_path))
    (tmp_path / ".betavae-lab-token").write_text("ours")  # of mode 644, and not used
    environment.setenv("RAY_AUTH_TOKEN", "token of a cluster")
    quiet_ray(address="auto")
    assert os.environ["RAY_AUTH_TOKEN"] == "token of a cluster"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_token_that_others_can_read_is_refused(
    mode: int, is_named: bool, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", str(tmp_path))
    token = tmp_path / ("other" if is_named else ".betavae-lab-token")
    token.write_text("token of a cluster")
    if is_named:
        environment.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    token.chmod(mode)
    with pytest.raises(ValueError, match=f"has mode {mode:03o}: 'chmod 600 {token}'"):
        quiet_ray(address="auto")
    token.chmod(0o600)
    quiet_ray(address="auto")
    assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]) == ("token", str(token))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_token_of_another_user_is_refused(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("HOME", str(tmp_path))
    token = tmp_path / ".betavae-lab-token"
    token.write_text("token of a cluster")
    token.chmod(0o600)
    os.chown(token, 12345, -1)
    with pytest.raises(ValueError, match=f"{token} must be yours, but belongs to user 12345: 'chown 0 "):
        quiet_ray(address="auto")


def test_without_a_home_there_is_no_token_file(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a home
    quiet_ray(address="auto")
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_only_the_folders_of_our_own_ray_are_deleted(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also after a failure; another's folder and a link to it stay."""
    environment.setenv("RAY_TMPDIR", str(tmp_path))
    folder = tmp_path / "ray"
    earlier, others = folder / f"session_1_{os.getpid()}", folder / f"session_2_{os.getpid()}1"
    earlier.mkdir(parents=True)
    ours, latest = folder / f"session_2_{os.getpid()}", folder / "session_latest"

    def fail() -> None:
        with cluster._session_cleanup():
            (ours / "logs").mkdir(parents=True)
            others.mkdir(exist_ok=True)
            raise RuntimeError("of a trial")

    for target in (ours, others):
        latest.unlink(missing_ok=True)
        latest.symlink_to(target)
        with pytest.raises(RuntimeError, match="of a trial"):
            fail()
        assert {path for path in folder.iterdir() if not path.is_symlink()} == {earlier, others}
        assert latest.is_symlink() == (target == others)
