import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from betavae.analysis.results import ranked, read_trials
from sweeps.cluster import decide_resources
from sweeps.options import PRESETS, ResourceOptions, parse_options
from sweeps.run import BAD_INPUT, DONE, main

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--beta 0", "--beta must be positive"),
        ("-z 0", "--latent-size must be at least 1"),
        ("--beta 32..1", "--beta must be a range"),
        ("--beta 4 4", "--beta must name each value once"),
        ("--beta 1..32", "--search grid needs values"),
        ("--search random", "--search random needs --trials"),
        ("--steps 10 --eval-every 20", "--eval-every must be at most steps"),
        ("--trials 0", "--trials must be at least 1"),
        ("--name a/b", "--name must be a folder's name"),
        ("--num-gpus 4096", "--num-gpus asks for 4096 GPUs, but this machine has"),
        ("--results /dev/null", "--results must be a folder that can be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = [] if "--results" in arguments else ["--results", str(tmp_path)]
    assert main([*arguments.split(), *results]) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["--latents 3", "--beta four", "--beta", "--search tpe"])
def test_a_word_the_parser_does_not_know_is_exit_2(arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == BAD_INPUT


def test_a_folder_that_exists_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").mkdir()
    assert main(["--results", str(tmp_path), "--name", "taken"]) == BAD_INPUT
    assert "is not written over" in capsys.readouterr().err
    assert not list((tmp_path / "taken").iterdir())


def test_an_option_overrides_its_preset_and_no_other() -> None:
    options = parse_options(["--preset", "full", "--steps", "20000"], default_preset="quick")
    assert options.trial.steps == 20_000
    assert options.search == PRESETS["full"].search


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_possible(preset: str) -> None:
    PRESETS[preset].check()  # type: ignore[index]  # raises otherwise
    assert PRESETS[preset].eval_every <= PRESETS[preset].trial.steps  # type: ignore[index]


def test_trials_share_gpus() -> None:
    resources = decide_resources(ResourceOptions(num_gpus=2, trials_per_gpu=4), cpus_found=16, gpus_found=4)
    assert resources.num_concurrent == 8
    assert resources.per_trial == {"cpu": 1, "gpu": 0.25}


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_end_to_end(tmp_path: Path) -> None:
    """The command as a user types it, two short trials: the folder is design.md's, down to the names."""
    options = "--name s --beta 2 8 -z 3 --lr 1e-3 --steps 4 --eval-every 2 -b 4 --scheduler none --num-gpus 0"
    command = [sys.executable, "sweeps/run.py", "--results", str(tmp_path), *options.split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == DONE, done.stderr
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert record["outcome"]["ended"] == 2
    assert len(record["data"]["sha256"]) == 64
    trials = ranked(read_trials(tmp_path / "s" / "search"))
    assert {trial.config.beta for trial in trials} == {2.0, 8.0}
    assert all([report["step"] for report in trial.reports] == [2, 4] for trial in trials)
    assert all(trial.best_checkpoint is not None for trial in trials)
    assert all(list(trial.folder.glob("events.out.tfevents.*")) for trial in trials)
    rows = [line for line in done.stdout.splitlines() if "checkpoint_" in line]
    assert len(rows) == 2
    assert rows == sorted(rows, reverse=True)
    state = torch.load(trials[0].folder / "checkpoint_000001" / "model.pt", weights_only=True)
    assert state
