from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate, take_score
from betavae.metrics import METRICS, Scores, live_metrics
from betavae.models import VAE
from betavae.records.checkpoint import (
    CODES_FILE,
    CheckpointError,
    add_scores,
    check_checkpoint,
    load_model,
    read_codes,
    read_scores,
    write_checkpoint,
)

LATENT_SIZE = 10


@pytest.fixture(scope="module")
def data() -> DSprites:
    return DSprites.open()


@pytest.fixture(scope="module")
def model() -> VAE:
    return VAE(LATENT_SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def taken(model: VAE, data: DSprites) -> Scores:
    return evaluate(model, data, step=3)


@pytest.fixture
def checkpoint(model: VAE, taken: Scores, tmp_path: Path) -> Path:
    folder, config = tmp_path / "checkpoint", TrialConfig(latent_size=LATENT_SIZE)
    write_checkpoint(folder, config=config, model=model, training={}, scores=taken, report={"step": 3}, samples={})
    return folder


def test_codes_round_trip(checkpoint: Path, taken: Scores) -> None:
    codes = read_codes(checkpoint)
    assert taken.codes is not None
    for name, array in vars(taken.codes).items():
        np.testing.assert_array_equal(getattr(codes, name), array)
    assert codes.mean.dtype == codes.logvar.dtype == np.float32
    assert codes.mean.shape == codes.logvar.shape == (10_000, LATENT_SIZE)


def test_codes_of_ten_latents_take_less_than_a_megabyte(checkpoint: Path) -> None:
    assert (checkpoint / CODES_FILE).stat().st_size < 1e6


def test_every_live_score_can_be_taken_again_from_the_codes_alone(
    checkpoint: Path, taken: Scores, data: DSprites
) -> None:
    """To the last bit, and with the same words about its rows."""
    sample = read_codes(checkpoint).sample(data)
    recorded = read_scores(checkpoint)
    assert METRICS["mig"]().score(sample).value == recorded["mig"].value
    for name, metric in live_metrics().items():
        if name in recorded:
            assert metric.score(sample) == recorded[name] == taken[name]


def test_codes_that_are_damaged_are_a_checkpoint_error(checkpoint: Path) -> None:
    path = checkpoint / CODES_FILE
    content = path.read_bytes()
    for damage in (content[:-100], b"", content[:100] + b"x" + content[101:]):
        path.write_bytes(damage)
        with pytest.raises(CheckpointError, match=f"{CODES_FILE} is not what was written"):
            check_checkpoint(checkpoint)
    np.savez(path, mean=np.zeros((1, 1)))
    with pytest.raises(CheckpointError, match=f"must hold {CODES_FILE}"):
        read_codes(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"must hold {CODES_FILE}"):
        read_codes(checkpoint)


def test_a_score_is_added_to_those_that_are_there(checkpoint: Path, taken: Scores, small_data: DSprites) -> None:
    exact = take_score("mig_exact", load_model(checkpoint), small_data)
    add_scores(checkpoint, {"mig_exact": exact})
    check_checkpoint(checkpoint)
    scores = read_scores(checkpoint)
    assert scores.by_name == {**taken.by_name, "mig_exact": exact}
    add_scores(checkpoint, {"mig_exact": replace(exact, value=0.5)})
    assert read_scores(checkpoint)["mig_exact"].value == 0.5
    assert read_scores(checkpoint).to_dict()["data"] == taken.to_dict()["data"]


def test_scores_that_were_changed_are_refused(checkpoint: Path) -> None:
    path = checkpoint / "scores.json"
    path.write_text(path.read_text().replace('"num_rows": 10000', '"num_rows": 10001'))
    with pytest.raises(CheckpointError, match=r"must hold scores\.json, but: its content is not what was written"):
        read_scores(checkpoint)
