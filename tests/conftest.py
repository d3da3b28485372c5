"""Every test runs with the shapes and types of `betavae` checked at each call."""

import pkgutil
from pathlib import Path

from jaxtyping import install_import_hook

# without those that check values themselves, and are given wrong ones here
_UNCHECKED = ("config", "parts")
_PACKAGE = Path(__file__).parents[1] / "betavae"
_CHECKED = [f"betavae.{each.name}" for each in pkgutil.iter_modules([str(_PACKAGE)]) if each.name not in _UNCHECKED]
assert _CHECKED

hook = install_import_hook(_CHECKED, "beartype.beartype")

pytest_plugins = ["sweep_folders", "browser", "trackers"]  # after the hook: it imports what is to be checked
