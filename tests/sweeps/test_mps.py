"""NVIDIA's service, by a program of the same name that makes and deletes its pipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import command_of, wait_for

from sweeps import mps
from sweeps.mps import multi_process_service

CONTROL = """#!/bin/sh
log="$MPS_TEST_LOG"
if [ "$1" = -f ]; then
  touch "$CUDA_MPS_PIPE_DIRECTORY/control"
  echo "start${CUDA_VISIBLE_DEVICES+:selected}" >> "$log"
  while [ -e "$CUDA_MPS_PIPE_DIRECTORY/control" ]; do sleep 0.02; done
  echo end >> "$log"
else
  read -r word
  echo "$word" >> "$log"
  rm "$CUDA_MPS_PIPE_DIRECTORY/control"
fi
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the program has done; the program is found first."""
    program = tmp_path / "bin" / "nvidia-cuda-mps-control"
    program.parent.mkdir()
    program.write_text(CONTROL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MPS_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    return tmp_path / "log"


def test_it_runs_meanwhile_for_new_processes_and_ends(log: Path) -> None:
    with multi_process_service() as runs:
        assert runs
        folder = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
        assert folder.stat().st_mode & 0o077 == 0
        assert log.read_text().split() == ["start"]
    assert log.read_text().split() == ["start", "quit", "end"]
    assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    assert not folder.exists()


def test_it_serves_all_gpus_and_leaves_the_environment_as_it_was(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would number those of a selection anew, and processes with the same selection would find none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("CUDA_MPS_LOG_DIRECTORY", "/somewhere")
    with multi_process_service() as runs:
        assert runs
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert log.read_text().split() == ["start", "quit", "end"]
    assert os.environ["CUDA_MPS_LOG_DIRECTORY"] == "/somewhere"


def test_a_service_that_does_not_end_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "_END_SECONDS", 0.2)
    program = log.parent / "bin" / "nvidia-cuda-mps-control"
    program.write_text(CONTROL.replace('rm "$CUDA_MPS_PIPE_DIRECTORY/control"', "exec sleep 98765"))
    with multi_process_service() as runs:
        assert runs
        folder = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
    left = [command_of(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
    assert left
    assert not [command for command in left if folder in command or "sleep 98765" in command]


def test_it_ends_when_the_process_that_started_it_is_killed(log: Path) -> None:
    code = "import os, signal\nfrom sweeps.mps import multi_process_service\n"
    code += "with multi_process_service():\n    print(os.environ['CUDA_MPS_PIPE_DIRECTORY'], flush=True)\n"
    code += "    os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: log.read_text().split() == ["start", "quit", "end"])
    wait_for(lambda: not Path(killed.stdout.strip()).exists())


def test_the_service_of_the_user_is_used(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/somewhere")
    with multi_process_service() as runs:
        assert runs
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == "/somewhere"
    assert not log.exists()


def test_it_does_without_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with multi_process_service() as runs:
        assert not runs
    assert "nvidia-cuda-mps-control is missing" in capsys.readouterr().err
    assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ


def test_it_does_without_a_program_that_ends_at_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "_START_SECONDS", 0.2)
    program = log.parent / "bin" / "nvidia-cuda-mps-control"
    program.write_text("#!/bin/sh\nexit 1\n")
    with multi_process_service() as runs:
        assert not runs
