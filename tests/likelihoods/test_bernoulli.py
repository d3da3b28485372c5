import torch
import torch.nn.functional as F

from betavae.likelihoods import Bernoulli
from betavae.models import VAE
from betavae.objectives.base import reconstruction_nats


def test_the_loss_is_torchs_cross_entropy_to_the_last_bit() -> None:
    """Checkpoints of earlier versions resume bit for bit: loss and gradients must not change in a bit."""
    model = VAE(4, generator=torch.Generator().manual_seed(0))
    codes, images = torch.randn(9, 4), torch.rand(9, 1, 64, 64)
    losses = (
        reconstruction_nats(model, codes, images),
        F.binary_cross_entropy_with_logits(model.decoder(codes), images, reduction="sum") / len(images),
    )
    assert torch.equal(*losses)
    gradients = [torch.autograd.grad(loss, tuple(model.decoder.parameters())) for loss in losses]
    assert all(torch.equal(each, other) for each, other in zip(*gradients, strict=True))


def test_it_is_the_log_probability_of_black_and_white_pixels() -> None:
    """By torch.distributions, in float64, whose rounding is 2^-53 of each of 48 pixels."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=generator)
    images = torch.rand(5, 3, 4, 4, dtype=torch.float64, generator=generator).round()
    distribution = torch.distributions.Bernoulli(logits=logits)
    torch.testing.assert_close(
        Bernoulli().nats(logits, images, {}), -distribution.log_prob(images).sum((1, 2, 3)), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(Bernoulli().pixels(logits), distribution.mean, rtol=1e-12, atol=0)
