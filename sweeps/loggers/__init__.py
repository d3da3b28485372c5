"""Loggers, which follow the trials of a sweep while they run.

To add a logger, write its class in a module here, and add the class to `LOGGERS` below.
"""

from collections.abc import Sequence

from betavae.errors import InputError
from betavae.parts import Table
from sweeps.loggers.base import Logger
from sweeps.loggers.tensorboard_log import TensorBoardLog
from sweeps.loggers.terminal_log import TerminalLog

__all__ = ["LOGGERS", "Logger", "TensorBoardLog", "TerminalLog", "check_loggers"]


def check_loggers(names: Sequence[str]) -> None:
    """Refuse an unknown logger.

    Raises:
        InputError: Listing the known names.
    """
    for name in names:
        if name not in LOGGERS:
            raise InputError(f"--loggers must be some of {', '.join(LOGGERS)}, but got {name!r}.")


LOGGERS: Table[Logger] = Table("logger", TerminalLog, TensorBoardLog)
