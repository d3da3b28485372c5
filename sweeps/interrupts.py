"""How a command ends: signals, once to end cleanly and twice to end at once, and output that nobody reads any more."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

_STOP_SEARCH = getattr(signal, "SIGUSR1", signal.SIGINT)
"""What Ray's search takes as the wish to end; while none runs, it interrupts whatever does."""

_HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""What a terminal sends when it is closed, and the shell in it once more."""

_GRACE_SECONDS = 1.0
"""A signal to a whole group of processes may end Ray's before this one has taken it."""

_SHOW_CURSOR = b"\x1b[?25h"  # which the bar hides

_TAKEN = (signal.SIGINT, signal.SIGTERM, _HANGUP)


class Interruption:
    """Which signal has come, if one has.

    Attributes:
        signal: The first one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._is_held = False
        self._passed_on: int | None = None

    @property
    def exit_code(self) -> int:
        """Follow the shells: 130 after Ctrl-C, 143 after SIGTERM, 129 after a hangup."""
        return 128 + (self.signal or signal.SIGINT)

    def watch(self) -> None:
        """Take signals from here on: the first ends a search cleanly, and anything else by KeyboardInterrupt.

        Call it again after Ray's search, which leaves its own handler of one of them.
        """
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # else Ray's search would take Ctrl-C for itself
        self._install(self._take)
        signal.signal(_STOP_SEARCH, _interrupt)  # until Ray's search takes it, which then ends cleanly

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the time of a block."""
        before = {number: signal.getsignal(number) for number in (*_TAKEN, _STOP_SEARCH)}
        self.watch()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, command: Callable[[], int]) -> int:
        """Run a command and return its exit code, also where a signal interrupts it."""
        with self.watching():
            try:
                return command()
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                return self.exit_code

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the first signal wait while a block runs that must not be left half done; `check` raises it then."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def end_lost(self, name: str, *, resume_command: str) -> None:
        """End the process, from any thread, because Ray's `name` has ended: Ray would later, with pages of dumps."""
        last = os.dup(2)
        _send_nowhere(1, 2)
        time.sleep(_GRACE_SECONDS)
        message, code = "interrupted; ", self.exit_code
        if self.signal is None:
            message, code = f"error: Ray's {name} has ended, killed or out of memory; no checkpoint is lost\n", 1
        with contextlib.suppress(OSError):
            if os.isatty(last):
                os.write(last, _SHOW_CURSOR)
            os.write(last, f"{message}go on with: {resume_command}\n".encode())
        os._exit(code)

    def end_at_once(self) -> None:
        """Let the first signal end the process, while there is nothing to tidy up."""
        self._install(self._exit)

    def keep_sigterm(self) -> None:
        """Take SIGTERM in a thread from here on, and pass it on as SIGINT: Ray replaces every handler of it in C.

        Call it before there is any other thread: the signal is blocked in all that start later. Ray's processes are to
        take it as ever.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.register_at_fork(after_in_child=_unblock_sigterm)
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _pass_on(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while True:
            self._passed_on = signal.sigwait({signal.SIGTERM})
            signal.pthread_kill(main, signal.SIGINT)  # to the process, it could go to this thread and wake no other

    def _install(self, handler: object) -> None:
        for number in _TAKEN:
            if number != _HANGUP or signal.getsignal(number) is not signal.SIG_IGN:  # by nohup
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        number = self._sent(number)
        if self.signal is None:
            self.signal = number
            if not self._is_held:
                os.kill(os.getpid(), _STOP_SEARCH)
        elif number != _HANGUP:  # which is sent twice when a terminal is closed
            raise KeyboardInterrupt

    def _exit(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(128 + self._sent(number))

    def _sent(self, number: int) -> int:
        """Return the signal that was sent, which may be the one that was passed on."""
        number, self._passed_on = self._passed_on or number, None
        return number


def begin_script() -> Interruption:
    """Prepare the process of a command, before the imports that take seconds: return what its signals go to.

    Trials import this checkout's packages as the command does; the script's own folder hides no other module; a signal
    ends the process at once; output that nobody reads any more is dropped; a user without a home is given one.
    """
    root = Path(__file__).resolve().parents[1]
    sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != root / "sweeps"]
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(root) if not others else f"{root}{os.pathsep}{others}"
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)
    interruption = Interruption()
    interruption.end_at_once()
    interruption.keep_sigterm()
    _find_home()
    return interruption


@contextmanager
def starting_ray() -> Iterator[None]:
    """Keep two things from the processes that Ray starts: the signal of a closed terminal, and the current folder.

    The driver ends them itself. They would import packages from the current folder before those of this checkout.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {_HANGUP})
    try:
        with contextlib.chdir(Path(__file__).resolve().parents[1]):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _LastingText(io.TextIOWrapper):
    """A stream that takes everything: once a write has failed, the rest goes nowhere.

    Errors are met here and not in the file below: a signal that came there would have its buffer written twice.
    """

    def write(self, text: str, /) -> int:
        """Write, or drop it where the reader or the terminal has gone; say so of any other error."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what waits, likewise."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        _send_nowhere(self.fileno())
        if error.errno not in (errno.EPIPE, errno.EIO):
            with contextlib.suppress(OSError):
                os.write(2, f"warning: output is lost: {error.strerror}\n".encode())


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a standard stream whose writes do not raise; one that is closed is written nowhere."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream or open(os.devnull, "w")  # noqa: SIM115  # as long as the process
    stream.flush()
    return _LastingText(
        open(descriptor, "wb", closefd=False),  # noqa: SIM115  # likewise
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _send_nowhere(*descriptors: int) -> None:
    with open(os.devnull, "w") as nowhere:
        for descriptor in descriptors:
            os.dup2(nowhere.fileno(), descriptor)


def _find_home() -> None:
    """Give a user without a home one in the cache: Ray cannot be imported without, and matplotlib would write there."""
    home, cache = os.path.expanduser("~"), os.environ.get("BETAVAE_CACHE")
    if home == "~" and not cache:
        print(
            "error: This user must have a home or a cache folder, but has neither: set BETAVAE_CACHE (or HOME) to "
            "a folder that can be written and has 400 MB free.",
            file=sys.stderr,
        )
        sys.exit(2)
    if cache and home == "~":
        os.environ["HOME"] = os.path.abspath(cache)
    elif cache and not os.access(home, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", os.path.abspath(os.path.join(cache, "matplotlib")))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _unblock_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
