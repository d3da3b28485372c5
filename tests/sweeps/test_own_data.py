"""Sweeps over a file of one's own, with factors and without, from file to report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from official_files import random_images, write_own_file
from running import REPOSITORY

SWEEP = "--dataset file --architecture mlp -z 3 -b 16 --lr 1e-3 --beta 1 4 --steps 20 --eval-every 10 --num-gpus 0"


def run(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, str(REPOSITORY / words[0]), *words[1:]]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small file; a network of 8 x 8 pixels takes no time."""
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    factors = np.stack([np.arange(300) % size for size in (3, 4, 7)], axis=1)
    write_own_file(tmp_path / "mine.npz", images=images, factors=factors, categorical=np.array(["kind"]))
    write_own_file(tmp_path / "bare.npz", images=images, factors=None, names=None)
    return tmp_path


def test_factors_that_are_needed_and_missing_are_refused(folder: Path) -> None:
    done = run("sweeps/run.py", *SWEEP.split(), "--data-file", "bare.npz", cwd=folder, BETAVAE_CACHE="cache")
    assert done.returncode == 2
    assert "error: file has no factors, but --rank-by mig needs them: choose models without labels" in done.stderr
    assert not (folder / "results").exists()


def test_a_score_that_needs_an_order_is_refused_where_no_factor_has_one(folder: Path) -> None:
    images, factors = random_images(70, 64, 64), np.arange(70)[:, None] % 7
    write_own_file(folder / "kinds.npz", images=images, factors=factors, names=None, categorical=np.array(["factor_1"]))
    words = f"{SWEEP} --data-file kinds.npz --final-scores mig_exact mig_chen"
    done = run("sweeps/run.py", *words.split(), cwd=folder, BETAVAE_CACHE="cache")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "error: mig_chen needs a factor whose values have an order, but file has none; leave mig_chen out.\n"
    )
    assert not (folder / "results").exists()


@pytest.mark.slow  # two sweeps
@pytest.mark.ray
def test_a_file_is_swept_confirmed_and_reported(folder: Path) -> None:
    """Its path is given relative; it is moved before the analysis, which finds it below the data root."""
    words = f"{SWEEP} --data-file mine.npz --confirm 1 --seeds 2 --results results --name s --exact 1"
    done = run("sweeps/run.py", *words.split(), cwd=folder, BETAVAE_CACHE="cache")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "results" / "s" / "report" / "summary.json").read_text())
    scores = summary["models"][0]["scores"]["scores"]
    assert scores["mig"]["by_factor"].keys() == {"kind", "size", "angle"}
    assert "mig_exact" in scores
    (folder / "moved").mkdir()
    (folder / "mine.npz").rename(folder / "moved" / "mine.npz")
    words = "results/s --data-root moved --export given"
    done = run("sweeps/analyze.py", *words.split(), cwd=folder, BETAVAE_CACHE="cache")
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "moved" / "mine.npz").unlink()
    for path in [folder / "given" / name for name in ("README.md", "config.json", "scores.json")]:
        assert str(folder) not in path.read_text()
    done = subprocess.run(
        [sys.executable, "given/traverse.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert done.returncode == 0
    assert len(list((folder / "given").glob("latent_*.png"))) == 3
    done = run("sweeps/analyze.py", "results/s", cwd=folder, BETAVAE_CACHE="cache")
    assert done.returncode == 0
    assert "warning: The images of file cannot be opened: data_file must be a file on every machine" in done.stderr
    assert "warning: No model of file is shown: its images are not here." in done.stderr
    assert json.loads((folder / "results" / "s" / "report" / "summary.json").read_text())["models"] == []


@pytest.mark.slow  # a sweep
@pytest.mark.ray
def test_a_file_without_factors_is_swept_confirmed_and_reported(folder: Path) -> None:
    words = f"{SWEEP} --data-file bare.npz --repeats 2 --select udr --confirm 1 --seeds 2 --results results --name u"
    done = run("sweeps/run.py", *words.split(), cwd=folder, BETAVAE_CACHE="cache")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "results" / "u" / "report" / "index.html").read_text()
    assert "without labels" in page
    assert "with labels" not in page
    done = run(
        "sweeps/analyze.py", "results/u", "--scores", "all", "--select", "elbo", cwd=folder, BETAVAE_CACHE="cache"
    )
    assert done.returncode == 0, done.stderr
