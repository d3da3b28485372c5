"""The networks of a model as ONNX files, which programs without torch run."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from betavae.models import VAE

if TYPE_CHECKING:
    import onnx

ENCODER_FILE = "encoder.onnx"
"""Maps `images` to the `mean` and the `logvar` of their codes."""

DECODER_FILE = "decoder.onnx"
"""Maps `codes` to `pixels`."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""The packages that write and check the files, in the order of `pip install`."""

_TOLERANCE = 1e-5
"""The largest difference between torch and onnxruntime, as a share of the number where that is above 1."""


class OnnxError(RuntimeError):
    """A network that ONNX cannot express, or whose file gives other numbers."""


def missing_packages() -> list[str]:
    """Return the packages of the extra `onnx` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def write_onnx(folder: Path, model: VAE, images: Float[Tensor, "images channels height width"]) -> None:
    """Write the encoder and the decoder of a model to `encoder.onnx` and `decoder.onnx`, and check both.

    The encoder maps `images`, float32 (n, channels, height, width) in 0..1, to `mean` and `logvar`, float32
    (n, latents): the posterior's mean and the natural logarithm of its variance. The decoder maps `codes`, float32
    (n, latents), to `pixels`, float32 (n, channels, height, width): the expected pixels in 0..1. The number n is free.
    Weights are in the files, and no path of this machine is.

    Args:
        folder: An existing folder.
        model: The model, on the CPU; it is set to evaluation.
        images: Two images or more, on which onnxruntime must agree with torch.

    Error:
        Numbers differ from torch's by at most 1e-5, as a share of those above 1, on `images` and on their codes.

    Raises:
        OnnxError: If a network cannot be converted, or the numbers differ by more. Nothing is written.
        OSError: If a file cannot be written.
    """
    with torch.no_grad():
        codes = model.encode(images).mean
    encoder, decoder = _Encoder(model).eval(), _Decoder(model).eval()
    files = {
        ENCODER_FILE: _converted(encoder, {"images": images}, ("mean", "logvar")),
        DECODER_FILE: _converted(decoder, {"codes": codes}, ("pixels",)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


class _Encoder(nn.Module):
    """The map from images to the means and log variances of their codes."""

    file = ENCODER_FILE

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.model.encode(images)
        return posterior.mean, posterior.logvar


class _Decoder(nn.Module):
    """The map from codes to expected pixels."""

    file = DECODER_FILE

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor) -> Tensor:
        return self.model.pixels(codes)


def _converted(network: _Encoder | _Decoder, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> bytes:
    """Return a network as the bytes of an ONNX file, after a comparison of its numbers with torch's."""
    content: bytes = _exported(network, inputs, outputs).SerializeToString()
    for num_rows in (1, len(next(iter(inputs.values())))):
        _compare(network, content, {name: values[:num_rows] for name, values in inputs.items()})
    return content


def _exported(network: _Encoder | _Decoder, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> onnx.ModelProto:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass  # late: these imports take seconds

    with _quiet():
        try:
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in inputs),
                dynamo=True,  # the exporter before it cannot convert `fold`, of `UpsampleToPixels`
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise OnnxError(f"{network.file} cannot be made: {_first_line(error)}") from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # each node has a stack trace, with the paths of this machine
    return program.model_proto


def _compare(network: _Encoder | _Decoder, content: bytes, inputs: Mapping[str, Tensor]) -> None:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3  # 3: errors alone
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        got = session.run(None, {name: values.numpy() for name, values in inputs.items()})
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented) as error:
        raise OnnxError(f"{network.file} cannot be run: {_first_line(error)}") from error
    with torch.no_grad():
        expected = network(*inputs.values())
    for name, theirs, ours in zip(
        (output.name for output in session.get_outputs()),
        got,
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    ):
        if not np.allclose(theirs, ours.numpy(), rtol=_TOLERANCE, atol=_TOLERANCE):
            difference = float(np.abs(theirs - ours.numpy()).max())
            raise OnnxError(f"{network.file} gives another {name} than torch does: by {difference:.2g}.")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of packages that nothing here uses and of its own use of torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
