"""The cluster files, by Ray's own schema. It is private there: a version without it fails here, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text())


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/machines.yaml"])
def test_ray_takes_the_file(name: str) -> None:
    config = read(name)
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="'worker_ip_s' was unexpected|unexpected"):
        validate_config(prepare_config(config | {"worker_ip_s": []}))


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/machines.yaml"])
def test_every_machine_is_set_up_by_the_same_script_and_asks_for_the_token(name: str) -> None:
    config = read(name)
    (setup,) = config["setup_commands"]
    assert "deploy/setup_node.sh" in setup
    for command in (config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in command
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_the_cloud_file_keeps_to_the_private_network_and_to_spot_machines() -> None:
    config = read("cluster.yaml")
    assert config["provider"]["use_internal_ips"] is True
    gpu = config["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["docker"]["image"] == "rayproject/ray:2.60.0-py311-gpu"


def test_the_kubernetes_file_runs_the_same_command() -> None:
    job = read("deploy/rayjob.yaml")
    assert (job["kind"], job["spec"]["rayClusterSpec"]["rayVersion"]) == ("RayJob", "2.60.0")
    assert "sweeps/run.py --address auto" in job["spec"]["entrypoint"]
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    asked = int(job["spec"]["entrypoint"].partition("--num-gpus ")[2].split()[0])
    assert workers["maxReplicas"] == asked


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/machines.yaml"])
def test_what_a_user_changes_is_marked(name: str) -> None:
    """Fails if a value that cannot be right for anyone stands in a line without the mark."""
    lines = (REPOSITORY / name).read_text().splitlines()
    for placeholder in ("0000000", "10.0.0.", "us-west-2", "id_ed25519"):
        assert all("CHANGE" in line for line in lines if placeholder in line)
