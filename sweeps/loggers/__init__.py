"""What follows the trials of a sweep while they run: adding a logger is a module here, and a line below."""

from betavae.parts import Table
from sweeps.loggers.base import Logger
from sweeps.loggers.tensorboard_log import TensorBoardLog
from sweeps.loggers.terminal_log import TerminalLog

__all__ = ["LOGGERS", "Logger", "TensorBoardLog", "TerminalLog"]

LOGGERS: Table[Logger] = Table("logger", TerminalLog, TensorBoardLog)
