"""The table of models by scores, and whether scores agree on the order of models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sweep_folders import chosen

from betavae.metrics import METRICS, Score
from betavae.records.checkpoint import add_scores
from betavae.records.sweep import read_sweep
from betavae.report.score_table import (
    agreement,
    describe_agreement,
    least_significant,
    rank_correlations,
    score_columns,
    scored_models,
)
from betavae.report.table import page_columns, table_rows
from betavae.report.write import write_report

IRS_VALUES = (0.3, 0.1, 0.5, 0.4, 0.2)


def score(value: float, *, chance: float | None = 0.25, **details: float) -> Score:
    return Score(value=value, estimator="somehow", num_rows=10, rows="some", chance=chance, details=details)


def irs(value: float) -> Score:
    details = {"robustness_by_latent": [0.1] * 3, "largest_deviation_by_latent": [0.1] * 3, "robustness": [[0.1]] * 3}
    return replace(score(value), details=details)


@pytest.fixture
def scored(make_sweep) -> Path:
    """Five trials; the IRS of all, and the total correlation of the best two."""
    folder: Path = make_sweep({name: {"migs": [0.5 - 0.1 * i]} for i, name in enumerate("abcde")})
    for place, (name, value) in enumerate(zip("abcde", IRS_VALUES, strict=True)):
        added = {"irs": irs(value)} | (
            {"total_correlation": score(1.0, chance=None, num_latents=3)} if place < 2 else {}
        )
        add_scores(folder / "search" / f"trial_{name}" / "checkpoint_000000", added)
    return folder


def test_models_have_their_scores_and_chance_levels(scored: Path) -> None:
    models = scored_models(read_sweep(scored))
    assert [model.trial.trial_id for model in models] == list("abcde")
    assert [model.cells["irs"].value for model in models] == list(IRS_VALUES)
    assert models[0].cells["irs"].chance == 0.25
    assert models[0].cells["total_correlation"].chance is None
    assert "total_correlation" not in models[2].cells
    names = [column.name for column in score_columns(models)]
    assert names == ["mig", "mig_quantile", "active_units", "irs", "total_correlation"]


def test_a_score_that_each_final_model_has_makes_no_table(scored: Path) -> None:
    """Fails if it makes one of the models whose best score was seen before their end."""
    sweep = read_sweep(scored)
    trials = [
        replace(
            trial, reports=(trial.reports[0] | {"mig": 0.9}, trial.reports[0] | {"step": 200, "irs": 0.1}), choice=0.1
        )
        for trial in sweep.trials
    ]
    models = scored_models(replace(sweep, trials=tuple(trials)))
    assert {model.trial.trial_id for model in models} == {"a", "b"}  # of which the total correlation was asked for


def test_models_without_a_score_on_request_are_no_rows(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}, "b": {"migs": [0.4]}})
    assert scored_models(read_sweep(folder)) == []
    add_scores(folder / "search" / "trial_b" / "checkpoint_000000", {"irs": irs(0.3)})
    assert [model.trial.trial_id for model in scored_models(read_sweep(folder))] == ["b"]


def test_companions_have_columns_and_chance_levels_of_their_own(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})
    by_factor = {"shape": 0.5}
    details = {
        "disentanglement": 0.3,
        "completeness": 0.4,
        "informativeness": 0.6,
        "chance_of_completeness": 0.01,
        "chance_of_informativeness": 0.2,
        "disentanglement_by_latent": [0.1] * 3,
        "completeness_by_factor": by_factor,
        "informativeness_by_factor": by_factor,
        "importance": [[0.1]] * 3,
    }
    add_scores(folder / "search" / "trial_a" / "checkpoint_000000", {"dci": replace(score(0.3), details=details)})
    models = scored_models(read_sweep(folder))
    columns = {column.name: column.label for column in score_columns(models)}
    assert list(columns)[-3:] == ["dci", "dci/completeness", "dci/informativeness"]
    assert columns["dci/informativeness"] == "DCI informativeness"
    assert models[0].cells["dci/informativeness"].value == 0.6
    assert models[0].cells["dci/informativeness"].chance == 0.2


def test_companions_are_details_of_their_metric() -> None:
    with_companions = {name: metric.companions for name, metric in METRICS.items() if metric.companions}
    assert with_companions.keys() == {"dci", "infomec"}


def test_agreement_is_over_the_models_that_have_all_scores(scored: Path) -> None:
    agreed = agreement(scored_models(read_sweep(scored)))
    assert agreed is not None
    assert [column.name for column in agreed.columns] == ["mig", "mig_quantile", "irs"]  # few have the others
    assert agreed.num_models == 5
    place = [column.name for column in agreed.columns].index("irs")
    assert agreed.correlations[0, place] == pytest.approx(spearmanr([5, 4, 3, 2, 1], IRS_VALUES).statistic)
    assert "each at the end of its training" in describe_agreement(agreed, is_ruled=True)
    text = describe_agreement(agreed, is_ruled=False)
    assert "each trial's best" in text
    assert "over 5 models" in text
    assert "if its size is at least 1.00" in text


def test_four_models_are_too_few_to_agree(make_sweep) -> None:
    folder = make_sweep({name: {"migs": [0.5 - 0.1 * i]} for i, name in enumerate("abcd")})
    for name, value in zip("abcd", IRS_VALUES, strict=False):
        add_scores(folder / "search" / f"trial_{name}" / "checkpoint_000000", {"irs": irs(value)})
    assert agreement(scored_models(read_sweep(folder))) is None


def test_rank_correlations_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 6, (9, 4)).astype(float)  # with ties
    np.testing.assert_allclose(rank_correlations(values), spearmanr(values).statistic, atol=1e-12)
    constant = np.column_stack([values, np.ones(9)])
    assert np.isnan(rank_correlations(constant)[-1]).all()
    assert not np.isnan(rank_correlations(constant)[:-1, :-1]).any()


@pytest.mark.parametrize(
    ("num_models", "expected"),
    # Zar 1984, table B.20, two-sided 0.05; sampled from 9 models on, to about 0.02
    [(3, None), (4, None), (5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738), (10, 0.648), (16, 0.503), (30, 0.362)],
)
def test_the_least_correlation_that_is_no_accident(num_models: int, expected: float | None) -> None:
    least = least_significant(num_models)
    if expected is None:
        assert least is None
    else:
        assert least == pytest.approx(expected, abs=5e-4 if num_models <= 8 else 0.02)


def test_the_page_shows_the_table_and_the_agreement(scored: Path, small_data) -> None:
    write_report(read_sweep(scored), scored / "report", data={"dsprites": small_data}, num_best=1, importances={})
    page = (scored / "report" / "index.html").read_text()
    assert '<section id="scores">' in page
    assert "Do the scores agree?" in page
    assert (scored / "report" / "figures" / "score_agreement.png").exists()
    assert '<span class="chance">0.2500</span>' in page


def test_the_ranking_leaves_scores_on_request_to_the_table_of_scores(scored: Path) -> None:
    sweep = read_sweep(scored)
    rows = table_rows(sweep)
    assert rows[0]["irs"] == IRS_VALUES[0]  # in trials.csv
    assert "irs" not in [column.name for column in page_columns(sweep, rows)]


def test_the_ranking_shows_what_the_report_of_a_chosen_model_has(make_sweep) -> None:
    """The table of scores leaves it out. Fails if the columns are those of the best report, which is not the last."""
    folder = make_sweep({"a": {"migs": [0.5, 0.4], "exact": 0.3}})
    path = folder / "search" / "trial_a" / "result.json"
    best, last = path.read_text().splitlines()
    path.write_text(f"{best}\n{json.dumps(json.loads(last) | {'irs': 0.6})}\n")
    sweep = read_sweep(folder)
    assert "irs" not in [column.name for column in page_columns(sweep, table_rows(sweep))]
    assert "irs" in [column.name for column in page_columns(chosen(sweep), table_rows(chosen(sweep)))]
