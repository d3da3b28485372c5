"""A part of each kind, a metric and a logger, added by one class and one entry each (`toys.py`): all else follows."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import REPOSITORY, RunningSweep, wait_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweeps import analyze, run

HERE = Path(__file__).parent
TOYS = (
    "--dataset toy-bars --architecture toy-dense --width 4 --objective toy-elastic beta-vae --strength 1 2 --beta 4 "
    "--mixture 0.25 --rank-by toy_explained --loggers toy-lines terminal tensorboard --report --exact 1 --confirm 1 "
    "--seeds 1"
)

EXPECTED = """
import json, sys
import torch
import toys
from betavae import TrialConfig, TrainingRun

torch.set_num_threads(1)
values = json.loads(sys.argv[1])
values.pop("index")
config = TrialConfig.from_dict(values)
run = TrainingRun.start(config, config.dataset.open())
for _ in range(config.steps // config.eval_every):
    loss = run.advance(config.eval_every)
    print(json.dumps({"step": run.step, **run.evaluate().numbers(), **loss.numbers()}))
"""


@pytest.fixture(autouse=True)
def _extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETAVAE_EXTENSIONS", "toys")
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{REPOSITORY}")


def output_of(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_their_parameters_are_in_the_help() -> None:
    said = " ".join(output_of("sweeps/run.py", "--help").split())
    assert "Weight of both penalties. (toy-elastic) Default: 1." in said
    assert "Share of the KL in the penalty." in said
    assert "`toy-dense`: One hidden layer each." in said
    assert "`toy-bars`: Coloured bars: 192 images." in said


def test_a_foreign_parameter_is_refused_by_name() -> None:
    command = [sys.executable, "sweeps/run.py", "--objective", "toy-elastic", "--beta", "4", "--dry-run"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--beta needs --objective beta-vae or beta-tcvae" in done.stderr


def test_a_sweep_of_theirs_is_not_resumed_or_analysed_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BETAVAE_EXTENSIONS")
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "extensions": ["toys"]}))
    assert run.main(["--resume", str(tmp_path)]) == analyze.main([str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all("but toys is not loaded: set BETAVAE_EXTENSIONS=toys, and $PYTHONPATH" in error for error in errors)


@pytest.mark.slow  # the suites of all tables, in a process that has the toys
def test_the_contracts_of_the_tables_hold_for_them() -> None:
    said = output_of("-m", "pytest", "tests/contracts", "-q", "-p", "toys", "-k", "toy", "-p", "no:cacheprovider")
    passed = int(said.rpartition(" passed")[0].split()[-1])
    assert passed >= 20, said


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[RunningSweep]:
    sweep = RunningSweep(tmp_path / "s", TOYS)
    yield sweep
    sweep.discard()


@pytest.mark.slow
@pytest.mark.ray
def test_a_grid_over_them_is_swept_resumed_and_reported(sweep: RunningSweep) -> None:
    """It is killed in the middle: the numbers are those of an undisturbed training to the last bit."""
    wait_for(lambda: (sweep.trial(0) / "result.json").exists(), pause=0.01)
    for pid in [sweep.process.pid, *sweep.workers()]:  # the workers too: they would train on for a while
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep.end(code=-9)
    num_lines = len(lines_of(sweep))
    sweep.resume("--report --exact 1")
    output, errors = sweep.end()
    trials = sorted((sweep.folder / "search").glob("trial_*"))
    assert len(trials) == 3  # two strengths of the one, and the other
    for trial in trials:
        check_numbers(trial)
    tried = [json.loads((trial / "params.json").read_text()) for trial in trials]
    assert [(values["objective"], values.get("strength"), values.get("beta")) for values in tried] == [
        ("toy-elastic", 1.0, None),
        ("toy-elastic", 2.0, None),
        ("beta-vae", None, 4.0),
    ]
    header = next(line for line in output.splitlines() if line.split()[:1] == ["toy_explained"]).split()
    assert header[1:5] == ["tint", "thickness", "place", "objective"]
    assert "parameters" in header
    assert all(f"{name} " in output for name in ("strength", "beta"))  # those that vary, with the objective's row
    assert {"recon", "kl"} <= set(header)
    assert "l1" not in header  # a loss of one objective alone
    check_report(sweep.folder / "report")
    check_curves(trials[0])
    lines = lines_of(sweep)[num_lines:]
    resumed = [index for index in range(3) if f"{index} started" in lines]
    assert resumed
    for index in resumed:
        last = json.loads((trials[index] / "result.json").read_text().splitlines()[-1])
        assert {f"{index} {last['step']} {last['toy_explained']}", f"{index} finished"} <= set(lines)


def lines_of(sweep: RunningSweep) -> list[str]:
    """What the toys' logger has written."""
    path = sweep.folder / "lines.txt"
    return path.read_text().splitlines() if path.exists() else []


TWO_DATA_SETS = (
    "--dataset dsprites toy-bars --architecture toy-dense --width 4 --beta 4 8 --images 10000 --scheduler asha "
    "--grace-steps 40 --confirm 1 --seeds 2 --report"
)


@pytest.fixture
def two_datasets(tmp_path: Path) -> Iterator[RunningSweep]:
    sweep = RunningSweep(tmp_path / "two", TWO_DATA_SETS)
    yield sweep
    sweep.discard()


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_over_two_data_sets_is_confirmed_resumed_reported_and_exported(
    two_datasets: RunningSweep, tmp_path: Path
) -> None:
    """Of each data set the first trial at a rung runs to its end, and the best configuration is confirmed."""
    sweep = two_datasets
    output, _ = sweep.end()
    check_two_datasets(sweep, output, num_seeds=2)
    sweep.resume("--seeds 3 --report")
    output, _ = sweep.end()
    check_two_datasets(sweep, output, num_seeds=3)
    models = tmp_path / "models"
    printed = output_of("sweeps/analyze.py", str(sweep.folder), "--exact", "0", "--export", str(models)).splitlines()
    assert printed == [
        str(sweep.folder / "report" / "index.html"),
        *(str(models / name / "README.md") for name in ("dsprites", "toy-bars")),
    ]
    assert "3 channels" in (models / "toy-bars" / "README.md").read_text()


def check_two_datasets(sweep: RunningSweep, output: str, *, num_seeds: int) -> None:
    """Tables, best lines, confirmation and report are of each data set by itself."""
    report = sweep.folder / "report"
    summary = json.loads((report / "summary.json").read_text())
    tried = [(row["dataset"], row["rank"]) for row in summary["trials"]]
    assert tried == [("dsprites", 1), ("dsprites", 2), ("toy-bars", 1), ("toy-bars", 2)]
    for name, rows in (("dsprites", summary["trials"][:2]), ("toy-bars", summary["trials"][2:])):
        assert "finished" in {row["status"] for row in rows}
        assert rows[0]["mig"] >= rows[1]["mig"]
        (confirmed,) = summary["datasets"][name]["confirmed"]
        assert (confirmed["config"]["dataset"], confirmed["config"]["beta"]) == (name, rows[0]["beta"])
        assert len(confirmed["seeds"]) == num_seeds
    lines = output.splitlines()
    assert [line for line in lines if line in summary["datasets"]] == [
        "dsprites",
        "toy-bars",
    ]  # the headings of the tables
    assert [line.split()[1] for line in lines if line.startswith("best ")] == ["dsprites,", "toy-bars,"]
    for name, factor in (("dsprites", "orientation"), ("toy-bars", "thickness")):
        assert f'<a href="{name}/index.html">{name}</a>' in (report / "index.html").read_text()
        assert factor in (report / name / "index.html").read_text()


def check_numbers(trial: Path) -> None:
    expected = output_of("-c", EXPECTED, (trial / "params.json").read_text()).splitlines()
    reports = (trial / "result.json").read_text().splitlines()
    assert [without_speed(line) for line in reports] == [without_speed(line) for line in expected]


def without_speed(line: str) -> dict[str, float]:
    return {name: value for name, value in json.loads(line).items() if name != "images_per_second"}


def check_report(report: Path) -> None:
    with (report / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {"toy_explained/place", "loss/l1_nats", "strength", "mixture", "width", "mig_exact"} <= rows[0].keys()
    assert all(row["toy_explained"] for row in rows)
    page = (report / "index.html").read_text()
    assert "explained" in page
    assert "toy-elastic" in page
    assert "thickness" in page


def check_curves(trial: Path) -> None:
    events = EventAccumulator(str(trial), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    assert {"toy_explained", "toy_explained/tint", "loss/l1_nats"} <= set(events.Tags()["scalars"])
    assert "reconstructions" in events.Tags()["images"]
    metadata = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(metadata).session_start_info.hparams
    assert (values["strength"].number_value, values["mixture"].number_value) == (1.0, 0.25)
    assert values["dataset"].string_value == "toy-bars"
