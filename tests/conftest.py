"""Every test runs with the shapes and types of `betavae` checked at each call."""

import pkgutil
from pathlib import Path

from jaxtyping import install_import_hook

# without betavae.config, which checks its own values and is given wrong ones here
_PACKAGE = Path(__file__).parents[1] / "betavae"
_CHECKED = [f"betavae.{module.name}" for module in pkgutil.iter_modules([str(_PACKAGE)]) if module.name != "config"]
assert _CHECKED

hook = install_import_hook(_CHECKED, "beartype.beartype")

pytest_plugins = ["sweep_folders", "browser"]  # after the hook: it imports what is to be checked
