"""The few numbers on top of a page, each with how it was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from betavae.columns import report_column
from betavae.metrics.active_units import ACTIVE_UNIT_NATS
from betavae.records.sweep import Selection, Sweep
from betavae.records.trial import Trial, ranked
from betavae.report.choice import first_of, labels_of_choice
from betavae.report.confirmation import Confirmed, requested_metrics
from betavae.report.portrait import Portrait
from betavae.report.provenance import describe_ordered
from betavae.report.settings import median_of


@dataclass(frozen=True)
class PageNumber:
    """One number.

    Attributes:
        name: What it is.
        value: As it is shown.
        method: How it was taken.
    """

    name: str
    value: str
    method: str


def page_numbers(sweep: Sweep, confirmations: Sequence[Confirmed], portraits: Sequence[Portrait]) -> list[PageNumber]:
    """Return the numbers of a page: those of the confirmation first, then those of the search.

    Args:
        sweep: At least one of its trials has a score.
        confirmations: The highest median first; may be empty.
        portraits: The models that are shown, the best first; may be empty.
    """
    label, trials = report_column(sweep.rank_by).label, ranked(sweep.trials)
    chosen = trials[0].chosen_report
    assert chosen is not None  # a ranked trial has a score
    num_compared = len(trials) if sweep.selection is None else len(sweep.selection.scores)
    return [
        *_confirmed_numbers(confirmations),
        *_choice_numbers(sweep.selection, trials, label),
        PageNumber(
            f"best {label}" if sweep.selection is None else f"{label} of the chosen",
            f"{chosen[sweep.rank_by]:.3f}",
            f"trial {trials[0].trial_id} at step {chosen['step']}, {first_of('best', num_compared)}; selected "
            f"{labels_of_choice(sweep)}",
        ),
        *_requested_numbers(portraits, sweep),
        PageNumber(
            f"median {label}",
            f"{median_of([trial.last_score for trial in trials]):.3f}",
            f"over the {len(trials)} trials, each at its end: not selected",
        ),
        *(_active_latents(portrait) for portrait in portraits[:1]),
    ]


def _choice_numbers(selection: Selection | None, trials: Sequence[Trial], label: str) -> list[PageNumber]:
    """Return the score by the rule that chose, of the model that it chose; nothing if that is the ranking score."""
    if selection is None or trials[0].choice is None or selection.label == label:
        return []
    method = f"at the end of training, {first_of('highest', len(selection.scores))}"
    return [PageNumber(f"{selection.label} of the chosen", f"{trials[0].choice:.3f}", method)]


def _confirmed_numbers(confirmations: Sequence[Confirmed]) -> list[PageNumber]:
    if not confirmations:
        return []
    first = confirmations[0]
    method = f"median over {first.num_seeds} new seeds, each at the end of its training"
    numbers = [PageNumber(f"confirmed {report_column(first.score).label}", f"{first.median:.3f}", method)]
    for name in first.other_scores:
        median = first.other_median(name)
        if median is not None:
            numbers.append(PageNumber(f"confirmed {report_column(name).label}", f"{median:.3f}", "the same models"))
    return numbers


def _requested_numbers(portraits: Sequence[Portrait], sweep: Sweep) -> list[PageNumber]:
    """Return each score on request but that which chose models, of the best model of which it has been taken."""
    numbers = []
    for name in [name for name in requested_metrics(sweep.rank_by) if name != sweep.chosen_by_score]:
        scored = [portrait for portrait in portraits if name in portrait.scores]
        if scored:
            score, ordered = scored[0].scores[name], describe_ordered(scored[0].scores[name], scored[0].space)
            method = f"{score.estimator}, {score.num_rows:,} images{f'; {ordered}' if ordered else ''}"
            numbers.append(PageNumber(f"{report_column(name).label}, {scored[0].title}", f"{score.value:.3f}", method))
    return numbers


def _active_latents(portrait: Portrait) -> PageNumber:
    value = f"{len(portrait.active)} of {len(portrait.latents)}"
    return PageNumber(f"active latents, {portrait.title}", value, f"KL above {ACTIVE_UNIT_NATS:g} nats")
