import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, tzinfo
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from threading import Barrier

import pytest
import safetensors.torch
import torch
from running import output_of

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import InputError
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE, read_record
from betavae.records.trial import ranked, read_trials
from sweeps.cluster import Resources, local_resources
from sweeps.gpu_sharing import Sharing
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options, ResourceOptions, SweepOptions
from sweeps.options.presets import PRESETS
from sweeps.run import BAD_INPUT, DONE, FAILED, _share_gpus, main
from sweeps.storage.sweep_folder import SweepFolder, check_destination
from sweeps.temporary import check_temporary_folder

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--beta 0", "--beta must be positive"),
        ("-z 0", "--latent-size must be in 1 .. 4096"),
        ("--beta 32..1", "--beta must be a range"),
        ("--beta 4 4", "--beta must name each value once"),
        ("--beta 1..32", "--search grid needs values"),
        ("--search random", "--search random needs --trials"),
        ("--steps 10 --eval-every 20", "--eval-every must be at most steps"),
        ("--trials 0", "--trials must be in 1 .. 500000"),
        ("--trials 99", "--trials must be at most 8, the number of points of the grid, but got 99; to train each"),
        ("--final-scores udr", "--final-scores must be some of mig, mig_quantile, "),
        ("--name a/b", "--name must be a folder's name"),
        (
            "--num-gpus 4096",
            f"--num-gpus must be at most {torch.cuda.device_count()}, the number of GPUs of this machine, but got 4096",
        ),
        ("--latents 3", "--latents is not an option (did you mean --latent-size?)"),
        (
            "--beta four",
            "--beta must be a number or points such as 1@0,16@2000, several of these, or a range",
        ),
        ("--beta 1@0,16@9000", "--beta must end at step 2250, the trial's last, or before, but"),
        ("--beta", "--beta must be a value, several values, or a range LOW..HIGH, but got nothing"),
        ("--search tpe", "--search must be one of grid, random, optuna, but got 'tpe'"),
        ("--loggers paper", "--loggers must be some of terminal, tensorboard, wandb, mlflow, but got 'paper'"),
        ("--track paper", "--track must be some of wandb, mlflow, but got 'paper'"),
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


def test_a_folder_that_exists_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").mkdir()
    assert main(["--results", str(tmp_path), "--name", "taken"]) == BAD_INPUT
    assert "is never overwritten" in capsys.readouterr().err
    assert not list((tmp_path / "taken").iterdir())


@pytest.mark.parametrize(
    ("name", "folder", "problem"),
    [
        ("TMPDIR", "not-there", "it cannot be written (No such file or directory)"),
        ("TMPDIR", "file", "it cannot be written (Not a directory)"),
        ("RAY_TMPDIR", "x" * 60, "a socket's path would be longer than 107 bytes"),
    ],
)
@pytest.mark.parametrize("more", ["", "--dry-run"])
def test_a_folder_that_ray_cannot_start_in_is_found_out_first(
    name: str,
    folder: str,
    problem: str,
    more: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / ("x" * 60)).mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, str(tmp_path / folder))
    assert main(["--results", str(tmp_path / "results"), "--num-gpus", "0", *more.split()]) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"error: {name} must be the absolute path of a folder in which Ray can put its sockets")
    assert f"{problem}. Set RAY_TMPDIR" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("folder", ["", "relative"])
def test_a_temporary_folder_is_absolute(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", folder)
    with pytest.raises(ValueError, match=f"but got '{folder}': it is not absolute"):
        check_temporary_folder()


@pytest.fixture
def same_second(monkeypatch: pytest.MonkeyPatch) -> str:
    """The default name of every sweep that starts now."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls(2026, 11, 25, 20, 21, tzinfo=tz)

    monkeypatch.setattr("sweeps.storage.sweep_folder.datetime", Clock)
    return "quick-20261125-202100"


def create(results: Path, small_data: DSprites, *, name: str | None = None) -> SweepFolder:
    options = Options(sweep=SweepOptions(preset="quick", results=str(results), name=name))
    return SweepFolder.create(options, data={"dsprites": small_data}, arguments=[])


def test_default_names_of_the_same_second_are_numbered(same_second: str, tmp_path: Path, small_data: DSprites) -> None:
    """However many drivers start at once."""
    together = Barrier(8)

    def start(_: int) -> str:
        together.wait()
        folder = create(tmp_path, small_data)
        folder.close()
        return Path(folder.location).name

    with ThreadPoolExecutor(8) as drivers:
        names = sorted(drivers.map(start, range(8)))
    assert names == [same_second, *(f"{same_second}-{count}" for count in range(2, 9))]
    assert all((tmp_path / name / "sweep.json").is_file() for name in names)
    options = Options(sweep=SweepOptions(preset="quick", results=str(tmp_path)))
    assert check_destination(options, data={"dsprites": small_data}) == str(tmp_path / f"{same_second}-9")
    with pytest.raises(FileExistsError, match="is never overwritten"):
        create(tmp_path, small_data, name=same_second)


def test_a_folder_whose_record_cannot_be_written_is_not_left_behind(
    tmp_path: Path, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could neither be resumed nor used anew."""

    def refuse(path: Path, values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full_disk:
        full_disk.setattr("sweeps.storage.sweep_folder.replace_json", refuse)
        with pytest.raises(OSError, match="No space left"):
            create(tmp_path, small_data, name="s")
    assert not (tmp_path / "s").exists()
    create(tmp_path, small_data, name="s").close()


def test_a_folder_that_cannot_be_locked_is_not_left_behind(
    tmp_path: Path, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network drive without locks."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("sweeps.storage.sweep_folder.FileLock.acquire", refuse)
    with pytest.raises(OSError, match="No locks available"):
        create(tmp_path, small_data, name="s")
    assert not (tmp_path / "s").exists()


def test_a_package_without_metadata_has_an_unknown_version(
    tmp_path: Path, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this one has where its folder is only put on the path."""

    def version(name: str) -> str:
        if name == "betavae-lab":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("importlib.metadata.version", version)
    create(tmp_path, small_data, name="s").close()
    versions = read_record(tmp_path / "s")["versions"]
    assert (versions["betavae-lab"], versions["torch"]) == ("unknown", "1.0")


@pytest.mark.parametrize(
    ("gpus", "cores", "measured"),
    [(["H100", "H100"], 32, 1), (["A100", "A100"], 32, 2), (["H100", "H100"], 16, 2), ([], 32, 2),
     (["failing"], 32, 2)],
)  # fmt: skip
def test_a_resumed_sweep_measures_again_how_many_trials_share_a_gpu_only_on_another_machine(
    gpus: list[str],
    cores: int,
    measured: int,
    tmp_path: Path,
    small_data: DSprites,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An unknown one is another, and a measurement that failed is none."""
    counts: list[int] = []

    def measure(config: TrialConfig, *, most: int) -> Sharing:
        counts.append(most)
        return Sharing(most // 2, (), has_failed=gpus == ["failing"])

    def share(folder: SweepFolder, names: list[str], cores: int) -> int:
        monkeypatch.setattr("sweeps.run.names_of_gpus", lambda: names)
        resources = _share_gpus(Resources(num_cpus=cores, num_gpus=2), folder)
        folder.close()
        return resources.trials_per_gpu

    monkeypatch.setattr("sweeps.run.measure_sharing", measure)
    words = ["--trials-per-gpu", "auto", "--results", str(tmp_path), "--name", "s"]
    data = {"dsprites": small_data}
    started = SweepFolder.create(parse_options(words, gpus_found=2), data=data, arguments=words)
    assert share(started, ["H100", "H100"] if gpus and gpus != ["failing"] else gpus, 32) == 8
    words = ["--resume", str(tmp_path / "s")]
    resumed = SweepFolder.resume(parse_options(words, gpus_found=2), data=data, arguments=words)
    assert share(resumed, gpus, cores) == cores // 4
    assert len(counts) == measured
    assert ("as measured before" in capsys.readouterr().out) == (measured == 1)


@pytest.mark.parametrize(
    ("arguments", "announced"),
    [("", True), ("--beta 4..8", True), ("--num-gpus 0", False), ("--preset full", False), ("--preset=quick", False),
     ("--quiet", False), ("--config full.toml", False)],
)  # fmt: skip
def test_days_on_gpus_that_nobody_asked_for_are_announced_before_they_begin(
    arguments: str,
    announced: bool,
    tmp_path: Path,
    small_data: DSprites,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise InputError(f"the folder is made after: {capsys.readouterr().out}")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.toml").write_text('preset = "full"\n')
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    monkeypatch.setattr("sweeps.run.available_gpus", lambda: 1)
    monkeypatch.setattr("sweeps.run.estimate", lambda arguments: "at most 31.0 h")
    monkeypatch.setattr(SweepFolder, "create", stop)
    assert main(arguments.split()) == BAD_INPUT
    _, _, said = capsys.readouterr().err.partition("the folder is made after: ")
    assert ("60 trials of at most 300,000 steps" in said) == announced
    assert ("python sweeps/run.py --preset quick" in said) == announced
    assert ("at most 31.0 h" in said) == announced


@pytest.mark.parametrize("name", ["run.py", "analyze.py"])
def test_a_second_checkout_runs_its_own_code_in_the_environment_of_the_first(name: str, second: Path) -> None:
    """Wherever it is called: here from the first one's folder, which PYTHONPATH names too."""
    command = [sys.executable, str(second / "sweeps" / name), "--help"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    notes = (second / "imported").read_text().splitlines()
    assert {note.split()[1] for note in notes} == {"sweeps", "betavae"}


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another checkout, whose packages note in it which process imports them."""
    root = tmp_path / "second"
    for package in ("betavae", "sweeps"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        module = root / package / "__init__.py"
        note = f"import os; print(os.getpid(), {package!r}, file=open({str(root / 'imported')!r}, 'a'))"
        module.write_text(f"{module.read_text()}{note}\n")
    return root


def test_an_option_overrides_its_preset_and_no_other() -> None:
    options = parse_options(["--preset", "full", "--steps", "20000"], gpus_found=0)
    assert options.space.axis("steps") == (20_000,)
    assert options.space.axis("beta") == PRESETS["full"].space.axis("beta")
    assert options.search == PRESETS["full"].search


@pytest.mark.parametrize(
    ("arguments", "gpus_found", "preset"),
    [("", 0, "quick"), ("", 4, "full"), ("--num-gpus 0", 4, "quick"), ("--preset=seed-study", 4, "seed-study")],
)
def test_the_preset_follows_the_gpus_unless_named(arguments: str, gpus_found: int, preset: str) -> None:
    options = parse_options(arguments.split(), gpus_found=gpus_found)
    assert options.sweep.preset == preset
    assert options.space == PRESETS[preset].space.with_defaults()  # type: ignore[index]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_possible(preset: str) -> None:
    PRESETS[preset].check()  # type: ignore[index]  # raises otherwise


@pytest.mark.parametrize(
    ("words", "grace"),
    [("", 750), ("--steps 30000", 1_500), ("--steps 30000 -b 32 64", 3_000), ("--grace-steps 40", 40),
     ("--preset full", 10_000)],
)  # fmt: skip
def test_no_trial_is_stopped_before_scores_rank_trials(words: str, grace: int) -> None:
    """The steps of 96,000 images in the smallest batches, at most a third of all steps, if no other are given."""
    assert parse_options(words.split(), gpus_found=0).grace_steps == grace


def test_a_resumed_sweep_keeps_its_grace(tmp_path: Path, small_data: DSprites) -> None:
    """Fails where a later version, whose default is another, would judge its trials at other steps."""
    words = ["--scheduler", "asha", "--results", str(tmp_path), "--name", "s"]
    SweepFolder.create(parse_options(words, gpus_found=0), data={"dsprites": small_data}, arguments=words).close()
    record = read_record(tmp_path / "s")
    before = parse_options(["--resume", str(tmp_path / "s")], gpus_found=0).grace_steps
    assert record["decided"]["grace_steps"] == before
    record["decided"]["grace_steps"] = before + 125
    for name in (SWEEP_FILE, SWEEP_COPY_FILE):
        (tmp_path / "s" / name).write_text(json.dumps(record))
    assert parse_options(["--resume", str(tmp_path / "s")], gpus_found=0).grace_steps == before + 125


def test_trials_share_gpus() -> None:
    resources = local_resources(ResourceOptions(num_gpus=2, trials_per_gpu=4), cpus_found=16, gpus_found=4)
    assert resources.num_concurrent == 8
    assert resources.per_trial == {"cpu": 1, "gpu": 0.25}


def test_a_trial_takes_the_cores_that_it_is_given() -> None:
    options = ResourceOptions(num_gpus=2, trials_per_gpu=4, cpus_per_trial=3)
    resources = local_resources(options, cpus_found=16, gpus_found=4)
    assert resources.num_concurrent == 5
    assert resources.per_trial == {"cpu": 3, "gpu": 0.25}
    on_cpu = local_resources(ResourceOptions(cpus_per_trial=2), cpus_found=5, gpus_found=0)
    assert (on_cpu.num_concurrent, on_cpu.per_trial) == (2, {"cpu": 2})
    with pytest.raises(InputError, match="--cpus-per-trial must be at most 4, .* but got 6"):
        local_resources(ResourceOptions(num_cpus=4, cpus_per_trial=6), cpus_found=16, gpus_found=0)


def start_sweep(results: Path, options: str, *, checkout: Path = REPOSITORY) -> subprocess.Popen[str]:
    """The command as a user types it, on small trials of three latents on the CPU."""
    small = f"--results {results} --name s -z 3 -b 4 --scheduler none --num-gpus 0 --exact 0 --final-scores"
    command = [sys.executable, str(checkout / "sweeps" / "run.py"), *small.split(), *options.split()]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_end_to_end(tmp_path: Path) -> None:
    """Two short trials: the folder is design.md's, down to the names."""
    process = start_sweep(tmp_path, "--beta 2 8 --lr 1e-3 --steps 4 --eval-every 2 --images 10000")
    output, errors = output_of(process)
    assert process.returncode == DONE, errors
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert record["outcome"] == {"search": "done", "finished": 2, "failures": {}}
    assert len(record["data"]["dsprites"]["sha256"]) == 64
    assert record["format"] == 2
    trials = ranked(read_trials(tmp_path / "s" / "search").read)
    assert {trial.config.value("beta") for trial in trials} == {2.0, 8.0}
    assert all([report["step"] for report in trial.reports] == [2, 4] for trial in trials)
    assert all(trial.best_checkpoint is not None for trial in trials)
    assert all(list(trial.folder.glob("events.out.tfevents.*")) for trial in trials)
    best, report, curves = output.splitlines()[-3:]
    median = sum(trial.last_score for trial in trials) / 2  # what nobody selected
    assert best.startswith(f"best       {trials[0].trial_id}, mig {trials[0].score:.3f}, selected with labels ")
    assert f"(median final score of all trials {median:.3f}): beta " in best
    assert report == f"report     {tmp_path / 's' / 'report' / 'index.html'}"
    assert curves == f"curves     tensorboard --logdir {tmp_path / 's'}"
    assert (tmp_path / "s" / "report" / "index.html").is_file()
    rows = [line for line in output.splitlines() if "checkpoint_" in line]
    assert len(rows) == 2
    assert rows == sorted(rows, reverse=True)
    own_rows = [line.split() for line in output.splitlines() if line.split()[:2] in (["shape", "-"], ["scale", "-"])]
    assert [row[2] for row in own_rows] == ["0.0000"] * 4  # one shape, one scale, for each beta
    assert safetensors.torch.load_file(trials[0].folder / "checkpoint_000000002" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_fails_is_named_and_the_sweep_goes_on(tmp_path: Path, second: Path) -> None:
    """All of it by the code of a second checkout, called from the folder of the first."""
    options = "--beta 4 --lr 1e-3 1e30 --steps 4 --eval-every 2 --no-report"
    process = start_sweep(tmp_path, options, checkout=second)
    output, errors = output_of(process)
    assert process.returncode == FAILED
    (line,) = errors.splitlines()  # with no hint to try it again
    assert "The loss must be finite, but at step 2 it was" in line
    outcome = json.loads((tmp_path / "s" / "sweep.json").read_text())["outcome"]
    assert (outcome["search"], outcome["finished"], outcome["failed"]) == ("done", 1, 1)
    (trial,) = ranked(read_trials(tmp_path / "s" / "search").read)
    assert trial.is_complete
    assert "FAILED" in output
    importers = {note.split()[0] for note in (second / "imported").read_text().splitlines()}
    assert len(importers - {str(process.pid)}) >= 1  # the trials' processes too
    assert not (tmp_path / "s" / "report").exists()
