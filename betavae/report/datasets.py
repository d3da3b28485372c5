"""The data sets of a sweep beside one another: medians, and ranks that are taken within each data set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betavae.columns import field_column
from betavae.config import TrialConfig
from betavae.data import Dataset
from betavae.parts import parameters_of, split_field
from betavae.records.trial import Trial, by_dataset
from betavae.report.findings import describe_config, varied_fields
from betavae.report.settings import Setting, median_of, quartiles_of, setting_values, settings_of


@dataclass(frozen=True)
class RankedSetting:
    """A setting on one data set.

    Attributes:
        setting: The setting, with its trials on this data set.
        rank: Its place among the settings of all data sets that are tried on each, from 1; settings of equal medians
            share a place. None if it is not tried on each, or is the only one that is.
    """

    setting: Setting
    rank: int | None

    @property
    def num_cut(self) -> int:
        """Number of trials that did not run to their end."""
        return sum(not trial.is_complete for trial in self.setting.trials)


@dataclass(frozen=True)
class SettingRow:
    """A setting, whatever its data set, on each data set.

    Attributes:
        described: The setting in words.
        entries: By label of the data set; a data set on which it has no score is missing.
    """

    described: str
    entries: Mapping[str, RankedSetting]

    @property
    def mean_rank(self) -> float | None:
        """The mean of its ranks; None if it has none."""
        ranks = [entry.rank for entry in self.entries.values() if entry.rank is not None]
        return sum(ranks) / len(ranks) if ranks else None


@dataclass(frozen=True)
class DatasetComparison:
    """The settings of a sweep that are tried on two data sets or more.

    Attributes:
        labels: The labels of the data sets.
        rows: Settings that are tried on every data set come first, the lowest mean rank first.
        num_ranked: Number of settings that have ranks.
        num_left_out: Number of settings that are tried on one data set alone.
    """

    labels: tuple[str, ...]
    rows: tuple[SettingRow, ...]
    num_ranked: int
    num_left_out: int


def compare_datasets(trials: Sequence[Trial]) -> DatasetComparison:
    """Compare settings over data sets: no score of one data set is compared with one of another.

    A data set of which different images were selected for training counts as one for each selection.

    Args:
        trials: Of the search. Those without a score are left out.
    """
    groups = _by_selection([trial for trial in trials if trial.reports])
    labels = _labels(list(groups))
    settings = {
        labels[dataset]: {_key(each.config): each for each in settings_of(groups[dataset])} for dataset in groups
    }
    keys = dict.fromkeys(key for known in settings.values() for key in known)
    everywhere = [key for key in keys if all(key in known for known in settings.values())]
    ranks = {label: _ranks([known[key] for key in everywhere]) for label, known in settings.items()}
    names = _compared_names([trial for group in groups.values() for trial in group])
    rows = []
    for key in keys:
        found = {label: known[key] for label, known in settings.items() if key in known}
        entries = {label: RankedSetting(each, ranks[label].get(each.config)) for label, each in found.items()}
        rows.append(SettingRow(describe_config(next(iter(found.values())).config, names), entries))
    shared = [row for row in rows if len(row.entries) > 1]
    return DatasetComparison(
        tuple(settings),
        tuple(sorted(shared, key=_order)),
        num_ranked=len(everywhere) if len(everywhere) > 1 else 0,
        num_left_out=len(rows) - len(shared),
    )


def setting_rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return a row for each setting of each data set, as numbers and texts by name: the best of each data set first.

    Args:
        trials: Of the search, of any data sets. Those without a score are left out.
    """
    return [
        {
            **setting_values(setting.config),
            "rank": rank,
            "seeds": setting.num_seeds,
            "trials": len(setting.trials),
            **_spread("choice", setting.scores if setting.is_rated else ()),
            **_spread(setting.trials[0].rank_by, setting.best_scores),
        }
        for group in by_dataset(trials).values()
        for rank, setting in enumerate(settings_of(group), start=1)
    ]


def _spread(name: str, scores: Sequence[float]) -> dict[str, float]:
    """Return the median and quartiles of scores by name; nothing for none."""
    if not scores:
        return {}
    first, third = quartiles_of(scores)
    return {f"{name}_median": median_of(scores), f"{name}_first_quartile": first, f"{name}_third_quartile": third}


def _by_selection(trials: Sequence[Trial]) -> dict[Dataset, list[Trial]]:
    groups: dict[Dataset, list[Trial]] = {}
    for group in by_dataset(trials).values():
        for trial in group:
            groups.setdefault(trial.config.dataset, []).append(trial)
    return groups


def _labels(datasets: Sequence[Dataset]) -> dict[Dataset, str]:
    """Return the name of each data set, with the parameters in which those of one name differ."""
    labels = {}
    for dataset in datasets:
        alike = [other.values() for other in datasets if other.name == dataset.name]
        differing = [name for name in alike[0] if len({values[name] for values in alike}) > 1]
        texts = [f"{field_column(name).label} {field_column(name).write(dataset.values()[name])}" for name in differing]
        labels[dataset] = ", ".join([dataset.name, *texts])
    return labels


def _key(config: TrialConfig) -> Hashable:
    """Return a setting without its data set."""
    owned = ("dataset", *parameters_of(type(config.dataset)))
    return tuple((name, value) for name, value in setting_values(config).items() if name not in owned)


def _compared_names(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the fields in which the settings differ, without those of the data sets."""
    owned = {"dataset", *(name for trial in trials for name in parameters_of(type(trial.config.dataset)))}
    return [name for name in varied_fields(trials) if split_field(name)[1] not in owned]


def _ranks(settings: Sequence[Setting]) -> dict[TrialConfig, int]:
    """Return the place of each setting of one data set; empty for a single one."""
    if len(settings) < 2:
        return {}
    return {each.config: 1 + sum(other.merit > each.merit for other in settings) for each in settings}


def _order(row: SettingRow) -> tuple[bool, float, int]:
    mean_rank = row.mean_rank
    return mean_rank is None, mean_rank or 0.0, -len(row.entries)
