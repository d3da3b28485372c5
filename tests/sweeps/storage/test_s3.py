"""A sweep on S3, as moto's server plays it, which goes away; its driver is killed, and it goes on."""

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from running import REPOSITORY, Numbers, RunningSweep, numbers, searched, wait_for

from betavae.records.sweep import read_sweep
from sweeps.storage.mirror import local_copy

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of botocore and moto

KEY, SECRET = "a-key-to-be-kept", "a-secret-to-be-kept"
SECONDS_AWAY = 30.0


class Storage:
    """A server whose files outlast it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", port=self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    server = Storage()
    values = {
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield server
    server.stop()


@pytest.fixture
def studies() -> str:
    """A folder that no other test run on this machine uses: the copy of a URL, and its lock, are the user's."""
    return f"studies-{uuid.uuid4()}"


def names(client: object) -> list[str]:
    listed = client.list_objects_v2(Bucket="bucket")  # type: ignore[attr-defined]
    return [entry["Key"] for entry in listed.get("Contents", [])]


@pytest.mark.slow
def test_storage_goes_away_and_the_driver_dies_and_nothing_is_lost(
    undisturbed: Numbers, server: Storage, studies: str, tmp_path: Path
) -> None:
    client = boto3.client("s3")
    url = f"s3://bucket/{studies}/there"
    there = RunningSweep(tmp_path / "unused", "--beta 4 8", url=url)
    try:
        wait_for(lambda: any(name.endswith("result.json") for name in names(client)))
        server.stop()
        time.sleep(SECONDS_AWAY)
        server.start()
        num_before = len(names(client))
        wait_for(lambda: len(names(client)) > num_before)
        there.kill()
        there.resume()
        output, errors = there.end()
    finally:
        there.discard()
    assert "2 to resume" in output
    assert f"{studies}/there/.driver" not in names(client)
    with local_copy(url) as copy:
        sweep = read_sweep(copy.local)
        assert sweep.has_ended
        assert numbers(sweep) == searched(undisturbed)
        written = b"".join(path.read_bytes() for path in copy.local.rglob("*") if path.is_file())
    for secret in (KEY, SECRET):
        assert secret not in output + errors
        assert secret.encode() not in written

    analyze = [sys.executable, "sweeps/analyze.py", url, "--exact", "0"]
    analyzed = subprocess.run(analyze, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert analyzed.stdout == f"{url}/report/index.html\n"
    assert f"{studies}/there/report/index.html" in names(client)


def test_a_bucket_that_is_not_there_is_refused_before_anything_starts(server: Storage, studies: str) -> None:
    command = [sys.executable, "sweeps/run.py", "--results", f"s3://nowhere/{studies}", "--name", "s"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: s3://nowhere/{studies}/s must be on storage that can be written, but: ")
    assert result.stderr.count("\n") == 1
