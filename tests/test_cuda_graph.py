"""The inputs of a captured step. The graph itself needs a GPU: tests/gpu."""

from collections.abc import Callable

import pytest
import torch

from betavae.cuda_graph import CaptureError, StepInputs, _GraphInputs

CPU = torch.device("cpu")


def inputs_of(step: int) -> _GraphInputs:
    inputs = _GraphInputs(CPU)
    inputs.set(step)
    return inputs


def test_a_step_in_python_gets_what_its_functions_return() -> None:
    assert StepInputs(3).of_step(lambda step: step / 2) == 1.5


def test_inputs_stay_where_they_are_and_follow_the_step() -> None:
    inputs = inputs_of(0)
    first = [inputs.of_step(lambda step: step / 2), inputs.of_step(lambda step: torch.arange(step, step + 3))]
    inputs.set(4)
    later = [inputs.of_step(lambda step: step / 2), inputs.of_step(lambda step: torch.arange(step, step + 3))]
    assert [tensor.data_ptr() for tensor in later] == [tensor.data_ptr() for tensor in first]
    assert (later[0].item(), later[1].tolist()) == (2.0, [4, 5, 6])


def test_a_number_that_a_function_makes_on_the_cpu_goes_to_the_device() -> None:
    """A graph would hold it as it is when it is captured."""
    inputs = _GraphInputs(torch.device("meta"))
    inputs.set(0)
    assert inputs.of_step(lambda step: torch.tensor(step / 2)).device.type == "meta"
    assert inputs.of_step(lambda step: step / 2).device.type == "meta"


def test_an_input_is_no_view_of_what_its_function_returned() -> None:
    """Fails if a step overwrote the order of the images."""
    order = torch.arange(6)
    inputs = inputs_of(0)
    inputs.of_step(lambda step: order[step : step + 2])
    inputs.set(2)
    assert order.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_capture_takes_the_inputs_of_the_first_step_and_no_others() -> None:
    inputs = inputs_of(1)
    known = inputs.of_step(float)
    inputs.begin_capture()
    assert inputs.of_step(float) is known
    with pytest.raises(CaptureError, match="other inputs than at first"):
        inputs.of_step(float)
    inputs.set(7)
    assert known.item() == 7.0


@pytest.mark.parametrize(
    "use",
    [float, int, bool, hash, lambda step: step + 1, lambda step: 2.0 * step, lambda step: step / 5, lambda step: -step]
    + [lambda step: step < 5, lambda step: step == 0, lambda step: range(step), lambda step: [0, 1][step]],
)
def test_a_capture_refuses_the_number_of_the_step(use: Callable[[int], object]) -> None:
    """Else a loss would stay at the step at which it was captured."""
    inputs = inputs_of(1)
    inputs.begin_capture()
    with pytest.raises(CaptureError, match="batch.number"):
        use(inputs.step)
