"""The scores of a model at a step, as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.metrics.base import EncodedSample, Score, check_number, live_rows, require, unlabelled
from betavae.metrics.registry import METRICS


@dataclass(frozen=True)
class Codes:
    """The posteriors of the scored images, from which other scores can be taken later without the model.

    Attributes:
        rows: Image numbers.
        mean: Posterior means.
        logvar: Natural logarithms of the posterior variances; None for an encoder that gives means alone.
    """

    rows: Integer[np.ndarray, " rows"]
    mean: Float[np.ndarray, "rows latents"]
    logvar: Float[np.ndarray, "rows latents"] | None

    def unlabelled_sample(self) -> EncodedSample:
        """Return the sample of these images for a metric that needs no factors."""
        return unlabelled(self.mean, self.logvar, live_rows(self.rows))

    def sample(self, data: FactorImages) -> EncodedSample:
        """Return the sample of these images for a metric.

        Args:
            data: The scored data set.
        """
        return EncodedSample(self.mean, self.logvar, data.factors_of(self.rows), data.factors, live_rows(self.rows))


@dataclass(frozen=True)
class Scores:
    """The scores of a model at a step.

    Attributes:
        by_name: The scores, by the name of their metric.
        kl_nats_per_latent: KL from the prior of each latent, averaged over the rows of `drawn_rows`; empty if the
            variances are not known.
        data_source: The origin of the images: `rendered`, `file`; `arrays` for codes without images.
        data_fingerprint: SHA-256 of the images, or of the arrays.
        step: Number of optimizer steps.
        codes: The codes of the rows of `drawn_rows`; None for scores that were read without them.
    """

    by_name: Mapping[str, Score]
    kl_nats_per_latent: tuple[float, ...]
    data_source: str
    data_fingerprint: str
    step: int = 0
    codes: Codes | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Score:
        return self.by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __str__(self) -> str:
        """Return a line per score: its value, chance level, ceiling and estimator."""
        rows: list[tuple[str, ...]] = [("score", "value", "chance", "ceiling", "estimator")]
        for name, score in self.by_name.items():
            numbers = (score.value, score.chance, score.ceiling)
            rows.append((name, *("-" if number is None else f"{number:.4f}" for number in numbers), score.estimator))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        signs = "<>>><"  # numbers to the right
        aligned = [
            [f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)] for row in rows
        ]
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a trial's report, under TensorBoard's names."""
        return {key: value for name, score in self.by_name.items() for key, value in score.numbers(name).items()}

    def with_scores(self, scores: Mapping[str, Score]) -> Scores:
        """Return these scores with others added; a score replaces the score of its name."""
        return replace(self, by_name={**self.by_name, **scores})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `scores.json`."""
        return {
            "step": self.step,
            "data": {"source": self.data_source, "sha256": self.data_fingerprint},
            "kl_nats_per_latent": list(self.kl_nats_per_latent),
            "scores": {name: score.to_dict() for name, score in self.by_name.items()},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Scores:
        """Build scores from the values of `to_dict`.

        Raises:
            InputError: If a value is missing or of another type; the message names the value.
        """
        require(isinstance(values, dict), "the content", "an object", values)
        require(type(values.get("step")) is int, "step", "a whole number", values.get("step"))
        data, kl, scores = values.get("data"), values.get("kl_nats_per_latent"), values.get("scores")
        require(isinstance(data, dict), "data", "an object", data)
        for name in ("source", "sha256"):
            require(isinstance(data.get(name), str), f"data.{name}", "text", data.get(name))
        require(isinstance(kl, list), "kl_nats_per_latent", "a list", kl)
        for value in kl:
            check_number("kl_nats_per_latent", value)
        require(isinstance(scores, dict), "scores", "an object", scores)
        by_name = {name: _read_score(name, score, num_latents=len(kl)) for name, score in scores.items()}
        return cls(by_name, tuple(kl), data["source"], data["sha256"], values["step"])


def _read_score(name: str, values: Any, *, num_latents: int) -> Score:
    try:
        score = Score.from_dict(values)
        if name in METRICS:  # else it is of an extension that is not loaded, and only its value is shown
            METRICS[name]().check_details(score)
        rows = score.details.get("mutual_information_nats")
        if isinstance(rows, list) and num_latents and len(rows) != num_latents:
            raise InputError(f"details.mutual_information_nats must have a row for each of {num_latents} latents")
        return score
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
