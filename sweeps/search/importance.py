"""Importance of the hyper-parameters: how much of the score each decides, estimated from a sweep's few trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from betavae.columns import compared_fields, field_value
from betavae.config import parameters_by_name
from betavae.records.trial import Trial, ranked
from betavae.report.findings import CHANCE, Importances
from sweeps.search.distributions import spanning_distribution

MIN_TRIALS = 10
"""Below this number of scored trials, no importance is estimated."""

_MIN_BEST = 5
"""PED-ANOVA compares the best tenth of the trials with all, but at least this many."""

_NUM_REPEATS = 10


def importances(trials: Sequence[Trial]) -> Importances:
    """Estimate by Optuna's evaluators how much of the score each varied hyper-parameter decides.

    fANOVA splits the variance of the score over all trials; PED-ANOVA compares the best trials with all. Each runs
    several times with a new random number (CHANCE) as one more hyper-parameter, whose importance shows the noise.

    Args:
        trials: The trials, of one data set. Trials without a score are left out. With several objectives, so are their
            parameters: one name may be two hyper-parameters.

    Returns:
        Shares by evaluator and hyper-parameter, one per repeat. Empty if fewer than two hyper-parameters that all
        trials have vary, fewer than `MIN_TRIALS` trials have a score, or all scores are equal.

    Source:
        Hutter et al. 2014 (fANOVA); Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA).
    """
    scored_trials = ranked(trials)
    configs = [trial.config for trial in scored_trials]
    names = [name for name in compared_fields(configs) if all(field_value(each, name) is not None for each in configs)]
    if len(names) < 2 or len(scored_trials) < MIN_TRIALS or len({trial.score for trial in scored_trials}) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    best_share = max(0.1, _MIN_BEST / len(scored_trials))
    shares: dict[str, dict[str, np.ndarray]] = {
        "fANOVA: the whole range": {name: np.zeros(_NUM_REPEATS) for name in (*names, CHANCE)},
        f"PED-ANOVA: the best {best_share:.0%}": {name: np.zeros(_NUM_REPEATS) for name in (*names, CHANCE)},
    }
    for repeat in range(_NUM_REPEATS):
        study = _study(scored_trials, names, np.random.default_rng(repeat))
        evaluators: list[BaseImportanceEvaluator] = [
            FanovaImportanceEvaluator(seed=repeat),
            PedAnovaImportanceEvaluator(target_quantile=best_share),
        ]
        for shares_by_name, evaluator in zip(shares.values(), evaluators, strict=True):
            for name, share in get_param_importances(study, evaluator=evaluator).items():
                shares_by_name[name][repeat] = share
    return shares


def _study(trials: Sequence[Trial], names: Sequence[str], generator: np.random.Generator) -> optuna.Study:
    distributions: dict[str, BaseDistribution] = {CHANCE: FloatDistribution(0.0, 1.0)}
    for name in names:
        values = [trial.config.value(name) for trial in trials]
        distributions[name] = spanning_distribution(parameters_by_name().get(name), values)
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
