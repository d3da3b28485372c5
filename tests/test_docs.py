"""The documentation: its examples run, its commands are accepted, and its links lead somewhere."""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from official_files import write_own_file
from pictures import SHA256, SOURCES, sources_sha256
from PIL import Image
from tables import DOCUMENT, RESULTS, tables_of

from betavae.config import PARTS, parameters_by_name
from betavae.parts import field_of_part, parameters_of
from betavae.records.sweep import read_sweep
from sweeps.options.command_line import parse_analysis_options, parse_options
from sweeps.options.fields import flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options
from sweeps.search.plan import num_trials

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_examples_of_the_library_run() -> None:
    results = doctest.testfile(str(DOCS / "library.md"), module_relative=False)
    assert results.attempted > 25
    assert results.failed == 0


def outputs_of_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch, *, steps: int = 600) -> list[Any]:
    """What the cells of the example print and show, on the sweep of a folder."""
    path = REPOSITORY / "examples" / "notebook.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("--steps 600 --eval-every 100", f"--steps {steps} --eval-every {steps // 2}")
    monkeypatch.setenv("SWEEP", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            startup_timeout=3600,  # of seconds: a busy machine is no fault
            iopub_timeout=3600,  # after 4, by default, a cell's outputs are lost
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_reads_a_sweep(write_sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_sweep(tmp_path / "study", {"a": {"migs": [0.2]}, "b": {"migs": [0.1], "seed": 1}})
    outputs = outputs_of_notebook(folder, monkeypatch)
    assert outputs[0].text.startswith("a  mig 0.200")
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("recorded 0.2000" in output.get("text", "") for output in outputs)
    assert "README.md" in outputs[-1].text


@pytest.mark.slow  # a sweep
@pytest.mark.ray
def test_the_notebook_starts_its_own_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "README.md" in outputs_of_notebook(tmp_path / "new", monkeypatch, steps=8)[-1].text
    assert len(read_sweep(tmp_path / "new").trials) == 4


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
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:betavae|sweeps|tests|studies|benchmarks|deploy|docs|examples)/[\w./-]*)`", page.read_text()
    )
    example = "betavae/objectives/free_bits.py"  # of design.md: where a part would go
    assert [path for path in named if not (REPOSITORY / path).exists() and path != example] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_named_exist(page: Path) -> None:
    kinds = [*(type(getattr(Options(), group)) for group in GROUPS), AnalysisOptions]
    names = [*(name for kind in kinds for name in options_of(kind)), *PARTS, *parameters_by_name()]
    parts = [part for table in PARTS.values() for part in table.values()]
    names += [field_of_part(part.name, name) for part in parts for name in parameters_of(part)]
    known = {flag(name) for name in names} | {"--no-report", "--help"}
    commands = re.findall(r"(?:run|analyze)\.py[^\n`']*", page.read_text())
    used = {option for command in commands for option in re.findall(r"--[a-z][a-z-]+(?:\.[a-z-]+)?", command)}
    assert used <= known | {"--logdir", "--free-nats"}  # TensorBoard's, and that of design.md's example


def commands_of(page: Path) -> list[str]:
    """The commands of a page's blocks, each in a line, without comments, and with 0 for a loop's variable."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").replace("$seed", "0").splitlines()
    return [line.partition("#")[0].strip() for line in lines]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})
STARTING = [
    command
    for command in COMMANDS
    if command.startswith("python sweeps/run.py")
    # the others print the help, need a sweep or a file that is not here, or the module of design.md
    and not any(word in command for word in ("--help", "--resume", "results/NAME", "study.toml", "free-bits"))
]


@pytest.mark.parametrize("command", STARTING)
def test_a_command_that_starts_a_sweep_is_accepted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails where an option or a value of it is gone."""
    monkeypatch.chdir(REPOSITORY)
    if "mine.npz" in command:
        monkeypatch.chdir(tmp_path)
        write_own_file(tmp_path / "mine.npz")
    options = parse_options(shlex.split(command)[2:], gpus_found=0)
    options.check()
    assert num_trials(options) > 0


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("python sweeps/analyze.py")])
def test_a_command_that_analyzes_is_accepted(command: str) -> None:
    assert parse_analysis_options(shlex.split(command)[2:]).folder


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that design.md writes, block by block."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "design.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 6
    (tmp_path / "my_lab.py").write_text("\n".join(blocks))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("BETAVAE_EXTENSIONS", "my_lab")


def output_of(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_parts_that_design_adds_are_on_the_command_line(my_lab: None) -> None:
    text = " ".join(output_of("sweeps/run.py", "--help").split())
    helps = (
        "KL that each latent may have at no cost. (free-bits)",
        "Hidden units. (dense)",
        "(laplace)",
        "`squares`: ",
    )
    for help_text in helps:
        assert help_text in text
    (command,) = [each for each in commands_of(DOCS / "design.md") if "--dry-run" in each]
    plan = output_of(*shlex.split(command)[1:])
    assert "24 trials" in plan
    assert "free-bits, beta 1, free nats 0.5" in plan


@pytest.mark.slow
def test_the_parts_that_design_adds_keep_the_contracts_of_their_tables(my_lab: None) -> None:
    parts = "free-bits or dense or laplace or squares or best_latent"
    text = output_of("-m", "pytest", "tests/contracts", "-q", "-p", "my_lab", "-k", parts, "-p", "no:cacheprovider")
    assert int(text.rpartition(" passed")[0].split()[-1]) >= 50, text


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_over_the_parts_that_design_adds_is_ranked_and_logged(my_lab: None, tmp_path: Path) -> None:
    options = (
        "--dataset squares --architecture dense --width 4 --likelihood laplace --objective free-bits --free-nats 0.5 "
        "-z 2 --beta 4 --lr 1e-3 --steps 20 --eval-every 10 --scheduler none --rank-by best_latent --num-gpus 0 "
        "--loggers json-lines --no-report"
    )
    output = output_of("sweeps/run.py", *options.split(), "--results", str(tmp_path), "--name", "lab")
    header = next(line for line in output.splitlines() if line.split()[:1] == ["best_latent"]).split()
    assert header[1:5] == ["side", "x", "y", "beta"]
    assert len((tmp_path / "lab" / "reports.jsonl").read_text().splitlines()) == 3


def test_the_tables_of_the_results_are_there_as_values() -> None:
    """`python studies/tables.py` copies them."""
    assert json.loads(RESULTS.read_text())["tables"] == tables_of(DOCUMENT.read_text())


def test_a_table_is_read_with_its_heading_numbers_and_texts() -> None:
    text = "## One *part*\n\n| name | `mig` |\n|---|---|\n| **a, b** | 1,024 |\n| | .5 |\n\ntext | with a bar\n"
    assert tables_of(text) == [
        {"heading": "One *part*", "columns": ["name", "mig"], "rows": [["a, b", 1024.0], ["", 0.5]]}
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_a_picture_shows_what_there_is(name: str) -> None:
    """Fails where the page or TensorBoard's layout has changed: `python studies/pictures.py FOLDER`."""
    with Image.open(DOCS / name) as picture:
        assert picture.text[SHA256] == sources_sha256(name)
