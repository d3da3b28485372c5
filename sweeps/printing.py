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
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # else Python flushes the stream at exit, and prints an error
        os.close(null)


@contextmanager
def input_errors_end_the_script() -> Iterator[None]:
    """End this process with exit code 2, and the error in a sentence, where the input is wrong."""
    try:
        yield
    except (InputError, OSError) as error:
        print_escaped(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from error
