"""Options as a sweep's record keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.options.options import (
    ConfirmOptions,
    Options,
    ReportOptions,
    ResourceOptions,
    SearchOptions,
    SweepOptions,
    TrialOptions,
)
from sweeps.search.axes import Range, read_axis

_OF_ONE_RUN = ("config", "dry_run", "resume", "retry_failed", "quiet", "verbose")
"""Options that say nothing of the sweep, and are not recorded with it."""


def options_from_dict(groups: Mapping[str, Mapping[str, Any]]) -> Options:
    """Options from what `options_to_dict` gives.

    Raises:
        ValueError: If a name or a value is none that an option has.
    """
    confirm = groups.get("confirm", {})  # older sweeps have none, or seeds of none: they can have one now
    if confirm.get("confirm") is None:
        confirm = {}
    try:
        return Options(
            sweep=SweepOptions(**groups["sweep"]),
            resources=ResourceOptions(**groups["resources"]),
            search=SearchOptions(**{name: read_axis(value) for name, value in groups["search"].items()}),
            trial=TrialOptions(**groups["trial"]),
            confirm=ConfirmOptions(**confirm),
            report=ReportOptions(**groups["report"]),
        )
    except KeyError as error:
        raise ValueError(f"A sweep's record must hold its options, but the group {error} is missing.") from error
    except TypeError as error:
        raise ValueError(f"The options of a sweep must be those that run.py has, but: {error}.") from error


def options_to_dict(options: Options) -> dict[str, dict[str, Any]]:
    """Options as JSON has them, group by group; a range as it is written on the command line."""
    return {
        group: {name: _plain(value) for name, value in vars(values).items() if name not in _OF_ONE_RUN}
        for group, values in vars(options).items()
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Range) else value
