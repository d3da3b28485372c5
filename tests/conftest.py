"""Every test runs with the shapes and types of `betavae` checked at each call."""

import pkgutil

from jaxtyping import install_import_hook

# without betavae.config, which checks its own values and is given wrong ones here
_CHECKED = ["betavae." + module.name for module in pkgutil.iter_modules(["betavae"]) if module.name != "config"]

hook = install_import_hook(_CHECKED, "beartype.beartype")

pytest_plugins = ["sweep_folders", "browser"]  # after the hook: it imports what is to be checked
