"""How a sweep chose its models, and, where there are factors, what the choice cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.columns import Column, report_column
from betavae.metrics import METRICS
from betavae.records.sweep import Sweep
from betavae.records.trial import Trial, ranked
from betavae.report.score_table import LEAST_MODELS, rank_correlations
from betavae.report.settings import median_of

FAILED_SHARE = 0.5
"""A seed has failed if its score is below this share of the median of its setting."""

LEAST_SEEDS = 3
"""Of fewer seeds of a setting none can be said to have failed."""

_NUM_RESAMPLES = 10_000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class RuleAgreement:
    """How far the scores of the rule agree with a score with labels, over models at their end.

    Attributes:
        column: The score with labels.
        trials: The models that have both, the chosen one first.
        scores: Their scores with labels.
        correlation: Spearman's rank correlation with the rule's scores; None for fewer than five models, or for ties.
        interval: Its 95 % bootstrap interval over models; None without a correlation.
        share: The chosen model's score, as a share of the best; None if the best is not above 0.
        missed: Seeds that failed by the score and are not flagged by the rule.
        caught: Seeds that failed by the score and are flagged.
        false_alarms: Seeds that are flagged and did not fail.
    """

    column: Column
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]
    correlation: float | None
    interval: tuple[float, float] | None
    share: float | None
    missed: tuple[str, ...]
    caught: tuple[str, ...]
    false_alarms: tuple[str, ...]

    @property
    def chosen(self) -> float:
        """The chosen model's score."""
        return self.scores[0]

    @property
    def best(self) -> float:
        """The best score."""
        return max(self.scores)


def words_of_labels(needs_factors: bool) -> str:
    """Return `with labels` for a number that looks at factors, else `without labels`."""
    return "with labels" if needs_factors else "without labels"


def labels_of_ranking(rank_by: str) -> str:
    """Return `with labels` or `without labels`, by whether the ranking score looks at factors."""
    return words_of_labels(rank_by not in METRICS or METRICS[rank_by].needs_factors)


def first_of(order: str, number: int) -> str:
    """Return the place of a model that comes first in an order: "the highest of 12"; of one, "the only one"."""
    return f"the {order} of {number}" if number > 1 else "the only one"


def labels_of_choice(sweep: Sweep) -> str:
    """Return `with labels` or `without labels`, by whether the rule that chooses models looks at factors."""
    selection = sweep.selection
    return labels_of_ranking(sweep.rank_by) if selection is None else words_of_labels(selection.needs_factors)


def describe_rule(sweep: Sweep) -> str:
    """Return which rule chose the models, in a sentence."""
    if sweep.selection is None:
        label = report_column(sweep.rank_by).label
        return f"Models are chosen by their highest {label} during training, {labels_of_choice(sweep)}."
    num_scored = len(sweep.selection.scores)
    return (
        f"Models are chosen by {sweep.selection.label} at the end of training, {labels_of_choice(sweep)}: "
        f"{num_scored} of {len(ranked(sweep.trials))} models have it."
    )


def flagged(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials whose model the rule takes for a failed seed: its score is below half of its setting's median.

    No model is flagged where its setting has fewer than three, or where a score is negative, such as the ELBO: half of
    it says nothing.
    """
    scores = {trial.trial_id: trial.choice for trial in trials if trial.choice is not None}
    failed = _failed(trials, scores)
    return [trial for trial in trials if trial.trial_id in failed]


def agreements(sweep: Sweep) -> list[RuleAgreement]:
    """Return how far the rule agrees with each score with labels that its models have: `mig`, `mig_exact` and others.

    Returns:
        Nothing without a rule, or where no model has been compared with factors.
    """
    selection = sweep.selection
    if selection is None:
        return []
    trials = [trial for trial in ranked(sweep.trials) if trial.choice is not None]
    names = [name for name, metric in METRICS.items() if metric.needs_factors and metric.higher_is_better]
    known = {name: _final_scores(trials, name) for name in names if name != selection.score}
    return [
        _agreement(name, trials, scores)
        for name, scores in known.items()
        if len(scores) >= 2 and trials[0].trial_id in scores
    ]


def _agreement(name: str, trials: Sequence[Trial], scores: dict[str, float]) -> RuleAgreement:
    both = [trial for trial in trials if trial.trial_id in scores]
    of_rule = np.array([trial.choice for trial in both], float)
    with_labels = np.array([scores[trial.trial_id] for trial in both])
    correlation = float(rank_correlations(np.stack([of_rule, with_labels], axis=1))[0, 1])
    is_known = len(both) >= LEAST_MODELS and not np.isnan(correlation)
    best = float(with_labels.max())
    failed, alarms = _failed(both, scores), {trial.trial_id for trial in flagged(both)}
    return RuleAgreement(
        column=report_column(name),
        trials=tuple(both),
        scores=tuple(with_labels.tolist()),
        correlation=correlation if is_known else None,
        interval=bootstrap_interval(of_rule, with_labels) if is_known else None,
        share=float(with_labels[0]) / best if best > 0 else None,
        missed=tuple(sorted(failed - alarms)),
        caught=tuple(sorted(failed & alarms)),
        false_alarms=tuple(sorted(alarms - failed)),
    )


def bootstrap_interval(
    scores: Float[np.ndarray, " models"], others: Float[np.ndarray, " models"]
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the rank correlation when models are resampled with replacement.

    Resamples in which all scores are equal are left out.

    Error:
        The models of a sweep are no random sample of all models, and those of one setting are alike: the interval says
        how much a few models decide, not what another sweep would give.
    """
    from scipy.stats import rankdata  # late: the import takes a second

    drawn = np.random.default_rng(0).integers(len(scores), size=(_NUM_RESAMPLES, len(scores)))
    ranks = [rankdata(each[drawn], axis=1) for each in (scores, others)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    known = lengths > 0
    low, high = np.percentile((first * second).sum(axis=1)[known] / lengths[known], _INTERVAL)
    return float(low), float(high)


def _final_scores(trials: Sequence[Trial], name: str) -> dict[str, float]:
    """Return a score of each final model that has it, by trial."""
    scores = {trial.trial_id: trial.final_score(name) for trial in trials}
    return {trial_id: score for trial_id, score in scores.items() if score is not None}


def _failed(trials: Sequence[Trial], scores: dict[str, float]) -> set[str]:
    """Return the trials whose score is below half of the median of their setting, where it has three seeds or more."""
    if not scores or min(scores.values()) < 0:
        return set()
    by_setting: dict[object, list[float]] = {}
    for trial in trials:
        if trial.trial_id in scores:
            by_setting.setdefault(trial.setting, []).append(scores[trial.trial_id])
    medians = {setting: median_of(each) for setting, each in by_setting.items() if len(each) >= LEAST_SEEDS}
    judged = [trial for trial in trials if trial.trial_id in scores and trial.setting in medians]
    return {each.trial_id for each in judged if scores[each.trial_id] < FAILED_SHARE * medians[each.setting]}
