"""Images in an array, and the hashes of the files that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from betavae.data import NO_FACTORS, ArrayImages, FactorSpace
from betavae.data.sources import digests_of

SPACE = FactorSpace(("a", "b"), (range(2), range(3)))
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def test_one_image_for_each_combination_needs_no_labels() -> None:
    data = ArrayImages(PIXELS, SPACE, source="drawn")
    np.testing.assert_array_equal(data.factors_of([5, 0]), [[1, 2], [0, 0]])
    np.testing.assert_allclose(data.images([2])[0, 1], PIXELS[2, :, :, 1] / 255, rtol=1e-6)
    data.verify()


def test_labels_may_repeat_and_leave_out_combinations() -> None:
    labels = [[1, 2], [1, 2], [0, 0]]
    data = ArrayImages(PIXELS[:3], SPACE, source="drawn", labels=labels)
    assert len(data) == 3
    np.testing.assert_array_equal(data.factors_of([-1, 1]), [[0, 0], [1, 2]])


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS[:5], None, "must hold 6 images, one per combination, but hold 5"),
        (PIXELS[0], None, r"must have shape \(images, height, width, channels\)"),
        (PIXELS, [[0, 0]] * 5, "must have a row for each of 6 images, but have 5"),
        (PIXELS, [[0, 3]] * 6, "b must be in 0 .. 2, but got 3"),
        (PIXELS, [[0]] * 6, r"factors must have shape \(samples, 2\)"),
        (PIXELS.astype(np.float32), None, "pixels must be uint8"),
    ],
)
def test_what_does_not_fit_is_refused(pixels: np.ndarray, labels: list[list[int]] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArrayImages(pixels, SPACE, source="drawn", labels=labels)


def test_a_set_that_a_gpu_has_no_room_for_stays_on_the_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The device `meta` stands for a GPU: what is asked of torch.cuda is answered here."""
    data = ArrayImages(PIXELS, NO_FACTORS, source="drawn")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * PIXELS.nbytes - 1, 10**9))
    assert not data._fits(torch.device("cuda"))
    assert "more than half of the free memory of cuda" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * PIXELS.nbytes, 10**9))
    assert data._fits(torch.device("cuda"))
    monkeypatch.setattr(ArrayImages, "_fits", lambda *_: False)
    assert data.images([0, 1], "meta").shape == (2, 3, 8, 8)
    assert data._device_copies == {torch.device("meta"): None}


def test_a_file_is_hashed_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"one")
    first = digests_of(path, folder=cache)
    assert first.md5 == "f97c5d29941bfb1b2fdab0874906ab82"
    monkeypatch.setattr("hashlib.md5", lambda **_: pytest.fail("the file is read again"))
    assert digests_of(path, folder=cache) == first
    monkeypatch.undo()
    path.write_bytes(b"three")
    assert digests_of(path, folder=cache).sha256 != first.sha256
    for record in cache.glob("source-*.json"):
        record.write_text("{")
    assert digests_of(path, folder=cache).size == 5


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    (tmp_path / "cache").write_text("a file in the folder's place")
    assert digests_of(path, folder=tmp_path / "cache").size == 3
