"""Choose models of a sweep by a rule, at the end of the search and in the analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.metrics import METRICS
from betavae.metrics.registry import is_likelihood
from betavae.records.sweep import Selection
from betavae.records.trial import Trial, by_dataset
from betavae.report.findings import counted
from betavae.selection.rules import Among, Rule, ScoreRule, find_rule
from sweeps.model_scores import Bar, ScoredModel, take_model_scores
from sweeps.options.options import ReportOptions
from sweeps.storage.mirror import Mirror


def rule_of(options: ReportOptions, trials: Sequence[Trial]) -> Rule | None:
    """Return the rule of `--select`; None if models are chosen by their highest score during training.

    Raises:
        InputError: If the rule is a likelihood, and the trials have several, which do not compare.
    """
    if options.select is None:
        return None
    likelihoods = sorted({trial.config.likelihood.name for trial in trials})
    if len(likelihoods) > 1 and is_likelihood(options.select):
        raise InputError(
            f"--select {options.select} needs models of one likelihood, since those of different kinds do not compare, "
            f"but the sweep has {' and '.join(likelihoods)}; choose by another rule."
        )
    among = options.udr_among or default_among(trials)
    return find_rule(options.select, among=among, min_kl=options.udr_min_kl)


def as_among(text: str | None) -> Among | None:
    """Return the models among which a recorded sweep compared models; None if they are not known."""
    return next((among for among in get_args(Among) if among == text), None)


def files_to_read(rule: Rule, trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the files of checkpoints that a rule reads, apart from records: none if it is a score that all have."""
    return () if isinstance(rule, ScoreRule) and not _without(rule, compared_trials(trials, rule)) else rule.files


def _without(rule: ScoreRule, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.final_score(rule.name) is None]


def default_among(trials: Sequence[Trial]) -> Among:
    """Return `setting` if every setting of the compared trials has two of them or more, else `all`."""
    counts = Counter(trial.setting for trial in compared_trials(trials))
    return "setting" if counts and min(counts.values()) > 1 else "all"


def rated_by_score(trials: Sequence[Trial], options: ReportOptions) -> Sequence[Trial]:
    """Return trials with the score that chooses models, as far as their reports and checkpoints hold it now.

    Where another rule chooses, or none does, the trials are returned as they are.
    """
    rule = rule_of(options, trials)
    if not isinstance(rule, ScoreRule):
        return trials
    trials = [replace(trial) for trial in trials]  # which reads checkpoints again
    return selection_of(rule, rule.choose(compared_trials(trials, rule)).scores).rated(trials)


def scores_now(selection: Selection | None, trials: Sequence[Trial]) -> Selection | None:
    """Return a selection with the scores of trials that have ended since, if a score of final models chooses."""
    if selection is None or selection.score is None:
        return selection
    rule = ScoreRule(selection.score)
    return replace(selection, scores={**rule.choose(compared_trials(trials, rule)).scores, **selection.scores})


def compared_trials(trials: Sequence[Trial], rule: Rule | None = None) -> list[Trial]:
    """Return the trials of each data set that ran all their steps; if fewer than two did, all that have not failed.

    A score of final models alone is not taken of any whose training has not ended, whatever their number.
    """
    groups = by_dataset(trials).values()
    if isinstance(rule, ScoreRule) and rule.needs_factors and not METRICS[rule.name].is_live:
        return [trial for group in groups for trial in group if trial.status == "finished"]
    return [trial for group in groups for trial in _compared_in(group)]


def _compared_in(trials: Sequence[Trial]) -> list[Trial]:
    finished = [trial for trial in trials if trial.status == "finished"]
    return finished if len(finished) > 1 else [trial for trial in trials if trial.status != "failed"]


def choose_models(
    trials: Sequence[Trial], rule: Rule, data: Mapping[str, FactorImages], *, device: str, mirror: Mirror
) -> tuple[Selection, list[str]]:
    """Score the final models of trials by a rule, with a progress bar on a terminal.

    Args:
        trials: The trials of the search, of which `compared_trials` are compared.
        rule: The rule.
        data: The whole data sets, by name.
        device: Where to compute.
        mirror: The sweep's folder, with the files that the rule reads.

    Returns:
        The rule's scores, and a sentence for each trial whose model could not be scored.
    """
    compared = compared_trials(trials, rule)
    problems: list[str] = []
    if isinstance(rule, ScoreRule):
        lacking = _without(rule, compared)
        models = [ScoredModel(trial.trial_id, trial.final_checkpoint, (rule.name,)) for trial in lacking]
        taken = take_model_scores(models, data, device=device, mirror=mirror)
        # again from their files, to which the scores were written, or could not be
        compared, problems = [replace(trial, unkept=taken.unwritten) for trial in compared], taken.problems
    with Bar(rule.work(compared)) as bar:
        if rule.work(compared):
            bar.begin(f"choice among {len(compared)} models", rule.label)
        choice = rule.choose(compared, device=device, on_progress=bar.advance)
    problems += _unscored(rule, trials, compared, choice.scores)
    return selection_of(rule, choice.scores), [*problems, *choice.problems]


def selection_of(rule: Rule, scores: Mapping[str, float]) -> Selection:
    """Return how models are chosen by a rule, with its scores by trial."""
    return Selection(rule.described, rule.needs_factors, scores, rule.name if isinstance(rule, ScoreRule) else None)


def _unscored(rule: Rule, trials: Sequence[Trial], compared: Sequence[Trial], scores: Mapping[str, float]) -> list[str]:
    """Return a sentence for each data set of which a rule has scored no model."""
    names = list(by_dataset(trials))
    groups = {name: by_dataset(compared).get(name, []) for name in names}
    reason = (
        "it is taken of models whose trial ran to its end."
        if isinstance(rule, ScoreRule)
        else "it compares final models with one another, or with the other seeds of their setting."
    )
    return [
        f"{rule.label} scored none of {counted(len(group), 'model')}{f' of {name}' if len(names) > 1 else ''}, so they "
        f"rank by {trials[0].rank_by}: {reason}"
        for name, group in groups.items()
        if group and not any(trial.trial_id in scores for trial in group)
    ]
