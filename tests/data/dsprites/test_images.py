import copy
import hashlib
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from running import output_of

from betavae.data import DSPRITES_FACTORS, DSprites
from betavae.data.dsprites.images import OFFICIAL_FILE, _open_official, unpacked_images
from betavae.data.dsprites.render import RENDERED_FINGERPRINT

ACCELERATOR = torch.accelerator.current_accelerator(check_available=True)


@pytest.fixture
def small_set(small_packed, small_space):
    small_packed.flags.writeable = False  # as a map is
    return DSprites(small_packed, small_space, "rendered", hashlib.sha256(small_packed).hexdigest())


@pytest.fixture
def small_npz(tmp_path, small_space, small_pixels):
    path = tmp_path / "official.npz"
    factors = small_space.indices_to_factors(np.arange(small_space.size))
    np.savez(path, imgs=small_pixels, latents_classes=np.pad(factors, ((0, 0), (1, 0))))
    return path


def test_open_gives_the_whole_rendered_set(dsprites):
    assert len(dsprites) == 737_280
    assert dsprites.packed.shape == (737_280, 512)
    assert isinstance(dsprites.packed, np.memmap)
    assert not dsprites.packed.flags.writeable
    assert dsprites.factors is DSPRITES_FACTORS
    assert dsprites.source == "rendered"
    assert dsprites.fingerprint == RENDERED_FINGERPRINT
    dsprites.verify()


def test_factors_describe_the_images(dsprites):
    # Closed form: a square's white pixels have their mean at its centre, (16 + 32 posX, 16 + 32 posY) px, within the
    # half pixel that rounding each of its four edges to pixels can move it.
    indices = np.random.default_rng(0).integers(0, DSPRITES_FACTORS.size // 3, 500)
    positions = DSPRITES_FACTORS.indices_to_factors(indices)[:, 3:] / 31
    images = dsprites.images(indices)[:, 0].double()
    centres = torch.arange(64, dtype=torch.float64) + 0.5
    area = images.sum((1, 2))
    mean_x, mean_y = (images.sum(1) @ centres) / area, (images.sum(2) @ centres) / area
    np.testing.assert_allclose(np.stack([mean_x, mean_y], axis=1), 16 + 32 * positions, rtol=0, atol=0.5)


AS_INDICES = [
    list, tuple, np.asarray, torch.tensor, lambda i: np.array(i, dtype=np.int32),
    lambda i: np.array(i, dtype=np.uint64), lambda i: np.array(i, dtype=">i4"), lambda i: np.array(i, dtype=object),
    lambda i: np.repeat(i, 2)[::2],
    lambda i: [torch.tensor(index) for index in i],
]  # fmt: skip


@pytest.mark.parametrize("as_indices", AS_INDICES)
def test_images_are_the_packed_pixels(small_set, small_pixels, as_indices):
    indices = [5, 0, 1499, 5]
    images = small_set.images(as_indices(indices))
    assert images.dtype == torch.float32
    assert images.shape == (4, 1, 64, 64)
    np.testing.assert_array_equal(images[:, 0].numpy(), small_pixels[indices])


def test_images_may_be_written_to(small_set):
    before = small_set.packed.copy()
    small_set.images(np.array([3])).fill_(1.0)
    np.testing.assert_array_equal(small_set.packed, before)


def test_a_negative_index_counts_from_the_end(small_set, small_pixels):
    np.testing.assert_array_equal(small_set.images([-1, -1500])[:, 0].numpy(), small_pixels[[-1, 0]])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("indices", [np.arange(0), [], torch.zeros(0, dtype=torch.int64)])
def test_no_indices_give_no_images(small_set, indices, device):
    assert small_set.images(indices, device).shape == (0, 1, 64, 64)


def test_unpacking_on_a_device_agrees_with_numpy(small_packed, small_pixels):
    images = unpacked_images(torch.from_numpy(small_packed))
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images[:, 0].numpy(), small_pixels)


@pytest.mark.parametrize("form", [lambda p: p.tolist(), lambda p: p.astype(int), np.asfortranarray, torch.from_numpy])
def test_a_set_of_your_own_may_come_in_any_form(small_packed, small_space, small_pixels, form):
    packed = small_packed[:1500]
    own = DSprites(form(packed), small_space, "rendered", hashlib.sha256(packed).hexdigest())
    np.testing.assert_array_equal(own.images([7, 3])[:, 0].numpy(), small_pixels[[7, 3]])
    own.verify()
    np.testing.assert_array_equal(unpacked_images(form(packed[:2]))[:, 0].numpy(), small_pixels[:2])


@pytest.mark.parametrize(
    "packed", [np.zeros((1, 512)), [[256] * 512], np.zeros((1, 511), np.uint8), np.zeros(512, np.uint8)]
)
def test_what_is_not_512_bytes_an_image_is_refused(small_space, packed):
    for read in (unpacked_images, lambda packed: DSprites(packed, small_space, "rendered", "")):
        with pytest.raises(ValueError, match=r"packed must (be uint8, integers 0 .. 255|have shape)"):
            read(packed)


@pytest.mark.parametrize("as_indices", AS_INDICES)
def test_other_devices_get_one_copy_and_no_warning(small_set, as_indices):
    for _ in range(2):
        images = small_set.images(as_indices([1, 2]), "meta")  # a device without memory: shapes and types only
    assert (images.shape, images.dtype, images.device.type) == ((2, 1, 64, 64), torch.float32, "meta")
    assert len(small_set._device_copies) == 1


@pytest.mark.skipif(ACCELERATOR is None, reason="no accelerator")
def test_images_are_the_same_on_an_accelerator(small_set):
    indices = torch.tensor([5, 0, 1499, 5])
    expected = small_set.images(indices)
    assert torch.equal(small_set.images(indices.to(ACCELERATOR), ACCELERATOR).cpu(), expected)
    assert torch.equal(small_set.images(indices.to(ACCELERATOR)), expected)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "indices",
    [
        np.array([True, False]),
        np.array([0.0]),
        torch.tensor([True]),
        torch.tensor([[1]]),
        [0.0],
        [True],
        3,
        [[1]],
        torch.tensor([1.0], requires_grad=True),
        torch.tensor([1.0], device="meta"),
        torch.tensor([[1]], device="meta"),
        ["a"],
        None,
        np.zeros(1500, bool),
    ],  # fmt: skip
)
def test_indices_that_are_no_vector_of_integers_are_refused(small_set, indices, device):
    with pytest.raises(ValueError, match="indices must be a(n array| vector of integers), but"):
        small_set.images(indices, device)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("index", [1500, -1501, 2**64 - 1])
def test_index_out_of_range_is_refused(small_set, index, device):
    # 2**64 - 1 would be the last image, if it were cast to int64.
    with pytest.raises(IndexError, match=rf"indices must be in -1500 \.\. 1499, but got {index}\."):
        small_set.images(np.array([index]), device)


def test_wrong_number_of_images_is_refused(small_packed, small_space):
    with pytest.raises(ValueError, match=r"packed must have shape \(1500, 512\), but got \(1499, 512\)"):
        DSprites(small_packed[:-1], small_space, "rendered", "")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_set_is_opened_in_the_worker_not_sent_there(small_set, copied):
    with pytest.raises(TypeError, match="open the data set in the worker"):
        copied(small_set)


def test_official_file_is_packed_into_the_cache_once(tmp_path, small_npz, small_space, small_packed, capsys):
    first = _open_official(tmp_path / "cache", small_npz, small_space)
    assert f"Reading {small_npz}" in capsys.readouterr().err
    assert first.source == "file"
    assert first.fingerprint == hashlib.sha256(small_packed).hexdigest()
    np.testing.assert_array_equal(first.packed, small_packed)
    moved = small_npz.rename(tmp_path / "moved.npz")
    assert _open_official(tmp_path / "cache", moved, small_space).path == first.path
    assert capsys.readouterr().err == ""


def test_other_official_file_gets_a_cache_of_its_own(tmp_path, small_npz, small_space, small_pixels):
    first = _open_official(tmp_path / "cache", small_npz, small_space)
    with np.load(small_npz) as npz:
        np.savez(small_npz, imgs=1 - small_pixels, latents_classes=npz["latents_classes"])
    second = _open_official(tmp_path / "cache", small_npz, small_space)
    assert second.path != first.path
    np.testing.assert_array_equal(second.packed, ~first.packed)


def test_verify_finds_what_open_does_not_look_for(tmp_path, small_npz, small_space):
    opened = _open_official(tmp_path, small_npz, small_space)
    opened.verify()
    before = opened.path.stat()
    with opened.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([opened.packed[-1, -1] ^ 1]))
    os.utime(opened.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    altered = _open_official(tmp_path, small_npz, small_space)
    with pytest.raises(ValueError, match=f"must have SHA-256 {opened.fingerprint}, but have .*delete {opened.path}"):
        altered.verify()


def test_missing_official_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"there is no file {tmp_path}/none.npz"):
        DSprites.open(cache=tmp_path, npz=tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("named", "came"),
    [
        ("nowhere", "{named} is not there"),
        ("data/dsprites", "there is no {named}/dsprites/dsprites_ndarray"),
        (f"data/{OFFICIAL_FILE}", "{named} is no folder"),
    ],
)
def test_an_environment_that_names_no_folder_with_the_file_is_refused(dsprites, monkeypatch, tmp_path, named, came):
    # Fails if the data is rendered instead: nobody who sets the variable asks for that.
    official = tmp_path / "data" / OFFICIAL_FILE
    official.parent.mkdir(parents=True)
    official.touch()
    path = tmp_path / named
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(path))
    message = (
        rf"DISENTANGLEMENT_LIB_DATA must be the folder that holds .*{came.format(named=path)}.*or none to use rendered"
    )
    with pytest.raises(ValueError, match=message):
        DSprites.open(cache=dsprites.path.parent)


def test_a_folder_of_other_data_sets_leaves_dsprites_rendered(dsprites, monkeypatch, tmp_path):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    assert DSprites.open(cache=dsprites.path.parent).source == "rendered"
    (tmp_path / "dsprites").mkdir()
    with pytest.raises(ValueError, match="there is no .*/dsprites/dsprites_ndarray"):
        DSprites.open(cache=dsprites.path.parent)


def test_an_empty_variable_is_as_good_as_none(dsprites, monkeypatch):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", "")
    assert DSprites.open(cache=dsprites.path.parent).source == "rendered"


@pytest.mark.parametrize("named", ["data", "~/data", "./x/../data"])
def test_the_variable_may_be_relative_or_begin_at_home(monkeypatch, tmp_path, small_npz, named):
    official = tmp_path / "data" / OFFICIAL_FILE
    official.parent.mkdir(parents=True)
    small_npz.rename(official)
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", named)
    with pytest.raises(ValueError, match=r"must have shape \(737280, 6\)"):  # it is looked at, and found too small
        DSprites.open(cache="cache")
    assert (tmp_path / "cache").is_dir()


def test_pixels_overwritten_while_in_use_are_found_by_verify(tmp_path, small_npz, small_space, small_packed):
    # In place, size and time as before: open trusts the record, the map shows the new pixels.
    opened = _open_official(tmp_path, small_npz, small_space)
    before = opened.path.stat()
    with opened.path.open("r+b") as file:
        file.seek(-small_packed.nbytes, os.SEEK_END)
        file.write(bytes(1000))
    os.utime(opened.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not opened.packed[0].any()
    with pytest.raises(ValueError, match=f"overwritten, and scores taken since are wrong: delete {opened.path}"):
        opened.verify()
    opened.path.unlink()
    _open_official(tmp_path, small_npz, small_space).verify()


def test_pixels_overwritten_while_in_use_are_made_again_at_the_next_open(tmp_path, small_npz, small_space):
    opened = _open_official(tmp_path, small_npz, small_space)
    opened.path.write_bytes(bytes(opened.path.stat().st_size))
    os.utime(opened.path, ns=(0, 0))  # a clock with coarse ticks could leave the old time
    _open_official(tmp_path, small_npz, small_space).verify()
    with pytest.raises(ValueError, match="scores taken since are wrong"):
        opened.verify()  # its map shows the file that was replaced


def test_a_cache_file_that_is_replaced_leaves_the_map_as_it_was(tmp_path, small_npz, small_space):
    opened = _open_official(tmp_path / "cache", small_npz, small_space)
    (tmp_path / "other").write_bytes(b"short")
    os.replace(tmp_path / "other", opened.path)
    opened.verify()
    assert opened.images([0]).shape == (1, 1, 64, 64)


def test_a_cache_file_cut_short_while_in_use_is_an_error_not_a_dead_process(tmp_path, small_npz, small_space):
    # Without the check, SIGBUS ends the process at the first page beyond the end, and pytest with it.
    opened = _open_official(tmp_path, small_npz, small_space)
    os.truncate(opened.path, 1000)
    for read in (lambda: opened.images([1499]), lambda: opened.images([1499], "meta"), opened.verify):
        with pytest.raises(
            OSError, match=f"{opened.path} must stay as it is while it is in use, but has been cut from"
        ):
            read()
    _open_official(tmp_path, small_npz, small_space).verify()


def test_environment_with_a_file_reads_it(monkeypatch, tmp_path, small_npz):
    official = tmp_path / "data" / OFFICIAL_FILE
    official.parent.mkdir(parents=True)
    small_npz.rename(official)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"must have shape \(737280, 6\)"):  # it is looked at, and found too small
        DSprites.open(cache=tmp_path / "cache")


@pytest.mark.slow
def test_eight_processes_at_once_render_once(tmp_path):
    program = f"from betavae.data import DSprites; print(DSprites.open(cache={str(tmp_path)!r}).fingerprint)"
    environment = {name: value for name, value in os.environ.items() if name != "DISENTANGLEMENT_LIB_DATA"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(8)
    ]
    outputs = [output_of(process) for process in processes]
    assert [output.strip() for output, _ in outputs] == [RENDERED_FINGERPRINT] * 8
    assert sum("Rendering dSprites" in messages for _, messages in outputs) == 1


@pytest.mark.slow
def test_truncated_cache_of_the_whole_set_is_rendered_again(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
    path = DSprites.open(cache=tmp_path).path
    os.truncate(path, 100_000_000)
    DSprites.open(cache=tmp_path).verify()
    assert capsys.readouterr().err.count("Rendering dSprites") == 2


@pytest.mark.slow
def test_file_of_the_official_size_is_read(tmp_path, rendered):
    # The published layout with the rendered pixels in it, so the fingerprint is known.
    factors = DSPRITES_FACTORS.indices_to_factors(np.arange(DSPRITES_FACTORS.size))
    npz = tmp_path / "official.npz"
    with zipfile.ZipFile(npz, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("latents_classes.npy", "w") as file:
            np.lib.format.write_array(file, np.pad(factors, ((0, 0), (1, 0))))
        with archive.open("imgs.npy", "w", force_zip64=True) as file:
            description = {"descr": "|u1", "fortran_order": False, "shape": (len(rendered), 64, 64)}
            np.lib.format.write_array_header_1_0(file, description)
            for block in np.split(rendered, 720):
                file.write(np.unpackbits(block).data)
    opened = DSprites.open(cache=tmp_path, npz=npz)
    assert (opened.source, opened.fingerprint) == ("file", RENDERED_FINGERPRINT)
    assert opened.path.name.startswith("dsprites-file-")
