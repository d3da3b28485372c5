"""How many trials should share a GPU, by processes that pretend to train."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from betavae.config import TrialConfig
from betavae.errors import InputError
from sweeps import gpu_sharing
from sweeps.cluster import cluster_resources
from sweeps.gpu_sharing import measure_sharing, names_of_gpus
from sweeps.options.command_line import parse_options
from sweeps.options.options import ResourceOptions
from sweeps.options.recorded import options_from_dict, options_to_dict

CONFIG = TrialConfig()

Pretend = Callable[[Callable[[int], tuple[float, float]]], None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Let trials have the total speed and the share of memory that a function gives for their number."""
    alive = []

    def let(totals: Callable[[int], tuple[float, float]]) -> None:
        class Worker:
            def ask(self) -> None:
                pass

            def answer(self) -> dict[str, float]:
                speed, share = totals(len(alive))
                return {"images_per_second": speed / len(alive), "share_of_memory": share}

        @contextmanager
        def worker(config: TrialConfig) -> Iterator[Worker]:
            alive.append(config)
            yield Worker()
            alive.pop()

        monkeypatch.setattr(gpu_sharing, "_worker", worker)

    return let


@pytest.mark.parametrize(
    ("totals", "most", "number", "reason"),
    [
        (lambda n: (min(n, 4) * 1000.0, 0.02 * n), 16, 4, ""),
        (lambda n: (1000.0, 0.02 * n), 16, 1, ""),
        (lambda n: (n * 1000.0, 0.2 * n), 16, 4, "the memory does not suffice for twice as many"),
        (lambda n: (n * 1000.0, 0.5), 16, 1, "the memory does not suffice for twice as many"),
        (lambda n: (n * 1000.0, 0.01), 6, 4, "the CPU cores do not suffice for twice as many"),
        (lambda n: (n * 1000.0, 0.01), 1, 1, "the CPU cores do not suffice for twice as many"),
    ],
)
def test_as_many_share_a_gpu_as_speed_memory_and_cores_allow(
    totals: Callable[[int], tuple[float, float]], most: int, number: int, reason: str, pretend: Pretend
) -> None:
    pretend(totals)
    sharing = measure_sharing(CONFIG, most=most)
    assert (sharing.number, sharing.reason) == (number, reason)
    assert f"{number} a GPU; images/s in all of so many: 1: 1,000" in sharing.describe()


def test_a_trial_that_fails_beside_others_leaves_half_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """By real processes; the third to start finds no memory."""
    answer = "print(json.dumps({'images_per_second': 100.0, 'share_of_memory': 0.1}), flush=True)"
    code = f"import json, sys\nfor _ in sys.stdin: {answer}"
    failing = "import sys; print('w' * 200_000, file=sys.stderr); raise SystemExit('CUDA out of memory')"
    started = []

    def popen(words: list[str], **others: object) -> object:
        started.append(words)
        return original([words[0], "-c", code if len(started) < 3 else failing, *words[3:]], **others)

    original = gpu_sharing.subprocess.Popen
    monkeypatch.setattr(gpu_sharing.subprocess, "Popen", popen)
    monkeypatch.setattr(gpu_sharing, "_LEAST_GAIN", 0.0)
    sharing = measure_sharing(CONFIG, most=16)
    assert (sharing.number, sharing.reason) == (2, "4 failed: CUDA out of memory")
    assert [each.images_per_second for each in sharing.measured] == [100.0, 200.0]


@pytest.mark.parametrize(
    ("script", "names"),
    [("echo NVIDIA A; echo NVIDIA B", ["NVIDIA A", "NVIDIA B"]), ("echo no driver; exit 9", []), (None, [])],
)
def test_a_machine_names_its_gpus(
    script: str | None, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert names_of_gpus() == names


def test_auto_is_kept_in_a_record_and_other_words_are_refused() -> None:
    options = parse_options(["--trials-per-gpu", "auto"], gpus_found=0)
    assert options.resources.trials_per_gpu == "auto"
    options.check()
    assert options_from_dict(options_to_dict(options)).resources.trials_per_gpu == "auto"
    with pytest.raises(InputError, match="--trials-per-gpu must be a whole number or auto, but got 'some'"):
        parse_options(["--trials-per-gpu", "some"], gpus_found=0)


def test_a_cluster_refuses_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.cluster.cluster_cores_and_gpus", lambda: (8, 2))
    with pytest.raises(InputError, match="--trials-per-gpu must be a number on a cluster"):
        cluster_resources(ResourceOptions(trials_per_gpu="auto"))


def test_a_cluster_keeps_to_the_cores_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number, machines may join that have the cores of the GPUs asked for."""
    monkeypatch.setattr("sweeps.cluster.cluster_cores_and_gpus", lambda: (16, 2))
    asked = cluster_resources(ResourceOptions(num_gpus=8, num_cpus=8, cpus_per_trial=4))
    assert (asked.num_cpus, asked.num_concurrent) == (8, 2)
    assert cluster_resources(ResourceOptions(num_gpus=8, cpus_per_trial=4)).num_concurrent == 8
    with pytest.raises(InputError, match="--cpus-per-trial must be at most 4, the number of cores of the sweep, but"):
        cluster_resources(ResourceOptions(num_gpus=0, num_cpus=4, cpus_per_trial=8))
