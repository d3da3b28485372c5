import os
import subprocess
import sys
from pathlib import Path

import pytest

from betavae.errors import InputError
from betavae.extensions import EXTENSIONS_VARIABLE, extension_names, load_extensions
from betavae.objectives import OBJECTIVES

TOY = """
from dataclasses import dataclass
from betavae.objectives import OBJECTIVES, BetaVAE
from betavae.parts import parameter

print("imported")

@OBJECTIVES.add
@dataclass(frozen=True, kw_only=True)
class Toy(BetaVAE):
    '''A toy.'''
    name = "toy"
    toy: float = parameter(2.0, positive=True)
    '''Weight of the toy.'''
"""

USE = """
from betavae.config import TrialConfig, parameters_by_name
from betavae.extensions import load_extensions
print(load_extensions(), load_extensions())
print(TrialConfig.from_dict({"objective": "toy", "toy": 3}).to_dict()["toy"], parameters_by_name()["toy"].help)
"""


def set_names(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv(EXTENSIONS_VARIABLE, names)


def test_a_module_of_your_own_is_known_in_a_process_that_loads_it(tmp_path: Path) -> None:
    (tmp_path / "toy_objective.py").write_text(TOY)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    environment = os.environ | {EXTENSIONS_VARIABLE: " toy_objective, ", "PYTHONPATH": paths}
    output = subprocess.run(
        [sys.executable, "-c", USE], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert output.splitlines() == [
        "imported",
        "('toy_objective',) ('toy_objective',)",
        "3.0 Weight of the toy.",
    ]


@pytest.mark.parametrize(
    ("named", "names"),
    [("", ()), (" , ", ()), ("a", ("a",)), ("b, a.c ,b", ("b", "a.c"))],
)
def test_names_are_listed_once_in_order(monkeypatch: pytest.MonkeyPatch, named: str, names: tuple[str, ...]) -> None:
    set_names(monkeypatch, named)
    assert extension_names() == names


def test_no_variable_is_no_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXTENSIONS_VARIABLE, raising=False)
    assert load_extensions() == ()


@pytest.mark.parametrize("name", ["no_such_module", "os.no_such_module", "toy.py", "a-b", ".relative", "a b"])
def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_names(monkeypatch, f"os, {name}")
    with pytest.raises(
        InputError, match=rf"\$BETAVAE_EXTENSIONS must name modules .*, but '{name}' cannot: \w+Error: "
    ):
        load_extensions()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: "),
        ("raise ValueError('first\\nsecond')", r"ValueError: first \(\$PYTHONPATH"),
    ],
)
def test_a_module_that_raises_an_error_is_named_with_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "broken_extension.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    set_names(monkeypatch, "broken_extension")
    for _ in range(2):
        with pytest.raises(InputError, match=f"'broken_extension' cannot: {reason}") as refusal:
            load_extensions()
        assert "\n" not in str(refusal.value)
        assert refusal.value.__cause__ is not None


def test_a_module_that_is_repaired_may_add_its_class_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first import fails after the class has been added."""
    path = tmp_path / "repaired_extension.py"
    path.write_text(TOY + "raise RuntimeError('later')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(OBJECTIVES, "_parts", dict(OBJECTIVES._parts))
    set_names(monkeypatch, "repaired_extension")
    with pytest.raises(InputError, match="RuntimeError: later"):
        load_extensions()
    path.write_text(TOY)
    os.utime(path, (1, 1))  # so that no compiled file of the first stands in for it
    load_extensions()
    assert OBJECTIVES["toy"].__module__ == "repaired_extension"
