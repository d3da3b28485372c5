"""One model, looked at: what each latent does, and what it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from betavae.data import DSprites
from betavae.evaluation import ACTIVE_UNIT_NATS, NUM_BINS, evaluation_rows
from betavae.metrics import mutual_information_gap
from betavae.metrics.representation import represent
from betavae.records.checkpoint import CheckpointError, load_model
from betavae.records.trial import Checkpoint, Trial
from betavae.report.rotation import Rotation, best_rotation
from betavae.report.scores import check_scores
from betavae.samples import Samples, draw_samples

NUM_COLUMNS = 11
"""Pictures of a traversal, from left to right."""

KNOWN_SHARE = 0.05
"""A latent knows a factor from this share of its entropy on; the estimator's bias alone gives 1 % of orientation."""


_POSITION = (-2, -1)
"""Columns of the factors: posX and posY."""


@dataclass(frozen=True)
class Latent:
    """What one latent is for.

    Attributes:
        index: Its number in the code.
        kl_nats: How much it says of an image, on average.
        matched: The gap of each factor that this latent knows, and knows best of all.
        best_known: The factor of which it knows the largest share.
        share_known: That share: mutual information over the factor's entropy.
    """

    index: int
    kl_nats: float
    matched: Mapping[str, float]
    best_known: str
    share_known: float

    @property
    def is_active(self) -> bool:
        """Whether it says anything; else it has collapsed onto the prior."""
        return self.kl_nats > ACTIVE_UNIT_NATS

    def describe(self) -> str:
        """Its factors in words: `posX (gap 0.41)`."""
        if not self.is_active:
            return "collapsed"
        if self.matched:
            return ", ".join(f"{name} (gap {gap:.2f})" for name, gap in self.matched.items())
        return f"no factor first; most of {self.best_known} ({self.share_known:.0%} of its entropy)"


@dataclass(frozen=True)
class Portrait:
    """One checkpoint, with everything that the report draws of it.

    Attributes:
        title: What it stands for: `best`, `rank 2`, `median`, `worst`.
        trial: Whose it is.
        checkpoint: Its folder.
        scores: The content of `scores.json`.
        latents: By KL, the highest first.
        samples: Reconstructions, and a traversal of NUM_COLUMNS.
        mean_codes: By factor: the mean code of the images of each shape with each value of the factor; nan where the
            rows hold none.
        position_codes: The mean code of the images at each position.
        rescored: `mig` of the same rows, taken again on this machine.
        position: How far the two latents that know the position are turned against it; None with a single latent.
    """

    title: str
    trial: Trial
    checkpoint: Path
    scores: dict[str, Any]
    latents: tuple[Latent, ...]
    samples: Samples
    mean_codes: Mapping[str, Float[np.ndarray, "shapes values latents"]]
    position_codes: Float[np.ndarray, "posX posY latents"]
    rescored: float
    position: Rotation | None

    def shown(self, limit: int) -> tuple[Latent, ...]:
        """The latents of the highest KL, and every one that knows a factor best; in the order of KL."""
        return first_and_matched(self.latents, limit)

    @property
    def active(self) -> tuple[Latent, ...]:
        """The latents that say something."""
        return tuple(latent for latent in self.latents if latent.is_active)


def portray(
    trial: Trial, checkpoint: Checkpoint, *, title: str, data: DSprites, device: torch.device | str
) -> Portrait:
    """Load a checkpoint and look at it.

    Args:
        trial: Whose it is.
        checkpoint: One of its own.
        title: What it stands for in the report.
        data: The whole set.
        device: Where to compute.

    Raises:
        CheckpointError: If the checkpoint is damaged.
    """
    check_scores(checkpoint)
    model = load_model(checkpoint.folder, device)
    _check_fits(checkpoint, num_latents=model.latent_size, names=data.factors.names)
    rows = evaluation_rows(len(data))
    codes = represent(model, data, indices=rows, device=device).mean
    factors = data.factors.indices_to_factors(rows)
    shape, sizes, names = 0, data.factors.sizes, data.factors.names
    return Portrait(
        title=title,
        trial=trial,
        checkpoint=checkpoint.folder,
        scores=checkpoint.scores,
        latents=latents_by_kl(checkpoint.scores),
        samples=draw_samples(model, data, device=device, num_columns=NUM_COLUMNS),
        mean_codes={
            name: mean_by_factors(codes, factors[:, [shape, k]], sizes=(sizes[shape], sizes[k]))
            for k, name in enumerate(names)
        },
        position_codes=mean_by_factors(codes, factors[:, -2:], sizes=sizes[-2:]),
        rescored=mutual_information_gap(codes, factors, num_bins=NUM_BINS, binning="width").score,
        position=best_rotation(codes, factors, columns=_POSITION) if model.latent_size > 1 else None,
    )


def _check_fits(checkpoint: Checkpoint, *, num_latents: int, names: Sequence[str]) -> None:
    scored = len(checkpoint.scores["kl_nats_per_latent"]), set(checkpoint.scores["mig"]["gaps"])
    if scored != (num_latents, set(names)):
        raise CheckpointError(
            f"The scores of {checkpoint.folder} must be of its model's {num_latents} latents and of the factors "
            f"{', '.join(names)}, but are of {scored[0]} latents and of {', '.join(sorted(scored[1]))}."
        )


def first_and_matched(latents: Sequence[Latent], limit: int) -> tuple[Latent, ...]:
    """The first few, and every one that knows a factor best; in their order."""
    return tuple(latent for rank, latent in enumerate(latents) if rank < limit or latent.matched)


def latents_by_kl(scores: Mapping[str, Any]) -> tuple[Latent, ...]:
    """Read from a checkpoint's scores what each latent is for; the highest KL first."""
    mig = scores["mig"]
    names = list(mig["gaps"])
    shares = np.array(mig["mutual_information_nats"]) / np.array([mig["entropies_nats"][name] for name in names])
    latents = [
        Latent(
            index=index,
            kl_nats=kl,
            matched={
                name: mig["gaps"][name]
                for name, share in zip(names, shares[index], strict=True)
                if mig["matched_latents"][name] == index and share >= KNOWN_SHARE
            },
            best_known=names[shares[index].argmax()],
            share_known=float(shares[index].max()),
        )
        for index, kl in enumerate(scores["kl_nats_per_latent"])
    ]
    return tuple(sorted(latents, key=lambda latent: latent.kl_nats, reverse=True))


def mean_by_factors(
    codes: Float[np.ndarray, "rows latents"], factors: Int[np.ndarray, "rows columns"], *, sizes: tuple[int, ...]
) -> Float[np.ndarray, "*sizes latents"]:
    """Average the codes of the rows that share all of these factors' values; nan where there is no row.

    Args:
        codes: Posterior means.
        factors: Values, 0 .. size - 1, a column per factor.
        sizes: How many values each of these factors has.
    """
    cells = np.ravel_multi_index(tuple(factors.T), sizes)
    counts = np.bincount(cells, minlength=int(np.prod(sizes)))
    with np.errstate(invalid="ignore"):
        means = [np.bincount(cells, code, minlength=len(counts)) / counts for code in codes.T.astype(np.float64)]
    return np.stack(means, axis=1).reshape(*sizes, codes.shape[1])
