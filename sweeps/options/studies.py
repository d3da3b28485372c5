"""The studies of docs/results.md, which are installed with this package."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "studies"


def study_names() -> list[str]:
    """Return the names of the studies, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def study_file(name: str) -> Path | None:
    """Return the file of a study; None if no study has the name."""
    return _FOLDER / f"{name}.toml" if name in study_names() else None
