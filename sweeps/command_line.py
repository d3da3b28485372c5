"""From the words of a command line to options."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace

import tyro

from sweeps.options import Options, PresetName
from sweeps.presets import PRESETS


def parse_options(arguments: Sequence[str], *, default_preset: PresetName) -> Options:
    """Read the command line over the values of its preset.

    Raises:
        SystemExit: With 0 for `--help`, with 2 for a word that is no option or no value of one.
    """
    preset = _preset_of(arguments) or default_preset
    values = PRESETS[preset]
    values = replace(values, sweep=replace(values.sweep, preset=preset))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                Options, args=list(arguments), default=values, prog="run.py", config=(tyro.conf.OmitArgPrefixes,)
            )
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


def _preset_of(arguments: Sequence[str]) -> PresetName | None:
    """The preset named on the command line; a wrong one is left to the parser to refuse."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    named = parser.parse_known_args(list(arguments))[0].preset
    return next((name for name in PRESETS if name == named), None)
