import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from betavae.config import TrialConfig
from betavae.data.cache import ensure_cached
from betavae.data.dsprites.render import IMAGE_BYTES
from betavae.files import replace_text, replacing_folder, sync_folder
from betavae.metrics import Codes, Score, Scores
from betavae.models import VAE
from betavae.records.checkpoint import check_checkpoint, write_checkpoint

CONFIG = TrialConfig(latent_size=2)
PACKED = np.zeros((3, IMAGE_BYTES), np.uint8)


def save(folder: Path) -> None:
    model = VAE(2, architecture=CONFIG.architecture)
    codes = Codes(np.arange(3), np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32))
    score = Score(value=0.1, estimator="none", num_rows=3, rows="all")
    scores = Scores({"other": score}, (0.0, 0.0), "rendered", "0" * 64, step=1, codes=codes)
    write_checkpoint(folder, config=CONFIG, model=model, training={}, scores=scores, report={}, samples={})


def write_all(folder: Path) -> None:
    """Write a small file, a checkpoint, a report's folder and a cache, each in the way that is all or nothing."""
    replace_text(folder / "record.json", "{}")
    save(folder / "checkpoint")
    with replacing_folder(folder / "report") as new:
        (new / "index.html").write_text("")
    ensure_cached(folder / "cache" / "x.npy", lambda: [PACKED], shape=PACKED.shape, source="test")


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Permissions of all files, and of all folders, below a folder."""
    paths = list(folder.rglob("*"))
    by_kind = [{stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir() == is_dir} for is_dir in (0, 1)]
    return by_kind[0], by_kind[1]


@pytest.fixture(params=[0o077, 0o022, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_umask_decides_who_may_read_and_write(umask: int, tmp_path: Path) -> None:
    write_all(tmp_path)
    replace_text(tmp_path / "record.json", "{ }")  # over an earlier one
    assert modes(tmp_path) == ({0o666 & ~umask}, {0o777 & ~umask})


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.ENOSYS])
def test_a_file_system_without_chmod_and_without_sync_of_folders_will_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    real_sync = os.fsync

    def sync_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refuse()
        real_sync(descriptor)

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "fsync", sync_files_only)
    write_all(tmp_path)
    check_checkpoint(tmp_path / "checkpoint")
    assert (tmp_path / "record.json").read_text() == "{}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EINVAL])
def test_a_file_that_cannot_be_synced_is_an_error_and_leaves_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    replace_text(tmp_path / "record.json", "before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        replace_text(tmp_path / "record.json", "after")
    with pytest.raises(OSError, match=os.strerror(number)):
        save(tmp_path / "checkpoint")
    assert [path.name for path in tmp_path.rglob("*")] == ["record.json"]
    assert (tmp_path / "record.json").read_text() == "before"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_to_sync_a_folder_is_an_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        sync_folder(tmp_path)
