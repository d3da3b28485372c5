"""The finding of a sweep in words, and how certain it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from betavae.columns import report_column
from betavae.records.sweep import Selection
from betavae.records.trial import Trial, ranked
from betavae.report.choice import labels_of_ranking
from betavae.report.comparison import (
    paired_differences,
    permutation_p,
    probability_better,
    seeds_needed,
    share_of_wins,
    sign_flip_p,
    smallest_permutation_p,
    smallest_sign_flip_p,
)
from betavae.report.confirmation import Confirmed
from betavae.report.findings import describe_config, score_label, varied_fields
from betavae.report.settings import Setting, median_of, settings_of

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Headline:
    """The finding of a sweep.

    Attributes:
        claim: The setting that came first. It "wins" only where a test says so.
        certainty: How far that can be believed.
    """

    claim: str
    certainty: str


def headline(
    trials: Sequence[Trial], confirmations: Sequence[Confirmed] = (), *, selection: Selection | None = None
) -> Headline:
    """Return the setting that came first and how certain that is: by the confirmation, where there is one.

    Args:
        trials: Of the search; at least one of them has a score.
        confirmations: The highest median first.
        selection: The rule that chose the models; None if they rank by their scores alone.
    """
    if confirmations:
        return _confirmed(trials, confirmations)
    settings, names = settings_of(trials), varied_fields(trials)
    if len(settings) == 1:
        finding = _alone(settings[0], label=_label(settings[0], selection))
    elif selection is not None and selection.score is None and settings[0].is_rated:
        finding = _chosen(settings, names, rule=selection.label)
    else:
        finding = _compare(settings, names, trials, label=_label(settings[0], selection))
    num_cut = len(_cut(trials))
    if not num_cut:
        return finding
    consequence = "they are ranked by fewer steps."
    if selection is not None and settings[0].is_rated and all(trial.choice is None for trial in _cut(trials)):
        consequence = f"they have no {selection.label}, and come last."
    return Headline(
        finding.claim,
        f"{finding.certainty} {num_cut} of {len(ranked(trials))} trials did not run to their end; {consequence}",
    )


def _cut(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials with a score that did not run to their end."""
    return [trial for trial in trials if trial.reports and not trial.is_complete]


def _label(setting: Setting, selection: Selection | None) -> str:
    """Return the label of the scores by which settings are compared."""
    return selection.label if selection is not None and setting.is_rated else score_label(setting.trials)


def _alone(setting: Setting, *, label: str) -> Headline:
    described = describe_config(setting.config, ())
    if setting.num_seeds == 1:
        return Headline(
            f"{described} has {_with_article(label)} of {setting.median:.3f}.",
            "One trial, and nothing to compare it with: no result.",
        )
    low, high = setting.quartiles
    return Headline(
        f"{described} has a median {label} of {setting.median:.3f} over {setting.num_seeds} seeds.",
        f"The middle half lies in {low:.3f} .. {high:.3f}; there is no other setting to compare it with.",
    )


def _chosen(settings: Sequence[Setting], names: Sequence[str], *, rule: str) -> Headline:
    """Return what a rule chose, and the place that this has among all settings by the ranking score."""
    first, second = settings[:2]
    label, best = score_label(first.trials), median_of(first.best_scores)
    score = f"{first.median:.3f}" if first.num_seeds == 1 else f"a median of {first.median:.3f} over {_seeds(first)}"
    next_best = f"; the next, {describe_config(second.config, names)}, has {second.median:.3f}"
    place = 1 + sum(median_of(other.best_scores) > best for other in settings)
    median = label if len(first.trials) == 1 else f"median {label}"
    return Headline(
        f"{rule[0].upper()}{rule[1:]} chooses {describe_config(first.config, names)}, with {score}.",
        f"It compares models at the end of training{next_best if second.is_rated else ''}. By its {median}, "
        f"{best:.3f}, the setting is number {place} of {len(settings)}.",
    )


def _compare(settings: Sequence[Setting], names: Sequence[str], trials: Sequence[Trial], *, label: str) -> Headline:
    """Return the lead of the first setting over the second. `trials` may hold some that have no score."""
    first, second = settings[:2]
    what = describe_config(first.config, names)
    if first.is_rated and not second.is_rated:
        return Headline(
            f"{what} alone has {_with_article(label)}: {first.median:.3f}"
            f"{'' if first.num_seeds == 1 else f', the median over {_seeds(first)}'}.",
            _why_alone(settings[1:]),
        )
    over = f"{_seeds(first)} against {_seeds(second)}" if first.num_seeds != second.num_seeds else _seeds(first)
    if min(first.num_seeds, second.num_seeds) == 1:
        return Headline(
            f"{what} ranks first with {_with_article(label)} of {first.median:.3f}; the next has {second.median:.3f}.",
            f"{over[0].upper()}{over[1:]}: a rank, not a result. Another seed can reverse it; train the best settings "
            "again with several seeds before you believe it.",
        )
    of_both = [trial for trial in trials if trial.setting in (first.config, second.config)]
    is_whole = all(trial.is_complete for trial in of_both)
    test = _tested(first, second) if is_whole else _not_tested(of_both)
    other = describe_config(second.config, names)
    medians = f"{first.median:.3f} against {second.median:.3f} of {other}"
    return Headline(
        f"{what} wins by {first.median - second.median:.3f} over {over}: a median {label} of {medians}."
        if test.is_decided
        else f"{what} has the highest median {label} over {over}, {medians}.",
        f"{test.sentence} The same runs chose it, as the best of {len(settings)} settings, which flatters it.",
    )


def _why_alone(others: Sequence[Setting]) -> str:
    num_complete = sum(trial.is_complete for setting in others for trial in setting.trials)
    if num_complete == 0:
        return "No model of another setting was trained to its end, so none has this score."
    if num_complete == 1:
        return "One model of another setting was trained to its end, and has no such score."
    return f"{num_complete} models of other settings were trained to their end, and have no such score."


@dataclass(frozen=True)
class _Test:
    """A test of the two best settings.

    Attributes:
        is_decided: Whether the first is better by more than the luck of the seeds.
        sentence: The test and its outcome.
    """

    is_decided: bool
    sentence: str


def _tested(first: Setting, second: Setting) -> _Test:
    """Test two settings in pairs where they have the same seeds, else as two groups."""
    differences = paired_differences(first.seeds, first.scores, second.seeds, second.scores)
    if differences is not None:
        return _tested_in_pairs(differences)
    p, wins = permutation_p(first.scores, second.scores), share_of_wins(first.scores, second.scores)
    is_decided = p < _SIGNIFICANT and wins > 0.5
    return _Test(
        is_decided,
        f"It is the better one in {wins:.0%} of the pairs of their runs (p = {p:.2g}): {_verdict(is_decided)}",
    )


def _not_tested(trials: Sequence[Trial]) -> _Test:
    """Decide nothing: where scores decide which trials are trained to their end, the seeds are no fair sample."""
    num_cut = sum(not trial.is_complete for trial in trials)
    advice = ""
    if any(trial.status == "stopped" for trial in trials):
        advice = "; with --scheduler none every trial does"
    return _Test(
        False,
        f"Of the {len(trials)} trials of these two, {num_cut} did not run to their end, so no test can compare the two"
        f"{advice}.",
    )


def _tested_in_pairs(differences: Sequence[float]) -> _Test:
    p, mean, count = sign_flip_p(differences), _mean(differences), len(differences)
    is_decided = p < _SIGNIFICANT and mean > 0
    sentence = (
        f"Both have the same {count} seeds, and are compared in pairs: it is the better one with "
        f"{sum(difference > 0 for difference in differences)} of them, by {mean:+.3f} on average (paired permutation "
        f"test, p = {p:.2g}): {_verdict(is_decided)}"
    )
    smallest = smallest_sign_flip_p(count)
    if smallest >= _SIGNIFICANT:
        sentence += f" With {count} pairs p is at least {smallest:.2g}; with six or more, it could be below 0.05."
    return _Test(is_decided, sentence)


def _mean(differences: Sequence[float]) -> float:
    """Return the mean without rounding errors, so that 0 has no sign."""
    return round(float(np.mean(differences)), 12) + 0.0


def _verdict(is_decided: bool) -> str:
    if is_decided:
        return "more than the luck of the seeds."
    return "the luck of the seeds can do as much, so these runs do not separate the two."


def _confirmed(trials: Sequence[Trial], confirmations: Sequence[Confirmed]) -> Headline:
    first, names = confirmations[0], varied_fields(trials)
    what, label = describe_config(first.config, names), report_column(first.score).label
    failed = f" ({first.num_failed} more failed)" if first.num_failed else ""
    if first.num_seeds == 1:
        return Headline(
            f"{what} has {_with_article(label)} of {first.median:.3f} with one new seed{failed}.",
            "One seed is no result: another can reverse it.",
        )
    low, high = first.quartiles
    return Headline(
        f"{what} has a median {label} of {first.median:.3f} over {first.num_seeds} new seeds{failed}, the middle half "
        f"in {low:.3f} .. {high:.3f}.",
        " ".join(_certainty(trials, confirmations, names)),
    )


def _certainty(trials: Sequence[Trial], confirmations: Sequence[Confirmed], names: Sequence[str]) -> list[str]:
    first = confirmations[0]
    sentences = ["The seeds took no part in the search, and each counts with the end of its training."]
    if first.search_score is not None:
        curse = first.search_score - first.median
        sentences.append(
            f"The search had promised {first.search_score:.3f}, selected {labels_of_ranking(first.score)}: "
            f"{abs(curse):.3f} "
            f"{'more' if curse > 0 else 'less'}."
        )
    if len(confirmations) > 1:
        sentences.append(_against_second(first, confirmations[1], names))
        sentences.append(f"That it is the best of {len(confirmations)} by these seeds flatters it.")
    could_be_chosen = settings_of([trial for trial in trials if trial.status != "failed"])
    if could_be_chosen and could_be_chosen[0].config not in {confirmation.config for confirmation in confirmations}:
        sentences.append("The search has a better one that was not confirmed.")
    return sentences


def _against_second(first: Confirmed, second: Confirmed, names: Sequence[str]) -> str:
    scores, others = first.final_scores, second.final_scores
    better, needed = probability_better(scores, others), seeds_needed(scores, others)
    sentence = (
        f"Its median is above that of {describe_config(second.config, names)} ({second.median:.3f} over "
        f"{_seeds(second)}) in {better:.0%} of bootstrap resamples of the seeds"
    )
    differences = paired_differences(first.seeds, scores, second.seeds, others)
    if differences is not None:
        sentence += (
            f"; in pairs of the same seed it is better by {_mean(differences):+.3f} on average (paired permutation "
            f"test, p = {sign_flip_p(differences):.2g})"
        )
        smallest, what = smallest_sign_flip_p(len(differences)), f"{len(differences)} pairs"
    else:
        sentence += (
            f"; it is the better one in {share_of_wins(scores, others):.0%} of the pairs of their runs (permutation "
            f"test, p = {permutation_p(scores, others):.2g})"
        )
        smallest = smallest_permutation_p(first.num_seeds, second.num_seeds)
        what = f"{_seeds(first)} and {_seeds(second)}"
    if smallest >= _SIGNIFICANT:
        sentence += f". With {what} p is at least {smallest:.2g}, so they can separate nothing"
    if needed is None or needed <= min(first.num_seeds, second.num_seeds):
        return f"{sentence}."
    return f"{sentence}; if they differ as seen, about {needed:,} seeds of each would tell (5 % level, 80 % power)."


def _seeds(tried: Setting | Confirmed) -> str:
    return "one seed" if tried.num_seeds == 1 else f"{tried.num_seeds} seeds"


def _with_article(label: str) -> str:
    return f"{'an' if label[0] in 'aeioAEI' else 'a'} {label}"
