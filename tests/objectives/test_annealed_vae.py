import pytest
import torch

from betavae.models import VAE
from betavae.objectives import AnnealedVAE, Batch


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (1, 0.05), (50, 2.5), (100, 5.0), (101, 5.0), (10**9, 5.0)])
def test_the_capacity_rises_linearly_and_then_stays(step: int, expected: float) -> None:
    objective, images = AnnealedVAE(c_max=5.0, capacity_steps=100), torch.ones(2, 1, 64, 64)
    assert objective.capacity(step) == pytest.approx(expected, rel=1e-15)
    loss = objective.loss(Batch(VAE(4), images, step=step))
    assert loss.terms["capacity_nats"].item() == pytest.approx(expected, rel=2**-23)


def test_the_kl_is_drawn_to_the_capacity_from_both_sides() -> None:
    """Fails without the absolute value, or with its sign turned."""
    model, images = VAE(4, generator=torch.Generator().manual_seed(0)), torch.ones(2, 1, 64, 64)
    kl = model.encode(images).kl().sum(1).mean().item()
    for c_max, sign in ((0.0, 1), (2 * kl, -1)):
        objective = AnnealedVAE(gamma=1e6, c_max=c_max, capacity_steps=1)
        bias = model.encoder[-1].bias
        total = objective.loss(Batch(model, images, step=1)).total
        (slope,) = torch.autograd.grad(total, bias)
        (of_the_kl,) = torch.autograd.grad(model.encode(images).kl().sum(1).mean(), bias)
        assert (slope * of_the_kl).sum().sign() == sign
