"""What must hold on a GPU: `python -m pytest -m gpu`. Nothing of it runs where torch finds none."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from running import REPOSITORY

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.gaussian import DiagonalGaussian
from betavae.objectives import OBJECTIVES, Batch, BetaVAE, Loss, Objective, factor_vae
from betavae.training import TrainingRun

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def config_of(objective: str, precision: str = "float32", **others: Any) -> TrialConfig:
    values = {"objective": objective, "batch_size": 32, "steps": 40, "eval_every": 20, "precision": precision}
    return TrialConfig.from_dict({**values, **others})


def train(config: TrialConfig, num_steps: int = 20) -> TrainingRun:
    run = TrainingRun.start(config, config.dataset.open(), device="cuda")
    run.advance(num_steps)
    return run


def assert_same_weights(run: TrainingRun, other: TrainingRun) -> None:
    for name, weights in run.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], weights), name


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
    assert_same_weights(run, resumed)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_computes_what_its_kernels_do_one_by_one(objective: str, precision: str) -> None:
    config = config_of(objective, precision)
    run = train(config)
    assert run.learner._graph is not None
    assert_same_weights(run, train(replace(config, cuda_graph=False)))


@pytest.mark.parametrize("dataset", ["color-dsprites", "noisy-dsprites", "xysquares"])
def test_a_graph_is_given_images_that_are_drawn_anew(dataset: str) -> None:
    config = config_of("beta-vae", dataset=dataset)
    run = train(config)
    assert run.learner._graph is not None
    assert_same_weights(run, train(replace(config, cuda_graph=False)))


@pytest.mark.parametrize("objective", ["beta-vae", "factor-vae"])
def test_a_graph_goes_on_with_rotated_weights(objective: str) -> None:
    """The latents are rotated before the step is captured, and between replays."""
    config = config_of(objective, rotate_until=8, rotate_every=2)
    run = train(config)
    assert run.learner._graph is not None
    assert_same_weights(run, train(replace(config, cuda_graph=False)))


@pytest.mark.parametrize("objective", ["beta-tcvae", "factor-vae"])
def test_each_start_has_a_graph_and_the_one_that_is_kept_goes_on(
    data: DSprites, objective: str, tmp_path: Path
) -> None:
    config = config_of(objective, starts=3, start_steps=12)
    run, other = train(config, 10), train(replace(config, cuda_graph=False), 10)
    assert len(run._learners) == 3
    run.save(tmp_path / "checkpoint", scores=run.evaluate(), report={"step": 10})
    resumed = TrainingRun.load(tmp_path / "checkpoint", data, device="cuda")
    losses = [each.advance(10).starts for each in (run, other, resumed)]
    assert losses[0] == losses[1] == losses[2]
    assert len(run._learners) == 1
    assert run.learner._graph is not None
    assert_same_weights(run, other)
    assert_same_weights(run, resumed)


def test_a_graph_follows_schedules() -> None:
    config = config_of("beta-vae", beta="1@0,16@30", lr="1e-4@5,1e-3@15")
    run, other = train(config), train(replace(config, cuda_graph=False))
    assert run.learner._graph is not None
    for name, weights in run.model.state_dict().items():  # its numbers are rounded to float32
        torch.testing.assert_close(other.model.state_dict()[name], weights, rtol=1e-3, atol=1e-5)
    constant = train(config_of("beta-vae", beta=1.0, lr=1e-4))
    assert constant.advance(1).total_nats != pytest.approx(run.advance(1).total_nats, rel=1e-3)


def test_a_scheduled_trial_resumes_to_the_last_bit(data: DSprites, tmp_path: Path) -> None:
    run = train(config_of("beta-vae", beta="1@0,16@30", lr="1e-4@5,1e-3@15"), 10)
    run.save(tmp_path / "checkpoint", scores=run.evaluate(), report={"step": 10})
    run.advance(10)
    resumed = TrainingRun.load(tmp_path / "checkpoint", data, device="cuda")
    resumed.advance(10)
    assert_same_weights(run, resumed)
    TrainingRun.load(tmp_path / "checkpoint", data, device="cpu").advance(1)  # another device goes on


@dataclass(frozen=True, kw_only=True)
class ReadsTheLoss(Objective):
    name = "reads-the-loss"

    def loss(self, batch: Batch) -> Loss:
        loss = BetaVAE().loss(batch)
        return replace(loss, total=loss.total * (1.0 if float(loss.total.detach()) > 0 else 2.0))


@dataclass(frozen=True, kw_only=True)
class ReadsTheStep(Objective):
    name = "reads-the-step"

    def loss(self, batch: Batch) -> Loss:
        loss = BetaVAE().loss(batch)
        return replace(loss, total=loss.total * (1 + batch.step / 10))


@pytest.mark.parametrize("objective", [ReadsTheLoss(), ReadsTheStep()])
def test_a_loss_that_no_graph_can_hold_trains_without(objective: Objective, capfd: pytest.CaptureFixture[str]) -> None:
    config = replace(config_of("beta-vae"), objective=objective)
    run = train(config)
    assert run.learner._graph is None
    assert "no CUDA graph can hold it" in capfd.readouterr().err
    assert_same_weights(run, train(replace(config, cuda_graph=False)))
    run.evaluate()


@pytest.mark.usefixtures("_refused_waits")
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_no_step_waits_for_the_gpu(data: DSprites, objective: str) -> None:
    run = TrainingRun.start(config_of(objective, "bfloat16"), data, device="cuda")
    run.advance(5)  # which copies the images and the order of the first epoch, and captures the step
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        run.learner.train_step()  # raises where it waits
    assert run.step == 8


@pytest.mark.usefixtures("_refused_waits")
def test_no_step_without_a_graph_waits_for_the_gpu(data: DSprites) -> None:
    run = TrainingRun.start(config_of("factor-vae", cuda_graph=False), data, device="cuda")
    run.advance(3)
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        run.learner.train_step()
    assert run.step == 6


def test_memory_does_not_grow(data: DSprites) -> None:
    run = TrainingRun.start(config_of("factor-vae", "bfloat16"), data, device="cuda")
    run.advance(10)
    before = torch.cuda.memory_allocated()
    run.advance(100)
    assert torch.cuda.memory_allocated() <= before + 2**20  # the losses of 100 steps


@pytest.mark.slow  # a sweep
@pytest.mark.ray
@pytest.mark.parametrize("shared", ["2", "auto"])
def test_trials_share_a_gpu(shared: str, tmp_path: Path) -> None:
    words = "--preset quick --scheduler none --exact 0 --beta 1 4 -z 5 --lr 1e-3 -b 32 --steps 40 --eval-every 20"
    words += " --num-gpus 1 --name s"
    command = [sys.executable, str(REPOSITORY / "sweeps/run.py"), *words.split(), "--results", str(tmp_path)]
    done = subprocess.run([*command, "--trials-per-gpu", shared], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("sharing " in done.stdout) == (shared == "auto")
    print(done.stdout)
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert record["outcome"]["search"] == "done"
    reports = [path.read_text().splitlines() for path in (tmp_path / "s" / "search").glob("*/result.json")]
    assert [len(lines) for lines in reports] == [2, 2]
