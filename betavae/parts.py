"""Parts of a trial that are chosen by name: each is a frozen dataclass that owns its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, TypeVar


@dataclass(frozen=True, kw_only=True)
class Part:
    """One choice among several, with its own parameters as fields.

    Attributes:
        name: How the command line and the records call it.
    """

    name: ClassVar[str]


P = TypeVar("P", bound=type[Part])


def table(*parts: P) -> Mapping[str, P]:
    """Return the parts by name, in order.

    Raises:
        ValueError: If two have one name.
    """
    by_name = {part.name: part for part in parts}
    if len(by_name) < len(parts):
        raise ValueError(f"Each part must have a name of its own, but got {[part.name for part in parts]}.")
    return MappingProxyType(by_name)
