"""ModelCentrality: a model whose latents agree with the latents that generate the images of other models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from betavae.metrics.representation import Encoder, encode_batch, evaluation_mode
from betavae.models import VAE
from betavae.process import computes_in_bfloat16

_IMAGES_AT_ONCE = 128

NUM_POINTS, BATCH_SIZE, NUM_SCALE_IMAGES = 200, 32, 1_000
"""The defaults of `model_centrality`."""


@dataclass(frozen=True)
class Autoencoder:
    """A model of any origin that encodes images and generates them.

    Attributes:
        encoder: As for `betavae.evaluation.evaluate`.
        decoder: A function from codes, float32 (n, latents), to images, float32 (n, channels, height, width) in [0, 1].
        num_latents: Number of latents of a code.
    """

    encoder: Encoder
    decoder: Callable[[Tensor], Tensor]
    num_latents: int


@dataclass(frozen=True)
class ModelCentrality:
    """The centrality of several models and the comparisons behind it.

    Attributes:
        scores: The score of each model: the mean over all others j of (F[i, j] + F[j, i]) / 2, in [0, 1].
        accuracies: F[i, j]: how well the encoder of model i identifies which latent of model j was fixed.
    """

    scores: Float[np.ndarray, " models"]
    accuracies: Float[np.ndarray, "models models"]


@torch.no_grad()
def model_centrality(
    models: Sequence[VAE | Autoencoder],
    *,
    seed: int = 0,
    num_points: int = NUM_POINTS,
    batch_size: int = BATCH_SIZE,
    num_scale_images: int = NUM_SCALE_IMAGES,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> ModelCentrality:
    """Compute the centrality of models without labels, nor images.

    Each model takes the place of a data set whose factors are its latents. A point fixes one latent, draws the others
    from the prior, and decodes a batch of images; its vote is the latent of the other model that varies least over the
    batch, relative to its variance over images of the whole prior. Each latent of the other model is assigned to the
    latent that was fixed in most of its votes, and F[i, j] is the share of points whose fixed latent this gives.

    Args:
        models: Two or more, on `device`, for images of one shape.
        seed: Of the codes that are drawn.
        num_points: Points per model, which fix its latents in turn.
        batch_size: Images of a point.
        num_scale_images: Images from which the variances over the whole prior are taken.
        device: Where to compute.
        on_progress: Called with the number of images after each batch that a model has encoded.

    Returns:
        Scores in [0, 1]. All pairs are compared: the time grows with the square of the number of models.

    Error:
        The standard error of F is at most sqrt(0.25 / num_points), 0.035 with 200 points. F is biased up, since
        latents are assigned by the same votes that they are tested on. The paper takes 1,000 points of 100 images.
        Where the device computes in bfloat16 natively, images are encoded in it: a fixed latent then varies by
        rounding, about 1e-5 of its variance.

    Raises:
        ValueError: If there are fewer than two models, or a number is too small.
        InputError: If an encoder returns something else than codes.

    Source:
        Lin et al. 2020, arXiv:1906.06034.
    """
    if len(models) < 2:
        raise ValueError(f"models must be two or more, but got {len(models)}.")
    for name, number, least in (
        ("num_points", num_points, 1), ("batch_size", batch_size, 2), ("num_scale_images", num_scale_images, 2)
    ):  # fmt: skip
        if number < least:
            raise ValueError(f"{name} must be at least {least}, but got {number}.")
    known = [_autoencoder(model) for model in models]
    accuracies = np.empty((len(known), len(known)))
    device = torch.device(device)
    with (
        _evaluation_modes(known),
        torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device)),  # three times as fast
    ):
        for column, source in enumerate(known):
            generator = torch.Generator().manual_seed(seed)
            scale = torch.randn(num_scale_images, source.num_latents, generator=generator)
            points, fixed = _points(source.num_latents, num_points, batch_size, generator)
            codes = _codes_of_all(known, source, torch.cat((scale, points.flatten(0, 1))), device, on_progress)
            for row, each in enumerate(codes):
                variances = each[:num_scale_images].var(axis=0, ddof=1)
                votes = _votes(each[num_scale_images:].reshape(num_points, batch_size, -1), variances)
                accuracies[row, column] = _accuracy(votes, fixed)
    both = (accuracies + accuracies.T) / 2
    np.fill_diagonal(both, 0)
    return ModelCentrality(both.sum(axis=1) / (len(known) - 1), accuracies)


def images_to_encode(num_models: int) -> int:
    """Return how many images so many models encode in a comparison with the default numbers."""
    return num_models**2 * (NUM_POINTS * BATCH_SIZE + NUM_SCALE_IMAGES)


def _autoencoder(model: VAE | Autoencoder) -> Autoencoder:
    if isinstance(model, Autoencoder):
        return model
    return Autoencoder(model, model.pixels, model.latent_size)


@contextmanager
def _evaluation_modes(models: Sequence[Autoencoder]) -> Iterator[None]:
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluation_mode(model.encoder))
            stack.enter_context(evaluation_mode(model.decoder))
        yield


def _points(
    num_latents: int, num_points: int, batch_size: int, generator: torch.Generator
) -> tuple[Float[Tensor, "points images latents"], Int[np.ndarray, " points"]]:
    """Return the codes of each point, and the latent that it fixes."""
    codes = torch.randn(num_points, batch_size, num_latents, generator=generator)
    fixed = np.arange(num_points) % num_latents
    points = torch.arange(num_points)
    codes[points, :, fixed] = codes[points, :1, fixed]
    return codes, fixed


def _codes_of_all(
    models: Sequence[Autoencoder],
    source: Autoencoder,
    codes: Float[Tensor, "images latents"],
    device: torch.device,
    on_progress: Callable[[int], None] | None,
) -> list[Float[np.ndarray, "images _latents"]]:
    """Return the codes that each model gives to the images of one."""
    found: list[list[np.ndarray]] = [[] for _ in models]
    for batch in torch.split(codes, _IMAGES_AT_ONCE):
        images = source.decoder(batch.to(device))
        for model, means in zip(models, found, strict=True):
            means.append(encode_batch(model.encoder, images)[0].double().cpu().numpy())
            if on_progress is not None:
                on_progress(len(batch))
    return [np.concatenate(means) for means in found]


def _votes(
    codes: Float[np.ndarray, "points images latents"], variances: Float[np.ndarray, " latents"]
) -> Int[np.ndarray, " points"]:
    """Return the latent that varies least over each batch, relative to its variance; never a constant one."""
    shares = codes.var(axis=1, ddof=1) / np.where(variances > 0, variances, 1.0)
    shares[:, variances == 0] = np.inf
    votes: Int[np.ndarray, " points"] = shares.argmin(axis=1)
    return votes


def _accuracy(votes: Int[np.ndarray, " points"], fixed: Int[np.ndarray, " points"]) -> float:
    table = np.zeros((votes.max() + 1, fixed.max() + 1), np.int64)
    np.add.at(table, (votes, fixed), 1)
    return float(table.max(axis=1).sum() / len(votes))
