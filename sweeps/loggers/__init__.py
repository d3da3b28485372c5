"""What follows the trials of a sweep while they run: adding a logger is a module here, and a line below."""

from collections.abc import Sequence

from betavae.errors import InputError
from betavae.parts import Table
from sweeps.loggers.base import Logger
from sweeps.loggers.tensorboard_log import TensorBoardLog
from sweeps.loggers.terminal_log import TerminalLog

__all__ = ["LOGGERS", "Logger", "TensorBoardLog", "TerminalLog", "check_loggers"]


def check_loggers(names: Sequence[str]) -> None:
    """Refuse what is no logger.

    Raises:
        InputError: If there is none of a name; the message lists those that there are.
    """
    for name in names:
        if name not in LOGGERS:
            raise InputError(f"--loggers must be some of {', '.join(LOGGERS)}, but got {name!r}.")


LOGGERS: Table[Logger] = Table("logger", TerminalLog, TensorBoardLog)
