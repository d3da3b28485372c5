"""A whole sweep without one look at a factor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import REPOSITORY

HERE = Path(__file__).parent
SWEEP = (
    "--dataset toy-unlabelled --architecture toy-dense --width 4 -z 3 -b 16 --lr 1e-3 --beta 1 4 --steps 40 "
    "--eval-every 20 --repeats 3 --scheduler asha --grace-steps 20 --num-gpus 0"
)


@pytest.fixture(autouse=True)
def _extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETAVAE_EXTENSIONS", "unlabelled")
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{REPOSITORY}")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.slow  # two processes that import torch
def test_a_choice_with_labels_looks_at_them() -> None:
    """Else the test below could not fail."""
    done = run("sweeps/run.py", *SWEEP.split(), "--dry-run")
    assert done.returncode != 0
    assert "the factors were looked at" in done.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_a_choice_without_labels_looks_at_no_factor_from_search_to_report(tmp_path: Path) -> None:
    words = f"{SWEEP} --select udr --confirm 1 --seeds 2 --results {tmp_path} --name s"
    done = run("sweeps/run.py", *words.split())
    assert done.returncode == 0, done.stderr + done.stdout
    assert "with labels" not in done.stdout
    assert "selected without labels" in done.stdout
    folder = tmp_path / "s"
    results = {stage: list((folder / stage).glob("trial_*/result.json")) for stage in ("search", "confirm")}
    assert {stage: len(paths) for stage, paths in results.items()} == {"search": 6, "confirm": 2}
    for path in (*results["search"], *results["confirm"]):
        for report in map(json.loads, path.read_text().splitlines()):
            assert {"elbo", "active_units"} <= report.keys()
            assert not any("mig" in name for name in report)
    page = (folder / "report" / "index.html").read_text()
    assert "with labels" not in page
    assert "Models are chosen by UDR at the end of training, without labels" in page
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert {row["choice"] is not None for row in summary["trials"] if row["status"] == "finished"} == {True}
    done = run("sweeps/analyze.py", str(folder), "--select", "elbo", "--export", str(tmp_path / "export"))
    assert done.returncode == 0, done.stderr
    assert "**Selected without labels**" in (tmp_path / "export" / "README.md").read_text()
