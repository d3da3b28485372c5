"""The documentation: its examples run, and its links lead somewhere."""

import doctest
import re
import warnings
from dataclasses import is_dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from betavae.config import PARTS, parameters_by_name
from betavae.objectives import OBJECTIVES
from sweeps.options.fields import flag, options_of
from sweeps.options.options import AnalysisOptions, Options

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_examples_of_the_library_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OBJECTIVES, "_parts", dict(OBJECTIVES._parts))  # one example adds to it
    results = doctest.testfile(str(REPOSITORY / "docs" / "library.md"), module_relative=False)
    assert results.attempted > 15
    assert results.failed == 0


def test_the_notebook_runs_and_shows_its_figure(write_sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = REPOSITORY / "examples" / "notebook.ipynb"
    notebook = nbformat.read(path, as_version=4)
    folder = write_sweep(tmp_path / "study", {"a": {"migs": [0.2]}, "b": {"migs": [0.1], "seed": 1}})
    monkeypatch.setenv("SWEEP", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own
        NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs[0].text.startswith("a  mig 0.200")
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert "recorded 0.2000" in outputs[-1].text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_named_exist(page: Path) -> None:
    groups = [*map(type, vars(Options()).values()), AnalysisOptions]
    names = {name for group in groups if is_dataclass(group) for name in options_of(group)}
    known = {flag(name) for name in (*names, *PARTS, *parameters_by_name())} | {"--no-report", "--help"}
    commands = re.findall(r"(?:run|analyze)\.py[^\n`']*", page.read_text())
    used = {option for command in commands for option in re.findall(r"--[a-z][a-z-]+", command)}
    assert used <= known | {"--logdir"}
