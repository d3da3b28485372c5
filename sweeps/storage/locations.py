"""Locations of results: a path of this machine, or a URL, which must not hold a key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from betavae.errors import InputError
from sweeps.storage.private_folder import check_private, copies_folder

_LIKE_URL = re.compile(r"(--?[\w-]+=)?\s*[A-Za-z][\w+.-]+:[/\\]|.*://", re.DOTALL)
"""A word that is a URL, or meant as one; a drive of Windows has one letter."""

_PLAIN_URL = re.compile(r"[A-Za-z][\w+.-]*://([\w.-]*|\[[\da-fA-F:.]+\])(:\d+)?(/[^@?#\\]*)?", re.ASCII)
"""A URL with no place for a key or an option: scheme, host and port, path."""

_CLEAR_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*://)([^/@?#\\%]*@)?(?P<place>[\w.-]+(:\d+)?(/[^@?#\\%]*)?)([?#][^@?#\\%]*)?", re.ASCII
)
"""A URL whose key and options, if it has any, are surely in their places. A secret may hold slashes and more."""


def is_remote(location: str) -> bool:
    """Whether a location is a URL, and no path of this machine."""
    return "://" in location


def resolved(location: str) -> str:
    """A location in full: an absolute path, or a URL without a slash at its end.

    Raises:
        InputError: As `check_no_secrets`.
    """
    check_no_secrets([location])
    if not is_remote(location):
        return str(Path(location).expanduser().resolve())
    return location.rstrip("/")


def check_no_secrets(words: Sequence[str]) -> None:
    """See that no word is a URL that could hold a key or an option, which would be written down with it.

    To be called before any other message shows the words: this one never shows a secret.

    Raises:
        InputError: If one is, or is meant as a URL and is none.
    """
    for word in filter(_LIKE_URL.match, words):
        url = re.sub(r"^--?[\w-]+=", "", word)
        if not (_PLAIN_URL.fullmatch(url) and _PLAIN_URL.fullmatch(_decoded(url))):
            raise InputError(
                f"{_without_secrets(url)} must be given without keys and options, since it is written down, and as "
                "SCHEME://HOST/PATH; put keys in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_ENDPOINT_URL_S3)."
            )


def check_location(location: str) -> None:
    """Refuse what cannot hold results, as far as that is known without reaching storage.

    Raises:
        InputError: As `resolved`; for a URL, also if this user's folder for copies is not safe.
    """
    if is_remote(resolved(location)):
        check_private(copies_folder())


def joined(location: str, name: str) -> str:
    """The location of what is called `name` in it."""
    return f"{location}/{name}"


def _decoded(url: str) -> str:
    """Return a URL without percent-encoding, however often it was encoded."""
    while (decoded := unquote(url)) != url:
        url = decoded
    return url


def _without_secrets(url: str) -> str:
    """Return what is surely no secret of a URL that may hold one: its scheme, and the rest where there is no doubt."""
    if clear := _CLEAR_URL.fullmatch(url):
        return clear["scheme"] + clear["place"]
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", url)
    return f"{scheme[0]}://..." if scheme else "A URL"
