"""What must hold on a GPU: `python -m pytest -m gpu`. Nothing of it runs where torch finds none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from running import REPOSITORY

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.gaussian import DiagonalGaussian
from betavae.objectives import OBJECTIVES, factor_vae
from betavae.training import TrainingRun

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def config_of(objective: str, precision: str = "float32") -> TrialConfig:
    values = {"objective": objective, "batch_size": 32, "steps": 40, "eval_every": 20, "precision": precision}
    return TrialConfig.from_dict(values)


@pytest.fixture(scope="module")
def data() -> DSprites:
    return DSprites.open()


@pytest.fixture
def _exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Full float32 and no noise, which each device draws for itself: codes are means, and permuted ones are rolled."""
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda posterior, generator=None: posterior.mean)
    monkeypatch.setattr(factor_vae, "permute_latents", lambda codes, generator=None: roll_latents(codes))
    with torch.backends.cudnn.flags(allow_tf32=False):  # matrix products have full float32 by default
        yield


def roll_latents(codes: torch.Tensor) -> torch.Tensor:
    return torch.stack([column.roll(number) for number, column in enumerate(codes.T)], dim=1)


@pytest.fixture
def _refused_waits() -> Iterator[None]:
    """Torch raises an error where the process waits for the GPU."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_first_loss_is_that_of_the_cpu(data: DSprites, objective: str) -> None:
    """Of the same weights, which are drawn on the CPU for every device."""
    totals = []
    for device in ("cpu", "cuda"):
        run = TrainingRun.start(config_of(objective), data, device=device)
        totals.append(run.advance(1).total_nats)
    assert totals[1] == pytest.approx(totals[0], rel=1e-4)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_trial_has_the_same_weights_to_the_last_bit(
    data: DSprites, objective: str, precision: str, tmp_path: Path
) -> None:
    run = TrainingRun.start(config_of(objective, precision), data, device="cuda")
    run.advance(10)
    run.save(tmp_path / "checkpoint", scores=run.evaluate(), report={"step": 10})
    run.advance(10)
    resumed = TrainingRun.load(tmp_path / "checkpoint", data, device="cuda")
    resumed.advance(10)
    for name, weights in run.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weights), name


@pytest.mark.usefixtures("_refused_waits")
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_no_step_waits_for_the_gpu(data: DSprites, objective: str) -> None:
    run = TrainingRun.start(config_of(objective, "bfloat16"), data, device="cuda")
    run.advance(3)  # which copies the images and the order of the first epoch
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        run._train_step()  # raises where it waits
    assert run.step == 6


def test_memory_does_not_grow(data: DSprites) -> None:
    run = TrainingRun.start(config_of("factor-vae", "bfloat16"), data, device="cuda")
    run.advance(10)
    before = torch.cuda.memory_allocated()
    run.advance(100)
    assert torch.cuda.memory_allocated() <= before + 2**20  # the losses of 100 steps


@pytest.mark.slow  # a sweep
@pytest.mark.ray
def test_two_trials_share_a_gpu(tmp_path: Path) -> None:
    words = "--beta 1 4 --steps 40 -b 32 -z 5 --lr 1e-3 --eval-every 20 --num-gpus 1 --trials-per-gpu 2 --name s"
    command = [sys.executable, str(REPOSITORY / "sweeps/run.py"), *words.split(), "--results", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert record["outcome"]["search"] == "done"
    reports = [path.read_text().splitlines() for path in (tmp_path / "s" / "search").glob("*/result.json")]
    assert [len(lines) for lines in reports] == [2, 2]
