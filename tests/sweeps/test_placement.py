import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.tune.execution.placement_groups import resource_dict_to_pg_factory

from betavae.records.trial import Trials
from sweeps.cluster import Resources, quiet_ray, running_ray
from sweeps.options.command_line import parse_options
from sweeps.search.stopping import StoppingRules
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import TrialFolder

Give = Callable[..., None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Let Ray have given a trial some resources, and torch find a GPU or none."""

    def give(asked: dict[str, float], *, has_cuda: bool) -> None:
        from ray import tune

        factory = resource_dict_to_pg_factory(asked)
        monkeypatch.setattr(tune, "get_context", lambda: SimpleNamespace(get_trial_resources=lambda: factory))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)

    return give


@pytest.fixture
def resources() -> Iterator[Resources]:
    quiet_ray(address=None)
    resources = Resources(num_cpus=4, num_gpus=4, trials_per_gpu=1)
    with running_ray(resources, address=None):
        yield resources


@pytest.mark.parametrize(
    ("asked", "has_cuda", "device"), [({"cpu": 1, "gpu": 0.5}, True, "cuda"), ({"cpu": 3}, True, "cpu")]
)
def test_a_trial_uses_the_gpu_and_the_cores_it_was_given_and_no_others(
    asked: dict[str, float], has_cuda: bool, device: str, give: Give
) -> None:
    from sweeps import trainable

    give(asked, has_cuda=has_cuda)
    assert trainable.device_of_trial() == device
    assert trainable.threads_of_trial() == asked["cpu"]


def test_a_trial_whose_gpu_torch_does_not_find_is_not_trained_on_a_cpu(give: Give) -> None:
    """Fails where a sweep takes days, since a machine has a build of torch without GPUs."""
    from sweeps import trainable

    give({"cpu": 1, "gpu": 0.5}, has_cuda=False)
    with pytest.raises(trainable.MissingGpuError, match="torch .* finds none: install a build"):
        trainable.device_of_trial()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("default")  # Ray's own
def test_four_trials_at_a_time_on_four_gpus(resources: Resources, tmp_path: Path) -> None:
    """Logical GPUs stand in for real ones: each trial waits until four run at once, and notes which it was given."""
    import ray
    from ray import tune

    from sweeps.search.ray_search import run_stage, search_stage

    def note_gpu(config: dict[str, Any], *, stage_folder: StageFolder) -> None:
        seed = config["index"]
        (tmp_path / f"seed_{seed}").write_text(str(ray.get_gpu_ids()))
        deadline = time.monotonic() + 600  # far more than a loaded machine needs
        batch = range(seed // 4 * 4, seed // 4 * 4 + 4)
        while time.monotonic() < deadline and not all((tmp_path / f"seed_{other}").exists() for other in batch):
            time.sleep(0.05)
        (tmp_path / f"in_time_{seed}").write_text(str(time.monotonic() < deadline))
        tune.report({"step": 1, "mig": 0.5})

    options = parse_options(
        ["--beta", "4", "-z", "5", "--lr", "1e-3", "--repeats", "8", "--steps", "1", "-b", "2"], gpus_found=0
    )
    folder = StageFolder(Mirror(tmp_path / "sweep" / "search"), "mig")
    stage = search_stage(options, folder)
    run_stage(stage, trainable=note_gpu, known_trials=Trials([], {}), resources=resources, callbacks=[])
    assert [(tmp_path / f"in_time_{seed}").read_text() for seed in range(8)] == ["True"] * 8
    for batch in (range(4), range(4, 8)):
        gpus = [(tmp_path / f"seed_{seed}").read_text() for seed in batch]
        assert sorted(gpus) == ["[0]", "[1]", "[2]", "[3]"]
    assert [path.parent.name for path in sorted(folder.path.glob("*/params.json"))] == [
        f"trial_{i:04}" for i in range(8)
    ]


class StopAll:
    """Stops every trial at its first report."""

    def stops(self, trial: int, *, step: int, score: float) -> bool:
        return True

    def ended(self, trial: int) -> None:
        """Do nothing."""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_decision_that_cannot_be_written_ends_the_sweep_with_its_reason(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised while a report is taken in, Ray wraps as text: it must come out as the system's own."""
    from ray import tune

    from sweeps.search.ray_search import run_stage, search_stage

    def report(config: dict[str, Any], *, stage_folder: StageFolder) -> None:
        tune.report({"step": 1, "mig": 0.5})

    options = parse_options(["--beta", "4", "-z", "5", "--lr", "1e-3", "--steps", "2", "-b", "2"], gpus_found=0)
    folder = StageFolder(Mirror(tmp_path / "sweep" / "search"), "mig")
    stage = replace(search_stage(options, folder), rules=StoppingRules(StopAll))
    monkeypatch.setattr(TrialFolder, "stop", _raise_disk_full)
    with pytest.raises(OSError, match="No space left on device"):
        run_stage(stage, trainable=report, known_trials=Trials([], {}), resources=resources, callbacks=[])


def _raise_disk_full(folder: TrialFolder, step: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
