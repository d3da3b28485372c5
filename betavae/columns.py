"""Names, labels, formats and directions of everything that tables and figures show of trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.metrics import METRICS
from betavae.objectives import OBJECTIVES
from betavae.parts import Parameter, parameters_of

_LOSS = "loss/"
_WEIGHT = "weight/"
_NATS = "_nats"


@dataclass(frozen=True)
class Column:
    """A number or a word that every trial has.

    Attributes:
        name: The name in reports and records: `mig/posX`, `loss/kl_nats`, `beta`.
        label: The name in words.
        symbol: The name at the head of a column.
        format: Python's format specification of a value, such as `.4f`.
        higher_is_better: True if a higher value is better, False if a lower value is; None if neither is.
        log: Whether an axis of values is logarithmic.
    """

    name: str
    label: str
    symbol: str
    format: str
    higher_is_better: bool | None = None
    log: bool = False

    def write(self, value: object) -> str:
        """Return a value as text; a dash for None. A schedule among numbers is its text."""
        return "-" if value is None else value if isinstance(value, str) else format(value, self.format)


def report_column(name: str) -> Column:
    """Return the column of a reported number: a score, the score of a factor, a loss term, or the speed."""
    metric_name, _, factor = name.partition("/")
    if name.startswith(_LOSS):
        term = name.removeprefix(_LOSS)
        symbol = term.removesuffix(_NATS)
        unit, number_format = (" (nats per image)", ".2f") if term.endswith(_NATS) else ("", ".3f")
        is_directed = not any(term in each.undirected_terms for each in OBJECTIVES.values())
        direction = False if is_directed else None
        return Column(name, f"{symbol.replace('_', ' ')}{unit}", symbol, number_format, higher_is_better=direction)
    if name.startswith(_WEIGHT):
        weight = field_column(name.removeprefix(_WEIGHT))
        return replace(weight, name=name)
    metric = METRICS.get(metric_name)
    if metric is not None and factor:
        return Column(name, f"{metric.label} of {factor}", factor, ".3f", metric.higher_is_better)
    if metric is not None:
        symbol = metric.symbol or (name if metric.is_live else metric.label)
        return Column(name, metric.label, symbol, metric.format, metric.higher_is_better)
    return Column(name, name.replace("_", " "), name, ".4g")


def report_columns(names: Iterable[str], *, rank_by: str) -> list[Column]:
    """Return the columns of reported numbers: the ranking score and its factors, other scores, then loss terms.

    Args:
        names: Names of reported numbers; names that are neither scores nor loss terms are left out.
        rank_by: The score that ranks trials.
    """
    known = dict.fromkeys(names)
    first = [name for name in known if name.partition("/")[0] == rank_by]
    losses = [name for name in known if name.startswith(_LOSS)]
    scores = [name for name in known if name.partition("/")[0] in METRICS and name not in first]
    return [report_column(name) for name in (*first, *scores, *losses)]


def field_column(name: str) -> Column:
    """Return the column of a parameter, of a part's name, or of a number that is derived from parameters."""
    parameter = parameters_by_name().get(name)
    if parameter is None:
        return Column(name, name.replace("_", " "), name, "" if name in PARTS else ".4g")
    return Column(name, parameter.label, parameter.symbol, _format_of(parameter), log=parameter.limits.log)


def order_of(value: Any) -> tuple[bool, float, str]:
    """Return a sort key of a field's values: numbers by size, then texts; a schedule by its first value."""
    if not isinstance(value, str):
        return False, float(value), ""
    first, _, _ = value.partition("@")
    try:
        return True, float(first), value
    except ValueError:
        return True, 0.0, value


def tried_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the parts and parameters in which configurations differ, if they are of what is tried."""
    names = dict.fromkeys(name for config in configs for name in config.to_dict())
    return [name for name in _ordered(names) if _is_tried(name) and len({config.value(name) for config in configs}) > 1]


def shown_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the fields that a table shows: those that differ, the objectives' parameters, and those always shown."""
    always = {name for name, each in parameters_of(TrialConfig).items() if each.limits.is_shown}
    objectives = {name for config in configs for name in parameters_of(type(config.objective))}
    return _ordered({*always, *objectives, *tried_fields(configs)})


def derived_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the numbers that are derived from configurations, such as `beta_norm`."""
    return list(dict.fromkeys(name for config in configs for name in config.derived()))


def _ordered(names: Iterable[str]) -> list[str]:
    """Sort names in a config's order: parts, their parameters, then the parameters of every trial."""
    order = [*PARTS, *parameters_by_name()]
    return sorted(names, key=order.index)


def _is_tried(name: str) -> bool:
    return name in PARTS or parameters_by_name()[name].limits.is_tried


def _format_of(parameter: Parameter) -> str:
    return {float: ".4g", int: "d"}.get(parameter.kind, "")
