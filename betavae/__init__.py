"""beta-VAEs on image sets whose factors are known: models, training, and scores of disentanglement.

Every name below is imported from its module at first use, so that `import betavae` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from betavae.config import TrialConfig
    from betavae.data import ArrayImages, DSprites, FactorSpace, open_dataset, open_own_file
    from betavae.evaluation import evaluate, take_score
    from betavae.metrics import (
        exact_mutual_information,
        exact_mutual_information_gap,
        factor_entropies,
        mutual_information,
        mutual_information_gap,
        score,
    )
    from betavae.models import VAE
    from betavae.records.checkpoint import load_model
    from betavae.records.sweep import read_sweep
    from betavae.records.trial import ranked
    from betavae.report.traversals import latent_traversal
    from betavae.selection import Autoencoder, cross_mig, model_centrality, udr
    from betavae.training import TrainingRun

__all__ = [
    "VAE",
    "ArrayImages",
    "Autoencoder",
    "DSprites",
    "FactorSpace",
    "TrainingRun",
    "TrialConfig",
    "cross_mig",
    "evaluate",
    "exact_mutual_information",
    "exact_mutual_information_gap",
    "factor_entropies",
    "latent_traversal",
    "load_model",
    "model_centrality",
    "mutual_information",
    "mutual_information_gap",
    "open_dataset",
    "open_own_file",
    "ranked",
    "read_sweep",
    "score",
    "take_score",
    "udr",
]

_MODULES = {
    "TrialConfig": "config",
    **dict.fromkeys(("ArrayImages", "DSprites", "FactorSpace", "open_dataset", "open_own_file"), "data"),
    **dict.fromkeys(("evaluate", "take_score"), "evaluation"),
    **dict.fromkeys(("exact_mutual_information", "exact_mutual_information_gap", "factor_entropies"), "metrics"),
    **dict.fromkeys(("mutual_information", "mutual_information_gap", "score"), "metrics"),
    "VAE": "models",
    "load_model": "records.checkpoint",
    "read_sweep": "records.sweep",
    "ranked": "records.trial",
    "latent_traversal": "report.traversals",
    **dict.fromkeys(("Autoencoder", "cross_mig", "model_centrality", "udr"), "selection"),
    "TrainingRun": "training",
}

if not TYPE_CHECKING:  # else type checkers would take any name for one of this package

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
