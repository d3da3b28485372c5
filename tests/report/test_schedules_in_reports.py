"""A report of a sweep in which some trials have schedules in place of numbers."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from sweep_folders import MakeSweep

from betavae.columns import field_column, report_column
from betavae.data import DSprites
from betavae.records.sweep import Sweep, read_sweep
from betavae.report import plots
from betavae.report.export import export_best
from betavae.report.field_axis import FieldAxis, TrialColors
from betavae.report.write import write_report

RELAXING, ANNEALED = "12@0,12@50,4@70", "2@0,4@200"
TRIALS: dict[str, dict[str, Any]] = {
    "a": {"migs": [0.2, 0.5], "beta": RELAXING},
    "b": {"migs": [0.4], "beta": 12.0, "seed": 1},
    "c": {"migs": [0.3], "beta": 4.0, "seed": 2},
    "d": {"migs": [0.2], "beta": ANNEALED, "lr": "0.001@0,0.0001@200"},
    "e": {"migs": [0.1], "beta": RELAXING, "seed": 3},
}


@pytest.fixture
def folder(make_sweep: MakeSweep) -> Path:
    return make_sweep(TRIALS, outcome="done")


@pytest.fixture
def sweep(folder: Path) -> Sweep:
    return read_sweep(folder)


def test_a_page_names_the_schedules_in_its_table_and_its_finding(folder: Path, small_data: DSprites) -> None:
    report = write_report(
        read_sweep(folder), folder / "report", data={"dsprites": small_data}, num_best=1, importances={}
    )
    page = Path(report.page).read_text()
    assert f"beta = {RELAXING}" in page
    assert f'<td class="text">{ANNEALED}</td>' in page
    with (folder / "report" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["beta"] for row in rows] == [RELAXING, "12.0", "4.0", ANNEALED, RELAXING]
    assert rows[0]["beta_norm"] == rows[2]["beta_norm"]  # both end at 4


@pytest.mark.browser
def test_a_schedule_longer_than_a_phones_line_breaks(
    browser: Chrome, make_sweep: MakeSweep, small_data: DSprites
) -> None:
    long = ",".join(f"{12 - place}@{place * 11}" for place in range(9))
    folder = make_sweep({"a": {"migs": [0.2, 0.5], "beta": long}}, outcome="done")
    report = write_report(
        read_sweep(folder), folder / "report", data={"dsprites": small_data}, num_best=1, importances={}
    )
    browser.get(Path(report.page).as_uri())
    window = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    assert long in browser.find_element("css selector", "h1").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_values_of_a_field_with_schedules_are_categories_numbers_first(sweep: Sweep) -> None:
    axis = FieldAxis.of("beta", sweep.trials)
    assert (axis.values, axis.is_category, axis.is_log) == ((4.0, 12.0, ANNEALED, RELAXING), True, False)
    assert axis.places([RELAXING, 4.0, None]).tolist()[:2] == [3.0, 0.0]
    assert TrialColors.of(sweep.trials).axis is None


@pytest.mark.parametrize("name", ["beta", "lr"])
def test_figures_draw_them(name: str, sweep: Sweep) -> None:
    axes = plots.score_against(name, sweep, ceiling=0.9).axes[0]
    axis = FieldAxis.of(name, sweep.trials)
    labels = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
    assert labels == [axis.column.write(value) for value in axis.values]
    plots.parallel_coordinates(sweep, ["beta", "lr"], num_marked=1)


def test_learning_curves_draw_the_weights_that_trials_report(sweep: Sweep) -> None:
    first, *others = sweep.trials
    reports = tuple(report | {"weight/beta": value} for report, value in zip(first.reports, (12.0, 4.0), strict=True))
    curves = plots.learning_curves(replace(sweep, trials=(replace(first, reports=reports), *others)), ceiling=0.9)
    axes = curves.axes[-1]
    assert axes.get_ylabel() == "beta"
    assert axes.lines[0].get_ydata().tolist() == [12.0, 4.0]


def test_the_card_of_an_exported_model_has_the_schedule_of_its_rate(
    make_sweep: MakeSweep, small_data: DSprites, tmp_path: Path
) -> None:
    folder = make_sweep({"d": TRIALS["d"]}, outcome="done")
    write_report(read_sweep(folder), folder / "report", data={"dsprites": small_data}, num_best=1, importances={})
    export_best(read_sweep(folder), tmp_path / "model", data={"dsprites": small_data})
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"beta {ANNEALED}" in card
    assert "lr 0.001@0,0.0001@200" in card


def test_a_column_writes_numbers_and_schedules() -> None:
    column = field_column("beta")
    assert [column.write(value) for value in (4.0, RELAXING, None)] == ["4", RELAXING, "-"]
    weight = report_column("weight/beta")
    assert (weight.name, weight.label, weight.write(8.5)) == ("weight/beta", "beta", "8.5")
