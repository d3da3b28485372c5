import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from running import wait_for

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.records.trial import PlannedTrial
from betavae.training import TrainingRun
from sweeps import analyze, run
from sweeps.storage import lease, remote_files
from sweeps.storage import mirror as storage
from sweeps.storage.lease import Lease
from sweeps.storage.locations import full_location
from sweeps.storage.mirror import Mirror, local_copy
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import LostTrialError

CONFIG = TrialConfig.from_dict({"latent_size": 3, "batch_size": 2, "steps": 10, "eval_every": 1, "images": 100})
PLANNED = PlannedTrial(0, CONFIG)


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
    mirror = Mirror.at(full_location(str(tmp_path / "x" / ".." / "sweep")))
    assert (mirror.local, mirror.url, mirror.location) == (tmp_path / "sweep", None, str(tmp_path / "sweep"))
    mirror.push("nothing")
    mirror.pull()
    mirror.clear()
    assert not mirror.exists()


def test_what_is_pushed_can_be_pulled_elsewhere_but_no_half_checkpoint(mirror: Mirror, remote: Path) -> None:
    checkpoint = mirror.local / "checkpoint_1"
    checkpoint.mkdir()
    (mirror.local / "a.json").write_text("1")
    for name in ("manifest.json", "model.safetensors"):
        (checkpoint / name).write_bytes(b"\x00\xff")
    mirror.push("a.json")
    mirror.push("checkpoint_1")
    (remote / "sweep" / "checkpoint_2").mkdir()
    (remote / "sweep" / "checkpoint_2" / "model.safetensors").write_text("half")
    with local_copy(f"file://{remote}/sweep/") as copy:
        files = {str(path.relative_to(copy.local)) for path in copy.local.rglob("*") if path.is_file()}
        assert files == {"a.json", "checkpoint_1/manifest.json", "checkpoint_1/model.safetensors"}
        assert (copy.local / "checkpoint_1" / "model.safetensors").read_bytes() == b"\x00\xff"
        assert copy.local.name == "sweep"  # as a report calls it
    assert not copy.local.exists()
    mirror.drop("checkpoint_1")
    assert not (remote / "sweep" / "checkpoint_1" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["../evil.json", "a/../../evil.json", "/tmp/evil.json"])
def test_a_file_whose_name_leads_elsewhere_is_not_pulled(
    name: str, mirror: Mirror, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote / "sweep").mkdir()
    (remote / "sweep" / "good.json").write_text("{}")
    fetched: list[str] = []
    monkeypatch.setattr(remote_files, "names_below", lambda url: [name, "good.json"])
    monkeypatch.setattr(Mirror, "_fetch", lambda self, name: fetched.append(name))
    mirror.pull()
    assert fetched == ["good.json"]


def test_storage_that_is_away_for_a_while_is_waited_for(mirror: Mirror, remote: Path) -> None:
    (mirror.local / "a.json").write_text("1")
    away = remote / "sweep"
    away.write_text("a file where the folder should be")
    threading.Timer(0.3, away.unlink).start()
    mirror.push("a.json")
    assert (away / "a.json").read_text() == "1"


def test_storage_that_stays_away_is_an_error(mirror: Mirror, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "MAX_RETRY_SECONDS", 0.05)
    (mirror.local / "a.json").write_text("1")
    (remote / "sweep").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="sweep"):
        mirror.push("a.json")
    with pytest.raises(ValueError, match="must be on storage that can be written, but"):
        mirror.check_writable()


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://bucket/x?endpoint_override=h", "s3://bucket/x#y"])
def test_keys_and_options_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/x must be given without keys and options") as error:
        full_location(url)
    assert "secret" not in str(error.value)


SECRETS = ("KEYKEY", "QQQ", "ZZZ")


@pytest.mark.parametrize(
    "url",
    [
        "s3://KEYKEY:QQQ/ZZZ@bucket/x",
        "s3://KEYKEY:QQQ@ZZZ@bucket/x",
        "s3://KEYKEY:QQQ#ZZZ@bucket/x",
        "s3://KEYKEY:QQQ?ZZZ@bucket/x",
        "s3://KEYKEY:QQQ%2FZZZ@bucket/x",
        "s3://KEYKEY%3AQQQ%2FZZZ%40bucket/x",
        "s3://KEYKEY%253AQQQ%2540bucket/x",
        "s3://KEYKEY:QQQ+ZZZ/bucket",
        "s3://KEYKEY:QQQ\\ZZZ@bucket\\x",
        "s3:\\\\KEYKEY:QQQ@bucket\\x",
        "s3:/KEYKEY:QQQ@bucket/x",
        "s3:///KEYKEY:QQQ@bucket/x",
        " s3://KEYKEY:QQQ@bucket/x",
        "S3://KEYKEY:QQQ@bucket/x",
        "nosuch://KEYKEY:QQQ@bucket/x",
        "://KEYKEY:QQQ@bucket/x",
        "s3://bucket/x?access_key=KEYKEY&secret_key=QQQ/ZZZ",
        "s3://bucket/x?secret_key=QQQ@ZZZ",
        "s3://bucket/x%3Fsecret_key=QQQ",
        "s3://bucket/x#QQQ/ZZZ",
        "s3://KEYKEY:QQQ@bücket/x",
        "s3://[KEYKEY:QQQ/x",
        "s3://KEYKEY:QQQ\n@bucket/x",
    ],
)
def test_a_url_that_could_hold_a_secret_is_refused_first_and_shows_none(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands, before any work, in one sentence: in a known option, an unknown one, a file of options."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DSprites, "open", None)  # as any work would need
    (tmp_path / "options.toml").write_text(f"results = {json.dumps(url)}\n")
    for command in (
        lambda: run.main(["--results", url]),
        lambda: run.main([f"--results={url}", "--dry-run"]),
        lambda: run.main(["--resume", url]),
        lambda: run.main(["--reslts", url]),
        lambda: run.main(["--config", "options.toml"]),
        lambda: analyze.main([url]),
        lambda: analyze.main(["x", "--output", url]),
    ):
        assert command() == 2
        output, errors = capsys.readouterr()
        assert "must be given without keys and options" in errors
        assert (output, errors.count("\n")) == ("", 1)
        assert not any(secret in errors for secret in SECRETS)
    with pytest.raises(ValueError, match="without keys and options"):
        full_location(url)
    assert [path.name for path in tmp_path.iterdir()] == ["options.toml"]


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/studies/a b",
        "file:///tmp/x",
        "gs://my_bucket.x/é/y=1",
        "s3://h:9000/b",
        "s3://b/x%20y",
        "ray://h:10001",
    ],
)
def test_a_plain_url_is_taken(url: str) -> None:
    assert full_location(url) == url


def test_a_path_may_hold_what_a_url_may_not(tmp_path: Path) -> None:
    assert full_location(f"{tmp_path}/me@home#1?%40") == f"{tmp_path}/me@home#1?%40"


def plant_link(folder: Path) -> None:
    (folder.parent / "victim").mkdir()
    folder.symlink_to(folder.parent / "victim")


def open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)


def give_away(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, os.getuid() + 1, -1)


@pytest.mark.parametrize(
    ("plant", "problem"),
    [
        (plant_link, "is a link or a file; remove it"),
        (lambda folder: folder.symlink_to("nowhere"), "is a link or a file; remove it"),
        (lambda folder: folder.write_text(""), "is a link or a file; remove it"),
        (open_to_others, "has mode 755; if nobody else has put anything there, 'chmod 700 "),
        (give_away, "belongs to user"),
    ],
)
def test_copies_do_not_go_where_another_user_could_read_or_write(
    plant: Callable[[Path], None],
    problem: str,
    remote: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A sweep of a URL ends before any work, and leaves what is planted as it is."""
    (tmp_path / "copies").mkdir()
    planted = tmp_path / "copies" / f"betavae-lab-{os.getuid()}"
    plant(planted)
    monkeypatch.setattr(DSprites, "open", None)  # as any work would need
    before = sorted((tmp_path / "copies").rglob("*"))
    for options in ([], ["--dry-run"]):
        assert run.main(["--results", f"file://{remote}", *options]) == 2
        output, errors = capsys.readouterr()
        assert f"error: {planted} must be a folder that only you can enter, but it {problem}" in errors
        assert (output, errors.count("\n")) == ("", 1)
    with pytest.raises(ValueError, match="only you can enter"):
        Mirror.at(f"file://{remote}/sweep")
    assert sorted((tmp_path / "copies").rglob("*")) == before


def test_all_processes_of_a_user_share_one_private_folder(remote: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with ThreadPoolExecutor(8) as threads:
            mirrors = list(threads.map(lambda _: Mirror.at(f"file://{remote}/sweep"), range(32)))
    finally:
        os.umask(before)
    (folder,) = (tmp_path / "copies").iterdir()
    assert {mirror.local.parent for mirror in mirrors} == {mirrors[0].lock_file.parent} == {folder}
    assert (folder.name, folder.stat().st_mode & 0o777) == (f"betavae-lab-{os.getuid()}", 0o700)


def test_a_dry_run_does_not_make_the_folder_of_copies(
    remote: Path, tmp_path: Path, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    monkeypatch.setattr("sweeps.dry_run._CALIBRATION_SECONDS", 0.1)
    asked = f"--preset quick --num-gpus 0 --images 700 --steps 100 --dry-run --results file://{remote}"
    assert run.main(asked.split()) == 0
    assert not list(tmp_path.glob("copies/betavae-lab*"))


def test_a_trial_goes_on_on_another_machine_from_what_was_pushed(
    mirror: Mirror, small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = StageFolder(mirror.child("search"), "mig")
    driver.trial(0).plan(PLANNED)
    run = TrainingRun.start(CONFIG, small_data)
    scores = evaluate(run.model, small_data)
    with driver.trial(0).held() as folder:
        for step in (1, 2):
            run.learner.step = step
            own = scores.with_scores({"mig": replace(scores["mig"], value=0.1 * step)})
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
    driver = StageFolder(mirror.child("search"), "mig")
    driver.trial(0).plan(PLANNED)
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
    with pytest.raises(ValueError, match=f"another run.py, process {os.getpid()} on "):
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


def test_a_holder_goes_on_after_storage_was_away(
    leases: list[Lease], mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_holder, calls = Lease._is_holder, []

    def away_at_first(self: Lease) -> bool:
        calls.append(self)
        if len(calls) == 1:
            raise OSError("storage is away")
        return is_holder(self)

    monkeypatch.setattr(Lease, "_is_holder", away_at_first)
    leases[0].acquire()
    wait_for(lambda: json.loads(mirror.read_text(".driver") or "{}").get("beat", 0) >= 1, pause=0.01)


def test_a_holder_that_has_been_robbed_ends(
    leases: list[Lease], mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: signals.append(number))
    leases[0].acquire()
    mirror.write_text(".driver", json.dumps({"token": "x", "host": "elsewhere", "pid": 1, "beat": 0}))
    wait_for(lambda: signals, pause=0.01)
    assert signals == [lease.signal.SIGTERM]
    assert "another run.py has taken over" in capsys.readouterr().err
