"""The configuration of a trial: its parts, each with its own parameters, and the parameters of every trial."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from betavae.data import DATASETS, Dataset, DSpritesDataset, ImageShape
from betavae.errors import InputError, ParameterError, UnknownNameError
from betavae.files import read_json
from betavae.latent_rotation import check_layers
from betavae.likelihoods import LIKELIHOODS, Bernoulli, Likelihood
from betavae.models import ARCHITECTURES, Architecture, Burgess
from betavae.objectives import OBJECTIVES, BetaVAE, Objective
from betavae.parts import (
    Parameter,
    Part,
    Table,
    field_of_part,
    normalize_parameters,
    parameter,
    parameters_of,
    schedules_of,
)
from betavae.schedules import Schedule, Weight, recorded_value, value_at

Precision = Literal["auto", "float32", "bfloat16"]

PARTS: Mapping[str, Table[Any]] = {
    "dataset": DATASETS,
    "architecture": ARCHITECTURES,
    "likelihood": LIKELIHOODS,
    "objective": OBJECTIVES,
}
"""The fields of TrialConfig that hold parts, each with the table of its choices."""

RESERVED_NAMES = (*PARTS, "index", "rank", "trial", "status", "step", "last_step", "checkpoint", "error")
"""Names in the flat record of a trial, or in a table of trials, that no parameter may have."""

_UNRECORDED = ("likelihood", "beta-tcvae.alpha", "cuda_graph", "rotate_until", "rotate_every", "starts", "start_steps")
"""Parts and parameters that records of earlier versions lack: their trials have the defaults."""

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """The data set, networks, likelihood, objective and training of one trial.

    Raises:
        ParameterError: If a value is impossible; the message says which parameter, what must hold and what came.
    """

    dataset: Dataset = field(default_factory=DSpritesDataset)
    """Data set."""

    architecture: Architecture = field(default_factory=Burgess)
    """Encoder and decoder."""

    likelihood: Likelihood = field(default_factory=Bernoulli)
    """Likelihood of pixels, given the decoder's output."""

    objective: Objective = field(default_factory=BetaVAE)
    """Training objective."""

    latent_size: int = parameter(10, least=1, most=4096, log=True, symbol="z", letter="z", is_shown=True)
    """Number of latents. Published runs have 10."""

    lr: Weight = parameter(1e-3, positive=True, log=True, is_shown=True)
    """Learning rate of Adam. At 2e-3, three runs of five collapsed."""

    batch_size: int = parameter(64, least=1, most=2**20, log=True, letter="b")
    """Images per step."""

    steps: int = parameter(300_000, least=1, log=True)
    """Optimizer steps of a trial that runs to its end. Published runs take 300,000 steps of 64 images."""

    eval_every: int = parameter(10_000, least=1, log=True, is_tried=False)
    """Steps between evaluations, each of which scores the model, reports the scores and writes a checkpoint. Default: a
    quarter of the steps."""

    rotate_until: int = parameter(0, least=0, is_shown_if_set=True)
    """Rotate the latents, every `rotate_every` steps up to this step, to the axes along which they are most
    independent; 0 for never. No label is used."""

    rotate_every: int = parameter(100, least=1)
    """Steps between two rotations of the latents."""

    starts: int = parameter(1, least=1, most=100, is_shown_if_set=True)
    """Start this many networks, each with a seed of its own, train each for `start_steps`, and keep the one whose mean
    loss over the last 100 of these steps is the lowest. No label is used."""

    start_steps: int = parameter(2_000, least=1, log=True)
    """With several `starts`: steps of each before one is kept. `steps` includes those of the one that is kept."""

    precision: Precision = parameter("auto", is_tried=False)
    """Arithmetic of the networks: with auto, bfloat16 on a device that computes in it, and float32 on any other."""

    compile: bool = parameter(False, is_tried=False)
    """Compile the networks with torch.compile. Compiling takes minutes, and speeds up training on a GPU only."""

    cuda_graph: bool = parameter(True, is_tried=False)
    """On a GPU, launch each step as one CUDA graph, without which a GPU mostly waits for the host. The results are the
    same, but for a schedule's numbers, which it rounds to float32. On a CPU there is none."""

    seed: int = parameter(0, least=0, most=MAX_SEED, is_tried=False)
    """Seed of the initial weights, of the order of the images and of the posterior's noise."""

    def __post_init__(self) -> None:
        """Check every parameter, so that an impossible value fails before any work."""
        for name, part in self.parts.items():
            if not isinstance(part, Part):
                raise ParameterError(name, f"must be a part such as {default_part(name).__name__}(), but got {part!r}.")
        normalize_parameters(self)
        _check_networks(self.architecture, self.dataset.image_shape)
        if self.batch_size < self.objective.least_batch_size:
            raise ParameterError(
                "batch_size",
                f"must be at least {self.objective.least_batch_size} for {self.objective.name}, which compares the "
                f"images of a batch, but got {self.batch_size}.",
            )
        if self.eval_every > self.steps:
            raise ParameterError(
                "eval_every", f"must be at most steps ({self.steps}), or no score is taken, but got {self.eval_every}."
            )
        for name, schedule in self.schedules.items():
            if schedule.last_step > self.steps:
                raise ParameterError(
                    name,
                    f"must end at step {self.steps}, the trial's last, or before, but {str(schedule)!r} ends at step "
                    f"{schedule.last_step}.",
                )
        self._check_starts()
        if self.rotate_until:
            self._check_rotation()

    def _check_starts(self) -> None:
        """Refuse several starts of which none would be kept."""
        if self.starts > 1 and self.start_steps > self.steps:
            raise ParameterError(
                "start_steps",
                f"must be at most steps ({self.steps}), or no start is kept, but got {self.start_steps}.",
            )

    def _check_rotation(self) -> None:
        """Refuse a rotation that would never take place, or that the networks do not allow."""
        if not self.rotate_every <= self.rotate_until <= self.steps:
            raise ParameterError(
                "rotate_until",
                f"must be 0 (never), or at least rotate_every ({self.rotate_every}) and at most steps ({self.steps}), "
                f"but got {self.rotate_until}; give values such as 0 1500, or a range that starts at rotate_every.",
            )
        if self.latent_size < 2:
            raise ParameterError(
                "latent_size", f"must be at least 2 where latents are rotated, but got {self.latent_size}."
            )
        _check_layers_of(self.architecture, self.dataset.image_shape, self.objective, self.latent_size)

    @property
    def parts(self) -> dict[str, Part]:
        """The parts, by field."""
        return {name: getattr(self, name) for name in PARTS}

    @functools.cached_property
    def schedules(self) -> Mapping[str, Schedule]:
        """The parameters that change over training, by name."""
        of_parts = {name: each for part in self.parts.values() for name, each in part.schedules().items()}
        return of_parts | schedules_of(self)

    def lr_at(self, step: int) -> float:
        """Return the learning rate at a step."""
        return value_at(self.lr, step)

    def updates_until(self, step: int) -> int:
        """Return the optimizer steps of all networks together, up to a step: all starts train until one is kept."""
        return step + (self.starts - 1) * min(step, self.start_steps)

    @property
    def num_updates(self) -> int:
        """The optimizer steps of all networks together, of a trial that runs to its end."""
        return self.updates_until(self.steps)

    def next_evaluation(self, step: int) -> int:
        """Return the step of the first evaluation after a step: none comes before one of several starts is kept."""
        least = step + 1 if self.starts == 1 else max(step + 1, self.start_steps)
        return min(math.ceil(least / self.eval_every) * self.eval_every, self.steps)

    @property
    def num_rotations(self) -> int:
        """How often latents are rotated, those of all starts together."""
        of_others = min(self.rotate_until, self.start_steps) // self.rotate_every
        return self.rotate_until // self.rotate_every + (self.starts - 1) * of_others

    def is_rotated_after(self, step: int) -> bool:
        """Return whether the latents are rotated after so many steps."""
        return 0 < step <= self.rotate_until and step % self.rotate_every == 0

    def scheduled_values(self, step: int) -> dict[str, float]:
        """Return the values at a step of the parameters that change over training, by name."""
        return {name: schedule.at(step) for name, schedule in self.schedules.items()}

    def derived(self) -> dict[str, float]:
        """Return the numbers that the objective derives from the parameters, by name, such as `beta_norm`.

        Of a parameter that changes over training, the value at the last step counts.
        """
        num_pixels = math.prod(self.dataset.image_shape)
        return self.objective.at(self.steps).derived(latent_size=self.latent_size, num_pixels=num_pixels)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Build a config from a flat mapping: names of parts, their parameters, and parameters of every trial.

        Args:
            values: Values by name. A name that is missing has its default.

        Raises:
            InputError: If neither a trial nor the chosen parts have a parameter of some name, or a value is impossible.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"A trial's config must be a mapping of names to values, but got {values!r}.")
        kinds = {kind: table.find(values.get(kind, default_part(kind).name)) for kind, table in PARTS.items()}
        own = parameters_of(cls)
        owners = {name: kind for kind, part in kinds.items() for name in parameters_of(part)}
        for name in values:
            if name not in own and name not in PARTS and name not in owners:
                raise InputError(_unknown(name, kinds))
        parts = {
            kind: part.from_values({name: value for name, value in values.items() if owners.get(name) == kind})
            for kind, part in kinds.items()
        }
        return cls(**parts, **{name: value for name, value in values.items() if name in own})

    @classmethod
    def read(cls, path: Path) -> TrialConfig:
        """Read a `config.json`, which holds every parameter, as `complete` demands it.

        Raises:
            InputError: If the file is damaged or lacks a parameter; the message names the file.
            OSError: If the file cannot be read.
        """
        return cls.complete(read_json(path), path)

    @classmethod
    def complete(cls, values: Any, path: Path) -> TrialConfig:
        """Build a config from the content of a file, which must hold every parameter.

        A file of an earlier version may lack the likelihood, which is then `bernoulli`, `cuda_graph`, the rotation of
        latents, of which there was none, `alpha`, which was 1, and the number of starts, which was 1.

        Args:
            values: The content.
            path: The file, for the message.

        Raises:
            InputError: If a parameter is missing or its value is impossible; the message names the file.
        """
        try:
            config = cls.from_dict(values)
            of_parts = {
                name: field_of_part(part.name, name) for part in config.parts.values() for name in part.values()
            }
            missing = [
                name for name in config.to_dict() if name not in values and of_parts.get(name, name) not in _UNRECORDED
            ]
            if missing:
                raise InputError(f"it lacks {', '.join(missing)}.")
            return config
        except UnknownNameError as error:
            fix = "If a module of your own adds it, name that module in $BETAVAE_EXTENSIONS."
            raise InputError(f"{path} must hold a trial's config, but: {error} {fix}") from error
        except InputError as error:
            raise InputError(f"{path} must hold a trial's config, but: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return a flat mapping: the name of each part and its parameters, then the parameters of every trial.

        A parameter that changes over training is the text of its schedule.
        """
        return dict(self._flat)

    def public_dict(self) -> dict[str, Any]:
        """Return the mapping of `to_dict` for what leaves this machine: it names no folder."""
        return self.to_dict() | self.dataset.public_values()

    def value(self, name: str) -> Any:
        """Return the value of a parameter as in `to_dict`, or a part's name; None for a name that this config lacks."""
        return self._flat.get(name)

    @functools.cached_property
    def _flat(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, part in self.parts.items():
            values |= {name: part.name, **part.values()}
        return values | {name: recorded_value(getattr(self, name)) for name in parameters_of(TrialConfig)}


@functools.cache
def _check_networks(architecture: Architecture, image_shape: ImageShape) -> None:
    """Refuse an architecture that does not take images of a shape: its networks are built without memory."""
    try:
        with torch.device("meta"):
            architecture.networks(1, image_shape)
    except InputError as error:
        raise ParameterError(
            "architecture", f"must take the images, but {architecture.name} does not: {error}"
        ) from error


@functools.cache
def _check_layers_of(
    architecture: Architecture, image_shape: ImageShape, objective: Objective, latent_size: int
) -> None:
    """Refuse networks whose latents cannot be rotated."""
    try:
        with torch.device("meta"):
            networks = architecture.networks(latent_size, image_shape)
            check_layers(*networks, objective.adversary(latent_size, None), latent_size)
    except InputError as error:
        name = f"{architecture.name} with {objective.name}"
        raise ParameterError("rotate_until", f"must be 0 for {name}: {error}") from error


def default_part(kind: str) -> type[Part]:
    """Return the part of a trial that names none: the first of its table."""
    return next(iter(PARTS[kind].values()))


def parameters_by_name() -> dict[str, Parameter]:
    """Return every parameter that a trial can have: those of all parts, then those of every trial.

    Raises:
        ValueError: If two different parameters share a name, which no flat record could tell apart.
    """
    found: dict[str, tuple[str, Parameter]] = {}
    owned = [(kind, each) for kind, table in PARTS.items() for part in table.values() for each in _owned(part)]
    for kind, each in [*owned, *(("", each) for each in _owned(TrialConfig))]:
        known_kind, known = found.setdefault(each.name, (kind, each))
        if each.is_weight and not known.is_weight:  # a value is a schedule of this one, and refused by the other
            found[each.name] = kind, each
        if known_kind != kind or known.kind is not each.kind or each.name in RESERVED_NAMES:
            raise ValueError(f"Each parameter must have a name of its own, but two that differ are called {each.name}.")
    return {name: each for name, (_, each) in found.items()}


def _owned(owner: type) -> list[Parameter]:
    return list(parameters_of(owner).values())


def _unknown(name: str, parts: Mapping[str, type[Part]]) -> str:
    """Return the sentence that refuses a name: another part has it, or nothing has."""
    for kind, table in PARTS.items():
        if any(name in parameters_of(part) for part in table.values()):
            owned = ", ".join(parameters_of(parts[kind])) or "no parameters"
            return f"{parts[kind].name} has no {name}; it has {owned}."
    known = [*PARTS, *(each for part in parts.values() for each in parameters_of(part)), *parameters_of(TrialConfig)]
    return f"A trial has no option {name}; it has {', '.join(sorted(known))}."
