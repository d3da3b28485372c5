"""From the words of a command line to options."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import tyro

from betavae.records.record import read_record
from sweeps.options.config_file import words_of
from sweeps.options.options import AnalysisOptions, Options, PresetName
from sweeps.options.presets import PRESETS
from sweeps.options.recorded_options import options_from_dict
from sweeps.storage.mirror import check_no_secrets, fetched, is_sweep_file

T = TypeVar("T", Options, AnalysisOptions)


def parse_options(arguments: Sequence[str], *, gpus_found: int) -> Options:
    """Read the command line over the values of its preset, or of the sweep it resumes.

    Args:
        arguments: The words after the command's name.
        gpus_found: GPUs of this machine; with one, and no preset named, the values are those of `full`.

    Raises:
        SystemExit: With 0 for `--help`, with 2 for a word that is no option or no value of one.
        ValueError: If `--resume` names no sweep, or `--config` no file of options, or a URL could hold a secret.
    """
    check_no_secrets(arguments)  # first: tyro repeats words that it does not know
    config = _asked(arguments)["config"]
    if config:
        arguments = [*words_of(Path(config)), *arguments]
        check_no_secrets(arguments)
    resumed = _asked(arguments)["resume"]
    if resumed:
        with fetched(resumed, is_sweep_file) as mirror:
            record = read_record(mirror.local)
        return _parse(Options, arguments, command="run.py", default=options_from_dict(record.get("options", {})))
    preset = _default_preset(arguments, gpus_found=gpus_found)
    values = PRESETS[preset]
    values = replace(values, sweep=replace(values.sweep, preset=preset))
    return _parse(Options, arguments, command="run.py", default=values)


def leaves_preset_open(arguments: Sequence[str]) -> bool:
    """Whether a new sweep is asked for, and nothing names its preset."""
    asked = _asked(arguments)
    words = words_of(Path(asked["config"])) if asked["config"] else []
    return not asked["resume"] and _asked([*words, *arguments])["preset"] is None


def parse_analysis_options(arguments: Sequence[str]) -> AnalysisOptions:
    """Read the command line of `analyze.py`.

    Raises:
        SystemExit: As `parse_options`.
        ValueError: If a URL could hold a secret.
    """
    check_no_secrets(arguments)
    return _parse(AnalysisOptions, arguments, command="analyze.py", default=AnalysisOptions(folder=tyro.MISSING))


def _parse(kind: type[T], arguments: Sequence[str], *, command: str, default: T) -> T:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: T = tyro.cli(
                kind,
                args=list(arguments),
                default=default,
                prog=command,
                config=(tyro.conf.OmitArgPrefixes,),
            )
            return parsed
    except SystemExit as ending:
        if ending.code:
            print(f"error: {_first_paragraph(said.getvalue())}; --help lists all options.", file=sys.stderr)
        raise


def _first_paragraph(box: str) -> str:
    """What tyro says below its title, on one line: the error, without the help text that it adds after a rule."""
    _title, *lines = [line.strip("│╰╯ ") for line in box.splitlines()]
    told = itertools.dropwhile(_is_rule, lines)
    return " ".join(itertools.takewhile(lambda line: not _is_rule(line), told)).rstrip(".")


def _is_rule(line: str) -> bool:
    return not line.strip("─-")


def _default_preset(arguments: Sequence[str], *, gpus_found: int) -> PresetName:
    """The preset named on the command line, or the one for its GPUs; a wrong word is left to the parser to refuse."""
    asked = _asked(arguments)
    on_gpus = (gpus_found > 0 or (asked["address"] and asked["num_gpus"])) and asked["num_gpus"] != "0"
    return next((name for name in PRESETS if name == asked["preset"]), "full" if on_gpus else "quick")


def _asked(arguments: Sequence[str]) -> dict[str, str | None]:
    """What the command line says of the options that decide on the defaults of the others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--preset", "--num-gpus", "--resume", "--address", "--config"):
        parser.add_argument(flag, nargs="?")
    return vars(parser.parse_known_args(list(arguments))[0])
