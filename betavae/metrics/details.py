"""Checks of a score's details that were read from a file. Each raises an `InputError` that names the detail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from betavae.errors import InputError
from betavae.metrics.base import Score, check_number, require


def check_detail_number(score: Score, name: str) -> None:
    """Check that a detail is a finite number.

    Raises:
        InputError: If it is not.
    """
    check_number(f"details.{name}", score.details.get(name))


def check_by_factor(score: Score, name: str, *, factors: Iterable[str] | None = None) -> int:
    """Check that a detail holds a finite number for each factor, and return the number of factors.

    Args:
        score: The score.
        name: The detail's name.
        factors: Names of the factors; any names if None.

    Raises:
        InputError: If the detail is empty or of another type, or names other factors.
    """
    values = score.details.get(name)
    if not isinstance(values, dict) or not values or (factors is not None and values.keys() != set(factors)):
        raise InputError(f"details.{name} must name the factors" + (" of by_factor" if factors is not None else ""))
    for factor, value in values.items():
        check_number(f"details.{name}.{factor}", value)
    return len(values)


def check_matched_latents(score: Score) -> None:
    """Check that `matched_latents` holds the number of a latent for each factor of `by_factor`.

    Raises:
        InputError: If it does not.
    """
    check_by_factor(score, "matched_latents", factors=score.by_factor)
    for factor, latent in score.details["matched_latents"].items():
        require(type(latent) is int, f"details.matched_latents.{factor}", "a whole number", latent)


def check_by_latent(score: Score, name: str) -> int:
    """Check that a detail is a list of finite numbers, one per latent, and return their number.

    Raises:
        InputError: If it is not.
    """
    entries = _entries(score, name)
    for value in entries:
        check_number(f"details.{name}", value)
    return len(entries)


def check_flags(score: Score, name: str) -> int:
    """Check that a detail is a list of truth values, one per latent, and return their number.

    Raises:
        InputError: If it is not.
    """
    entries = _entries(score, name)
    for value in entries:
        require(isinstance(value, bool), f"details.{name}", "true or false", value)
    return len(entries)


def check_matrix(score: Score, name: str, *, num_rows: int | None = None, num_columns: int | None = None) -> None:
    """Check that a detail is a list of rows, one per latent, of finite numbers, one per factor.

    Args:
        score: The score.
        name: The detail's name.
        num_rows: Number of latents; any number if None.
        num_columns: Number of factors; any number, the same in every row, if None.

    Raises:
        InputError: If it is not.
    """
    rows = _entries(score, name)
    if num_rows not in (None, len(rows)):
        raise InputError(f"details.{name} must have a row for each of {num_rows} latents")
    if any(not isinstance(row, list) for row in rows):
        raise InputError(f"details.{name} must be a list of rows")
    for row in rows:
        wanted = len(rows[0]) if num_columns is None else num_columns
        if len(row) != wanted:
            raise InputError(f"details.{name} must have a column for each of {wanted} factors")
        for value in row:
            check_number(f"details.{name}", value)


def _entries(score: Score, name: str) -> list[Any]:
    values = score.details.get(name)
    if not isinstance(values, list) or not values:
        raise InputError(f"details.{name} must be a list with an entry for each latent")
    return values
