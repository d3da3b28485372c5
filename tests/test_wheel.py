"""The wheel: built, installed and used where there is no checkout."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from running import REPOSITORY, output_of, wait_for

from betavae.records.sweep import read_sweep
from sweeps.options.studies import study_names

pytestmark = pytest.mark.slow

SMALL = (
    "--beta 4 -z 3 -b 4 --lr 1e-3 --scheduler none --num-gpus 0 --num-cpus 1 --exact 0 --final-scores "
    "--precision float32 --no-report"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    source, output = (tmp_path_factory.mktemp(name) for name in ("source", "wheels"))
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("betavae", "sweeps", "studies", "tests"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(output), str(source)], check=True, env=environment())
    (path,) = output.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment with the wheel, and with the packages of this one."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, env=environment())
    # after the wheel: pip must see no other installation of this package
    purelib = Path(output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder).strip())
    (purelib / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def environment() -> dict[str, str]:
    """The variables of this process, without those that lead to the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BETAVAE_EXTENSIONS")}


def output(command: list[object], *, cwd: Path) -> str:
    process = start(command, cwd=cwd)
    text, errors = output_of(process)
    assert process.returncode == 0, errors + text
    return text


def start(command: list[object], *, cwd: Path) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(list(map(str, command)), cwd=cwd, env=environment(), **pipes)  # type: ignore[call-overload]


def test_the_wheel_holds_the_packages_with_their_files_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"betavae", "sweeps"}
    assert {f"sweeps/studies/{name}.toml" for name in study_names()} <= names
    assert len(study_names()) >= 5
    for package in ("betavae", "sweeps"):
        files = [path for path in (REPOSITORY / package).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert {str(path.relative_to(REPOSITORY)) for path in files} <= names


def test_the_commands_run_the_code_of_the_wheel(commands: Path, tmp_path: Path) -> None:
    code = "import betavae, sweeps; print(betavae.__file__, sweeps.__file__)"
    for path in output([commands / "python", "-c", code], cwd=tmp_path).split():
        assert Path(path).is_relative_to(commands.parent)
    for name, script in (("betavae-sweep", "sweeps/run.py"), ("betavae-analyze", "sweeps/analyze.py")):
        text = output([commands / name, "--help"], cwd=tmp_path)
        assert text.startswith(f"usage: {name} ")
        of_script = output([sys.executable, REPOSITORY / script, "--help"], cwd=tmp_path)
        assert text.partition("\n")[2] == of_script.partition("\n")[2]


def test_a_study_of_the_wheel_is_planned_by_its_name(commands: Path, tmp_path: Path) -> None:
    """With smaller trials, of which the estimate trains one."""
    words = "--config beta-vae --steps 40 --eval-every 20 --grace-steps 20 -b 4 --num-gpus 0 --num-cpus 1 --dry-run"
    text = output([commands / "betavae-sweep", *words.split()], cwd=tmp_path)
    assert "24 (12 configurations, each with the same 2 seeds) trials, then 5 of the confirmation" in text
    assert f"results    {tmp_path / 'results' / 'beta-vae'}" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
def test_a_sweep_is_interrupted_resumed_and_analysed(commands: Path, tmp_path: Path) -> None:
    """By the commands that the messages print, one of them in another folder."""
    words = f"{SMALL} --steps 60 --eval-every 20 --name s".split()
    process = start([commands / "betavae-sweep", *words], cwd=tmp_path)
    folder = tmp_path / "results" / "s"
    wait_for(lambda: process.poll() is not None or list(folder.glob("search/*/result.json")))
    process.send_signal(signal.SIGTERM)
    _, errors = output_of(process)
    assert process.returncode == 143, errors
    assert errors == f"interrupted; resume with: {commands / 'betavae-sweep'} --resume {folder}\n"
    record = json.loads((folder / "sweep.json").read_text())
    assert record["command"].startswith("betavae-sweep --beta 4 ")
    assert record["git"] is None

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    output([*shlex.split(errors.partition("resume with: ")[2]), "--report"], cwd=elsewhere)
    (trial,) = read_sweep(folder).trials
    assert trial.status == "finished"
    assert (folder / "report" / "index.html").is_file()
    report = elsewhere / "report"
    asked = [commands / "betavae-analyze", folder, "--exact", "0", "--output", report]
    assert output(asked, cwd=elsewhere).splitlines() == [str(report / "index.html")]
    assert list(elsewhere.iterdir()) == [report]
