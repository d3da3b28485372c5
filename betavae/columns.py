"""What is shown of trials, for every table and figure: names, labels, formats, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.metrics import METRICS
from betavae.parts import Parameter, parameters_of

_LOSS = "loss/"
_NATS = "_nats"


@dataclass(frozen=True)
class Column:
    """One number, or one word, of each trial.

    Attributes:
        name: Its name in reports and records: `mig/posX`, `loss/kl_nats`, `beta`.
        label: Its name in words.
        symbol: Its name at the head of a column.
        format: How its value is written, after a colon in a Python format.
        higher_is_better: Whether a higher value is a better one; None if neither is.
        log: Whether an axis of it is logarithmic.
    """

    name: str
    label: str
    symbol: str
    format: str
    higher_is_better: bool | None = None
    log: bool = False

    def write(self, value: object) -> str:
        """Return a value as it is shown; a dash where there is none."""
        return "-" if value is None else format(value, self.format)


def report_column(name: str) -> Column:
    """Return the column of a number that trials report: a score, the score of a factor, a loss, or the speed."""
    metric_name, _, factor = name.partition("/")
    if name.startswith(_LOSS):
        term = name.removeprefix(_LOSS)
        symbol = term.removesuffix(_NATS)
        unit = " (nats per image)" if term.endswith(_NATS) else ""
        return Column(name, f"{symbol.replace('_', ' ')}{unit}", symbol, ".2f", higher_is_better=False)
    metric = METRICS.get(metric_name)
    if metric is not None and factor:
        return Column(name, f"{metric.label} of {factor}", factor, ".3f", metric.higher_is_better)
    if metric is not None:
        symbol = metric.symbol or (name if metric.is_live else metric.label)
        return Column(name, metric.label, symbol, metric.format, metric.higher_is_better)
    return Column(name, name.replace("_", " "), name, ".4g")


def report_columns(names: Iterable[str], *, rank_by: str) -> list[Column]:
    """Return the columns of reported numbers: the ranking score and its factors first, then the others, then losses.

    Args:
        names: Those that trials reported; others that they may lack are left out.
        rank_by: The score that ranks trials.
    """
    known = dict.fromkeys(names)
    first = [name for name in known if name.partition("/")[0] == rank_by]
    losses = [name for name in known if name.startswith(_LOSS)]
    scores = [name for name in known if name.partition("/")[0] in METRICS and name not in first]
    return [report_column(name) for name in (*first, *scores, *losses)]


def field_column(name: str) -> Column:
    """Return the column of a parameter, of the name of a part, or of a number derived from parameters."""
    parameter = parameters_by_name().get(name)
    if parameter is None:
        return Column(name, name.replace("_", " "), name, "" if name in PARTS else ".4g")
    return Column(name, parameter.label, parameter.symbol, _format_of(parameter), log=parameter.limits.log)


def tried_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return what trials of these configurations differ in: parts and parameters by name, without the seed."""
    names = dict.fromkeys(name for config in configs for name in config.to_dict())
    return [name for name in _ordered(names) if _is_tried(name) and len({config.value(name) for config in configs}) > 1]


def shown_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the fields that a table shows: those that differ, the objectives' parameters, latents, learning rate."""
    always = {name for config in configs for name in parameters_of(type(config.objective))} | {"latent_size", "lr"}
    return [name for name in _ordered({*always, *tried_fields(configs)})]


def derived_fields(configs: Sequence[TrialConfig]) -> list[str]:
    """Return the names of the numbers that follow from these configurations, such as `beta_norm`."""
    return list(dict.fromkeys(name for config in configs for name in config.derived()))


def _ordered(names: Iterable[str]) -> list[str]:
    """Sort names as a config has them: parts, their parameters, then what every trial has."""
    order = [*PARTS, *parameters_by_name()]
    return sorted(names, key=order.index)


def _is_tried(name: str) -> bool:
    return name in PARTS or parameters_by_name()[name].limits.is_tried


def _format_of(parameter: Parameter) -> str:
    return {float: ".4g", int: "d"}.get(parameter.kind, "")
