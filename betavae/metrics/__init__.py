"""Scores of disentanglement. To add one, write a module here and add its class to `METRICS`."""

from betavae.metrics.array_scores import score
from betavae.metrics.base import EncodedSample, Metric, Rows, Score
from betavae.metrics.beta_vae_score import BetaVAEScore, beta_vae_score
from betavae.metrics.dci import DCI, dci
from betavae.metrics.exact_information import exact_mutual_information
from betavae.metrics.explicitness import Explicitness, explicitness
from betavae.metrics.factor_vae_score import FactorVAEScore, factor_vae_score
from betavae.metrics.infomec import InfoMEC, infomec
from betavae.metrics.irs import IRS, irs
from betavae.metrics.mig import MutualInformationGap, exact_mutual_information_gap, mutual_information_gap
from betavae.metrics.mig_dent import mig_dent
from betavae.metrics.modularity import Modularity, modularity
from betavae.metrics.mutual_information import factor_entropies, mutual_information
from betavae.metrics.registry import METRICS, live_metrics
from betavae.metrics.sap import SAP, sap
from betavae.metrics.sap_continuous import sap_continuous
from betavae.metrics.scores import Codes, Scores
from betavae.metrics.total_correlation import TotalCorrelation, total_correlation

__all__ = [
    "DCI",
    "IRS",
    "METRICS",
    "SAP",
    "BetaVAEScore",
    "Codes",
    "EncodedSample",
    "Explicitness",
    "FactorVAEScore",
    "InfoMEC",
    "Metric",
    "Modularity",
    "MutualInformationGap",
    "Rows",
    "Score",
    "Scores",
    "TotalCorrelation",
    "beta_vae_score",
    "dci",
    "exact_mutual_information",
    "exact_mutual_information_gap",
    "explicitness",
    "factor_entropies",
    "factor_vae_score",
    "infomec",
    "irs",
    "live_metrics",
    "mig_dent",
    "modularity",
    "mutual_information",
    "mutual_information_gap",
    "sap",
    "sap_continuous",
    "score",
    "total_correlation",
]
