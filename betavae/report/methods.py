"""The models of a sweep by method, such as their objective: what the models score, and each method's best value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betavae.columns import Column, field_column, order_of, report_column, tried_fields
from betavae.config import PARTS, TrialConfig
from betavae.metrics import METRICS
from betavae.metrics.total_correlation import TotalCorrelationMetric
from betavae.records.trial import Checkpoint, Trial
from betavae.report.settings import by_setting, median_of, quartiles_of
from betavae.report.variance_shares import VarianceShares, variance_shares

LOSSES = ("loss/kl_nats", "loss/recon_nats")
"""The terms that every loss has."""

MAX_LISTED = 9
"""Up to so many scores of a value are listed, each by itself."""


@dataclass(frozen=True)
class Value:
    """A value of a method's weight, or of all that varies within the method: one configuration and its seeds.

    Attributes:
        label: The value in short: `10`, or `10, 0.001` where two fields vary; empty if the method has one value.
        config: The configuration with seed 0.
        trials: One or more, by seed; each ran to its end.
    """

    label: str
    config: TrialConfig
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Method:
    """One method of several.

    Attributes:
        name: The name: `factor-vae`.
        varied: The columns of the fields that vary within the method, without the seed.
        values: One or more, from low to high.
    """

    name: str
    varied: tuple[Column, ...]
    values: tuple[Value, ...]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of all values."""
        return tuple(trial for value in self.values for trial in value.trials)

    def describe(self, value: Value) -> str:
        """Return a value in words: `gamma = 10`; empty if the method has one value."""
        described = [f"{column.label} = {column.write(value.config.value(column.name))}" for column in self.varied]
        return ", ".join(described)


@dataclass(frozen=True)
class Quantity:
    """A number of every model that is compared.

    Attributes:
        column: The name, label and format.
        numbers: By trial.
        chance: By trial, the number of codes that know nothing; only of trials whose record has it.
        is_of_best: Whether it is of the best checkpoint, as scores on request are unless a rule chose models by their
            end; if not, of the end of training.
    """

    column: Column
    numbers: Mapping[str, float]
    chance: Mapping[str, float]
    is_of_best: bool

    def of(self, trials: Iterable[Trial]) -> list[float]:
        """Return the numbers of these trials."""
        return [self.numbers[trial.trial_id] for trial in trials]


@dataclass(frozen=True)
class BestValue:
    """The value of a method that has the highest median.

    Attributes:
        method: The method.
        value: The value.
        scores: The score of each seed that ranks the methods, at the end of training; the highest first.
        medians: Medians of the other quantities over the seeds, by name.
    """

    method: Method
    value: Value
    scores: tuple[float, ...]
    medians: Mapping[str, float]

    @property
    def median(self) -> float:
        """The median of `scores`."""
        return median_of(self.scores)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of `scores`."""
        return quartiles_of(self.scores)


@dataclass(frozen=True)
class MethodComparison:
    """The models of two or more methods.

    Attributes:
        field: The field whose values are the methods: `objective`.
        methods: In the order of their table, or of their names.
        scores: The scores that every model has: the one that ranks the methods first, then those of which a higher
            value is better.
        others: The total correlation, the KL and the reconstruction, as far as every model has them.
        num_left_out: Number of trials that did not run to their end; they are not compared.
        num_stopped: Number of those that a stopping rule stopped.
    """

    field: str
    methods: tuple[Method, ...]
    scores: tuple[Quantity, ...]
    others: tuple[Quantity, ...]
    num_left_out: int
    num_stopped: int

    @property
    def ranking(self) -> Quantity:
        """The score that ranks the methods, at the end of training."""
        return self.scores[0]

    def best_values(self) -> list[BestValue]:
        """Return the best value of each method by its median, the highest median first."""
        return sorted(map(self._best_value, self.methods), key=lambda best: best.median, reverse=True)

    def shares(self) -> VarianceShares | None:
        """Return the shares of method, value and seed in the spread of the score that ranks; see `variance_shares`."""
        return variance_shares([[self.ranking.of(value.trials) for value in method.values] for method in self.methods])

    def _best_value(self, method: Method) -> BestValue:
        best = max(method.values, key=lambda value: median_of(self.ranking.of(value.trials)))
        scores = sorted(self.ranking.of(best.trials), reverse=True)
        medians = {
            quantity.column.name: median_of(quantity.of(best.trials)) for quantity in (*self.scores[1:], *self.others)
        }
        return BestValue(method, best, tuple(scores), medians)


def compare_methods(
    trials: Sequence[Trial], *, field: str = "objective", score: str | None = None
) -> MethodComparison | None:
    """Compare the models of a sweep by method, each at the end of its training.

    Args:
        trials: Those that did not run to their end are left out: fewer steps are no fair comparison.
        score: The name of the score that ranks the methods, if every model has it; else their ranking score does.
        field: The field whose values are the methods.

    Returns:
        None if fewer than two methods have a trial that ran to its end.
    """
    complete = [trial for trial in trials if trial.status == "finished"]
    names = sorted({trial.config.value(field) for trial in complete}, key=_order_in_table(field))
    if len(names) < 2:
        return None
    methods = [_method(name, [trial for trial in complete if trial.config.value(field) == name]) for name in names]
    compared = [trial for method in methods for trial in method.trials]
    return MethodComparison(
        field,
        tuple(methods),
        _scores(compared, score),
        _others(compared),
        num_left_out=len(trials) - len(complete),
        num_stopped=sum(trial.status == "stopped" for trial in trials),
    )


def best_rows(comparison: MethodComparison) -> list[dict[str, Any]]:
    """Return the rows of a table of each method's best value, as numbers and texts by name."""
    rank_by = comparison.ranking.column.name
    return [
        {
            comparison.field: best.method.name,
            "value": best.method.describe(best.value),
            "seeds": len(best.scores),
            f"{rank_by}_median": best.median,
            f"{rank_by}_first_quartile": best.quartiles[0],
            f"{rank_by}_third_quartile": best.quartiles[1],
            f"{rank_by}_each": " ".join(f"{score:.6g}" for score in best.scores),
            **{f"{name}_median": median for name, median in best.medians.items()},
        }
        for best in comparison.best_values()
    ]


def _order_in_table(field: str) -> Callable[[Any], Any]:
    """Return the sort key of a field's values: parts in the order of their table, others by value."""
    names = list(PARTS.get(field, ()))
    return names.index if names else order_of


def _method(name: Any, trials: Sequence[Trial]) -> Method:
    groups = by_setting(trials)
    columns = tuple(map(field_column, tried_fields(list(groups))))
    values = []
    for config in sorted(groups, key=lambda config: [_order(config.value(column.name)) for column in columns]):
        label = ", ".join(column.write(config.value(column.name)) for column in columns)
        values.append(Value(label, config, tuple(trial for _, trial in sorted(groups[config].items()))))
    return Method(str(name), columns, tuple(values))


def _order(value: Any) -> tuple[bool, Any]:
    """Return a sort key of a value, or of None where parts of the method do not have the field."""
    return (False, ()) if value is None else (True, order_of(value))


def _scores(trials: Sequence[Trial], score: str | None) -> tuple[Quantity, ...]:
    """Return the score that ranks the methods, then the other scores that all of these trials have."""
    rank_by = trials[0].rank_by
    at_end = [name for name in METRICS if name != rank_by and all(name in trial.reports[-1] for trial in trials)]
    on_request = [name for name in METRICS if name not in (rank_by, *at_end)]
    others = [*(_reported(name, trials) for name in at_end), *(_requested(name, trials) for name in on_request)]
    is_known = [bool(each.column.higher_is_better) and len(each.numbers) == len(trials) for each in others]
    known = (_reported(rank_by, trials), *itertools.compress(others, is_known))
    return tuple(sorted(known, key=lambda quantity: quantity.column.name != score))  # stable: the others stay in order


def _others(trials: Sequence[Trial]) -> tuple[Quantity, ...]:
    quantities = [_requested(TotalCorrelationMetric.name, trials), *(_reported(name, trials) for name in LOSSES)]
    return tuple(quantity for quantity in quantities if len(quantity.numbers) == len(trials))


def _reported(name: str, trials: Sequence[Trial]) -> Quantity:
    """Return what trials reported at the end of training."""
    numbers = {trial.trial_id: float(trial.reports[-1][name]) for trial in trials if name in trial.reports[-1]}
    chance = _chance(name, {trial.trial_id: trial.final_checkpoint for trial in trials}) if name in METRICS else {}
    return Quantity(report_column(name), numbers, chance, is_of_best=False)


def _requested(name: str, trials: Sequence[Trial]) -> Quantity:
    """Return a score that was taken on request, which is of the checkpoint that stands for the trial."""
    checkpoints = {trial.trial_id: trial.chosen_checkpoint for trial in trials}
    known = {trial_id: _scores_of(checkpoint) for trial_id, checkpoint in checkpoints.items()}
    numbers = {trial_id: scores[name].value for trial_id, scores in known.items() if name in scores}
    is_of_best = any(trial.choice is None for trial in trials)
    return Quantity(report_column(name), numbers, _chance(name, checkpoints), is_of_best=is_of_best)


def _chance(name: str, checkpoints: Mapping[str, Checkpoint | None]) -> dict[str, float]:
    chances = {trial_id: _chance_of(name, checkpoint) for trial_id, checkpoint in checkpoints.items()}
    return {trial_id: chance for trial_id, chance in chances.items() if chance is not None}


def _chance_of(name: str, checkpoint: Checkpoint | None) -> float | None:
    scores = _scores_of(checkpoint)
    return scores[name].chance if name in scores else None


def _scores_of(checkpoint: Checkpoint | None) -> Mapping[str, Any]:
    return {} if checkpoint is None else checkpoint.scores.by_name
