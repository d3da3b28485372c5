"""One model in detail: the factors of each latent, its traversal, and its codes over the factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from betavae.data import FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.metrics import Scores
from betavae.metrics.active_units import ACTIVE_UNIT_NATS
from betavae.metrics.registry import LIVE
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError
from betavae.records.checkpoint import CheckpointError, load_model
from betavae.records.trial import Checkpoint, Trial
from betavae.report.information import has_information, information_of
from betavae.report.rotation import Rotation, best_rotation
from betavae.samples import Samples, draw_samples

NUM_COLUMNS = 11
"""Images of a traversal, from left to right."""

KNOWN_SHARE = 0.05
"""A latent knows a factor from this share of its entropy on; the estimator's bias alone gives 1 % for 40 values."""


@dataclass(frozen=True)
class Latent:
    """One latent of a model.

    Attributes:
        index: Its number in the code.
        kl_nats: Its KL from the prior, averaged over the images.
        matched: The gap of each factor that this latent knows, and knows best of all.
        best_known: The factor of which it knows the largest share; empty if no factor has been looked at.
        share_known: That share: mutual information over the factor's entropy.
    """

    index: int
    kl_nats: float
    matched: Mapping[str, float]
    best_known: str
    share_known: float

    @property
    def is_active(self) -> bool:
        """Whether its KL is above `ACTIVE_UNIT_NATS`; else it has collapsed onto the prior."""
        return self.kl_nats > ACTIVE_UNIT_NATS

    def describe(self) -> str:
        """Return its factors in words: `posX (gap 0.41)`."""
        if not self.is_active:
            return "collapsed"
        if self.matched:
            return ", ".join(f"{name} (gap {gap:.2f})" for name, gap in self.matched.items())
        if not self.best_known:
            return "active"
        return f"no factor first; most of {self.best_known} ({self.share_known:.0%} of its entropy)"


@dataclass(frozen=True)
class Portrait:
    """One checkpoint, with all that the report draws of it.

    Attributes:
        title: Its place among the trials: `best`, `rank 2`, `median`, `worst`.
        trial: The trial that wrote it.
        checkpoint: Its folder.
        scores: Its scores, as they were recorded.
        space: The factors of its data set.
        latents: By KL, the highest first.
        samples: Reconstructions, and a traversal of NUM_COLUMNS.
        mean_codes: By factor: the mean code of the images with each value of the factor, for each value of
            `space.lines` (for all images together where that is None); nan where no scored image is. Empty if no factor
            has been looked at.
        position_codes: The mean code of the images at each position; None if the factors hold no position.
        rescored: The ranking score of the same rows, taken again on this machine; None if it is none of an evaluation.
        rotation: The rotation of the two latents that know the position best; None without a position, or with one
            latent.
    """

    title: str
    trial: Trial
    checkpoint: Path
    scores: Scores
    space: FactorSpace
    latents: tuple[Latent, ...]
    samples: Samples
    mean_codes: Mapping[str, Float[np.ndarray, "lines values latents"]]
    position_codes: Float[np.ndarray, "x y latents"] | None
    rescored: float | None
    rotation: Rotation | None

    @property
    def score(self) -> float:
        """The recorded ranking score."""
        return self.scores[self.trial.rank_by].value

    @property
    def is_labelled(self) -> bool:
        """Whether the model has been compared with factors."""
        return has_information(self.scores)

    def shown(self, limit: int) -> tuple[Latent, ...]:
        """Return the latents of the highest KL, and every latent that knows a factor best; in the order of KL."""
        return first_and_matched(self.latents, limit)

    @property
    def active(self) -> tuple[Latent, ...]:
        """The latents that have not collapsed."""
        return tuple(latent for latent in self.latents if latent.is_active)


def portray(
    trial: Trial, checkpoint: Checkpoint, *, title: str, data: FactorImages, device: torch.device | str
) -> Portrait:
    """Load a checkpoint, score it again, and draw its samples.

    Args:
        trial: The trial that wrote the checkpoint.
        checkpoint: It has the ranking score.
        title: The portrait's.
        data: The whole set.
        device: Where to compute.

    Raises:
        CheckpointError: If the checkpoint is damaged, or is not of such images.
    """
    model = load_model(checkpoint.folder, device)
    _check_fits(checkpoint, model, data)
    rescored = _evaluate(trial, checkpoint, model, data, device=device)
    assert rescored.codes is not None
    against_factors = _CodesAgainstFactors({}, None, None)
    if has_information(checkpoint.scores):
        against_factors = _against_factors(rescored.codes.mean, data.factors_of(rescored.codes.rows), data.factors)
    return Portrait(
        title=title,
        trial=trial,
        checkpoint=checkpoint.folder,
        scores=checkpoint.scores,
        space=data.factors,
        latents=latents_by_kl(checkpoint.scores),
        samples=draw_samples(model, data, device=device, num_columns=NUM_COLUMNS),
        mean_codes=against_factors.means,
        position_codes=against_factors.at_position,
        rescored=rescored[trial.rank_by].value if trial.rank_by in rescored else None,
        rotation=against_factors.rotation,
    )


@dataclass(frozen=True)
class _CodesAgainstFactors:
    """Codes averaged over values of factors, as a `Portrait` holds them."""

    means: Mapping[str, Float[np.ndarray, "lines values latents"]]
    at_position: Float[np.ndarray, "x y latents"] | None
    rotation: Rotation | None


def _against_factors(
    codes: Float[np.ndarray, "rows latents"], factors: Int[np.ndarray, "rows factors"], space: FactorSpace
) -> _CodesAgainstFactors:
    means = _mean_codes(codes, factors, space)
    if space.position is None:
        return _CodesAgainstFactors(means, None, None)
    position = [space.column(name) for name in space.position]
    at_position = mean_by_factors(codes, factors, columns=position, space=space)
    rotation = best_rotation(codes, factors, columns=position) if codes.shape[1] > 1 else None
    return _CodesAgainstFactors(means, at_position, rotation)


def first_and_matched(latents: Sequence[Latent], limit: int) -> tuple[Latent, ...]:
    """Return the first few latents, and every latent that knows a factor best; in their order."""
    return tuple(latent for rank, latent in enumerate(latents) if rank < limit or latent.matched)


def latents_by_kl(scores: Scores) -> tuple[Latent, ...]:
    """Read the latents of a model from its scores, the highest KL first.

    If the scores do not hold `mig`, nothing is known of factors.
    """
    if not has_information(scores):
        unlabelled = [Latent(index, kl, {}, "", 0.0) for index, kl in enumerate(scores.kl_nats_per_latent)]
        return tuple(sorted(unlabelled, key=lambda latent: latent.kl_nats, reverse=True))
    information = information_of(scores)
    shares = information.shares
    latents = [
        Latent(
            index=index,
            kl_nats=kl,
            matched={
                name: gap
                for name, gap, matched, share in zip(
                    information.factors, information.gaps, information.matched, shares[index].tolist(), strict=True
                )
                if matched == index and share >= KNOWN_SHARE
            },
            best_known=information.factors[shares[index].argmax()],
            share_known=float(shares[index].max()),
        )
        for index, kl in enumerate(scores.kl_nats_per_latent)
    ]
    return tuple(sorted(latents, key=lambda latent: latent.kl_nats, reverse=True))


def mean_by_factors(
    codes: Float[np.ndarray, "rows latents"],
    factors: Int[np.ndarray, "rows factors"],
    *,
    columns: Sequence[int],
    space: FactorSpace,
) -> Float[np.ndarray, "*sizes latents"]:
    """Average the codes of the rows that agree in some of the factors; nan where there is no row.

    Args:
        codes: Posterior means.
        factors: Values of all factors, 0 .. V_k - 1.
        columns: The factors in which rows must agree.
        space: The factors.

    Returns:
        An axis per column, as long as the factor has values, then the latents.
    """
    sizes = tuple(space.sizes[column] for column in columns)
    cells = np.ravel_multi_index(tuple(factors[:, list(columns)].T), sizes)
    counts = np.bincount(cells, minlength=int(np.prod(sizes)))
    with np.errstate(invalid="ignore"):
        means = [np.bincount(cells, code, minlength=len(counts)) / counts for code in codes.T.astype(np.float64)]
    return np.stack(means, axis=1).reshape(*sizes, codes.shape[1])


def _mean_codes(
    codes: Float[np.ndarray, "rows latents"], factors: Int[np.ndarray, "rows factors"], space: FactorSpace
) -> dict[str, Float[np.ndarray, "lines values latents"]]:
    if space.lines is None:
        means = [mean_by_factors(codes, factors, columns=[k], space=space)[None] for k in range(space.num_factors)]
    else:
        lines = space.column(space.lines)
        means = [mean_by_factors(codes, factors, columns=[lines, k], space=space) for k in range(space.num_factors)]
    return dict(zip(space.names, means, strict=True))


def _check_fits(checkpoint: Checkpoint, model: VAE, data: FactorImages) -> None:
    """See that model, scores and images belong together."""
    names = data.factors.names
    num_scored = len(checkpoint.scores.kl_nats_per_latent)
    scored = information_of(checkpoint.scores).factors if has_information(checkpoint.scores) else names
    if num_scored != model.latent_size or not set(scored) <= set(names):  # a factor may not vary on the scored rows
        raise CheckpointError(
            f"The scores of {checkpoint.folder} must be of its model's {model.latent_size} latents and of the factors "
            f"{', '.join(names)}, but are of {num_scored} latents and of {', '.join(sorted(scored))}."
        )
    if model.image_shape != data.image_shape:
        raise CheckpointError(
            f"The model of {checkpoint.folder} must be of images of shape {data.image_shape}, but is of "
            f"{model.image_shape}."
        )


def _evaluate(
    trial: Trial, checkpoint: Checkpoint, model: VAE, data: FactorImages, *, device: torch.device | str
) -> Scores:
    try:
        metrics = [LIVE, trial.rank_by]
        return evaluate(
            model,
            data,
            metrics,
            dataset=trial.config.dataset,
            has_factors=has_information(checkpoint.scores),
            device=device,
            step=checkpoint.scores.step,
        )
    except (InputError, NonFiniteLossError) as error:
        raise CheckpointError(f"{checkpoint.folder} must hold a model that can be scored, but: {error}") from error
