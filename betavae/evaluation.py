"""Evaluation: a model and a data set in, scores out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from betavae.data import Dataset, FactorImages
from betavae.errors import InputError
from betavae.metrics import METRICS, Codes, EncodedSample, Rows, Score, Scores
from betavae.metrics.base import drawn_rows
from betavae.metrics.registry import live_metrics
from betavae.metrics.representation import represent
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError


def evaluate(
    model: VAE,
    data: FactorImages,
    *,
    dataset: Dataset | None = None,
    device: torch.device | str = "cpu",
    step: int = 0,
) -> Scores:
    """Take every live score of a model. The scored images are the same for every model.

    Args:
        model: On `device`.
        data: The whole set.
        dataset: The data set that the model was trained on, with its parameters; the whole set if None.
        device: Where to encode.
        step: Optimizer steps of the model, for the record.

    Raises:
        NonFiniteLossError: If the KL of a latent is infinite or nan: the model has diverged.
    """
    rows, num_training = drawn_rows(data), _num_training(data, dataset)
    samples = {rows.indices.tobytes(): encode(model, data, rows, device=device)}
    scores: dict[str, Score] = {}
    for name, metric in live_metrics().items():
        wanted = metric.rows(data, num_training)
        if wanted is not None:
            key = wanted.indices.tobytes()
            if key not in samples:
                samples[key] = encode(model, data, wanted, device=device)
            scores[name] = metric.score(samples[key])
    sample = samples[rows.indices.tobytes()]
    return Scores(
        by_name=scores,
        kl_nats_per_latent=tuple(sample.kl_per_latent().tolist()),
        data_source=data.source,
        data_fingerprint=data.fingerprint,
        step=step,
        codes=Codes(rows.indices, sample.mean, sample.logvar),
    )


def take_score(
    name: str,
    model: VAE,
    data: FactorImages,
    *,
    dataset: Dataset | None = None,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> Score:
    """Take one score of a model, such as `mig_exact`; its details name the data.

    Args:
        name: A name in `METRICS`.
        model: On `device`.
        data: The whole set.
        dataset: The data set that the model was trained on, with its parameters; the whole set if None.
        device: Where to encode.
        on_progress: Called after each batch with its number of images.

    Raises:
        UnknownNameError: If there is no such metric.
        InputError: If the metric is not defined for the model, as `mig_seed_study` for one trained on the whole set.
        NonFiniteLossError: As `evaluate`.
    """
    metric = METRICS.find(name)()
    rows = metric.rows(data, _num_training(data, dataset))
    if rows is None:
        raise InputError(f"{name} must be defined for the model, but is not; see {type(metric).__name__}.rows.")
    score = metric.score(encode(model, data, rows, device=device, on_progress=on_progress))
    taken_of = {"source": data.source, "sha256": data.fingerprint}
    return replace(score, details={**score.details, "data": taken_of})


def encode(
    model: VAE,
    data: FactorImages,
    rows: Rows,
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> EncodedSample:
    """Encode images, and pair their posteriors with their factors.

    Args:
        model: On `device`.
        data: The whole set.
        rows: The images.
        device: Where to encode.
        on_progress: Called after each batch with its number of images.

    Raises:
        NonFiniteLossError: As `evaluate`.
    """
    representation = represent(model, data, indices=rows.indices, device=device, on_progress=on_progress)
    factors = data.factors.indices_to_factors(rows.indices)
    sample = EncodedSample(representation.mean, representation.logvar, factors, data.factors, rows)
    bad = np.flatnonzero(~np.isfinite(sample.kl_per_latent()))
    if bad.size:
        raise NonFiniteLossError(
            f"The KL must be finite, but that of latents {bad.tolist()} is infinite or nan on the {len(rows.indices)} "
            "images that are scored: the model has diverged; score an earlier checkpoint."
        )
    return sample


def _num_training(data: FactorImages, dataset: Dataset | None) -> int:
    return len(data) if dataset is None else dataset.num_training(data)
