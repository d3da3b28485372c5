"""Marks in a figure that stand for trials, which a page names where a reader points at them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from matplotlib.artist import Artist

from betavae.records.sweep import name_in_sweep
from betavae.records.trial import Trial

_PREFIX = "trial:"
_GROUP = re.compile(f'id="{_PREFIX}([^"]*)"')
_ID = re.compile(r'\b(id="|xlink:href="#|url\(#)')


def mark(artists: Artist | Iterable[Artist], trial: Trial) -> None:
    """Let artists stand for a trial."""
    for artist in [artists] if isinstance(artists, Artist) else artists:
        artist.set_gid(f"{_PREFIX}{name_in_sweep(trial)}")


def has_marks(svg: str) -> bool:
    """Return whether a figure has marks of trials."""
    return _GROUP.search(svg) is not None


def marked(svg: str, *, name: str) -> str:
    """Return a figure for a page that holds several: marks as `data-trial`, and all other ids of its own.

    Args:
        svg: The figure.
        name: A name that no other figure of the page has.
    """
    return _ID.sub(rf"\g<1>{name}-", _GROUP.sub(r'class="mark" data-trial="\1"', svg))
