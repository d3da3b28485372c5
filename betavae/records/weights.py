"""The weights of a model in a file of their own: safetensors, or `model.pt` in checkpoints of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

MODEL_FILE = "model.safetensors"
"""The weights of a checkpoint or of an exported model."""

EARLIER_MODEL_FILE = "model.pt"
"""The weights of a checkpoint of format 1: a state dict, saved by torch."""

_METADATA = {"format": "pt"}  # other readers, such as transformers, ask for the library that wrote the file


def write_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of a model as safetensors.

    Weights of any device, type and memory format are written in the order of their dimensions; weights that share
    memory are written once for each name.

    Raises:
        OSError: If the file cannot be written.
    """
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    path.write_bytes(safetensors.torch.save(weights, _METADATA))  # written by safetensors, an error would be no OSError


def read_weights(folder: Path) -> dict[str, Any]:
    """Return the weights in a folder by name, on the CPU.

    The file is read, not mapped: a mapped file that is truncated meanwhile would end the process.

    Raises:
        ValueError: If the file is not safetensors. For a damaged `model.pt`, torch raises errors of several kinds.
        OSError: If the file cannot be read.
    """
    name = stored_name(folder, MODEL_FILE)
    if name == EARLIER_MODEL_FILE:
        weights: dict[str, Any] = torch.load(folder / name, map_location="cpu", weights_only=True)
        return weights
    try:
        return safetensors.torch.load((folder / name).read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{name} must be safetensors, but: {error}") from error


def stored_name(folder: Path, name: str) -> str:
    """Return the name of a checkpoint's file in a folder, which differs from `name` for weights of earlier versions."""
    is_earlier = name == MODEL_FILE and not (folder / name).exists() and (folder / EARLIER_MODEL_FILE).exists()
    return EARLIER_MODEL_FILE if is_earlier else name


def stored_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that files of a checkpoint have in this version and in earlier ones."""
    return tuple(each for name in names for each in (name, *([EARLIER_MODEL_FILE] if name == MODEL_FILE else [])))
