"""What the commands print, whatever the files that it comes from hold."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from betavae.text import printable


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print a text that may quote files, with its control characters written out.

    A reader that has gone away, as `head` does, is no error: what the command writes to files is what counts.
    """
    stream = sys.stdout if file is None else file
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # else Python tries, and complains, once more as it ends
        os.close(nowhere)
