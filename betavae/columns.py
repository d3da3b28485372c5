"""Names, labels, formats and directions of everything that tables and figures show of trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.metrics import METRICS
from betavae.objectives import OBJECTIVES
from betavae.parts import Parameter, field_of_part, parameters_of, split_field

FINAL = "final/"
"""Before the name of a score of a trial's last evaluation, where another may be shown beside it."""

BEST = "best/"
"""Before the name of a score of a trial's best evaluation, where another may be shown beside it."""

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


OBJECTIVE_PARAMETERS = Column("objective parameters", "parameters of the objective", "parameters", "")
"""The column of `describe_objectives`, in a table of several objectives."""


def report_column(name: str) -> Column:
    """Return the column of a reported number: a score, the score of a factor, a loss term, or the speed."""
    metric_name, _, factor = name.partition("/")
    if name.startswith(FINAL):
        column = report_column(name.removeprefix(FINAL))
        return replace(column, name=name, label=f"{column.label} at the end", symbol=f"{column.symbol} at the end")
    if name.startswith(BEST):
        column = report_column(name.removeprefix(BEST))
        return replace(column, name=name, label=f"best {column.label}", symbol=f"best {column.symbol}")
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
    """Return the column of a field: a parameter, a part's name, or a number that is derived from parameters.

    Args:
        name: `gamma`; or `factor-vae.gamma`, the parameter of one part alone, whose label is `gamma of factor-vae`.
    """
    part, own_name = split_field(name)
    if part:
        column = field_column(own_name)
        return replace(column, name=name, label=f"{column.label} of {part}", symbol=f"{column.symbol} of {part}")
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


def field_value(config: TrialConfig, name: str) -> Any:
    """Return the value of a field as in `TrialConfig.value`; None if the config does not have it.

    Args:
        config: Any.
        name: `gamma`, or `factor-vae.gamma`, which only a config with this part has.
    """
    part, own_name = split_field(name)
    return config.value(own_name) if not part or part in _names_of_parts(config) else None


def tried_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the parts and parameters in which configurations differ, if they are of what is tried.

    A parameter of a part counts if it differs between configurations of the same part: `gamma` of two objectives is two
    parameters of one name.
    """
    names = dict.fromkeys(name for config in configs for name in config.to_dict())
    return [name for name in ordered_fields(names) if _is_tried(name) and _differing_parts(configs, name)]


def compared_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the fields whose values can be compared: `tried_fields`, with those of each objective apart.

    With two or more objectives, a parameter of an objective is named `factor-vae.gamma`; the order of the objectives is
    that of `OBJECTIVES`.
    """
    tried = tried_fields(configs)
    if not has_several_objectives(configs):
        return tried
    owned = [name for name in tried if any(name in parameters_of(each) for each in OBJECTIVES.values())]
    common = [name for name in tried if name in parameters_of(TrialConfig)]
    apart = [
        field_of_part(objective, name)
        for objective in OBJECTIVES
        for name in owned
        if objective in _differing_parts(configs, name)
    ]
    return [*(name for name in tried if name not in (*owned, *common)), *apart, *common]


def has_several_objectives(configs: Iterable[TrialConfig]) -> bool:
    """Return whether configurations have two or more objectives, whose parameters may share names."""
    return len({config.objective.name for config in configs}) > 1


def shown_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the fields that a table shows: those that differ, the objectives' parameters, and those always shown.

    A parameter such as the rotation of latents is shown where it is not the default.
    """
    names = set(tried_fields(configs))
    for config in configs:
        for name, each in parameters_of(TrialConfig).items():
            if each.limits.is_shown or (each.limits.is_shown_if_set and config.value(name) != each.default):
                names.add(name)
        names.update(config.objective.shown_values())
    return ordered_fields(names)


def ordered_fields(names: Iterable[str]) -> list[str]:
    """Sort names in a config's order: parts, their parameters, then the parameters of every trial."""
    order = [*PARTS, *parameters_by_name()]
    return sorted(names, key=order.index)


def table_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the fields that have a column of their own in a table: `shown_fields`.

    With several objectives their parameters have none, since most rows would not have them: the column
    `OBJECTIVE_PARAMETERS` holds them.
    """
    names = shown_fields(configs)
    if not has_several_objectives(configs):
        return names
    owned = {name for config in configs for name in parameters_of(type(config.objective))}
    return [name for name in names if name not in owned]


def describe_objectives(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the parameters of each config's objective in words: `gamma 10`.

    Only those are described in which the configs of this objective differ; all that a table shows, if in none.
    """
    columns: dict[str, list[Column]] = {}
    for objective in dict.fromkeys(config.objective.name for config in configs):
        alike = [config for config in configs if config.objective.name == objective]
        owned, tried = parameters_of(type(alike[0].objective)), tried_fields(alike)
        shown = [name for name in owned if any(name in config.objective.shown_values() for config in alike)]
        differs = any(name in tried for name in owned)
        columns[objective] = [
            field_column(name) for name in shown if not differs or name in tried or owned[name].limits.is_shown_if_set
        ]
    return [
        ", ".join(
            f"{column.symbol} {column.write(config.value(column.name))}" for column in columns[config.objective.name]
        )
        for config in configs
    ]


def derived_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the numbers that are derived from configurations, such as `beta_norm`."""
    return list(dict.fromkeys(name for config in configs for name in config.derived()))


def _names_of_parts(config: TrialConfig) -> set[str]:
    return {part.name for part in config.parts.values()}


def _differing_parts(configs: Sequence[TrialConfig], name: str) -> list[str]:
    """Return the names of the parts whose configurations differ in a field; an empty name for a field of no part."""
    values: dict[str, set[Any]] = {}
    for config in configs:
        if config.value(name) is not None:
            owners = [part.name for part in config.parts.values() if name in parameters_of(type(part))]
            values.setdefault("".join(owners), set()).add(config.value(name))
    return [owner for owner, different in values.items() if len(different) > 1]


def _is_tried(name: str) -> bool:
    return name in PARTS or parameters_by_name()[name].limits.is_tried


def _format_of(parameter: Parameter) -> str:
    return {float: ".4g", int: "d"}.get(parameter.kind, "")
