"""A part of each kind, a metric and a logger, as a user would add them: one class and one entry in a table each."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.arrays import ArrayLike, as_indices
from betavae.data import DATASETS, Dataset, FactorImages, FactorSpace, ImageShape
from betavae.errors import InputError
from betavae.metrics import METRICS, EncodedSample, Metric, Score
from betavae.models import ARCHITECTURES, Architecture
from betavae.objectives import OBJECTIVES, Batch, Loss, Objective
from betavae.objectives.base import reconstruction_nats
from betavae.parts import parameter
from betavae.records.trial import PlannedTrial, Trial
from sweeps.loggers import LOGGERS
from sweeps.loggers.base import Logger, Report


@OBJECTIVES.add
@dataclass(frozen=True, kw_only=True)
class Elastic(Objective):
    """Minimise recon + strength * (mixture * KL + (1 - mixture) * L1)."""

    name = "toy-elastic"
    terms: ClassVar[tuple[str, ...]] = ("recon_nats", "kl_nats", "l1_nats")

    strength: float = parameter(1.0, positive=True, log=True)
    """Weight of both penalties."""

    mixture: float = parameter(0.5, least=0, most=1)
    """Share of the KL in the penalty."""

    def loss(self, batch: Batch) -> Loss:
        """Return the loss, with the mean length of the codes as a term of its own."""
        posterior = batch.model.encode(batch.images)
        recon = reconstruction_nats(batch.model, posterior.sample(batch.generator), batch.images)
        kl, l1 = posterior.kl().sum(1).mean(), posterior.mean.abs().sum(1).mean()
        total = recon + self.strength * (self.mixture * kl + (1 - self.mixture) * l1)
        return Loss(total, {"recon_nats": recon, "kl_nats": kl, "l1_nats": l1})


@ARCHITECTURES.add
@dataclass(frozen=True, kw_only=True)
class Dense(Architecture):
    """One hidden layer each."""

    name = "toy-dense"

    width: int = parameter(8, least=1, log=True)
    """Hidden units."""

    def networks(self, latent_size: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder for images of 64 x 64."""
        if image_shape[1:] != (64, 64) or image_shape[0] not in (1, 3):
            channels, height, width = image_shape
            raise InputError(f"Images must be 64 x 64, but are {height} x {width} with {channels} channels.")
        size = math.prod(image_shape)
        encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(size, self.width), nn.ReLU(), nn.Linear(self.width, 2 * latent_size)
        )
        decoder = nn.Sequential(
            nn.Linear(latent_size, self.width), nn.ReLU(), nn.Linear(self.width, size), nn.Unflatten(1, image_shape)
        )
        return encoder, decoder


class Bars(FactorImages):
    """A coloured bar of some width at some place: 4 x 3 x 16 images of 3 channels."""

    source = "drawn"

    def __init__(self) -> None:
        self.factors = FactorSpace(
            ("tint", "thickness", "place"),
            (("red", "green", "blue", "white"), (2.0, 4.0, 8.0), tuple(range(16))),
            categorical=("tint",),
        )
        self._pixels = self._draw()
        self.fingerprint = self._hash()

    @property
    def image_shape(self) -> ImageShape:
        """Three channels, 64 rows, 64 columns."""
        return (3, 64, 64)

    def images(self, indices: ArrayLike, device: str | torch.device = "cpu") -> Float[Tensor, "n 3 64 64"]:
        """Return images, of 0 and 1."""
        rows = as_indices("indices", indices, size=len(self))
        return torch.from_numpy(self._pixels[rows]).to(device, torch.float32)

    def verify(self) -> None:
        """Hash the pixels again."""
        if self._hash() != self.fingerprint:
            raise ValueError("The bars have changed.")

    def _draw(self) -> np.ndarray:
        pixels = np.zeros((self.factors.size, 3, 64, 64), np.uint8)
        for image, (tint, thickness, place) in zip(
            pixels, self.factors.indices_to_factors(np.arange(len(self))), strict=True
        ):
            channels = [tint] if tint < 3 else [0, 1, 2]
            image[channels, :, 4 * place : min(4 * place + 2 ** (thickness + 1), 64)] = 1
        return pixels

    def _hash(self) -> str:
        return hashlib.sha256(self._pixels.tobytes()).hexdigest()


@DATASETS.add
@dataclass(frozen=True, kw_only=True)
class BarsDataset(Dataset):
    """Coloured bars: 192 images."""

    name = "toy-bars"
    image_shape = (3, 64, 64)

    def open(self) -> Bars:
        """Draw them."""
        return Bars()


@METRICS.add
@dataclass(frozen=True, kw_only=True)
class Explained(Metric):
    """The largest share of a latent's variance that lies between a factor's values: mean over the factors."""

    name = "toy_explained"
    label = "explained"

    def score(self, sample: EncodedSample) -> Score:
        """Score a sample."""
        names, shares = sample.space.names, _explained(sample.mean, sample.factors)
        shuffled = _explained(sample.mean, sample.factors[sample.generator().permutation(len(sample.factors))])
        return Score(
            value=float(np.mean(shares)),
            by_factor=dict(zip(names, shares, strict=True)),
            estimator="variance between the values of a factor over all variance",
            num_rows=len(sample.mean),
            rows=sample.rows.description,
            rows_seed=sample.rows.seed,
            chance=float(np.mean(shuffled)),
        )


def _explained(codes: np.ndarray, factors: np.ndarray) -> list[float]:
    codes = codes.astype(np.float64)
    total = np.maximum(codes.var(axis=0), 1e-300)
    shares = []
    for column in factors.T:
        means = np.stack([codes[column == value].mean(axis=0) for value in np.unique(column)])
        counts = np.unique(column, return_counts=True)[1]
        shares.append(float((np.average((means - codes.mean(axis=0)) ** 2, axis=0, weights=counts) / total).max()))
    return shares


@LOGGERS.add
class Lines(Logger):
    """Appends a line to a file for everything that it is told."""

    name = "toy-lines"

    def started(self, trial: PlannedTrial) -> None:
        """Write that it starts."""
        self._write(f"{trial.index} started")

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        """Write its step and its score."""
        self._write(f"{trial.index} {report['step']} {report['toy_explained']}")

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        """Write how it ended."""
        self._write(f"{trial.index} {'lost' if outcome is None else outcome.status}")

    def _write(self, line: str) -> None:
        with (self.context.sweep.local / "lines.txt").open("a") as file:
            file.write(line + "\n")
