"""The scores of a checkpoint, checked for all that a report or a card shows of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from betavae.records.checkpoint import CheckpointError
from betavae.records.trial import Checkpoint

_GAPS = {"score": float, "gaps": {str: float}, "estimator": str, "num_rows": int, "rows": str}
_BINNED = {
    **_GAPS,
    "matched_latents": {str: int},
    "entropies_nats": {str: float},
    "mutual_information_nats": [[float]],
    "ceiling": float,
    "rows_seed": int,
}
_SHAPE: Mapping[str, Any] = {
    "step": int,
    "mig": _BINNED,
    "kl_nats_per_latent": [float],
    "active_units": int,
    "active_unit_threshold_nats": float,
    "data": {"source": str, "sha256": str},
}
_OPTIONAL: Mapping[str, Any] = {
    "mig_quantile": _BINNED,
    "mig_exact": {**_GAPS, "score_without_shape": float},
}
"""Beside them; what has been taken must be whole."""


def check_scores(checkpoint: Checkpoint) -> None:
    """See that a checkpoint's scores hold what is shown of them, of the right kind.

    Raises:
        CheckpointError: Naming the first value that is missing or wrong.
    """
    scores, taken = checkpoint.scores, _OPTIONAL.keys() & checkpoint.scores.keys()
    try:
        for name, shape in (*_SHAPE.items(), *((name, _OPTIONAL[name]) for name in sorted(taken))):
            _check(scores.get(name), shape, name)
        _check_sizes(scores)
    except ValueError as error:
        raise CheckpointError(f"The scores of {checkpoint.folder} must be whole, but {error}.") from error


def exact_score(checkpoint: Checkpoint | None) -> float | None:
    """Return the `mig_exact` of a checkpoint; None where it has not been taken."""
    return (
        None if checkpoint is None or "mig_exact" not in checkpoint.scores else checkpoint.scores["mig_exact"]["score"]
    )


def _check(value: Any, shape: Any, name: str) -> None:
    """Compare a value with a shape: a type, a list of one shape, names with a shape each, or `{str: shape}` for any."""
    if isinstance(shape, list):
        _require(isinstance(value, list), name, "a list", value)
        for item in value:
            _check(item, shape[0], name)
    elif isinstance(shape, dict):
        _require(isinstance(value, dict), name, "an object", value)
        for key in value if str in shape else shape:
            _check(value.get(key), shape[str] if str in shape else shape[key], f"{name}.{key}")
    elif shape is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(is_number and math.isfinite(value), name, "a finite number", value)
    else:
        right = isinstance(value, shape) and not isinstance(value, bool)
        _require(right, name, "text" if shape is str else "a whole number", value)


def _check_sizes(scores: Mapping[str, Any]) -> None:
    """See that latents and factors are the same ones everywhere."""
    mig, num_latents = scores["mig"], len(scores["kl_nats_per_latent"])
    rows = mig["mutual_information_nats"]
    if len(rows) != num_latents or any(len(row) != len(mig["gaps"]) for row in rows):
        raise ValueError(
            f"mig.mutual_information_nats must have a row for each of {num_latents} latents and a column "
            f"for each of {len(mig['gaps'])} factors"
        )
    for name in ("matched_latents", "entropies_nats"):
        if mig[name].keys() != mig["gaps"].keys():
            raise ValueError(f"mig.{name} must name the factors of mig.gaps")


def _require(holds: bool, name: str, what: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {what} and is {repr(value)[:40]}")
