"""Locations of results: a path on this machine, or a URL, which must not hold a secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from betavae.errors import InputError
from sweeps.storage.private_folder import check_private, copies_folder

_LIKE_URL = re.compile(r"(--?[\w-]+=)?\s*[A-Za-z][\w+.-]+:[/\\]|.*://", re.DOTALL)
"""Matches a word that is a URL or looks like an attempt at one. A Windows drive has one letter, a scheme has more."""

_PLAIN_URL = re.compile(r"[A-Za-z][\w+.-]*://([\w.-]*|\[[\da-fA-F:.]+\])(:\d+)?(/[^@?#\\]*)?", re.ASCII)
"""Matches a URL without user, query or fragment, which could hold a secret: scheme, host, port and path alone."""

_CLEAR_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*://)([^/@?#\\%]*@)?(?P<place>[\w.-]+(:\d+)?(/[^@?#\\%]*)?)([?#][^@?#\\%]*)?", re.ASCII
)
"""Matches a URL whose scheme and place certainly hold no secret. A secret may contain slashes and other separators."""


def is_remote(location: str) -> bool:
    """Return whether a location is a URL, as opposed to a path on this machine."""
    return "://" in location


def full_location(location: str) -> str:
    """Return an absolute path, or a URL without a slash at its end.

    Raises:
        InputError: See `check_no_secrets`.
    """
    check_no_secrets([location])
    if not is_remote(location):
        return str(Path(location).expanduser().resolve())
    return location.rstrip("/")


def check_no_secrets(words: Sequence[str]) -> None:
    """Refuse a URL that could hold a key or an option: it would be written down with the secret.

    Call this before any other check quotes the words: this message never shows a secret, others may.

    Raises:
        InputError: If a word is such a URL, or a malformed URL.
    """
    for word in filter(_LIKE_URL.match, words):
        url = re.sub(r"^--?[\w-]+=", "", word)
        if not (_PLAIN_URL.fullmatch(url) and _PLAIN_URL.fullmatch(_decoded_url(url))):
            raise InputError(
                f"{_url_without_secrets(url)} must be given without keys and options, since it is written down, and as "
                "SCHEME://HOST/PATH; put keys in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_ENDPOINT_URL_S3)."
            )


def check_location(location: str) -> None:
    """Refuse a location that cannot hold results, without contacting storage.

    Raises:
        InputError: See `full_location`; for a URL, also if the user's folder for copies is not private.
    """
    if is_remote(full_location(location)):
        check_private(copies_folder())


def child_location(location: str, name: str) -> str:
    """Return the location of the file or folder `name` in a folder."""
    return f"{location}/{name}"


def _decoded_url(url: str) -> str:
    """Return a URL without percent-encoding, even if it was encoded several times."""
    while (decoded_url := unquote(url)) != url:
        url = decoded_url
    return url


def _url_without_secrets(url: str) -> str:
    """Return the part of a URL that certainly holds no secret: the scheme, and the place if it is unambiguous."""
    if match := _CLEAR_URL.fullmatch(url):
        return match["scheme"] + match["place"]
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", url)
    return f"{scheme[0]}://..." if scheme else "A URL"
