"""The metrics by name."""

from __future__ import annotations

from betavae.metrics.active_units import ActiveUnits
from betavae.metrics.base import Metric
from betavae.metrics.beta_vae_score import BetaVAEMetric
from betavae.metrics.dci import DCIMetric
from betavae.metrics.explicitness import ExplicitnessMetric
from betavae.metrics.factor_vae_score import FactorVAEMetric
from betavae.metrics.infomec import InfoMECMetric
from betavae.metrics.information_gaps import Mig, MigChen, MigDent, MigExact, MigQuantile, MigSeedStudy
from betavae.metrics.irs import IRSMetric
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
)


def live_metrics() -> dict[str, Metric]:
    """Return the metrics that every evaluation takes, by name."""
    return {name: metric() for name, metric in METRICS.items() if metric.is_live}
