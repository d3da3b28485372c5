"""`from betavae import ...`: what a notebook needs, and no more than it needs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import betavae
from betavae import DSprites, mutual_information_gap, open_dataset
from betavae.errors import InputError

HEAVY = ("matplotlib", "sklearn", "scipy", "pandas", "ray", "tyro", "optuna", "tensorboard")


def modules_after(code: str) -> set[str]:
    """The packages that a new process has imported after some lines."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return set(output.split())


def test_the_package_alone_imports_nothing() -> None:
    assert not modules_after("import betavae") & {*HEAVY, "torch", "numpy"}


def test_all_but_the_figure_come_without_plots_and_classifiers() -> None:
    """Binned scores are taken without them, too."""
    names = ", ".join(name for name in betavae.__all__ if name != "latent_traversal")
    code = f"from betavae import {names}\nmutual_information_gap([[0.0], [1.0]], [[0], [1]])"
    assert not modules_after(code) & set(HEAVY)


def test_the_figure_brings_matplotlib() -> None:
    """Else the test above could not fail."""
    assert "matplotlib" in modules_after("from betavae import latent_traversal")


@pytest.mark.parametrize("name", betavae.__all__)
def test_a_name_is_that_of_its_module(name: str) -> None:
    value = getattr(betavae, name)
    assert value is getattr(importlib.import_module(value.__module__), name)
    assert name in dir(betavae)


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(betavae.__file__).read_text())
    (block,) = [item for item in tree.body if isinstance(item, ast.If) and isinstance(item.test, ast.Name)]
    imports = [item for item in block.body if isinstance(item, ast.ImportFrom)]
    seen = {alias.name: item.module for item in imports for alias in item.names}
    assert seen == {name: f"betavae.{module}" for name, module in betavae._MODULES.items()}
    assert sorted(seen) == sorted(betavae.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'betavae' has no attribute 'mig'"):
        betavae.mig  # noqa: B018
    with pytest.raises(ImportError):
        from betavae import mig  # noqa: F401


def test_a_data_set_is_opened_by_name() -> None:
    data = open_dataset("dsprites")
    assert isinstance(data, DSprites)
    assert len(open_dataset()) == len(data)
    with pytest.raises(InputError, match="dataset must be one of dsprites"):
        open_dataset("shapes")


def test_a_score_from_the_public_names() -> None:
    factors = np.stack(np.unravel_index(np.arange(3 * 4), (3, 4)), axis=1)
    assert mutual_information_gap(factors, factors).score == pytest.approx(1)
