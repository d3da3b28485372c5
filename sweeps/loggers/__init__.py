"""Loggers, which follow the trials of a sweep while they run.

To add a logger, write its class in a module here, and add the class to `LOGGERS` below.
"""

from collections.abc import Sequence

from betavae.errors import InputError
from betavae.parts import Table
from sweeps.loggers.base import Logger
from sweeps.loggers.mlflow_log import MlflowLog
from sweeps.loggers.tensorboard_log import TensorBoardLog
from sweeps.loggers.terminal_log import TerminalLog
from sweeps.loggers.tracker import Tracker
from sweeps.loggers.wandb_log import WandbLog
from sweeps.options.options import Options, SweepOptions

__all__ = ["LOGGERS", "Logger", "TensorBoardLog", "TerminalLog", "Tracker", "check_loggers", "chosen_loggers"]


def check_loggers(options: Options) -> None:
    """Refuse an unknown logger or tracker, and one that cannot follow this sweep.

    Raises:
        InputError: Listing the known names, or with the fix.
    """
    trackers = [name for name, logger in LOGGERS.items() if issubclass(logger, Tracker)]
    _check_names("--loggers", options.sweep.loggers or (), list(LOGGERS))
    _check_names("--track", options.sweep.track or (), trackers)
    for name in chosen_loggers(options.sweep):
        LOGGERS[name].check(options)


def chosen_loggers(options: SweepOptions) -> list[str]:
    """Return the names of the loggers that follow a sweep, each once: `--loggers`, or the defaults; then `--track`."""
    defaults = [name for name, logger in LOGGERS.items() if logger.is_default]
    chosen = defaults if options.loggers is None else options.loggers
    return list(dict.fromkeys((*chosen, *(options.track or ()))))


def _check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{flag} must be some of {', '.join(known)}, but got {name!r}.")


LOGGERS: Table[Logger] = Table("logger", TerminalLog, TensorBoardLog, WandbLog, MlflowLog)
