"""Printing of text that may quote files."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from betavae.errors import InputError
from betavae.text import one_line, printable

_CREDENTIALS = re.compile(r"://[^\s/]*@")


def without_credentials(text: str) -> str:
    """Return a text with `...` in place of the user and password in its URLs."""
    return _CREDENTIALS.sub("://...@", text)


def print_escaped(text: str, *, file: TextIO | None = None) -> None:
    """Print a text with its control characters escaped.

    A closed pipe, as of `head`, is no error: the command's results are the files that it writes.
    """
    stream = sys.stdout if file is None else file
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        _ignore(stream)


def print_error(error: Exception) -> None:
    """Print an error on stderr, in a line."""
    print_escaped(f"error: {one_line(str(error))}", file=sys.stderr)


def _ignore(stream: TextIO) -> None:
    """Let all further output of a closed stream go nowhere; else Python flushes it at exit, and prints an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextmanager
def input_errors_end_the_script() -> Iterator[None]:
    """End this process with exit code 2 and the error in a sentence where the input is wrong or a file fails.

    A closed pipe, as of `head`, ends it without a word.
    """
    try:
        yield
    except BrokenPipeError:
        _ignore(sys.stdout)
        raise SystemExit(0) from None
    except (InputError, OSError) as error:
        print_error(error)
        raise SystemExit(2) from error
