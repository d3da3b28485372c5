import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from toy_parts import Blocks, BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS, DSprites
from sweeps.cluster import Resources
from sweeps.dry_run import (
    Cost,
    _costliest_configs,
    busy_seconds,
    describe_costs,
    describe_options,
    describe_trials,
    estimate,
    measure_costs,
)
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.options.recorded import options_to_dict
from sweeps.run import BAD_INPUT, DONE, main

SMALL = "--num-gpus 0 --num-cpus 2 --steps 100 --exact 0 --final-scores"


@pytest.fixture(autouse=True)
def _fast(small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    monkeypatch.setattr("sweeps.dry_run._CALIBRATION_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)


def test_it_says_everything_and_starts_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket, "socket", None)  # as any start of Ray would need
    (tmp_path / "study.toml").write_text("batch_size = 8\nobjective = 'beta-vae'\n")
    before = set(tmp_path.rglob("*"))
    asked = f"{SMALL} --config study.toml --beta 4 --name x -z 3 5 --dry-run --images 700"
    assert main(asked.split()) == DONE
    said = capsys.readouterr().out
    origins = {line.split()[0]: line.split()[-1] for line in said.splitlines() if line.startswith("--")}
    assert (origins["--beta"], origins["--latent-size"]) == ("line", "line")
    assert (origins["--batch-size"], origins["--lr"], origins["--seed"]) == ("file", "preset", "default")
    assert "4 trials" in said
    assert "0000  beta-vae, beta 4, latent size 3, lr 0.001, beta_norm 0.00293, seed 0" in said
    assert f"results    {tmp_path}/results/x" in said
    assert "at most " in said
    assert set(tmp_path.rglob("*")) == before


def test_each_trial_is_described_by_all_that_varies() -> None:
    words = f"{SMALL} --objective beta-tcvae beta-vae --alpha 0.5 1 --beta 4 -z 5 --lr 1e-3 --batch-size 8 16"
    lines = describe_trials(parse_options(words.split(), gpus_found=0)).splitlines()
    assert (
        lines[1]
        == "0001  beta-tcvae, beta 4, alpha 0.5, latent size 5, lr 0.001, batch size 16, beta_norm 0.004883, seed 1"
    )
    assert "beta 4, alpha 1, latent size 5" in lines[2]
    assert lines[5] == "0005  beta-vae, beta 4, latent size 5, lr 0.001, batch size 16, beta_norm 0.004883, seed 5"


def test_what_a_resumed_sweep_had_is_not_said_to_be_the_presets(tmp_path: Path) -> None:
    started = parse_options(["--steps", "24000", "--name", "beta"], gpus_found=0)
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "options": options_to_dict(started)}))
    resumed = parse_options(["--resume", str(tmp_path), "--verbose"], gpus_found=0)
    origins = {line.split()[0]: line.split()[-1] for line in describe_options(resumed).splitlines()}
    assert {origins[name] for name in ("--steps", "--batch-size", "--name", "--beta")} == {"sweep"}
    assert (origins["--resume"], origins["--verbose"], origins["--seed"]) == ("line", "line", "default")


@pytest.mark.parametrize("scheduler", ["asha", "none"])
def test_a_grace_is_in_effect_only_if_trials_may_be_stopped(scheduler: str) -> None:
    words = ["--preset", "quick", "--scheduler", scheduler]
    said = describe_options(parse_options(words, gpus_found=0))
    assert ("grace_steps in effect" in said) is (scheduler == "asha")


def test_more_steps_cost_more(small_data: DSprites) -> None:
    costs = [
        measure_costs(
            parse_options(f"{SMALL} --images 700 --steps {steps}".split(), gpus_found=0),
            {"dsprites": small_data},
            device="cpu",
        )["dsprites"]
        for steps in (100, 100_000)
    ]
    assert costs[1].seconds > 100 * costs[0].seconds
    assert costs[0].checkpoint_bytes > 1_000_000


def test_a_cluster_is_joined_and_asked_but_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    joined: list[str] = []
    monkeypatch.setattr("sweeps.run.join_cluster", joined.append)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 48.0, "GPU": 8.0})
    assert main(["--preset", "quick", "--address", "10.0.0.1:6379", "--num-gpus", "4", "--dry-run"]) == DONE
    said = capsys.readouterr().out
    assert joined == ["10.0.0.1:6379"]
    assert "resources  GPUs 4 of 8, CPU cores all of 48 in the cluster at 10.0.0.1:6379" in said
    assert "images/s" not in said


@pytest.mark.parametrize(
    ("hopeless", "reason"),
    [
        ("--objective beta-vae --beta 1e308", "The loss must be finite, but at step 1 it was: total inf"),
        ("--lr 1e30", "The loss must be finite"),
    ],
)
def test_a_first_trial_that_cannot_be_trained_is_bad_input_in_one_line(
    hopeless: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"{SMALL} --images 700 --beta 4 --lr 1e-3 -z 3 --dry-run {hopeless}".split()) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: The largest trial must train for the estimate, but with beta ")
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("huge", "most"), [("-z 1000000000000", "4096"), ("-b 10000000000000", "1048576"), (f"-z {10**400}", "4096")]
)
def test_what_fits_into_no_memory_is_refused_at_the_door(
    huge: str, most: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails if it is tried: a batch of so many images fills all memory before it is refused."""
    assert main(f"{SMALL} --images 700 --beta 4 --lr 1e-3 -z 3 --dry-run {huge}".split()) == BAD_INPUT
    assert f"must be in 1 .. {most}, but got 10" in capsys.readouterr().err


def test_an_estimate_that_cannot_be_made_says_why() -> None:
    assert estimate(["--steps", "0"]) == "no estimate: error: --steps must be at least 1, but got 0."


@pytest.mark.slow
def test_an_estimate_is_what_the_dry_run_says_of_time_and_disk() -> None:
    said = estimate(["--num-gpus", "0", "-z", "3", "-b", "4", "--steps", "1000000"])
    assert said.startswith("at most ")
    assert " h: " in said
    assert " MB: " in said


@pytest.mark.parametrize("wrong", ["--steps 0", "--num-cpus 1000", "--name there"])
def test_what_the_sweep_would_refuse_it_refuses(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "results" / "there").mkdir(parents=True)
    assert main(f"{SMALL} --images 700 --dry-run {wrong}".split()) == BAD_INPUT


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity")
def test_the_cores_are_those_that_this_process_may_use(capsys: pytest.CaptureFixture[str]) -> None:
    asked = "--preset quick --num-gpus 0 --images 700 --steps 100 --dry-run"
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert main(asked.split()) == DONE
        assert "CPU cores all of 1\n" in capsys.readouterr().out
        assert main([*asked.split(), "--num-cpus", "2"]) == BAD_INPUT
        assert (
            "--num-cpus must be at most 1, the number of cores that this process may use, but got 2;"
            in capsys.readouterr().err
        )
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("search", ["grid", "optuna --trials 2"])
def test_the_estimate_is_that_of_the_costliest_objective(search: str) -> None:
    """Else a sweep with a discriminator would take twice the time, and ten times the disk space, of its estimate."""
    words = f"{SMALL} --objective beta-vae factor-vae dip-vae-i --beta 4 --search {search}"
    assert costliest(parse_options(words.split(), gpus_found=0)).objective.name == "factor-vae"
    words += " --steps 100 -b 64 1024"
    assert costliest(parse_options(words.split(), gpus_found=0)).batch_size == 1024


def costliest(options: Options) -> TrialConfig:
    return _costliest_configs(options)["dsprites"]


def price(
    config: TrialConfig, images_per_second: float, *, rotation_seconds: float = 0.0, checkpoint_bytes: int = 10**6
) -> Cost:
    """The cost of a trial whose scores take no time."""
    return Cost(
        config,
        images_per_second=images_per_second,
        evaluation_seconds=0.0,
        rotation_seconds=rotation_seconds,
        final_seconds=0.0,
        checkpoint_bytes=checkpoint_bytes,
    )


def test_trials_start_when_others_end() -> None:
    assert busy_seconds([5, 1, 1, 2], 2) == 5
    assert busy_seconds([1, 1, 5], 2) == 6
    assert busy_seconds([3, 4], 1) == 7
    assert busy_seconds([], 2) == 0


def test_each_planned_trial_is_priced_by_its_own_work() -> None:
    """Fails if all are priced as the costliest: the time would be 4 rounds of 180 s."""
    words = f"{SMALL} --objective beta-vae factor-vae --factor-vae.gamma 10 --beta 1 2 3 -z 3 --lr 1e-3"
    options = parse_options(words.split(), gpus_found=0)
    config = costliest(options)
    assert config.objective.relative_cost == 1.8
    images = config.steps * config.batch_size
    cost = price(config, images / 180)
    resources = Resources(num_gpus=0, num_cpus=1, trials_per_gpu=1)
    assert describe_costs(options, {"dsprites": cost}, resources=resources).startswith(
        "at most 8 min: trials run 1 at a time and take 100 s to 3 min each, if they do not slow each other\n"
    )


def test_rotations_cost_their_time() -> None:
    """Fails if the estimate of a trial leaves them out, or if a trial without any is measured in place of one with."""
    options = parse_options(f"{SMALL} --steps 400 --rotate-until 0 300 -z 3 --lr 1e-3".split(), gpus_found=0)
    config = costliest(options)
    assert config.rotate_until == 300
    cost = price(config, config.batch_size, rotation_seconds=5.0)
    assert cost.seconds == pytest.approx(400 + 3 * 5)
    assert cost.seconds_of(replace(config, rotate_until=0)) == pytest.approx(400)


def test_all_starts_cost_their_time() -> None:
    """Two more starts of 100 steps each, and a rotation of each; the trial with one start is not the costliest."""
    words = f"{SMALL} --steps 400 --starts 1 3 --start-steps 100 --rotate-until 150 -z 3 --lr 1e-3"
    config = costliest(parse_options(words.split(), gpus_found=0))
    assert config.starts == 3
    cost = price(config, config.batch_size, rotation_seconds=5.0)
    assert cost.seconds == pytest.approx(400 + 2 * 100 + 3 * 5)
    assert cost.seconds_of(replace(config, starts=1)) == pytest.approx(400 + 5)


TWO = (
    f"{SMALL} --objective beta-vae --dataset dsprites blocks --dsprites.images 700 --beta 4 8 -z 3 --lr 1e-3 "
    "--confirm 1 --seeds 3"
)


def test_each_data_set_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trials of 100 s and two of 10 s, then three new seeds of each: 550 s one after the other."""
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    options = parse_options(TWO.split(), gpus_found=0)
    configs = _costliest_configs(options)
    assert list(configs) == ["dsprites", "blocks"]
    costs = {
        name: price(config, config.steps * config.batch_size / seconds, checkpoint_bytes=size)
        for (name, config), seconds, size in zip(configs.items(), (100, 10), (10**6, 3 * 10**6), strict=True)
    }
    described = describe_costs(options, costs, resources=Resources(num_gpus=0, num_cpus=1, trials_per_gpu=1))
    assert described.startswith("at most 9 min: trials run 1 at a time and take 10 s to 100 s each, ")
    assert "(measured for three seconds each: a trial of beta-vae on dsprites trains " in described
    assert "; a trial of beta-vae on blocks trains " in described
    assert described.endswith("at most 60 MB: 3 checkpoints of 1.0 and 3.0 MB per trial")


def test_a_dry_run_measures_each_data_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_data: DSprites
) -> None:
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    assert main([*TWO.split(), "--dry-run"]) == DONE
    printed = capsys.readouterr().out
    assert "4 trials, then 6 of the confirmation" in printed
    assert "0002  blocks, beta-vae, beta 4, " in printed
    assert f"factors hue, size, corner, drawn, SHA-256 {Blocks.fingerprint[:12]}..." in printed
    assert printed.count(" images/s, an evaluation takes ") == 2
