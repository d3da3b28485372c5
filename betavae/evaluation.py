"""Evaluation: a model and a data set in, scores out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch

from betavae.data import NO_FACTORS, Dataset, FactorImages
from betavae.errors import InputError
from betavae.metrics import Codes, EncodedSample, Metric, Rows, Score, Scores
from betavae.metrics.base import drawn_rows, unlabelled
from betavae.metrics.registry import ALL_KNOWN, LIVE, Known, find_metrics
from betavae.metrics.representation import Encoder, reconstruction_nats, represent
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError


def evaluate(
    encoder: Encoder,
    data: FactorImages,
    metrics: str | Iterable[str] = LIVE,
    *,
    dataset: Dataset | None = None,
    has_factors: bool = True,
    device: torch.device | str = "cpu",
    step: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Scores:
    """Take scores of a model. The scored images are the same for every model.

    Args:
        encoder: A model of this library; or any function from images, float32 (n, channels, height, width) in [0, 1],
            to the means of their codes, (n, latents), or to means and natural logarithms of variances. On `device`.
        data: The whole set.
        metrics: A name in `METRICS`, or several. "all" stands for all that the encoder allows, "live" for those that a
            sweep takes at every evaluation.
        dataset: The data set that the model was trained on, with its parameters; the whole set if None.
        has_factors: Whether scores may look at the factors of images. If not, or if the data set has none, "all" and
            "live" leave out those that do.
        device: Where to encode.
        step: Optimizer steps of the model, for the record.
        on_progress: Called after each encoded batch with its number of images.

    Raises:
        UnknownNameError: If there is no such metric.
        InputError: If a metric is not defined for the model, as `mig_seed_study` for one trained on the whole set, or
            if the encoder returns something else than codes.
        NonFiniteLossError: If a mean, or the KL of a latent, is infinite or nan: the model has diverged.
    """
    samples = EncodedSamples(lambda: encoder, data, device=device, on_progress=on_progress)
    drawn = samples.take(drawn_rows(data), has_factors=False)
    known = Known(has_posterior=drawn.logvar is not None, has_factors=has_factors, has_decoder=isinstance(encoder, VAE))
    found = metrics_of(metrics, dataset=dataset, data=data, known=known)
    return Scores(
        by_name={name: samples.score(metric, rows) for name, (metric, rows) in found.items()},
        kl_nats_per_latent=tuple(drawn.kl_per_latent().tolist()),
        data_source=data.source,
        data_fingerprint=data.fingerprint,
        step=step,
        codes=Codes(drawn.rows.indices, drawn.mean, drawn.logvar),
    )


def take_score(
    name: str,
    encoder: Encoder,
    data: FactorImages,
    *,
    dataset: Dataset | None = None,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> Score:
    """Take one score of a model, and encode no other images than it needs; its details name the data.

    Args:
        name: A name in `METRICS`.
        encoder: As for `evaluate`.
        data: The whole set.
        dataset: As for `evaluate`.
        device: Where to encode.
        on_progress: Called after each encoded batch with its number of images.

    Raises:
        UnknownNameError: If there is no such metric.
        InputError: As `evaluate`.
        NonFiniteLossError: As `evaluate`.
    """
    metric, rows = metrics_of(name, dataset=dataset, data=data, known=Known(has_decoder=isinstance(encoder, VAE)))[name]
    samples = EncodedSamples(lambda: encoder, data, device=device, on_progress=on_progress)
    return named_data(samples.score(metric, rows), data)


def metrics_of(
    names: str | Iterable[str], *, dataset: Dataset | None, data: FactorImages, known: Known = ALL_KNOWN
) -> dict[str, tuple[Metric, Rows]]:
    """Return metrics with the images that they score, by name.

    Args:
        names: As `metrics` of `evaluate`.
        dataset: The data set that the model was trained on, with its parameters; the whole set if None.
        data: The whole set.
        known: The inputs that are at hand, but for training images. Factors are not, if the data set has none.

    Raises:
        UnknownNameError: If there is no such metric.
        InputError: If a metric cannot be taken of the model.
    """
    num_training = len(data) if dataset is None else dataset.num_training(data)
    known = replace(
        known,
        has_training_images=num_training < len(data),
        has_factors=known.has_factors and data.has_factors,
        has_order=data.factors.has_order,
    )
    found = find_metrics(names, known)
    with_rows = {name: (metric, metric.rows(data, num_training)) for name, metric in found.items()}
    return {name: (metric, rows) for name, (metric, rows) in with_rows.items() if rows is not None}


def named_data(score: Score, data: FactorImages) -> Score:
    """Return a score with the data that it was taken on in its details."""
    return replace(score, details={**score.details, "data": {"source": data.source, "sha256": data.fingerprint}})


class EncodedSamples:
    """Encoded images of one model. Each choice of images is encoded once, and kept.

    Args:
        load: Return the encoder, which is on `device`; called once, at the first image.
        data: The whole set.
        device: Where to encode.
        on_progress: Called after each encoded batch with its number of images.
    """

    def __init__(
        self,
        load: Callable[[], Encoder],
        data: FactorImages,
        *,
        device: torch.device | str = "cpu",
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self._load = functools.cache(load)
        self._data, self._device, self._on_progress = data, device, on_progress
        self._samples: dict[bytes, EncodedSample] = {}

    def add(self, sample: EncodedSample) -> None:
        """Keep images that are encoded already."""
        self._samples[sample.rows.indices.tobytes()] = sample

    def score(self, metric: Metric, rows: Rows) -> Score:
        """Return a score of some images.

        Raises:
            InputError: As `take`, or if the metric needs a decoder and the encoder is no model of this library.
            NonFiniteLossError: As `take`.
        """
        sample = self.take(rows, has_factors=metric.needs_factors)
        return metric.score(self._decoded(sample, metric.name) if metric.needs_decoder else sample)

    def take(self, rows: Rows, *, has_factors: bool = True) -> EncodedSample:
        """Return encoded images, paired with their factors.

        Args:
            rows: The images.
            has_factors: Whether to look at the factors; if not, those of the sample may be missing: `NO_FACTORS`.

        Raises:
            InputError: If the encoder returns something else than codes.
            NonFiniteLossError: If a mean, or the KL of a latent, is infinite or nan.
        """
        key = rows.indices.tobytes()
        if key not in self._samples:
            self._samples[key] = self._encode(rows)
        sample = self._samples[key]
        if has_factors and sample.space is NO_FACTORS:
            factors = self._data.factors_of(rows.indices)
            sample = replace(sample, factors=factors, space=self._data.factors)
            self._samples[key] = sample
        return sample

    def _encode(self, rows: Rows) -> EncodedSample:
        codes = represent(
            self._load(), self._data, indices=rows.indices, device=self._device, on_progress=self._on_progress
        )
        sample = unlabelled(codes.mean, codes.logvar, rows)
        _check_finite(sample)
        return sample

    def _decoded(self, sample: EncodedSample, name: str) -> EncodedSample:
        model = self._load()
        if not isinstance(model, VAE):
            raise InputError(
                f"{name} needs a decoder: a model of this library; leave {name} out for any other encoder."
            )
        recon_nats = reconstruction_nats(model, self._data, sample, device=self._device)
        return replace(sample, recon_nats=recon_nats)


def _check_finite(sample: EncodedSample) -> None:
    what, of_latents = "KL", sample.kl_per_latent()
    if sample.logvar is None:
        what, of_latents = "mean", np.abs(sample.mean).max(axis=0)
    bad = np.flatnonzero(~np.isfinite(of_latents))
    if bad.size:
        raise NonFiniteLossError(
            f"The {what} must be finite, but that of latents {bad.tolist()} is infinite or nan on the "
            f"{len(sample.mean)} images that are scored: the model has diverged; score an earlier checkpoint."
        )
