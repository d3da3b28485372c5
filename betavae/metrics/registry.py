"""The metrics by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from betavae.errors import InputError
from betavae.metrics.active_units import ActiveUnits
from betavae.metrics.base import Metric
from betavae.metrics.beta_vae_score import BetaVAEMetric
from betavae.metrics.dci import DCIMetric
from betavae.metrics.elbo import Elbo
from betavae.metrics.explicitness import ExplicitnessMetric
from betavae.metrics.factor_vae_score import FactorVAEMetric
from betavae.metrics.infomec import InfoMECMetric
from betavae.metrics.information_gaps import Mig, MigChen, MigDent, MigExact, MigQuantile, MigSeedStudy
from betavae.metrics.irs import IRSMetric
from betavae.metrics.mig_part import MigExactPart
from betavae.metrics.modularity import ModularityMetric
from betavae.metrics.sap import SAPMetric
from betavae.metrics.sap_continuous import SAPContinuousMetric
from betavae.metrics.total_correlation import TotalCorrelationMetric
from betavae.parts import Table

METRICS: Table[Metric] = Table(
    "metric",
    Mig,
    MigQuantile,
    MigSeedStudy,
    ActiveUnits,
    MigExact,
    MigExactPart,
    MigChen,
    MigDent,
    BetaVAEMetric,
    FactorVAEMetric,
    DCIMetric,
    SAPMetric,
    SAPContinuousMetric,
    ModularityMetric,
    ExplicitnessMetric,
    IRSMetric,
    InfoMECMetric,
    TotalCorrelationMetric,
    Elbo,
)


ALL, LIVE = "all", "live"
"""In place of names: every score that can be taken; those that every evaluation takes."""


@dataclass(frozen=True)
class Known:
    """The inputs of metrics that are at hand.

    Attributes:
        has_posterior: Whether the variances of the codes are known.
        has_factors: Whether the factors of the images are known, and may be looked at.
        has_order: Whether the values of some factor have an order.
        has_decoder: Whether codes can be decoded.
        has_training_images: Whether it is known which images the model was trained on, part of a data set.
    """

    has_posterior: bool = True
    has_factors: bool = True
    has_order: bool = True
    has_decoder: bool = True
    has_training_images: bool = True

    def missing(self, metric: type[Metric]) -> str:
        """Return what a metric needs and is not at hand, in words; an empty text if nothing is missing."""
        are_missing = {
            "the log variances of the codes, `logvar` or an encoder's second output": (
                metric.needs_posterior and not self.has_posterior
            ),
            "the factors of the images": metric.needs_factors and not self.has_factors,
            "a factor whose values have an order": metric.needs_order and not self.has_order,
            "a decoder: a model of this library": metric.needs_decoder and not self.has_decoder,
            "a model trained on part of a data set": not (metric.is_always_taken or self.has_training_images),
        }
        return next((words for words, is_missing in are_missing.items() if is_missing), "")


ALL_KNOWN = Known()


def is_likelihood(name: str | None) -> bool:
    """Return whether a name is that of a score by which models of different likelihoods do not compare."""
    return name is not None and name in METRICS and METRICS[name].is_likelihood


def find_metrics(names: str | Iterable[str], known: Known = ALL_KNOWN) -> dict[str, Metric]:
    """Return metrics by name, in the order of the names, each once.

    Args:
        names: A name or several; "all" stands for all metrics that need nothing that is missing, "live" for those of
            them that every evaluation takes.
        known: The inputs that are at hand.

    Raises:
        UnknownNameError: If there is no such metric.
        InputError: If there are no names, or a metric needs what is missing.
    """
    names = as_names(names)
    if not names:
        raise InputError(f"There must be a score to take, but none is named; name some of {', '.join(METRICS)}.")
    found: dict[str, Metric] = {}
    for name in names:
        if name in (ALL, LIVE):
            found |= {
                each: metric()
                for each, metric in METRICS.items()
                if not known.missing(metric) and (metric.is_live or name == ALL)
            }
            continue
        metric = METRICS.find(name)
        if missing := known.missing(metric):
            raise InputError(f"{name} needs {missing}; leave {name} out where there is no such thing.")
        found[name] = metric()
    return found


def as_names(names: object) -> list[Any]:
    """Return one name or several as a list.

    Raises:
        InputError: If the argument is neither.
    """
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise InputError(f"The scores must be names, such as ['mig', 'irs'], but got {names!r}.")
    return list(names)


def live_metrics() -> dict[str, Metric]:
    """Return the metrics that every evaluation takes, by name."""
    return {name: metric() for name, metric in METRICS.items() if metric.is_live}
