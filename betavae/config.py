"""Every knob of one trial, on one screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from betavae.files import read_json

Architecture = Literal["burgess", "conv3"]
Objective = Literal["beta-vae", "beta-tcvae"]
Precision = Literal["auto", "float32", "bfloat16"]

NUM_IMAGES = 737_280
"""Images in dSprites."""

NUM_PIXELS = 64 * 64
"""Pixels of one image: height times width times one channel."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """What one trial trains, and for how long.

    Raises:
        ValueError: If a value is impossible; the message names the field, what must hold and what came.
    """

    beta: float = 4.0
    """Weight of the KL term, or of what `objective` takes of it; 1 is the plain VAE. It multiplies nats per image."""

    latent_size: int = 10
    """Number of latents, z. dSprites has five factors; the field's habit is ten latents."""

    lr: float = 1e-3
    """Adam's step size. 2e-3 without warm-up collapsed in three runs of five."""

    seed: int = 0
    """Fixes the initial weights, the order of the images and the posterior's noise."""

    architecture: Architecture = "burgess"
    """`burgess`: the literature's network. `conv3`: the seed study's."""

    objective: Objective = "beta-vae"
    """The loss: `beta-vae` is recon + beta * KL; `beta-tcvae` is recon + KL + (beta - 1) * total correlation."""

    batch_size: int = 64
    """Images per step."""

    steps: int = 300_000
    """Optimizer steps in all. 300,000 of 64 images is what published runs take."""

    eval_every: int = 10_000
    """Steps from one evaluation, report and checkpoint to the next."""

    images: int = NUM_IMAGES
    """Train on the first so many images in file order. Only a study of that flaw wants fewer than all."""

    precision: Precision = "auto"
    """Arithmetic of the convolutions. `auto`: bfloat16 where the device computes in it, else float32."""

    compile: bool = False
    """Compile the training step with torch.compile: minutes at first, worth it on a GPU only."""

    def __post_init__(self) -> None:
        """Check every field, so that a wrong one fails before any work."""
        self._check_choices()
        self._check_types()
        for name in ("beta", "lr"):
            _require(0 < getattr(self, name) <= sys.float_info.max, name, "positive and finite", getattr(self, name))
        for name in ("steps", "eval_every"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name, most in (("latent_size", NUM_PIXELS), ("batch_size", NUM_IMAGES)):  # more fit into no memory
            _require(1 <= getattr(self, name) <= most, name, f"in 1 .. {most}", getattr(self, name))
        _require(0 <= self.seed < 2**63, "seed", "in 0 .. 2**63 - 1", self.seed)
        _require(1 <= self.images <= NUM_IMAGES, "images", f"in 1 .. {NUM_IMAGES}", self.images)
        _require(
            self.eval_every <= self.steps,
            "eval_every",
            f"at most steps ({self.steps}), or no score is taken",
            self.eval_every,
        )

    def _check_choices(self) -> None:
        choices = {"architecture": Architecture, "objective": Objective, "precision": Precision}
        for name, literal in choices.items():
            known = get_args(literal)
            _require(getattr(self, name) in known, name, f"one of {', '.join(known)}", getattr(self, name))

    def _check_types(self) -> None:
        """Refuse 2.0 steps and "4" as beta: a config read from a file has no other guard."""
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = {"float": (int, float), "int": (int,), "bool": (bool,)}.get(str(field.type), (str,))
            right = isinstance(value, kinds) and (isinstance(value, bool) == (field.type == "bool"))
            _require(right, field.name, f"of type {field.type}", value)

    @property
    def beta_norm(self) -> float:
        """Beta where the loss is averaged over pixels and latents: beta * z / (H * W * C), Higgins et al. 2017."""
        return self.beta * self.latent_size / NUM_PIXELS

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Build a config from some of its fields by name.

        Raises:
            ValueError: If a name is no field, or a value impossible.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"A trial's config must be a mapping of names to values, but got {values!r}.")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"A trial has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> TrialConfig:
        """Read a `config.json`, which holds every field.

        Raises:
            ValueError: If it is damaged, or lacks a field; the message names the file.
            OSError: If it cannot be read.
        """
        values = read_json(path)
        try:
            config = cls.from_dict(values)
            missing = [field.name for field in fields(cls) if field.name not in values]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}.")
            return config
        except ValueError as error:
            raise ValueError(f"{path} must hold a trial's config, but: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """All fields by name; the content of `config.json`."""
        return asdict(self)


def _require(holds: bool, name: str, what: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {what}, but got {value!r}.")
