"""A network in training: its weights, its optimizers, and its stream of images and noise."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.config import TrialConfig
from betavae.cuda_graph import CaptureError, StepGraph, StepInputs
from betavae.data import FactorImages
from betavae.image_order import ImageOrder
from betavae.latent_rotation import NUM_IMAGES, check_rotation, independent_axes, rotate_latents
from betavae.metrics.representation import represent
from betavae.models import VAE
from betavae.objectives import Batch, Loss, Objective

TOTAL = "total_nats"
"""The name of the minimised loss among its terms."""

_ROTATION_STREAM = 2  # of the seed and a step; the second order of the images has 1
_START_STREAM = 3  # of the seed and the number of a start

_COMPARED_STEPS = 100
"""Starts are compared by their mean loss over so many steps."""


class Learner:
    """One of the networks that a trial starts, in training, at some step.

    Attributes:
        config: The configuration of the trial, with its precision decided.
        start: The number of the start: 0 has the trial's own seed, each other one a seed of its own.
        model: The model, on the device.
        adversary: The network that the objective trains against the model, on the device; None if it has none.
        step: Number of steps done.
        term_names: The names of the terms of the loss, `total_nats` first; empty before the first step.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: FactorImages,
        *,
        model: VAE,
        device: torch.device,
        adversary: nn.Module | None = None,
        start: int = 0,
    ) -> None:
        self.config, self.start, self.model, self.adversary, self.step = config, start, model, adversary, 0
        self.term_names: tuple[str, ...] = ()
        self._compared_sum = 0.0
        self._data, self._device = data, device
        self._seed = _seed_of(config.seed, start)
        num_images = config.dataset.num_training(data)
        self._order, self._second_order = (
            ImageOrder(num_images, config.batch_size, seed=self._seed, device=device, is_second=is_second)
            for is_second in (False, True)
        )
        self._generator = torch.Generator(device).manual_seed(_torch_seed(self._seed))
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
    def begin(cls, config: TrialConfig, data: FactorImages, *, device: torch.device, start: int = 0) -> Learner:
        """Return a network at step 0, with the initial weights of its start."""
        # on the CPU, so that a seed gives the same weights on every device
        weights = torch.Generator().manual_seed(_torch_seed(_seed_of(config.seed, start)))
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
        adversary = None if adversary is None else adversary.to(device)
        return cls(config, data, model=model.to(device), device=device, adversary=adversary, start=start)

    def state(self) -> dict[str, Any]:
        """Return what a resume needs, but for the model's weights."""
        state: dict[str, Any] = {
            "start": self.start,
            "compared_sum": self._compared_sum,
            "step": self.step,
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }
        if self.adversary is not None and self._adversary_optimizer is not None:
            state["adversary"] = self.adversary.state_dict()
            state["adversary_optimizer"] = self._adversary_optimizer.state_dict()
        return state

    def release_graph(self) -> None:
        """Give up the CUDA graph, which refers to this network, as this one does to the graph."""
        self._graph = None

    def restore(self, state: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Continue from a state and the model's weights."""
        self.model.load_state_dict(weights)
        if self.adversary is not None and self._adversary_optimizer is not None:
            self.adversary.load_state_dict(state["adversary"])
            self._adversary_optimizer.load_state_dict(state["adversary_optimizer"])
        self.step, self._compared_sum = state["step"], state.get("compared_sum", 0.0)
        self._optimizer.load_state_dict(state["optimizer"])
        self._restore_generator(state["generator"].cpu())
        self._prepare_optimizers()

    def _restore_generator(self, generator_state: Tensor) -> None:
        """Continue with the noise of a checkpoint; of another kind of device's, with new noise of seed and step."""
        if len(generator_state) == len(self._generator.get_state()):
            self._generator.set_state(generator_state)
        else:
            sequence = np.random.SeedSequence([self._seed, self.step])
            self._generator.manual_seed(int(sequence.generate_state(1)[0]))

    def train(self, num_steps: int) -> Float[Tensor, "steps terms"]:
        """Train for `num_steps` steps, and return the terms of their losses, on the CPU.

        The losses stay on the device until the last step, so that the loop waits for the device at rotations alone.
        """
        terms = torch.empty(num_steps, 0, device=self._device)
        for row in range(num_steps):
            step_terms = self.train_step()
            if row == 0:
                terms = step_terms.new_empty(num_steps, len(step_terms))
            terms[row] = step_terms
        losses = terms.double().cpu()
        first = self.step - num_steps  # the step of row 0, counted from 0
        end = self.config.start_steps - first
        if num_steps:
            self._compared_sum += float(losses[max(end - self._num_compared, 0) : max(end, 0), 0].sum())
        return losses

    @property
    def compared_loss(self) -> float:
        """The mean loss over the last steps before one start is kept, in nats per image."""
        return self._compared_sum / self._num_compared

    @property
    def _num_compared(self) -> int:
        return min(_COMPARED_STEPS, self.config.start_steps)

    def train_step(self) -> Float[Tensor, " terms"]:
        """Train for a step, and return the terms of its loss, on the device."""
        self._set_lr()
        terms = self._replay() if self._graph is not None else self._update(StepInputs(self.step))
        self.step += 1
        if self.config.is_rotated_after(self.step):
            self.rotate()
        return terms

    def rotate(self) -> None:
        """Rotate the latents to independent axes, as some images of the training set show them."""
        num_images = self._order.num_images
        drawn = np.random.default_rng([self._seed, self.step, _ROTATION_STREAM])
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
        self.term_names = (TOTAL, *loss.terms)
        return torch.stack((loss.total, *loss.terms.values())).detach()

    def _images(self, order: ImageOrder, inputs: StepInputs) -> Float[Tensor, "images channels height width"]:
        if self._graph is not None and self._data.can_be_captured(self._device):
            return self._data.images(inputs.of_step(order.batch), self._device)
        images: Tensor = inputs.of_step(
            lambda step: self._data.training_images(order.batch(step), self._device, seed=self._seed, step=step)
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


def _adversary_optimizer(adversary: nn.Module, objective: Objective) -> torch.optim.Optimizer:
    settings = objective.adversary_adam()
    return torch.optim.Adam(adversary.parameters(), lr=settings.lr, betas=settings.betas, fused=True)


def _minimize(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _torch_seed(seed: int) -> int:
    """Return a seed of 32 bits: of a longer seed, torch's generator on a CPU uses the last 32 bits alone."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def _seed_of(seed: int, start: int) -> int:
    """Return the seed of a start of a trial."""
    if start == 0:
        return seed
    return int(np.random.SeedSequence([seed, start, _START_STREAM]).generate_state(1)[0])
