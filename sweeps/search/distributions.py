"""Optuna's distributions of the values that trials have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from betavae.parts import Parameter


def spanning_distribution(parameter: Parameter | None, values: Sequence[Any]) -> BaseDistribution:
    """Return the smallest distribution with all of some values.

    Numbers span a range, on the parameter's scale; a logarithmic one only above 0. Names, booleans, and a list with a
    schedule, which is text, are categories.

    Args:
        parameter: The parameter; None for a kind of part, whose values are names.
        values: The values; at least one.
    """
    if parameter is None or any(isinstance(value, bool | str) for value in values):
        return CategoricalDistribution(list(dict.fromkeys(values)))
    low, high = min(values), max(values)
    is_log = parameter.limits.log and low > 0
    if parameter.kind is int:
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(float(low), float(high), log=is_log)
