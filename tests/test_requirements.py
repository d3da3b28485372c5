"""What may be installed beside this package: nothing with a known hole that matters here."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
SAFE_FROM = {
    "torch": "2.10",  # CVE-2026-24747: a checkpoint runs code although only weights are loaded
    "filelock": "3.20.3",
    "pillow": "12.3",
}


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    listed = [
        *project["dependencies"],
        *(word for words in project["optional-dependencies"].values() for word in words),
    ]
    return {requirement.name: requirement for requirement in map(Requirement, listed)}


@pytest.mark.parametrize("name", SAFE_FROM)
def test_no_version_with_a_known_hole_is_admitted(name: str) -> None:
    (bound,) = requirements()[name].specifier
    assert bound.operator == ">="
    assert Version(bound.version) >= Version(SAFE_FROM[name])


def test_the_pinned_versions_are_admitted() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    required = {name: requirement for name, requirement in requirements().items() if name != "betavae-lab"}
    assert len(required) > 20
    for name, requirement in required.items():
        version = pinned[canonicalize_name(name)]
        assert requirement.specifier.contains(version), f"{requirement}, but {version}"
