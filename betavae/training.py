"""Start, advance, save and load the training of a trial."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from betavae.config import Precision, TrialConfig
from betavae.cuda_graph import CaptureError, StepGraph, StepInputs
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.latent_rotation import NUM_IMAGES, check_rotation, independent_axes, rotate_latents
from betavae.metrics import Scores
from betavae.metrics.registry import LIVE
from betavae.metrics.representation import represent
from betavae.models import VAE
from betavae.objectives import Batch, Loss, NonFiniteLossError, Objective
from betavae.parts import parameters_of
from betavae.process import computes_in_bfloat16, deterministic_convolutions
from betavae.records.checkpoint import CONFIG_FILE, load_model, read_training, write_checkpoint
from betavae.samples import draw_samples

__all__ = ["ImageOrder", "MeanLoss", "NonFiniteLossError", "TrainingRun", "decide_precision"]

_NATS = "_nats"
_TOTAL = "total_nats"
_ROTATION_STREAM = 2  # of the seed and a step; the second order of the images has 1


@dataclass(frozen=True)
class MeanLoss:
    """The mean loss over the steps of one `advance`, and their speed.

    Attributes:
        terms: `total_nats`, then the terms of the objective, by name, in nats per image.
        images_per_second: Images trained on per second.
        weights: The values after the last step of the parameters that change over training, by name: those with a
            schedule, and those that the likelihood learns.
    """

    terms: Mapping[str, float]
    images_per_second: float
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_nats(self) -> float:
        """The minimised loss, in nats per image."""
        return self.terms[_TOTAL]

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a trial's report, under TensorBoard's names."""
        terms = {f"loss/{name}": value for name, value in self.terms.items()}
        weights = {f"weight/{name}": value for name, value in self.weights.items()}
        return {**terms, **weights, "images_per_second": self.images_per_second}


class ImageOrder:
    """The images of each step: a new permutation of all images for each epoch.

    The permutation depends on (seed, epoch, is_second) alone, so there is no state to save. Every batch is full: a
    batch may end an epoch and begin the next.

    Args:
        num_images: Images of an epoch: the first in index order.
        batch_size: Images of a step.
        seed: Seed of the permutations.
        device: Device of the indices.
        is_second: Whether the permutations are others of the same seed.
    """

    def __init__(
        self, num_images: int, batch_size: int, *, seed: int, device: torch.device, is_second: bool = False
    ) -> None:
        self.num_images, self.batch_size, self.seed, self.device = num_images, batch_size, seed, device
        self._streams = (1,) if is_second else ()
        self._epoch, self._permutation = -1, torch.empty(0)

    def batch(self, step: int) -> Int[Tensor, " images"]:
        """Return the image numbers of a step, counted from 0, on the device."""
        parts, position, end = [], step * self.batch_size, (step + 1) * self.batch_size
        while position < end:
            epoch, offset = divmod(position, self.num_images)
            part = self._of_epoch(epoch)[offset : offset + end - position]
            parts.append(part)
            position += len(part)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch, *self._streams]).permutation(self.num_images)
            self._epoch, self._permutation = epoch, torch.from_numpy(order).to(self.device)
        return self._permutation


class TrainingRun:
    """The training of a trial, at some step.

    Call `start` or `load`, then `advance` and `save` in turn. On one device, `advance(200)` and `advance(100)`, `save`,
    `load` in another process, `advance(100)` give the same weights to the last bit.

    Attributes:
        config: The configuration, with its precision decided.
        model: The model, on the device.
        adversary: The network that the objective trains against the model, on the device; None if it has none.
        step: Number of steps done.

    Raises:
        InputError: If the images of `data` have another shape than those of the config's data set.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: FactorImages,
        *,
        model: VAE,
        device: torch.device,
        adversary: nn.Module | None = None,
    ) -> None:
        if data.image_shape != config.dataset.image_shape:
            raise InputError(
                f"data must be {config.dataset.name}, with images of shape {config.dataset.image_shape}, as the config "
                f"says, but its images have shape {data.image_shape}."
            )
        self.config, self.model, self.adversary, self.step = config, model, adversary, 0
        self._data, self._device = data, device
        self._term_names: tuple[str, ...] = ()
        self._last_loss: Float[Tensor, " terms"] | None = None
        num_images = config.dataset.num_training(data)
        self._order, self._second_order = (
            ImageOrder(num_images, config.batch_size, seed=config.seed, device=device, is_second=is_second)
            for is_second in (False, True)
        )
        self._generator = torch.Generator(device).manual_seed(_torch_seed(config.seed))
        self._optimizer = torch.optim.Adam(model.parameters(), lr=config.lr_at(0), fused=True)
        self._adversary_optimizer = None if adversary is None else _adversary_optimizer(adversary, config.objective)
        if config.compile:
            model.encoder.compile()
            model.decoder.compile()
        self._graph: StepGraph | None = None
        if config.cuda_graph and device.type == "cuda":
            self._graph = StepGraph(self._update, device=device, generator=self._generator)
            self._prepare_optimizers()

    @classmethod
    def start(cls, config: TrialConfig, data: FactorImages, *, device: torch.device | str = "cpu") -> TrainingRun:
        """Start a trial at step 0.

        Args:
            config: The configuration.
            data: The open data set of the config, `config.dataset.open()`.
            device: Where to train.
        """
        device = torch.device(device)
        config = replace(config, precision=decide_precision(config.precision, device))
        # on the CPU, so that a seed gives the same weights on every device
        weights = torch.Generator().manual_seed(_torch_seed(config.seed))
        model = VAE(
            config.latent_size,
            architecture=config.architecture,
            likelihood=config.likelihood,
            image_shape=config.dataset.image_shape,
            generator=weights,
        )
        adversary = config.objective.adversary(config.latent_size, weights)  # after the model, which keeps its weights
        if config.rotate_until:
            check_rotation(model, adversary)
        return cls(
            config,
            data,
            model=model.to(device),
            device=device,
            adversary=None if adversary is None else adversary.to(device),
        )

    @classmethod
    def load(cls, folder: Path | str, data: FactorImages, *, device: torch.device | str = "cpu") -> TrainingRun:
        """Resume a trial from a checkpoint folder.

        Args:
            folder: The checkpoint folder.
            data: The open data set of its config.
            device: Where to train.

        Raises:
            InputError: If the folder is no checkpoint, or is damaged.
            OSError: If a file is missing or cannot be read.
        """
        folder, device = Path(folder), torch.device(device)
        config, model = TrialConfig.read(folder / CONFIG_FILE), load_model(folder, device)
        state = read_training(folder, device=device)
        adversary = config.objective.adversary(config.latent_size, torch.Generator())
        if adversary is not None:
            adversary.load_state_dict(state["adversary"])
            adversary.to(device)
        run = cls(config, data, model=model, device=device, adversary=adversary)
        run.step = state["step"]
        run._optimizer.load_state_dict(state["optimizer"])
        run._restore_generator(state["generator"].cpu())
        if run._adversary_optimizer is not None:
            run._adversary_optimizer.load_state_dict(state["adversary_optimizer"])
        run._prepare_optimizers()
        return run

    def _restore_generator(self, generator_state: Tensor) -> None:
        """Go on with the noise of a checkpoint; of one from another kind of device, with new noise of seed and step."""
        if len(generator_state) == len(self._generator.get_state()):
            self._generator.set_state(generator_state)
        else:
            sequence = np.random.SeedSequence([self.config.seed, self.step])
            self._generator.manual_seed(int(sequence.generate_state(1)[0]))

    def advance(self, num_steps: int) -> MeanLoss:
        """Train for `num_steps` steps, and return their mean loss.

        The losses stay on the device until the last step, so that the loop waits for the device at rotations alone.

        Raises:
            NonFiniteLossError: If the loss of a step, or a weight after the last step, is not finite; the message
                names the first such step and its terms.
        """
        terms = torch.empty(num_steps, 0, device=self._device)
        start = time.perf_counter()
        with deterministic_convolutions():
            for row in range(num_steps):
                step_terms = self._train_step()
                if row == 0:
                    terms = step_terms.new_empty(num_steps, len(step_terms))
                terms[row] = step_terms
        losses = terms.double().cpu()
        seconds = time.perf_counter() - start
        self._check_finite(losses)
        self._check_weights()
        means = dict(zip(self._term_names, losses.mean(0).tolist(), strict=True))
        return MeanLoss(
            means,
            images_per_second=num_steps * self.config.batch_size / seconds,
            weights={**self.config.scheduled_values(self.step), **self.model.learnt_values()},
        )

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
        training: dict[str, Any] = {
            "step": self.step,
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }
        if self.adversary is not None and self._adversary_optimizer is not None:
            training["adversary"] = self.adversary.state_dict()
            training["adversary_optimizer"] = self._adversary_optimizer.state_dict()
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

    def _train_step(self) -> Float[Tensor, " terms"]:
        self._set_lr()
        terms = self._replay() if self._graph is not None else self._update(StepInputs(self.step))
        self.step += 1
        if self.config.is_rotated_after(self.step):
            self.rotate()
        return terms

    def rotate(self) -> None:
        """Rotate the latents to independent axes, as some images of the training set show them."""
        num_images = self._order.num_images
        drawn = np.random.default_rng([self.config.seed, self.step, _ROTATION_STREAM])
        indices = drawn.choice(num_images, min(NUM_IMAGES, num_images), replace=False)
        codes = represent(self.model, self._data, indices=indices, device=self._device).mean
        if np.isfinite(codes).all():  # otherwise the run is refused at the end of `advance`
            optimizers = [each for each in (self._optimizer, self._adversary_optimizer) if each is not None]
            rotate_latents(self.model, independent_axes(codes), adversary=self.adversary, optimizers=optimizers)

    def _replay(self) -> Float[Tensor, " terms"]:
        """Run the step by its graph; without any from now on, if it cannot be captured."""
        assert self._graph is not None
        if self._graph.is_captured:
            return self._graph.run(self.step)
        generator_state = self._generator.get_state()
        try:
            return self._graph.run(self.step)
        except CaptureError as error:
            print(
                f"Each kernel of a step is launched by itself, since no CUDA graph can hold it: {error}.",
                file=sys.stderr,
            )
        self._graph = None  # outside the block above, whose error keeps tensors alive
        self._generator = torch.Generator(self._device)  # the capture has left the other one unusable
        self._generator.set_state(generator_state)
        return self._update(StepInputs(self.step))

    def _update(self, inputs: StepInputs) -> Float[Tensor, " terms"]:
        """Compute the loss of a step, update the weights, and return the terms of the loss."""
        loss = self._loss(inputs)
        _minimize(self._optimizer, loss.total)
        if self._adversary_optimizer is not None:
            assert loss.adversary is not None
            _minimize(self._adversary_optimizer, loss.adversary)
        self._term_names = (_TOTAL, *loss.terms)
        return torch.stack((loss.total, *loss.terms.values())).detach()

    def _images(self, order: ImageOrder, inputs: StepInputs) -> Float[Tensor, "images channels height width"]:
        if self._graph is not None and self._data.can_be_captured(self._device):
            return self._data.images(inputs.of_step(order.batch), self._device)
        images: Tensor = inputs.of_step(
            lambda step: self._data.training_images(order.batch(step), self._device, seed=self.config.seed, step=step)
        )
        return images

    def _set_lr(self) -> None:
        """Give the optimizer the learning rate of this step, if the rate changes."""
        if "lr" in self.config.schedules:
            for group in self._optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(self.config.lr_at(self.step))
                else:
                    group["lr"] = self.config.lr_at(self.step)

    def _prepare_optimizers(self) -> None:
        """Let the optimizers be captured, or not, whatever a loaded state says: it may come from another device."""
        for optimizer in (self._optimizer, self._adversary_optimizer):
            for group in [] if optimizer is None else optimizer.param_groups:
                group["capturable"] = self._graph is not None
                lr = float(group["lr"])
                is_constant = optimizer is not self._optimizer or "lr" not in self.config.schedules
                group["lr"] = lr if is_constant or self._graph is None else torch.tensor(lr, device=self._device)

    def _loss(self, inputs: StepInputs) -> Loss:
        batch = Batch(
            self.model,
            self._images(self._order, inputs),
            step=inputs.step,
            generator=self._generator,
            adversary=self.adversary,
            second_images=lambda: self._images(self._second_order, inputs),
            of_step=inputs.of_step,
        )
        objective = self.config.objective.with_schedules(inputs.of_step)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return objective.loss(batch)

    def _check_finite(self, losses: Float[Tensor, "steps terms"]) -> None:
        bad = ~torch.isfinite(losses).all(1)
        if bad.any():
            row = int(bad.nonzero()[0])
            step = self.step - len(losses) + row + 1
            raise NonFiniteLossError(
                f"The loss must be finite, but at step {step} it was: {self._in_words(losses[row])}. {self._advice()}"
            )
        self._last_loss = losses[-1] if len(losses) else self._last_loss

    def _check_weights(self) -> None:
        """Refuse weights that the last update made infinite or nan: no loss has been computed with them yet."""
        networks = {"the weights": self.model, "the adversary's weights": self.adversary}
        for name, network in networks.items():
            if network is not None and not _is_finite(network):
                raise self._diverged(f"{name} are infinite or nan")

    def _diverged(self, reason: str) -> NonFiniteLossError:
        loss = "" if self._last_loss is None else f", whose loss was {self._in_words(self._last_loss)}"
        return NonFiniteLossError(
            f"The loss must be finite, but after step {self.step}{loss}, {reason}. {self._advice()}"
        )

    def _advice(self) -> str:
        objective = self.config.objective.at(self.step)
        weights = [
            f" or {name} than {getattr(objective, name):g}"
            for name, each in parameters_of(type(objective)).items()
            if each.kind is float and each.limits.positive and not each.limits.is_shown_if_set
        ]
        return f"A smaller lr than {self.config.lr_at(self.step):g}{''.join(weights)} may help."

    def _in_words(self, loss: Float[Tensor, " terms"]) -> str:
        values = dict(zip(self._term_names, loss.tolist(), strict=True))
        nats = [f"{name.removesuffix(_NATS)} {value}" for name, value in values.items() if name.endswith(_NATS)]
        others = [f", {name} {value}" for name, value in values.items() if not name.endswith(_NATS)]
        return f"{', '.join(nats)} (nats per image){''.join(others)}"


def _adversary_optimizer(adversary: nn.Module, objective: Objective) -> torch.optim.Optimizer:
    settings = objective.adversary_adam()
    return torch.optim.Adam(adversary.parameters(), lr=settings.lr, betas=settings.betas, fused=True)


def _minimize(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _is_finite(network: nn.Module) -> bool:
    return bool(torch.stack([weights.isfinite().all() for weights in network.parameters()]).all())


def _torch_seed(seed: int) -> int:
    """Return a seed of 32 bits: of a longer seed, torch's generator on a CPU uses the last 32 bits alone."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def decide_precision(precision: Precision, device: torch.device) -> Precision:
    """Return a precision with `auto` decided: bfloat16 if the device computes in it natively, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_in_bfloat16(device) else "float32"
