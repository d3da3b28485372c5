import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.training import TrainingRun
from sweeps import lease, remote_files, storage
from sweeps.lease import Lease
from sweeps.search_folder import SearchFolder
from sweeps.storage import Mirror, fetched, resolved
from sweeps.trial_folder import LostTrialError

CONFIG = TrialConfig(latent_size=3, batch_size=2, steps=10, eval_every=1, images=100)


@pytest.fixture(autouse=True)
def _own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies go below the test's folder, and storage that is away is soon tried again."""
    monkeypatch.setattr(storage.tempfile, "gettempdir", lambda: str(tmp_path / "copies"))
    monkeypatch.setattr(remote_files, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The folder that plays the remote storage, by a URL of its own."""
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


@pytest.fixture
def mirror(remote: Path) -> Mirror:
    mirror = Mirror.at(f"file://{remote}/sweep")
    mirror.local.mkdir(parents=True)
    return mirror


def test_a_path_is_its_own_mirror_and_nothing_is_copied(tmp_path: Path) -> None:
    mirror = Mirror.at(resolved(str(tmp_path / "x" / ".." / "sweep")))
    assert (mirror.local, mirror.url, mirror.location) == (tmp_path / "sweep", None, str(tmp_path / "sweep"))
    mirror.push("nothing")
    mirror.pull()
    mirror.clear()
    assert not mirror.exists()


def test_what_is_pushed_can_be_pulled_elsewhere_but_no_half_checkpoint(mirror: Mirror, remote: Path) -> None:
    checkpoint = mirror.local / "checkpoint_1"
    checkpoint.mkdir()
    (mirror.local / "a.json").write_text("1")
    for name in ("manifest.json", "model.pt"):
        (checkpoint / name).write_bytes(b"\x00\xff")
    mirror.push("a.json")
    mirror.push("checkpoint_1")
    (remote / "sweep" / "checkpoint_2").mkdir()
    (remote / "sweep" / "checkpoint_2" / "model.pt").write_text("half")
    with fetched(f"file://{remote}/sweep/") as copy:
        files = {str(path.relative_to(copy.local)) for path in copy.local.rglob("*") if path.is_file()}
        assert files == {"a.json", "checkpoint_1/manifest.json", "checkpoint_1/model.pt"}
        assert (copy.local / "checkpoint_1" / "model.pt").read_bytes() == b"\x00\xff"
        assert copy.local.name == "sweep"  # as a report calls it
    assert not copy.local.exists()
    mirror.drop("checkpoint_1")
    assert not (remote / "sweep" / "checkpoint_1" / "model.pt").exists()


def test_storage_that_is_away_for_a_while_is_waited_for(mirror: Mirror, remote: Path) -> None:
    (mirror.local / "a.json").write_text("1")
    away = remote / "sweep"
    away.write_text("a file where the folder should be")
    threading.Timer(0.3, away.unlink).start()
    mirror.push("a.json")
    assert (away / "a.json").read_text() == "1"


def test_storage_that_stays_away_is_an_error(mirror: Mirror, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "PATIENCE_SECONDS", 0.05)
    (mirror.local / "a.json").write_text("1")
    (remote / "sweep").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="sweep"):
        mirror.push("a.json")
    with pytest.raises(ValueError, match="must be on storage that can be written, but"):
        mirror.check_writable()


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://bucket/x?endpoint_override=h", "s3://bucket/x#y"])
def test_keys_and_options_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/x must be given without keys and options") as error:
        resolved(url)
    assert "secret" not in str(error.value)


def test_a_trial_goes_on_on_another_machine_from_what_was_pushed(
    mirror: Mirror, small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = SearchFolder(mirror.child("search"), sweep_seed=0)
    driver.trial(0).plan(CONFIG.to_dict())
    run = TrainingRun.start(CONFIG, small_data)
    scores = evaluate(run.model, small_data)
    with driver.trial(0).held() as folder:
        for step in (1, 2):
            run.step = step
            own = replace(scores, mig=replace(scores.mig, score=0.1 * step))
            folder.commit(run, scores=own, report={"step": step, "mig": 0.1 * step})
        first_machine = folder.path
    assert not first_machine.exists()
    assert driver.read(0).score == 0.2

    monkeypatch.setattr(storage.tempfile, "gettempdir", lambda: str(tmp_path / "other machine"))
    with driver.trial(0).held() as folder:
        point = folder.resume_point()
        assert point is not None
        assert point.name == "checkpoint_000000002"
        assert TrainingRun.load(point, small_data).step == 2


def test_a_trial_that_was_taken_over_writes_no_more(mirror: Mirror, small_data: DSprites) -> None:
    driver = SearchFolder(mirror.child("search"), sweep_seed=0)
    driver.trial(0).plan(CONFIG.to_dict())
    run = TrainingRun.start(CONFIG, small_data)
    scores = evaluate(run.model, small_data)
    with driver.trial(0).held() as folder:
        mirror.child("search").child("trial_0000").write_text(".owner", "another")
        with pytest.raises(LostTrialError, match="taken over"):
            folder.commit(run, scores=scores, report={"step": 1, "mig": 0.1})
    assert not driver.read(0).reports


@pytest.fixture
def leases(mirror: Mirror) -> Iterator[list[Lease]]:
    leases = [Lease(mirror, ".driver", beat_seconds=0.05) for _ in range(2)]
    yield leases
    for held in leases:
        held.release()


def test_only_one_holds_a_remote_folder(leases: list[Lease], monkeypatch: pytest.MonkeyPatch) -> None:
    leases[0].acquire()
    with pytest.raises(ValueError, match=f"another run.py, process {os.getpid()} of "):
        leases[1].acquire()
    leases[0].release()
    leases[1].acquire()


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_the_lease_of_a_dead_holder_is_taken(leases: list[Lease], mirror: Mirror, host: str | None) -> None:
    """Of another machine, it is one that no longer beats; of this one, one whose process is gone, however lately."""
    gone = {"token": "x", "host": host or lease.socket.gethostname(), "pid": 2**22 + 1, "beat": 9}
    mirror.write_text(".driver", json.dumps(gone))
    leases[0].acquire()
    assert json.loads(mirror.read_text(".driver") or "")["pid"] == os.getpid()


def test_a_holder_that_has_been_robbed_ends(
    leases: list[Lease], mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: signals.append(number))
    leases[0].acquire()
    mirror.write_text(".driver", json.dumps({"token": "x", "host": "elsewhere", "pid": 1, "beat": 0}))
    deadline = time.monotonic() + 10
    while not signals and time.monotonic() < deadline:
        time.sleep(0.01)
    assert signals == [lease.signal.SIGTERM]
    assert "another run.py has taken over" in capsys.readouterr().err
