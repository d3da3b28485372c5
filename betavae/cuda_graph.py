"""A step of training as one CUDA graph: its hundreds of small kernels are launched by one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

NUM_WARM_UP = 3
"""Steps before the capture: the libraries of the GPU choose their kernels, and Adam makes its state, in the first."""


class CaptureError(RuntimeError):
    """The step cannot be captured as a CUDA graph."""


class StepInputs:
    """What changes from step to step, for a step that runs in Python each time.

    Args:
        step: Number of steps done before this one.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def of_step(self, function: Callable[[int], Any]) -> Any:
        """Return what a function makes of the step: a number or a tensor. It must depend on the step alone."""
        return function(self.step)


class StepGraph:
    """A step that runs in Python three times, and is then captured and replayed.

    A replay computes the same as the Python code, to the last bit, as long as the step takes all that changes from its
    inputs. Their numbers are tensors of one number on the device, in float32.

    Args:
        act: The step. It returns one tensor on the device, which the next call overwrites.
        device: The GPU.
        generator: The generator on the GPU of every random number of the step.
    """

    def __init__(
        self, act: Callable[[StepInputs], Tensor], *, device: torch.device, generator: torch.Generator
    ) -> None:
        self._act, self._device, self._generator = act, device, generator
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._num_warm_up = 0
        self._inputs = _GraphInputs(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result = torch.empty(0)

    @property
    def is_captured(self) -> bool:
        """Whether the step has been captured."""
        return self._graph is not None

    def run(self, step: int) -> Tensor:
        """Run one step.

        Args:
            step: Number of steps done before this one.

        Raises:
            CaptureError: If the step cannot be captured. Nothing of this step has been done; the generator cannot be
                used any more.
        """
        self._inputs.set(step)
        if self._graph is None and self._num_warm_up < NUM_WARM_UP:
            self._num_warm_up += 1
            return self._in_python()
        if self._graph is None:
            self._graph = self._captured()
        self._graph.replay()
        return self._result

    def _in_python(self) -> Tensor:
        """Run the step on the stream on which it will be captured."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._act(self._inputs)
        current.wait_stream(self._stream)
        return result

    def _captured(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        self._inputs.begin_capture()
        try:
            # other threads, such as Ray's, may go on using the GPU meanwhile
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._result = self._act(self._inputs)
        except Exception as error:  # whatever the loss of an extension may raise
            raise CaptureError(str(error).partition("\n")[0].rstrip(".")) from error
        return graph


class _GraphInputs(StepInputs):
    """Inputs in memory that stays where it is, in the order in which the step asks for them."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(step=0)
        self._device = device
        self._functions: list[Callable[[int], Any]] = []
        self._memory: list[Tensor] = []
        self._num_given = 0

    def set(self, step: int) -> None:
        """Make the memory hold what the functions make of a step."""
        self.step, self._num_given = step, 0
        for function, memory in zip(self._functions, self._memory, strict=True):
            value = function(step)
            memory.copy_(value) if isinstance(value, Tensor) else memory.fill_(value)

    def begin_capture(self) -> None:
        """Refuse new inputs until `set`, and any use of the step's number, which would stay as it is now."""
        self.step, self._num_given = _NoStep(), 0  # type: ignore[assignment]

    def of_step(self, function: Callable[[int], Any]) -> Tensor:
        """Return the memory of an input: that of the same place in the order of the first step."""
        if self._num_given == len(self._memory):
            if isinstance(self.step, _NoStep):
                raise CaptureError("the step takes other inputs than at first")
            value = function(self.step)
            # on the device: a graph would hold a number of the CPU as it is now
            is_tensor = isinstance(value, Tensor)
            memory = value.to(self._device, copy=True) if is_tensor else torch.tensor(float(value), device=self._device)
            self._functions.append(function)
            self._memory.append(memory)
        self._num_given += 1
        return self._memory[self._num_given - 1]


class _NoStep:
    """In place of the number of a step: nothing can be computed from it."""

    __class__ = int  # type: ignore[assignment]  # for checks of types; a subclass of int could be computed with

    def _refuse(self, *_: object) -> NoReturn:
        raise CaptureError("the loss computes with batch.step: use batch.number(function), which is set at every step")

    __int__ = __index__ = __float__ = __bool__ = __hash__ = __eq__ = __ne__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __neg__ = _refuse
