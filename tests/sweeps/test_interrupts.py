import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest
from running import REPOSITORY, output_of

from sweeps.interrupts import Interruption

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
BEGIN = (
    "import os, signal, subprocess, sys, time\nfrom sweeps.interrupts import begin_script\nsignals = begin_script()\n"
)
WAIT = "print('ready', flush=True)\nwhile True:\n    time.sleep(0.05)\n"
"""In short sleeps: Python sees a signal that comes just before a sleep only after it."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup, for the scripts started here
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script that has begun as run.py and analyze.py begin."""
    started = []

    def start(program: str, **options: object) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
        command = [sys.executable, "-c", BEGIN + program]
        started.append(subprocess.Popen(command, **(pipes | options)))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_each_signal_interrupts_and_decides_the_exit_code(number: int, code: int) -> None:
    interruption = Interruption()
    interruption.install_handlers()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert (interruption.signal, interruption.exit_code) == (number, code)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ends_a_search_cleanly_and_the_second_everything(number: int) -> None:
    interruption, asked = Interruption(), []
    interruption.install_handlers()
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))  # as Ray's search takes it
    os.kill(os.getpid(), number)
    assert (asked, interruption.signal) == ([True], number)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_two_hangups_are_one_since_a_shell_sends_its_own_when_a_terminal_is_closed() -> None:
    interruption, asked = Interruption(), []
    interruption.install_handlers()
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    assert (asked, interruption.exit_code) == ([True], 129)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption().handlers():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)


def test_a_signal_waits_for_what_must_not_be_left_half_done() -> None:
    interruption = Interruption()
    interruption.install_handlers()
    with interruption.delay():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    assert interruption.exit_code == 143


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("then", ["", f"def wait():\n{indent(WAIT, '    ')}sys.exit(signals.run(wait))\n"])
def test_a_script_that_is_interrupted_says_so_and_no_more(start: Start, then: str, number: int, code: int) -> None:
    """While it imports, and while it runs."""
    process = start(then + WAIT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert output_of(process) == ("", "interrupted\n")
    assert process.returncode == code


def test_sigterm_is_taken_also_where_c_code_replaces_its_handler(start: Start) -> None:
    """As Ray's core worker does, whose own ends the process with a dump."""
    process = start("import ctypes\nctypes.CDLL(None).signal(signal.SIGTERM, 0)\n" + WAIT)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert output_of(process) == ("", "interrupted\n")
    assert process.returncode == 143


def test_the_processes_of_ray_take_sigterm_and_no_hangup(start: Start) -> None:
    """A terminal that is closed sends that to all of them, and the driver ends them itself."""
    process = start(
        "from sweeps.interrupts import starting_ray\n"
        "with starting_ray():\n"
        "    child = subprocess.Popen(['sleep', '1000'], preexec_fn=lambda: None)\n"
        "child.send_signal(signal.SIGHUP)\n"
        "child.terminate()\n"
        "print(child.wait())"
    )
    assert output_of(process) == (f"{-signal.SIGTERM}\n", "")


def test_ray_starts_where_no_other_packages_lie(start: Start, tmp_path: Path) -> None:
    program = "with starting_ray(): print(os.getcwd())\nprint(os.getcwd())"
    process = start(f"from sweeps.interrupts import starting_ray\nos.chdir({str(tmp_path)!r})\n{program}")
    assert output_of(process)[0].split() == [str(REPOSITORY), str(tmp_path)]


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        ("", 1, "error: Ray's raylet has ended, killed or out of memory; no checkpoint is lost\nresume with: it\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); ", 143, "interrupted; resume with: it\n"),
    ],
)
def test_the_end_of_ray_is_said_in_two_lines_unless_a_signal_to_all_has_caused_it(
    start: Start, sent: str, code: int, message: str
) -> None:
    process = start(
        f"with signals.handlers(), signals.delay():\n    {sent}signals.end_without_ray('raylet', resume_command='it')\n"
    )
    assert output_of(process) == ("", message)
    assert process.returncode == code


def test_output_that_nobody_reads_any_more_is_dropped_and_the_work_goes_on(start: Start) -> None:
    """As after `| head -1`, or after Ctrl-C with `| tee log`, which ends tee too."""
    reader, writer = os.pipe()
    process = start(
        "for line in range(100_000): print(line)\n"
        "subprocess.run(['echo', 'of a child'], check=True)\n"
        "print('done', file=sys.stderr)",
        stdout=writer,
    )
    os.close(writer)
    os.close(reader)
    assert output_of(process)[1] == "done\n"
    assert process.returncode == 0


def test_output_that_cannot_be_written_is_said_to_be_lost_once(start: Start) -> None:
    with open("/dev/full", "w") as full:
        process = start("for line in range(100_000): print(line)", stdout=full)
    assert output_of(process)[1] == "warning: output is lost: No space left on device\n"
    assert process.returncode == 0


def test_streams_that_are_closed_are_no_error(tmp_path: Path) -> None:
    program = f"{BEGIN}print('x')\nprint('x', file=sys.stderr)\nopen({str(tmp_path / 'done')!r}, 'w')"
    subprocess.run(["bash", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, program], cwd=REPOSITORY, check=True)
    assert (tmp_path / "done").exists()


def test_a_user_without_a_home_gets_one_in_the_cache_or_is_asked_for_it(start: Start, tmp_path: Path) -> None:
    nobody = "import pwd\ndef no_entry(uid): raise KeyError(uid)\npwd.getpwuid = no_entry\n"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "BETAVAE_CACHE")}
    command = [sys.executable, "-c", f"{nobody}{BEGIN}print(os.path.expanduser('~'))"]
    refused = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "set BETAVAE_CACHE (or HOME)" in refused.stderr
    assert refused.stderr.count("\n") == 1
    environment["BETAVAE_CACHE"] = str(tmp_path)
    given = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert given.stdout == f"{tmp_path}\n"
