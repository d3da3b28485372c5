"""The commands that messages print: as the process was started, and such that a shell finds them."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from sweeps.interrupts import _is_environment
from sweeps.invocation import words_of_command, words_to_type
from sweeps.options.command_line import parse_options
from sweeps.storage.sweep_folder import SweepFolder, _git_state


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with the installed commands."""
    folder = tmp_path / "a b" / "bin"
    folder.mkdir(parents=True)
    for name in ("betavae-sweep", "betavae-analyze"):
        (folder / name).touch(mode=0o755)
    return folder


def test_a_script_of_a_checkout_is_printed_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for started in ("sweeps/run.py", "/x/sweeps/run.py", "/usr/bin/pytest", ""):
        monkeypatch.setattr("sys.argv", [started])
        assert words_of_command("betavae-sweep") == words_to_type("betavae-sweep") == ["python", "sweeps/run.py"]
        assert words_to_type("betavae-analyze") == ["python", "sweeps/analyze.py"]


def test_an_installed_command_has_its_name_where_a_shell_finds_it(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [str(commands / "betavae-sweep")])
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    for name in ("betavae-sweep", "betavae-analyze"):
        assert words_of_command(name) == words_to_type(name) == [name]


@pytest.mark.parametrize("has_other", [False, True])
def test_an_installed_command_has_its_path_elsewhere(
    has_other: bool, commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the name finds the command of another environment."""
    monkeypatch.setattr("sys.argv", [str(commands / "betavae-analyze")])
    other = tmp_path / "other"
    other.mkdir()
    if has_other:
        (other / "betavae-sweep").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    assert words_to_type("betavae-sweep") == [str(commands / "betavae-sweep")]
    assert words_of_command("betavae-sweep") == ["betavae-sweep"]  # what records and the help show


def test_records_and_messages_use_them(commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(commands / "betavae-sweep"), "--beta", "4"])
    options = parse_options(["--results", str(tmp_path), "--name", "s"], gpus_found=0)
    folder = SweepFolder.create(options, data={}, arguments=["--name", "s"])
    folder.close()
    expected = [str(commands / "betavae-sweep"), "--resume", str(tmp_path / "s")]
    assert shlex.split(folder.resume_command) == expected
    assert folder._record["command"] == "betavae-sweep --name s"


def test_the_repository_around_an_environment_is_not_that_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment may lie within a project, whose commit says nothing of the packages in it."""
    packages = tmp_path / ".venv" / "site-packages"
    packages.mkdir(parents=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    for root, has_commit in ((tmp_path, True), (packages, False)):
        monkeypatch.setattr("sweeps.storage.sweep_folder._ROOT", root)
        assert (_git_state() is not None) == has_commit


def test_the_packages_of_the_environment_are_told_from_a_checkout() -> None:
    assert _is_environment(Path(sysconfig.get_path("purelib")).resolve())
    assert not _is_environment(Path(__file__).parents[2])
