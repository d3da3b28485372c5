"""Printing of text that may quote files."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

from betavae.text import printable

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
