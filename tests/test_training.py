import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sweep_folders import as_earlier
from torch.utils._python_dispatch import TorchDispatchMode

from betavae.config import TrialConfig
from betavae.data import DSprites, DSpritesDataset
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.image_order import ImageOrder
from betavae.likelihoods import Bernoulli, Gaussian, Likelihood
from betavae.metrics.base import drawn_rows
from betavae.metrics.representation import Representation, represent
from betavae.models import VAE
from betavae.objectives import BetaTCVAE
from betavae.records.checkpoint import check_checkpoint, load_model, read_scores
from betavae.samples import traverse
from betavae.training import NonFiniteLossError, TrainingRun, decide_precision

CPU = torch.device("cpu")
CONFIG = TrialConfig(latent_size=3, batch_size=8, steps=8, eval_every=4, precision="float32")
FIRST_IMAGES = DSpritesDataset(images=10_000)

RESUME = """
import sys, torch
from betavae.data import DSprites
from betavae.training import TrainingRun
torch.set_num_threads(1)
run = TrainingRun.load(sys.argv[1], DSprites.open())
loss = run.advance(4)
torch.save({"loss": dict(loss.terms), "model": run.model.state_dict()}, sys.argv[2])
"""


@pytest.fixture(scope="module")
def data() -> DSprites:
    return DSprites.open()


@pytest.fixture(scope="module")
def checkpoint(data: DSprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial after four of its eight steps."""
    torch.set_num_threads(1)
    run = TrainingRun.start(CONFIG, data)
    run.advance(4)
    folder = tmp_path_factory.mktemp("trial") / "checkpoint"
    run.save(folder, scores=run.evaluate(), report={"step": run.step})
    return folder


@pytest.mark.parametrize("is_earlier", [False, True], ids=["safetensors", "model.pt"])
def test_resume_in_a_new_process_is_bit_exact(
    data: DSprites, checkpoint: Path, is_earlier: bool, tmp_path: Path
) -> None:
    """Fails if a weight, a generator, the optimizer's state or the position in the epoch is not restored."""
    if is_earlier:
        checkpoint = as_earlier(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    subprocess.run([sys.executable, "-c", RESUME, str(checkpoint), str(tmp_path / "end.pt")], check=True)
    resumed = torch.load(tmp_path / "end.pt", weights_only=True)
    straight = TrainingRun.start(CONFIG, data)
    straight.advance(4)
    loss = straight.advance(4)
    assert resumed["loss"] == loss.terms
    state = straight.model.state_dict()
    assert all(torch.equal(state[name], resumed["model"][name]) for name in state)


class CountFetches(TorchDispatchMode):
    """Counts what makes the host wait for a device: numbers that are fetched one by one, by `.item()` or an `if`."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learn_pixel_scale=True)], ids=str)
def test_the_loop_fetches_no_number_per_step(data: DSprites, likelihood: Likelihood) -> None:
    """Fails with an `.item()` in the loop: on a GPU every step would wait for the one before."""
    run = TrainingRun.start(replace(CONFIG, likelihood=likelihood), data)
    counts = []
    for num_steps in (2, 6):
        with CountFetches() as fetches:
            run.advance(num_steps)
        counts.append(fetches.count)
    with CountFetches() as fetches:
        torch.ones(1).item()
    assert fetches.count == 1
    assert counts[0] == counts[1]


def test_a_process_that_has_trained_another_trial_trains_the_same(data: DSprites, tmp_path: Path) -> None:
    """As Ray's workers do, which are used again: nothing of the trial before is left."""
    runs = []
    for number in range(2):
        run = TrainingRun.start(CONFIG, data)
        run.advance(3)
        runs.append(run)
        other = TrainingRun.start(replace(CONFIG, seed=1, latent_size=7, objective=BetaTCVAE(beta=20.0)), data)
        other.advance(2)
        other.save(tmp_path / str(number), scores=evaluate(other.model, data), report={"step": 2})
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_holds_what_the_contract_says(checkpoint: Path) -> None:
    names = {path.name for path in checkpoint.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "training.pt", "scores.json", "report.json", "samples.npz", "codes.npz",
        "manifest.json",
    }  # fmt: skip
    check_checkpoint(checkpoint)
    scores = read_scores(checkpoint)
    assert scores.step == 4
    assert scores["mig"].num_rows == 10_000
    assert scores.data_source == "rendered"
    with np.load(checkpoint / "samples.npz") as samples:
        assert samples["traversal"].shape == (3, 7, 64, 64, 1)


def test_recomputed_scores_equal_the_recorded_ones(data: DSprites, checkpoint: Path) -> None:
    assert evaluate(load_model(checkpoint), data, step=4).to_dict() == read_scores(checkpoint).to_dict()


def test_a_checkpoint_is_never_overwritten(data: DSprites, checkpoint: Path) -> None:
    run = TrainingRun.load(checkpoint, data)
    with pytest.raises(FileExistsError, match="never overwritten"):
        run.save(checkpoint, scores=evaluate(run.model, data), report={"step": run.step})
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint"]


def test_a_loss_that_is_not_finite_names_step_and_terms(data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, data)
    run.advance(2)
    with torch.no_grad():
        next(run.model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"at step 3 .*recon nan"):
        run.advance(3)


@pytest.mark.parametrize("lr", [3e38, 1e45])
def test_weights_that_the_last_update_spoils_are_a_loss_that_is_not_finite(data: DSprites, lr: float) -> None:
    """The loss is taken before the update: that of the last step is finite, and nothing else would be said of it."""
    run = TrainingRun.start(replace(CONFIG, lr=lr), data)
    with pytest.raises(
        NonFiniteLossError,
        match=rf"after step 1, .*total 28.*the weights are infinite.*than {re.escape(format(lr, 'g'))} or",
    ):
        run.advance(1)


@pytest.mark.parametrize("lr", [1e30, 1e3])
def test_codes_that_overflow_are_a_loss_that_is_not_finite(data: DSprites, lr: float) -> None:
    """The weights are finite: at 1e30 the codes are not, at 1e3 their variances overflow."""
    run = TrainingRun.start(replace(CONFIG, lr=lr), data)
    run.advance(1)
    with pytest.raises(
        NonFiniteLossError,
        match=rf"after step 1, .*total 28.*the KL of the images.*than {re.escape(format(lr, 'g'))} or",
    ):
        run.evaluate()
    with pytest.raises(NonFiniteLossError, match=r"The KL must be finite, but that of latents \[0, 1, 2\]"):
        evaluate(run.model, data)


def test_a_run_scores_itself_as_evaluate_does(data: DSprites, checkpoint: Path) -> None:
    """Right after a load, too, when there has been no loss yet."""
    run = TrainingRun.load(checkpoint, data)
    assert run.evaluate().to_dict() == evaluate(run.model, data, dataset=CONFIG.dataset, step=4).to_dict()
    with torch.no_grad():
        run.model.encoder[-1].bias[0] = float("inf")
    with pytest.raises(NonFiniteLossError, match="after step 4, the KL of the images"):
        run.evaluate()


def test_the_seed_studys_rows_are_checked_too(data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are others than those of the live score, and may be the only ones whose codes overflow."""

    def overflow_in_few(model: Any, data: Any, *, indices: np.ndarray, device: Any, on_progress: Any) -> Representation:
        values = np.full((len(indices), 3), np.nan if len(indices) == 5_000 else 0.5, np.float32)
        return Representation(values, values)

    monkeypatch.setattr("betavae.evaluation.represent", overflow_in_few)
    run = TrainingRun.start(CONFIG, data)
    with pytest.raises(NonFiniteLossError, match="on the 5000 images that are scored"):
        evaluate(run.model, data, dataset=FIRST_IMAGES)


def test_a_trial_trains_on_the_images_of_its_data_set_alone(data: DSprites) -> None:
    """Fails where the order of the images is drawn from the whole set."""
    run = TrainingRun.start(replace(CONFIG, dataset=FIRST_IMAGES), data)
    epoch = torch.cat([run.learner._order.batch(step) for step in range(10_000 // CONFIG.batch_size)])
    assert sorted(epoch.tolist()) == list(range(10_000))


def test_seeds_that_agree_in_their_last_32_bits_train_differently(data: DSprites) -> None:
    """torch's generator takes 32 bits of a seed on a CPU, and silently drops the others."""
    seeds = (3, 3 + 2**32, 3 + 2**33)
    weights = [TrainingRun.start(replace(CONFIG, seed=seed), data).model.encoder[0].weight for seed in seeds]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    noise = [TrainingRun.start(replace(CONFIG, seed=seed), data).learner._generator.initial_seed() for seed in seeds]
    assert len(set(noise)) == 3


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_seeds_of_32_bits_are_torchs_own(data: DSprites, seed: int) -> None:
    """Fails where a seed that has been used before gets other weights."""
    run = TrainingRun.start(replace(CONFIG, seed=seed), data)
    expected = VAE(3, generator=torch.Generator().manual_seed(seed)).state_dict()
    assert all(torch.equal(weights, expected[name]) for name, weights in run.model.state_dict().items())
    assert run.learner._generator.initial_seed() == seed


def test_images_of_another_shape_than_the_configs_are_refused(data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSpritesDataset, "image_shape", (3, 64, 64))
    with pytest.raises(InputError, match=r"data must be dsprites, with images of shape \(3, 64, 64\)"):
        TrainingRun.start(CONFIG, data)


def test_an_epoch_shows_each_image_once() -> None:
    order = ImageOrder(10, 4, seed=1, device=CPU)
    stream = torch.cat([order.batch(step) for step in range(5)]).tolist()
    first, second = stream[:10], stream[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_order_has_no_state() -> None:
    order = ImageOrder(10, 4, seed=1, device=CPU)
    order.batch(7)
    assert torch.equal(order.batch(2), ImageOrder(10, 4, seed=1, device=CPU).batch(2))


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert len(ImageOrder(3, 8, seed=0, device=CPU).batch(0)) == 8


def test_bfloat16_trains_close_to_float32(data: DSprites) -> None:
    """One step in each; the loss is before the update, so only the forward pass's rounding differs."""
    losses = [
        TrainingRun.start(TrialConfig(batch_size=8, steps=1, eval_every=1, precision=precision), data).advance(1)
        for precision in ("float32", "bfloat16")
    ]
    # 2 ** -8 is bfloat16's relative rounding
    assert losses[0].total_nats == pytest.approx(losses[1].total_nats, rel=2**-8)


def test_auto_precision_is_decided_and_recorded(data: DSprites) -> None:
    run = TrainingRun.start(TrialConfig(batch_size=1, steps=1, eval_every=1), data)
    assert run.config.precision == decide_precision("auto", CPU)
    assert run.config.precision in ("float32", "bfloat16")


def test_the_seed_studys_zeros_appear_on_its_rows_and_vanish_on_the_whole_set(data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, data)
    assert "mig_seed_study" not in evaluate(run.model, data)
    scores = evaluate(run.model, data, dataset=FIRST_IMAGES)
    own = scores["mig_seed_study"]
    assert list(own.details["varying"].values()) == [False, False, True, True, True]
    assert list(own.by_factor.values())[:2] == [0, 0]
    assert own.num_rows == 5_000
    assert min(scores["mig"].details["entropies_nats"].values()) > 0


def test_evaluation_rows_are_distinct_and_fixed(data: DSprites) -> None:
    rows = drawn_rows(data).indices
    assert len(np.unique(rows)) == 10_000
    assert (rows == drawn_rows(data).indices).all()


def test_a_traversal_moves_one_latent_at_a_time(checkpoint: Path) -> None:
    model, code = load_model(checkpoint), torch.tensor([0.5, -1.0, 2.0])
    pictures = traverse(model, code, values=torch.tensor([-2.0, 2.0]))
    with torch.no_grad():
        expected = torch.sigmoid(model.decode(torch.tensor([[0.5, 2.0, 2.0]])))[0]
    torch.testing.assert_close(pictures[1, 1], expected)
    for form in (list, np.array, lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True)):
        assert torch.equal(traverse(model, form([0.5, -1.0, 2.0]), values=form([-2, 2])), pictures)


@pytest.mark.parametrize(("code", "values"), [([0.0, 0.0], [1.0]), ([[0.0] * 3], [1.0]), ([0.0] * 3, 1.0)])
def test_a_traversal_of_no_code_of_the_model_is_refused(checkpoint: Path, code: Any, values: Any) -> None:
    with pytest.raises(
        ValueError, match="code must be a vector of 3 numbers, the model's latents, and values a vector"
    ):
        traverse(load_model(checkpoint), code, values=values)


def test_images_to_encode_may_be_given_as_a_list(data: DSprites, checkpoint: Path) -> None:
    model = load_model(checkpoint)
    expected = represent(model, data, indices=np.array([5, 737_279]))
    for indices in ([5, -1], (5, -1), torch.tensor([5, -1])):
        np.testing.assert_array_equal(represent(model, data, indices=indices).mean, expected.mean)
    assert represent(model, data, indices=[]).mean.shape == (0, 3)
    with pytest.raises(ValueError, match="indices must be a vector of integers, but got bool"):
        represent(model, data, indices=np.zeros(len(data), bool))  # whatever its length, in batches too
    with pytest.raises(IndexError, match=r"indices must be in -737280 \.\. 737279, but got 737280"):
        represent(model, data, indices=[0] * 100 + [737_280])


def test_the_names_that_torch_does_not_promise_are_there() -> None:
    """They decide what `auto` means on a CPU; a torch without them must not pass for a CPU without bfloat16."""
    assert isinstance(torch.cpu._is_avx512_bf16_supported(), bool)
    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)


def test_a_checkpoint_from_another_kind_of_device_goes_on_with_noise_of_seed_and_step(
    small_data: DSprites, tmp_path: Path
) -> None:
    """A GPU's generator has another state than a CPU's: 16 bytes."""
    run = TrainingRun.start(CONFIG, small_data)
    run.advance(2)
    run.save(tmp_path / "checkpoint", scores=run.evaluate(), report={"step": 2})
    losses = []
    for step in (2, 2, 3):
        loaded = TrainingRun.load(tmp_path / "checkpoint", small_data)
        loaded.learner.step = step
        loaded.learner._restore_generator(torch.zeros(16, dtype=torch.uint8))
        losses.append(loaded.learner._generator.initial_seed())
    assert losses[0] == losses[1] != losses[2]
