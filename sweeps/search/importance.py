"""Which hyper-parameter decided the score, as far as so few trials can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from betavae.columns import tried_fields
from betavae.config import parameters_by_name
from betavae.records.trial import Trial, ranked
from betavae.report.findings import CHANCE, Importances

MIN_TRIALS = 10
"""Fewer scored trials than this say nothing of any hyper-parameter."""

_MIN_BEST = 5
"""PED-ANOVA needs so many trials among the best ones; they are a tenth, or more of a small sweep."""

_NUM_REPEATS = 10


def importances(trials: Sequence[Trial]) -> Importances:
    """Ask optuna's evaluators how much of the score each varied hyper-parameter decides.

    fANOVA splits the variance of the score; PED-ANOVA asks what sets the best trials apart. Each is asked
    several times, with another random number (CHANCE) beside the hyper-parameters: its importance is noise.

    Args:
        trials: Those without a score are left out.

    Returns:
        Nothing where fewer than two hyper-parameters that all trials have vary, too few trials have a score, or all
        have the same.

    Source:
        Hutter et al. 2014 (fANOVA); Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA).
    """
    scored = ranked(trials)
    tried = tried_fields([trial.config for trial in scored])
    names = [name for name in tried if all(trial.config.value(name) is not None for trial in scored)]
    if len(names) < 2 or len(scored) < MIN_TRIALS or scored[0].score == scored[-1].score:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    best = max(0.1, _MIN_BEST / len(scored))
    shares: dict[str, dict[str, np.ndarray]] = {
        "fANOVA: the whole range": {name: np.zeros(_NUM_REPEATS) for name in (*names, CHANCE)},
        f"PED-ANOVA: the best {best:.0%}": {name: np.zeros(_NUM_REPEATS) for name in (*names, CHANCE)},
    }
    for repeat in range(_NUM_REPEATS):
        study = _study(scored, names, np.random.default_rng(repeat))
        evaluators: list[BaseImportanceEvaluator] = [
            FanovaImportanceEvaluator(seed=repeat),
            PedAnovaImportanceEvaluator(target_quantile=best),
        ]
        for repeats, evaluator in zip(shares.values(), evaluators, strict=True):
            for name, share in get_param_importances(study, evaluator=evaluator).items():
                repeats[name][repeat] = share
    return shares


def _study(trials: Sequence[Trial], names: Sequence[str], generator: np.random.Generator) -> optuna.Study:
    distributions: dict[str, BaseDistribution] = {CHANCE: FloatDistribution(0.0, 1.0)}
    for name in names:
        distributions[name] = _distribution(name, [trial.config.value(name) for trial in trials])
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: trial.config.value(name) for name in names} | {CHANCE: generator.random()},
                distributions=distributions,
                value=trial.score,
            )
            for trial in trials
        ]
    )
    return study


def _distribution(name: str, values: Sequence[Any]) -> BaseDistribution:
    """Return a distribution of a parameter, or of the names of parts, that holds all values."""
    parameter = parameters_by_name().get(name)
    if parameter is None or parameter.kind not in (int, float):
        return CategoricalDistribution(list(dict.fromkeys(values)))
    distribution = IntDistribution if parameter.kind is int else FloatDistribution
    return distribution(min(values), max(values), log=parameter.limits.log)
