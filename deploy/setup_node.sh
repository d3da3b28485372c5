#!/usr/bin/env bash
# Sets a machine of a cluster up, whichever way the cluster was launched: installs the lab beside the machine's own Ray,
# and renders dSprites into this machine's own cache, so that no trial waits for it. May be run again.
#   setup_node.sh CHECKOUT [PYTHON]
set -euo pipefail
checkout=${1:?the folder that holds pyproject.toml}
python=${2:-python}
"$python" -c 'import ray, sys; sys.exit(ray.__version__ != "2.60.0")' || {
  echo "error: this machine must have Ray 2.60.0, as all machines of a cluster must have one version" >&2
  exit 2
}
"$python" -m pip install --quiet -c "$checkout/constraints.txt" -e "$checkout"
"$python" -c 'from betavae.data import DSprites; DSprites.open()'
