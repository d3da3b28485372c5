"""Start, advance, save and load the training of a trial."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.config import Precision, TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.learner import TOTAL, Learner
from betavae.metrics import Scores
from betavae.metrics.registry import LIVE
from betavae.models import VAE
from betavae.objectives import NonFiniteLossError
from betavae.parts import parameters_of
from betavae.process import computes_in_bfloat16, deterministic_convolutions
from betavae.records.checkpoint import CONFIG_FILE, load_model, read_training, write_checkpoint
from betavae.samples import draw_samples

__all__ = ["MeanLoss", "NonFiniteLossError", "TrainingRun", "decide_precision"]

_NATS = "_nats"


@dataclass(frozen=True)
class MeanLoss:
    """The mean loss over the steps of one `advance`, and their speed.

    Attributes:
        terms: `total_nats`, then the terms of the objective, by name, in nats per image.
        images_per_second: Images trained on per second.
        weights: The values after the last step of the parameters that change over training, by name: those with a
            schedule, and those that the likelihood learns.
        starts: The losses of all starts, by which one was kept, in nats per image; empty before that, and of one start.
    """

    terms: Mapping[str, float]
    images_per_second: float
    weights: Mapping[str, float] = field(default_factory=dict)
    starts: Sequence[float] = ()

    @property
    def total_nats(self) -> float:
        """The minimised loss, in nats per image."""
        return self.terms[TOTAL]

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a trial's report, under TensorBoard's names."""
        terms = {f"loss/{name}": value for name, value in self.terms.items()}
        weights = {f"weight/{name}": value for name, value in self.weights.items()}
        starts = {f"start/{start}_nats": loss for start, loss in enumerate(self.starts)}
        return {**terms, **weights, **starts, "images_per_second": self.images_per_second}


class TrainingRun:
    """The training of a trial, at some step.

    Call `start` or `load`, then `advance` and `save` in turn. On one device, `advance(200)` and `advance(100)`, `save`,
    `load` in another process, `advance(100)` give the same weights to the last bit.

    A trial of several starts trains a network of each, up to the step at which one is kept. Until then, what is scored
    and reported is the first.

    Args:
        learners: The networks: one, or one of each start.
        data: The images.
        device: Where to train.
    """

    def __init__(self, learners: Sequence[Learner], data: FactorImages, *, device: torch.device) -> None:
        self._data, self._device = data, device
        self._learners = list(learners)
        self._start_losses: tuple[float, ...] = ()
        self._last_loss: Float[Tensor, " terms"] | None = None

    @classmethod
    def start(cls, config: TrialConfig, data: FactorImages, *, device: torch.device | str = "cpu") -> TrainingRun:
        """Start a trial at step 0.

        Args:
            config: The configuration.
            data: The open data set of the config, `config.dataset.open()`.
            device: Where to train.

        Raises:
            InputError: If the images have another shape than those of the config's data set.
        """
        _check_images(data, config)
        device = torch.device(device)
        config = replace(config, precision=decide_precision(config.precision, device))
        learners = [Learner.begin(config, data, device=device, start=start) for start in range(config.starts)]
        return cls(learners, data, device=device)

    @classmethod
    def load(cls, folder: Path | str, data: FactorImages, *, device: torch.device | str = "cpu") -> TrainingRun:
        """Resume a trial from a checkpoint folder.

        Args:
            folder: The checkpoint folder.
            data: The open data set of its config.
            device: Where to train.

        Raises:
            InputError: If the folder is no checkpoint, or is damaged, or images have another shape than its data set's.
            OSError: If a file is missing or cannot be read.
        """
        folder, device = Path(folder), torch.device(device)
        config, model = TrialConfig.read(folder / CONFIG_FILE), load_model(folder, device)
        _check_images(data, config)
        state = read_training(folder, device=device)
        states = [(state, model.state_dict()), *((each, each["model"]) for each in state.get("other_starts", ()))]
        learners = []
        for each, weights in states:
            learner = Learner.begin(config, data, device=device, start=each.get("start", 0))
            learner.restore(each, weights)
            learners.append(learner)
        run = cls(learners, data, device=device)
        run._start_losses = tuple(state.get("start_losses", ()))
        return run

    @property
    def learner(self) -> Learner:
        """The network that is scored: of several starts the first, until one is kept."""
        return self._learners[0]

    @property
    def config(self) -> TrialConfig:
        """The configuration, with its precision decided."""
        return self.learner.config

    @property
    def model(self) -> VAE:
        """The model of `learner`, on the device."""
        return self.learner.model

    @property
    def adversary(self) -> nn.Module | None:
        """The network that the objective trains against the model, on the device; None if it has none."""
        return self.learner.adversary

    @property
    def step(self) -> int:
        """Number of steps done, of each network."""
        return self.learner.step

    def advance(self, num_steps: int) -> MeanLoss:
        """Train for `num_steps` steps, and return their mean loss.

        Several starts train so many steps each. At step `start_steps` the one of the lowest mean loss is kept, and the
        loss that is returned is its own.

        Raises:
            NonFiniteLossError: If the loss of a step, or a weight after the last step, is not finite; the message
                names the first such step and its terms.
        """
        start = time.perf_counter()
        num_first = num_steps
        if len(self._learners) > 1:
            num_first = min(num_steps, self.config.start_steps - self.step)
        num_images = (num_first * len(self._learners) + num_steps - num_first) * self.config.batch_size
        all_losses = [self._train(learner, num_first) for learner in self._learners]
        losses = all_losses[0]
        if len(self._learners) > 1 and self.step == self.config.start_steps:
            losses = all_losses[self._keep_one()]
            if num_first < num_steps:
                losses = torch.cat((losses, self._train(self.learner, num_steps - num_first)))
        seconds = time.perf_counter() - start
        self._last_loss = losses[-1] if num_steps else self._last_loss
        means = dict(zip(self.learner.term_names, losses.mean(0).tolist(), strict=True))
        return MeanLoss(
            means,
            images_per_second=num_images / seconds,
            weights={**self.config.scheduled_values(self.step), **self.model.learnt_values()},
            starts=self._start_losses,
        )

    def _train(self, learner: Learner, num_steps: int) -> Float[Tensor, "steps terms"]:
        """Train one network, and return its losses, which are finite."""
        with deterministic_convolutions():
            losses = learner.train(num_steps)
        self._check_finite(losses, learner)
        self._check_weights(learner)
        return losses

    def _keep_one(self) -> int:
        """Keep the start of the lowest loss alone, and return its number."""
        self._start_losses = tuple(learner.compared_loss for learner in self._learners)
        kept = min(range(len(self._learners)), key=self._start_losses.__getitem__)
        for learner in self._learners:
            if learner.start != kept:
                learner.release_graph()
        self._learners = [self._learners[kept]]
        return kept

    def rotate(self) -> None:
        """Rotate the latents to independent axes, as some images of the training set show them."""
        self.learner.rotate()

    def evaluate(self, metrics: str | Iterable[str] = LIVE, *, has_factors: bool = True) -> Scores:
        """Score the model at this step, by `betavae.evaluation.evaluate`.

        Args:
            metrics: As there.
            has_factors: As there.

        Raises:
            NonFiniteLossError: If the KL of a scored image is not finite; the message names the step and the terms of
                its loss.
        """
        try:
            return evaluate(
                self.model,
                self._data,
                metrics,
                dataset=self.config.dataset,
                has_factors=has_factors,
                device=self._device,
                step=self.step,
            )
        except NonFiniteLossError as error:
            raise self._diverged("the KL of the images that are scored is infinite or nan") from error

    def save(
        self,
        folder: Path | str,
        *,
        scores: Scores,
        report: Mapping[str, Any],
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write a checkpoint folder, whole or not at all.

        Args:
            folder: A folder that does not exist or is empty.
            scores: The scores of this model at this step.
            report: The trial's report at this step.
            earlier: The trial's reports before it.

        Raises:
            FileExistsError: If `folder` exists and is not empty.
            OSError: If the folder cannot be written.
        """
        training = self.learner.state()
        if self.config.starts > 1:
            training["start_losses"] = list(self._start_losses)
            training["other_starts"] = [
                {**other.state(), "model": other.model.state_dict()} for other in self._learners[1:]
            ]
        write_checkpoint(
            Path(folder),
            config=self.config,
            model=self.model,
            training=training,
            scores=scores,
            report=report,
            earlier=earlier,
            samples=asdict(draw_samples(self.model, self._data, device=self._device)),
        )

    def _check_finite(self, losses: Float[Tensor, "steps terms"], learner: Learner) -> None:
        bad = ~torch.isfinite(losses).all(1)
        if bad.any():
            row = int(bad.nonzero()[0])
            step = learner.step - len(losses) + row + 1
            raise NonFiniteLossError(
                f"The loss must be finite, but at step {step}{self._start_in_words(learner)} it was: "
                f"{self._in_words(losses[row])}. {self._advice()}"
            )
        self._last_loss = losses[-1] if len(losses) else self._last_loss

    def _check_weights(self, learner: Learner) -> None:
        """Refuse weights that the last update made infinite or nan: no loss has been computed with them yet."""
        networks = {"the weights": learner.model, "the adversary's weights": learner.adversary}
        for name, network in networks.items():
            if network is not None and not _is_finite(network):
                raise self._diverged(f"{name}{self._start_in_words(learner)} are infinite or nan")

    def _diverged(self, reason: str) -> NonFiniteLossError:
        loss = "" if self._last_loss is None else f", whose loss was {self._in_words(self._last_loss)}"
        return NonFiniteLossError(
            f"The loss must be finite, but after step {self.step}{loss}, {reason}. {self._advice()}"
        )

    def _start_in_words(self, learner: Learner) -> str:
        return f" of start {learner.start}" if len(self._learners) > 1 else ""

    def _advice(self) -> str:
        objective = self.config.objective.at(self.step)
        weights = [
            f" or {name} than {getattr(objective, name):g}"
            for name, each in parameters_of(type(objective)).items()
            if each.kind is float and each.limits.positive and not each.limits.is_shown_if_set
        ]
        return f"A smaller lr than {self.config.lr_at(self.step):g}{''.join(weights)} may help."

    def _in_words(self, loss: Float[Tensor, " terms"]) -> str:
        values = dict(zip(self.learner.term_names, loss.tolist(), strict=True))
        nats = [f"{name.removesuffix(_NATS)} {value}" for name, value in values.items() if name.endswith(_NATS)]
        others = [f", {name} {value}" for name, value in values.items() if not name.endswith(_NATS)]
        return f"{', '.join(nats)} (nats per image){''.join(others)}"


def _check_images(data: FactorImages, config: TrialConfig) -> None:
    if data.image_shape != config.dataset.image_shape:
        raise InputError(
            f"data must be {config.dataset.name}, with images of shape {config.dataset.image_shape}, as the config "
            f"says, but its images have shape {data.image_shape}."
        )


def _is_finite(network: nn.Module) -> bool:
    return bool(torch.stack([weights.isfinite().all() for weights in network.parameters()]).all())


def decide_precision(precision: Precision, device: torch.device) -> Precision:
    """Return a precision with `auto` decided: bfloat16 if the device computes in it natively, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_in_bfloat16(device) else "float32"
