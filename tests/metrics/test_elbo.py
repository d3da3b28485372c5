"""The evidence lower bound, and scores without one look at the factors."""

import numpy as np
import pytest
import torch
from jaxtyping import Int

from betavae import DSprites, evaluate, take_score
from betavae.data import FactorSpace
from betavae.errors import InputError
from betavae.metrics import METRICS
from betavae.metrics.base import drawn_rows
from betavae.models import VAE


@pytest.fixture
def model() -> VAE:
    return VAE(3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def unlabelled(small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> DSprites:
    """Images whose factors nobody may look at."""

    def refuse(self: FactorSpace, indices: object) -> Int[np.ndarray, "samples factors"]:
        raise AssertionError("the factors were looked at")

    monkeypatch.setattr(FactorSpace, "indices_to_factors", refuse)
    return small_data


def test_it_is_minus_the_loss_of_a_beta_of_one(model: VAE, small_data: DSprites) -> None:
    """By brute force over the pixels, in float64, with the noise of the rows' seed."""
    score = take_score("elbo", model, small_data)
    rows = drawn_rows(small_data, num_rows=METRICS["elbo"].num_rows)
    noise = np.random.default_rng(rows.seed).standard_normal((len(rows.indices), 3), np.float32)
    images = small_data.images(rows.indices)
    with torch.no_grad():
        posterior = model.encode(images)
        mean, logvar = posterior.mean.double(), posterior.logvar.double()
        codes = mean + (logvar / 2).exp() * torch.from_numpy(noise)
        ones = torch.sigmoid(model.decode(codes.float()).double())
    recon = -(images * ones.log() + (1 - images) * (1 - ones).log()).flatten(1).sum(1).mean().item()
    kl = (0.5 * (mean**2 + logvar.exp() - 1 - logvar)).sum(1).mean().item()
    assert score.details["recon_nats"] == pytest.approx(recon, rel=1e-6)
    assert score.details["kl_nats"] == pytest.approx(kl, rel=1e-6)
    assert score.value == pytest.approx(-recon - kl, rel=1e-6)
    assert (score.num_rows, score.rows_seed, score.chance) == (len(rows.indices), rows.seed, None)


def test_it_needs_no_factors_and_nor_do_those_taken_without(model: VAE, unlabelled: DSprites) -> None:
    scores = evaluate(model, unlabelled, ["live", "elbo"], has_factors=False)
    assert scores.by_name.keys() == {"active_units", "elbo"}
    everything = evaluate(model, unlabelled, "all", has_factors=False)
    assert everything.by_name.keys() == {"active_units", "total_correlation", "elbo"}
    assert everything["elbo"] == scores["elbo"]
    with pytest.raises(InputError, match="mig needs the factors of the images; leave mig out"):
        evaluate(model, unlabelled, "mig", has_factors=False)
    with pytest.raises(AssertionError, match="looked at"):
        evaluate(model, unlabelled, "mig")


def test_an_encoder_alone_has_none(small_data: DSprites) -> None:
    def encoder(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = images.flatten(1)[:, :3]
        return means, torch.zeros_like(means)

    assert "elbo" not in evaluate(encoder, small_data, "all", has_factors=False)
    for attempt in (lambda: evaluate(encoder, small_data, "elbo"), lambda: take_score("elbo", encoder, small_data)):
        with pytest.raises(InputError, match="elbo needs a decoder: a model of this library; leave elbo out"):
            attempt()
