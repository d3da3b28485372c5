"""Copies the tables of docs/results.md to docs/results.json, as values.

python studies/tables.py

Some studies were run on machines whose folders are gone: what their tables say can be read by programs there. A test
fails while the two files differ.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.files import replace_json

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT, RESULTS = ROOT / "docs" / "results.md", ROOT / "docs" / "results.json"

_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d*\.?\d+)")


def tables_of(text: str) -> list[dict[str, Any]]:
    """Return the tables of a Markdown text: the heading above each, its columns, and its rows.

    A cell that is one number is that number; any other is its text, without marks of bold type and of code.
    """
    tables: list[dict[str, Any]] = []
    heading, lines = "", text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|") and number + 1 < len(lines) and lines[number + 1].startswith("|---"):
            tables.append({"heading": heading, "columns": _cells(line), "rows": []})
        elif line.startswith("|") and not line.startswith("|---"):
            tables[-1]["rows"].append([_value(cell) for cell in _cells(line)])
    return tables


def _cells(line: str) -> list[str]:
    return [re.sub(r"[*`]", "", cell).strip() for cell in line.strip().strip("|").split("|")]


def _value(cell: str) -> str | float:
    return float(cell.replace(",", "")) if _NUMBER.fullmatch(cell) else cell


def main() -> None:
    """Write the tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    results = json.loads(RESULTS.read_text())
    replace_json(RESULTS, {**results, "tables": tables_of(DOCUMENT.read_text())})


if __name__ == "__main__":
    main()
