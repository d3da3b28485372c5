"""Signals and broken output: the first signal ends a command cleanly, the second at once; a closed pipe is no error."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

_STOP_SEARCH = getattr(signal, "SIGUSR1", signal.SIGINT)
"""The signal on which Ray's search ends cleanly. While no search runs, our handler raises KeyboardInterrupt."""

_HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""The signal that a closed terminal sends; the shell in the terminal then sends it again."""

_GRACE_SECONDS = 1.0
"""Time for a signal to reach this process: sent to a process group, it may end Ray's processes first."""

_SHOW_CURSOR = b"\x1b[?25h"  # the progress bar hides the cursor

_HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM, _HANGUP)


class Interruption:
    """The signal handlers of this process, and the first signal received.

    Attributes:
        signal: The number of the first signal; None before it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._is_delayed = False
        self._forwarded: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the first signal, as shells define it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.signal or signal.SIGINT)

    def install_handlers(self) -> None:
        """Let the first signal end Ray's search cleanly, or else raise KeyboardInterrupt; the second always raises it.

        Call this again after Ray's search, which replaces a handler.
        """
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # else Ray's search would handle Ctrl-C itself
        self._install(self._handle)
        signal.signal(_STOP_SEARCH, _interrupt)  # Ray's search replaces this handler while it runs

    @contextmanager
    def handlers(self) -> Iterator[None]:
        """Install the handlers for a block, and restore the earlier ones after it."""
        earlier_handlers = {number: signal.getsignal(number) for number in (*_HANDLED_SIGNALS, _STOP_SEARCH)}
        self.install_handlers()
        try:
            yield
        finally:
            for number, handler in earlier_handlers.items():
                signal.signal(number, handler)

    def run(self, command: Callable[[], int]) -> int:
        """Run a command and return its exit code; if a signal interrupts the command, the signal's exit code."""
        with self.handlers():
            try:
                return command()
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                return self.exit_code

    @contextmanager
    def delay(self) -> Iterator[None]:
        """Delay the first signal during a block that must complete. Call `check` after the block."""
        self._is_delayed = True
        try:
            yield
        finally:
            self._is_delayed = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has been received."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def end_without_ray(self, process: str, *, resume_command: str) -> None:
        """End this process, from any thread, after a process of Ray has ended.

        Ray itself would end this process later, after printing pages of dumps.
        """
        stderr = os.dup(2)
        _redirect_to_null(1, 2)
        time.sleep(_GRACE_SECONDS)
        message, code = "interrupted; ", self.exit_code
        if self.signal is None:
            message, code = f"error: Ray's {process} has ended, killed or out of memory; no checkpoint is lost\n", 1
        with contextlib.suppress(OSError):
            if os.isatty(stderr):
                os.write(stderr, _SHOW_CURSOR)
            os.write(stderr, f"{message}resume with: {resume_command}\n".encode())
        os._exit(code)

    def exit_on_signal(self) -> None:
        """Let the first signal end the process at once, while there is nothing to clean up."""
        self._install(self._exit)

    def forward_sigterm(self) -> None:
        """Receive SIGTERM in a thread, and forward it as SIGINT: Ray's C code replaces every handler of SIGTERM.

        Call this before any other thread starts: threads that start later inherit the blocked signal. Ray's processes
        unblock the signal.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.register_at_fork(after_in_child=_unblock_sigterm)
        threading.Thread(target=self._forward_sigterm, daemon=True).start()

    def _forward_sigterm(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while True:
            self._forwarded = signal.sigwait({signal.SIGTERM})
            signal.pthread_kill(main, signal.SIGINT)  # os.kill could signal this thread, and not wake the main one

    def _install(self, handler: object) -> None:
        for number in _HANDLED_SIGNALS:
            if number != _HANGUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        number = self._original_signal(number)
        if self.signal is None:
            self.signal = number
            if not self._is_delayed:
                os.kill(os.getpid(), _STOP_SEARCH)
        elif number != _HANGUP:  # a closed terminal sends it twice
            raise KeyboardInterrupt

    def _exit(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(128 + self._original_signal(number))

    def _original_signal(self, number: int) -> int:
        """Return the signal that was sent to this process: SIGTERM if `forward_sigterm` has forwarded it."""
        number, self._forwarded = self._forwarded or number, None
        return number


def begin_script() -> Interruption:
    """Prepare the process of a command, before imports that take seconds, and return its signal handlers.

    Trials import this checkout's packages, as the command does. The script's own folder hides no other module. A signal
    ends the process at once. Output to a closed pipe or terminal is discarded. A user without a home folder gets one.
    """
    root = Path(__file__).resolve().parents[1]
    sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != root / "sweeps"]
    if not _is_environment(root):  # where trials look anyway; put first, it could hide modules of Python
        other_paths = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(root) if not other_paths else f"{root}{os.pathsep}{other_paths}"
    sys.stdout, sys.stderr = _robust_stream(sys.stdout, 1), _robust_stream(sys.stderr, 2)
    interruption = Interruption()
    interruption.exit_on_signal()
    interruption.forward_sigterm()
    _set_home()
    return interruption


def _is_environment(root: Path) -> bool:
    """Return whether a folder is that of the packages of this Python environment."""
    return any(Path(sysconfig.get_path(name)).resolve() == root for name in ("purelib", "platlib"))


@contextmanager
def starting_ray() -> Iterator[None]:
    """Block SIGHUP, and change to the checkout's folder, while Ray starts processes, which inherit both.

    The driver ends Ray's processes, not a closed terminal. In another folder, they might import packages from there
    instead of this checkout's.
    """
    earlier_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {_HANGUP})
    try:
        with contextlib.chdir(Path(__file__).resolve().parents[1]):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier_mask)


class _RobustStream(io.TextIOWrapper):
    """A text stream whose writes do not raise: after a failed write, all output is discarded.

    Errors are handled here, not in the buffer below: there, a signal could have the buffer written twice.
    """

    def write(self, text: str, /) -> int:
        """Write a text, or discard it if the write fails. Warn unless the pipe or terminal was closed."""
        try:
            return super().write(text)
        except OSError as error:
            self._discard_output(error)
            return len(text)

    def flush(self) -> None:
        """Write the buffer, or discard it if the write fails."""
        try:
            super().flush()
        except OSError as error:
            self._discard_output(error)

    def _discard_output(self, error: OSError) -> None:
        _redirect_to_null(self.fileno())
        if error.errno not in (errno.EPIPE, errno.EIO):
            with contextlib.suppress(OSError):
                os.write(2, f"warning: output is lost: {error.strerror}\n".encode())


def _robust_stream(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a standard stream whose writes do not raise; for a closed stream, one that discards everything."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream or open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
    stream.flush()
    return _RobustStream(
        open(descriptor, "wb", closefd=False),  # noqa: SIM115  # open until the process ends
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _redirect_to_null(*descriptors: int) -> None:
    with open(os.devnull, "w") as null:
        for descriptor in descriptors:
            os.dup2(null.fileno(), descriptor)


def _set_home() -> None:
    """Set a home folder, which Ray's import needs, in the cache for a user without one; exit if there is no cache.

    For a user whose home is read-only, set a folder in the cache that matplotlib can write to.
    """
    home, cache = os.path.expanduser("~"), os.environ.get("BETAVAE_CACHE")
    if home == "~" and not cache:
        print(
            "error: The user must have a home folder or a cache folder, but has neither: set BETAVAE_CACHE (or HOME) "
            "to a folder that can be written and has 400 MB free.",
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
