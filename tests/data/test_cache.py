import errno
import hashlib
import json
import os
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from betavae.data import data_environment
from betavae.data.cache import CacheRecord, cache_folder, ensure_cached, load_cached
from betavae.data.dsprites.render import PackedImages


class Blocks:
    """Gives the same pixels each time, and counts how often it is asked to."""

    def __init__(self, packed: PackedImages) -> None:
        self.packed = packed
        self.fingerprint = hashlib.sha256(packed).hexdigest()
        self.num_calls = 0

    def __call__(self) -> Iterator[PackedImages]:
        self.num_calls += 1
        yield from np.array_split(self.packed, 7)

    def ensure(self, path: Path, *, known: bool = True) -> CacheRecord:
        fingerprint = self.fingerprint if known else None
        return ensure_cached(path, self, shape=self.packed.shape, source="test", fingerprint=fingerprint)


@pytest.fixture
def blocks(small_packed: PackedImages) -> Blocks:
    return Blocks(small_packed)


def truncate(path: Path) -> None:
    os.truncate(path, 1000)


def alter_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))  # a clock with coarse ticks could leave the old time


def alter_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"|u1", b"|b1", 1))
    os.utime(path, ns=(0, 0))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete_pixels(path: Path) -> None:
    path.unlink()


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def delete_record(path: Path) -> None:
    path.with_suffix(".json").unlink()


def spoil_record(path: Path) -> None:
    path.with_suffix(".json").write_text('{"size": ', encoding="utf-8")


def replace_record(path: Path) -> None:
    path.with_suffix(".json").write_text("[1, 2]", encoding="utf-8")


def leave_half_a_file(path: Path) -> None:
    path.unlink()
    path.with_suffix(".tmp").write_bytes(b"\x93NUMPY")


@pytest.mark.parametrize("known", [True, False], ids=["fingerprint known", "fingerprint in the record"])
@pytest.mark.parametrize("damage", [truncate, alter_pixel, alter_header, empty, delete_pixels, leave_half_a_file])
def test_damaged_pixels_are_made_again(tmp_path, blocks, damage, known, capsys):
    path = tmp_path / "set.npy"
    first = blocks.ensure(path, known=known)
    damage(path)
    is_there = path.exists()
    second = blocks.ensure(path, known=known)
    assert blocks.num_calls == 2
    assert second.sha256 == first.sha256 == blocks.fingerprint
    np.testing.assert_array_equal(load_cached(path), blocks.packed)
    assert ("damaged or unrecorded; it is made again" in capsys.readouterr().err) == is_there
    assert not path.with_suffix(".tmp").exists()


@pytest.mark.parametrize("damage", [touch, delete_record, spoil_record, replace_record])
def test_intact_pixels_are_hashed_and_kept(tmp_path, blocks, damage):
    path = tmp_path / "set.npy"
    blocks.ensure(path)
    inode = path.stat().st_ino
    damage(path)
    record = blocks.ensure(path)
    assert blocks.num_calls == 1
    assert path.stat().st_ino == inode
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "size": path.stat().st_size,
        "mtime_ns": path.stat().st_mtime_ns,
        "sha256": blocks.fingerprint,
        "source": "test",
    }
    assert record.sha256 == blocks.fingerprint


@pytest.mark.parametrize("damages", [(delete_record,), (spoil_record,), (delete_record, alter_header)])
def test_pixels_that_nothing_vouches_for_are_made_again(tmp_path, blocks, damages):
    path = tmp_path / "set.npy"
    blocks.ensure(path, known=False)
    for damage in damages:
        damage(path)
    blocks.ensure(path, known=False)
    assert blocks.num_calls == 2


def test_record_of_other_pixels_is_not_trusted(tmp_path, blocks):
    path = tmp_path / "set.npy"
    other = Blocks(np.zeros_like(blocks.packed))
    other.ensure(path)
    blocks.ensure(path)
    np.testing.assert_array_equal(load_cached(path), blocks.packed)


def test_later_use_reads_no_pixels(tmp_path, blocks):
    path = tmp_path / "set.npy"
    blocks.ensure(path)
    before = path.stat()
    alter_pixel(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    blocks.ensure(path)
    assert blocks.num_calls == 1  # the stated limit: size and time are as recorded


def test_later_use_needs_no_lock_so_a_shared_cache_may_be_read_only(tmp_path, blocks):
    path = tmp_path / "set.npy"
    blocks.ensure(path)
    path.with_suffix(".lock").unlink(missing_ok=True)
    blocks.ensure(path)
    assert not path.with_suffix(".lock").exists()


def test_eight_at_once_write_once_and_hash_nothing_again(tmp_path, blocks, monkeypatch):
    path, barrier = tmp_path / "deep" / "folder" / "set.npy", threading.Barrier(8)

    def hash_again(path: Path, num_images: int) -> str:
        raise AssertionError("what was written a moment ago is trusted")

    monkeypatch.setattr("betavae.data.cache._fingerprint_of_file", hash_again)

    def ensure() -> str:
        barrier.wait()
        return blocks.ensure(path).sha256

    with ThreadPoolExecutor(8) as pool:
        found = [future.result() for future in [pool.submit(ensure) for _ in range(8)]]
    assert found == [blocks.fingerprint] * 8
    assert blocks.num_calls == 1


def test_wrong_pixels_never_get_the_name(tmp_path, blocks):
    path = tmp_path / "set.npy"
    with pytest.raises(ValueError, match="must have SHA-256 0123, but got"):
        ensure_cached(path, blocks, shape=blocks.packed.shape, source="test", fingerprint="0123")
    assert not list(tmp_path.glob("set.[!l]*"))


def test_interrupted_writing_leaves_nothing(tmp_path, blocks):
    def interrupted() -> Iterator[PackedImages]:
        yield blocks.packed[:10]
        raise KeyboardInterrupt

    path = tmp_path / "set.npy"
    with pytest.raises(KeyboardInterrupt):
        ensure_cached(path, interrupted, shape=blocks.packed.shape, source="test")
    assert not list(tmp_path.glob("set.[!l]*"))


def test_unwritable_folder_names_the_setting(tmp_path, blocks):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cache folder .*file/cache must be writable.*Set \$BETAVAE_CACHE"):
        blocks.ensure(tmp_path / "file" / "cache" / "set.npy")


def test_a_file_in_the_folders_place_is_called_one(tmp_path, blocks):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"must be a folder, but {tmp_path}/file is a file\. Set \$BETAVAE_CACHE"):
        blocks.ensure(tmp_path / "file" / "set.npy")


def test_a_file_system_that_syncs_no_folders_holds_a_cache(tmp_path, blocks, monkeypatch):
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", sync)
    blocks.ensure(tmp_path / "set.npy")
    np.testing.assert_array_equal(load_cached(tmp_path / "set.npy"), blocks.packed)


def test_map_is_read_only(tmp_path, blocks):
    blocks.ensure(tmp_path / "set.npy")
    mapped = load_cached(tmp_path / "set.npy")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable


def test_file_is_plain_npy(tmp_path, blocks):
    blocks.ensure(tmp_path / "set.npy")
    np.save(tmp_path / "oracle.npy", blocks.packed)
    assert (tmp_path / "set.npy").read_bytes() == (tmp_path / "oracle.npy").read_bytes()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"BETAVAE_CACHE": "/chosen", "XDG_CACHE_HOME": "/xdg"}, "/chosen"),
        ("linux", {"BETAVAE_CACHE": "~/mine"}, "/home/me/mine"),
        ("linux", {"BETAVAE_CACHE": "mine"}, "/there/mine"),
        ("linux", {"BETAVAE_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/betavae"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/betavae"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "/home/me/.cache/betavae"),
        ("linux", {"HOME": "home"}, "/there/home/.cache/betavae"),
        ("linux", {}, "/home/me/.cache/betavae"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/home/me/Library/Caches/betavae"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/betavae/Cache"),
        ("win32", {}, "/home/me/AppData/Local/betavae/Cache"),
    ],
)
def test_cache_folder_of_each_platform(monkeypatch, platform, variables, expected):
    for name in ("BETAVAE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "getcwd", lambda: "/there")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def without_an_account(path: str) -> str:
    """What os.path.expanduser gives a user id without an account and without $HOME: the path as it is."""
    return path


def test_without_a_home_folder_the_variable_to_set_is_named(monkeypatch):
    for name in ("BETAVAE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", without_an_account)
    with pytest.raises(OSError, match=r"set \$BETAVAE_CACHE .*\(or set \$HOME\)"):
        cache_folder()
    monkeypatch.setenv("BETAVAE_CACHE", "~/mine")
    with pytest.raises(ValueError, match=r"\$BETAVAE_CACHE must name a folder, .* set it to an absolute path"):
        cache_folder()
    monkeypatch.setenv("BETAVAE_CACHE", "/mine")
    assert cache_folder() == Path("/mine")


def test_the_environment_for_other_processes_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("BETAVAE_CACHE", "")
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
    assert data_environment() == {}
    monkeypatch.setenv("BETAVAE_CACHE", "~/cache")
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", "data")
    assert data_environment() == {"BETAVAE_CACHE": "/home/me/cache", "DISENTANGLEMENT_LIB_DATA": str(tmp_path / "data")}
    monkeypatch.setattr(os, "environ", os.environ | data_environment())
    monkeypatch.chdir("/")
    assert data_environment()["DISENTANGLEMENT_LIB_DATA"] == str(tmp_path / "data")  # of another folder's process
