"""The page of a sweep with several data sets: what was found on each, and what may be compared between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from betavae.columns import report_column
from betavae.objectives import OBJECTIVES
from betavae.records.sweep import Sweep
from betavae.report.choice import describe_rule, labels_of_ranking
from betavae.report.confirmation import Confirmed
from betavae.report.datasets import DatasetComparison
from betavae.report.findings import counted, describe_config, describe_state, varied_fields
from betavae.report.headline import Headline
from betavae.report.methods import BestValue, MethodComparison
from betavae.report.page import template
from betavae.report.page_numbers import PageNumber, page_numbers
from betavae.report.portrait import Portrait
from betavae.report.provenance import describe_method, provenance

NOT_COMPARED = (
    "Scores of two data sets do not compare: their factors, ceilings and chance levels differ. So trials are ranked, "
    "chosen and confirmed within each data set."
)


@dataclass(frozen=True)
class DatasetFinding:
    """What was found on one data set.

    Attributes:
        part: The sweep's trials of the data set; at least one has a score.
        headline: The finding.
        confirmations: The highest median first.
        portraits: The models that its page shows, the best first.
        methods: The comparison of the objectives; None if there are not two to compare.
    """

    part: Sweep
    headline: Headline
    confirmations: Sequence[Confirmed]
    portraits: Sequence[Portrait]
    methods: MethodComparison | None

    @property
    def numbers(self) -> list[PageNumber]:
        """The numbers on top of its page."""
        return page_numbers(self.part, self.confirmations, self.portraits)

    @property
    def state(self) -> str:
        """How many trials there are, and how they ended."""
        return describe_state(self.part)

    @property
    def rule(self) -> str:
        """Which rule chose the models."""
        return describe_rule(self.part)

    @property
    def confirmed_label(self) -> str:
        """The label of the score that was confirmed; empty without a confirmation."""
        return report_column(self.confirmations[0].score).label if self.confirmations else ""

    def describe(self, confirmation: Confirmed) -> str:
        """Return a confirmed configuration in words."""
        return describe_config(confirmation.config, varied_fields(self.part.trials))

    def best_values(self) -> dict[str, BestValue]:
        """Return the best value of each objective, by name."""
        return {} if self.methods is None else {best.method.name: best for best in self.methods.best_values()}


def render_overview(
    sweep: Sweep,
    findings: Mapping[str, DatasetFinding],
    *,
    comparison: DatasetComparison,
    problems: Sequence[str],
    page_file: str,
) -> str:
    """Return the page that leads to the pages of the data sets.

    Args:
        sweep: All trials of all data sets.
        findings: By data set, what was found; a data set without a score is missing.
        comparison: The settings that were tried on several data sets.
        problems: Shown on top.
        page_file: The name of the page in the folder of each data set.
    """
    best_values = {name: finding.best_values() for name, finding in findings.items()}
    tried = {objective for values in best_values.values() for objective in values}
    portraits = [portrait for finding in findings.values() for portrait in finding.portraits]
    methods = [describe_method(finding.portraits, sweep.rank_by) for finding in findings.values()]
    rankings = [finding.methods.ranking.column for finding in findings.values() if finding.methods is not None]
    return template("overview.html").render(
        name=sweep.folder.name,
        claim=claim(sweep),
        not_compared=NOT_COMPARED,
        state=describe_state(sweep),
        problems=problems,
        label=report_column(sweep.rank_by).label if sweep.selection is None else sweep.selection.label,
        methods_label=" or ".join(dict.fromkeys(column.label for column in rankings)),
        methods_labels=labels_of_ranking(rankings[0].name if rankings else sweep.rank_by),
        ranking_labels=labels_of_ranking(sweep.rank_by),
        is_ruled=sweep.selection is not None,
        dataset_names=sweep.dataset_names,
        findings=findings,
        pages={name: f"{name}/{page_file}" for name in findings},
        best_values=best_values,
        objectives=[objective for objective in OBJECTIVES if objective in tried],
        comparison=comparison,
        counted=counted,
        provenance=provenance(sweep, portraits, " ".join(methods)),
    )


def claim(sweep: Sweep) -> str:
    """Return the title of the page."""
    return f"{counted(len(sweep.dataset_names), 'data set')}: {', '.join(sweep.dataset_names)}"
