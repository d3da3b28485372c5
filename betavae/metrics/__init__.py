"""Scores of disentanglement: what each latent knows of each factor, and the Mutual Information Gap."""

from betavae.metrics.exact_information import exact_mutual_information
from betavae.metrics.mig import MutualInformationGap, exact_mutual_information_gap, mutual_information_gap
from betavae.metrics.mutual_information import factor_entropies, mutual_information

__all__ = [
    "MutualInformationGap",
    "exact_mutual_information",
    "exact_mutual_information_gap",
    "factor_entropies",
    "mutual_information",
    "mutual_information_gap",
]
