"""The report of a sweep with several data sets."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from toy_parts import Blocks, BlocksDataset

from betavae.config import TrialConfig
from betavae.data import Dataset, DSprites, DSpritesDataset
from betavae.errors import InputError
from betavae.objectives import BetaVAE
from betavae.records.checkpoint import CheckpointError
from betavae.records.sweep import read_sweep
from betavae.records.trial import Trial
from betavae.report.datasets import compare_datasets, setting_rows
from betavae.report.export import export_best
from betavae.report.write import Report, write_report

SPRITES, BLOCKS = DSpritesDataset(), BlocksDataset()


@dataclass(frozen=True, kw_only=True)
class MoreDataset(BlocksDataset):
    name = "more"


def trial(
    index: int, dataset: Dataset, mig: float, *, beta: float = 4.0, seed: int = 0, step: int = 100, **values: Any
) -> Trial:
    defaults = {"objective": BetaVAE(beta=float(beta)), "steps": 100, "eval_every": 50, "seed": seed}
    config = TrialConfig(dataset=dataset, **(defaults | values))
    report = {"step": step, "mig": mig, "loss/recon_nats": 1.0, "loss/kl_nats": 1.0}
    return Trial(f"{index:04}", index, Path("search"), config, (report,))


def grid(datasets: Sequence[Dataset], migs: Sequence[Sequence[float]]) -> list[Trial]:
    """Settings of beta 1, 2, 3 ... on each data set, one seed each."""
    scores = [
        (dataset, beta, mig) for dataset, row in zip(datasets, migs, strict=True) for beta, mig in enumerate(row, 1)
    ]
    return [trial(index, dataset, mig, beta=beta) for index, (dataset, beta, mig) in enumerate(scores)]


def test_ranks_are_taken_within_a_data_set_and_averaged() -> None:
    """Fails if scores are averaged: beta 2, high on blocks alone, would be first."""
    comparison = compare_datasets(grid((SPRITES, BLOCKS), ((0.3, 0.1, 0.2), (0.8, 0.95, 0.7))))
    assert comparison.labels == ("dsprites", "blocks")
    assert (comparison.num_ranked, comparison.num_left_out) == (3, 0)
    found = {row.described: ([entry.rank for entry in row.entries.values()], row.mean_rank) for row in comparison.rows}
    assert found == {"beta = 1": ([1, 2], 1.5), "beta = 2": ([3, 1], 2.0), "beta = 3": ([2, 3], 2.5)}
    assert list(found) == ["beta = 1", "beta = 2", "beta = 3"]


def test_a_setting_has_the_median_of_its_seeds_and_its_stopped_trials() -> None:
    trials = [
        *(trial(seed, SPRITES, mig, seed=seed) for seed, mig in enumerate((0.1, 0.2, 0.6))),
        trial(3, BLOCKS, 0.5, step=50),
    ]
    (row,) = compare_datasets(trials).rows
    sprites, blocks = row.entries.values()
    assert (sprites.setting.median, sprites.setting.num_seeds, sprites.num_cut) == (0.2, 3, 0)
    assert (blocks.setting.median, blocks.num_cut) == (0.5, 1)
    assert row.mean_rank is None  # first of one says nothing


def test_equal_medians_share_a_place() -> None:
    comparison = compare_datasets(grid((SPRITES, BLOCKS), ((0.0, 0.0, 0.0), (0.1, 0.3, 0.3))))
    ranks = {row.described: [entry.rank for entry in row.entries.values()] for row in comparison.rows}
    assert ranks == {"beta = 1": [1, 3], "beta = 2": [1, 1], "beta = 3": [1, 1]}


def test_a_setting_that_a_data_set_lacks_has_no_rank() -> None:
    """Only settings that are everywhere are ranked against one another; one of one data set is not shown."""
    third = MoreDataset()
    trials = grid((SPRITES, BLOCKS, third), ((0.1, 0.9, 0.2), (0.1, 0.9, 0.2), (0.1,))) + [trial(9, third, 0.5, beta=9)]
    comparison = compare_datasets(trials)
    assert [row.described for row in comparison.rows] == ["beta = 1", "beta = 2", "beta = 3"]
    assert all(row.mean_rank is None for row in comparison.rows)  # a single setting is everywhere
    assert (comparison.num_ranked, comparison.num_left_out) == (0, 1)


def test_images_selected_for_training_are_a_data_set_of_their_own() -> None:
    """Fails if the images count as the setting's: no setting would be on both data sets."""
    datasets = (DSpritesDataset(images=100), DSpritesDataset(images=200), BLOCKS)
    comparison = compare_datasets(grid(datasets, ((0.1, 0.2), (0.4, 0.3), (0.5, 0.6))))
    assert comparison.labels == ("dsprites, images 100", "dsprites, images 200", "blocks")
    ranks = {row.described: [entry.rank for entry in row.entries.values()] for row in comparison.rows}
    assert ranks == {"beta = 2": [1, 2, 1], "beta = 1": [2, 1, 2]}


def test_the_rule_that_chose_orders_the_settings() -> None:
    trials = grid((SPRITES, BLOCKS), ((0.1, 0.9), (0.1, 0.9)))
    rated = [replace(each, choice=1.0 - each.score) for each in trials]
    assert [row.described for row in compare_datasets(rated).rows] == ["beta = 1", "beta = 2"]


def test_the_rows_of_all_settings_have_their_rank_within_their_data_set() -> None:
    rows = setting_rows(grid((SPRITES, BLOCKS), ((0.1, 0.2), (0.9, 0.8))))
    assert [(row["dataset"], row["beta"], row["rank"], row["seeds"], row["mig_median"]) for row in rows] == [
        ("dsprites", 2.0, 1, 1, 0.2),
        ("dsprites", 1.0, 2, 1, 0.1),
        ("blocks", 1.0, 1, 1, 0.9),
        ("blocks", 2.0, 2, 1, 0.8),
    ]


@pytest.fixture
def without_models(two_datasets: Path) -> Path:
    """A sweep over two data sets without a model to look at: its report takes seconds."""
    for path in two_datasets.glob("*/*/*/model.safetensors"):
        path.unlink()
    return two_datasets


def written(folder: Path, data: DSprites, blocks: Blocks) -> Report:
    sweep = read_sweep(folder)
    return write_report(
        sweep,
        folder / "report",
        data={"dsprites": data, "blocks": blocks},
        num_best=1,
        importances={},
        problems=["Lo."],
    )


def test_each_data_set_has_a_report_and_one_page_leads_to_them(
    without_models: Path, small_data: DSprites, blocks: Blocks
) -> None:
    report = written(without_models, small_data, blocks)
    folder = without_models / "report"
    assert report.page == str(folder / "index.html")
    assert report.problems[0] == "Lo."
    assert sum(" is not shown: " in problem for problem in report.problems) == 8
    names = {"index.html", "summary.json", "trials.csv"}
    assert {path.name for path in folder.iterdir()} == {*names, "datasets.csv", "dsprites", "blocks"}
    for name, claim in (
        ("dsprites", "beta = 8 has a median MIG of 0.150"),
        ("blocks", "beta = 4 has a median MIG of 0.650"),
    ):
        assert {path.name for path in (folder / name).iterdir()} >= {*names, "figures"}
        page = (folder / name / "index.html").read_text()
        assert f"<h1>{claim}" in page
        assert '<a href="../index.html">All 2 data sets</a>' in page
        summary = json.loads((folder / name / "summary.json").read_text())
        assert {row["dataset"] for row in summary["trials"]} == {name}
    page = (folder / "index.html").read_text()
    assert "beta = 8 has a median MIG of 0.150" in page
    assert "beta = 4 has a median MIG of 0.650" in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)|url\(([^)]+)\)""", page)
    linked = {"".join(address) for address in addresses if not "".join(address).startswith(("data:", "#"))}
    assert linked == {"dsprites/index.html", "blocks/index.html"}


def test_the_files_of_all_hold_every_trial(without_models: Path, small_data: DSprites, blocks: Blocks) -> None:
    """Factors are columns of one data set alone; ranks start anew with each data set."""
    written(without_models, small_data, blocks)
    with (without_models / "report" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["dataset"], row["rank"], row["trial"]) for row in rows] == [
        *(("dsprites", rank, name) for rank, name in zip("1234", ("0003", "0002", "0001", "0000"), strict=True)),
        *(("blocks", rank, name) for rank, name in zip("1234", ("0005", "0004", "0007", "0006"), strict=True)),
    ]
    assert [bool(row["mig/posX"]) for row in rows] == [True] * 4 + [False] * 4
    assert [bool(row["mig/hue"]) for row in rows] == [False] * 4 + [True] * 4
    summary = json.loads((without_models / "report" / "summary.json").read_text())
    assert [row["trial"] for row in summary["trials"]] == [row["trial"] for row in rows]
    assert {name: part["confirmed"][0]["median"] for name, part in summary["datasets"].items()} == {
        "dsprites": 0.15,
        "blocks": 0.65,
    }
    with (without_models / "report" / "datasets.csv").open() as file:
        assert [row["beta"] for row in csv.DictReader(file)] == ["8.0", "4.0", "4.0", "8.0"]


def test_a_data_set_without_a_score_has_no_report_yet(
    without_models: Path, small_data: DSprites, blocks: Blocks
) -> None:
    """A sweep that runs: no trial of blocks has reported."""
    for path in without_models.glob("search/trial_000[4-7]/*"):
        if path.name == "result.json":
            path.unlink()
        elif path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    written(without_models, small_data, blocks)
    folder = without_models / "report"
    assert not (folder / "blocks").exists()
    assert "No trial has a score yet." in (folder / "index.html").read_text()
    assert "No setting has a score on two data sets." in (folder / "index.html").read_text()
    with (folder / "trials.csv").open() as file:
        assert [row["rank"] for row in csv.DictReader(file)] == [*"1234", "", "", "", ""]


def test_objectives_are_compared_in_a_column_of_each_data_set(make_sweep, blocks: Blocks, small_data: DSprites) -> None:
    """A third objective was tried on one data set alone."""
    tried = [
        *(("dsprites", "beta-vae", {"beta": beta}, mig) for beta, mig in ((4.0, 0.1), (8.0, 0.2))),
        ("dsprites", "beta-tcvae", {"beta": 4.0}, 0.3),
        ("dsprites", "factor-vae", {"gamma": 10.0}, 0.25),
        ("blocks", "beta-vae", {"beta": 4.0}, 0.9),
        ("blocks", "beta-tcvae", {"beta": 4.0}, 0.8),
    ]
    folder = make_sweep(
        {
            f"{index:04}": {"dataset": dataset, "objective": objective, "migs": [0.01, mig]} | weights
            for index, (dataset, objective, weights, mig) in enumerate(tried)
        }
    )
    for path in folder.glob("*/*/*/model.safetensors"):
        path.unlink()
    written(folder, small_data, blocks)
    page = (folder / "report" / "index.html").read_text()
    table = page.partition('id="objectives-by-data-set"')[2].partition("</table>")[0]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table, re.DOTALL)
    cells = {name: re.findall(r'data-value="([\d.]+)"|<td></td>', row) for name, row in rows}
    assert cells == {"beta-vae": ["0.2", "0.9"], "beta-tcvae": ["0.3", "0.8"], "factor-vae": ["0.25", ""]}
    assert "1 seed, beta = 8" in table
    settings = page.partition('id="settings-by-data-set"')[2].partition("</table>")[0]
    assert "objective = beta-vae, beta of beta-vae = 4" in settings or "objective = beta-vae, beta = 4" in settings
    assert "2 settings of one data set alone are left out here." in page


def test_the_best_model_of_each_data_set_is_exported(
    two_datasets: Path, tmp_path: Path, small_data: DSprites, blocks: Blocks
) -> None:
    sweep = read_sweep(two_datasets)
    cards = export_best(sweep, tmp_path / "models", data={"dsprites": small_data, "blocks": blocks}).cards
    assert cards == tuple(tmp_path / "models" / name / "README.md" for name in ("dsprites", "blocks"))
    (sprites, blocks_card) = (card.read_text() for card in cards)
    assert "beta 8" in sprites
    assert "the best of 4 trials" in sprites
    assert "beta 4" in blocks_card
    assert "3 channels" in blocks_card
    with pytest.raises(InputError, match="must hold blocks, of the best trial, but hold dsprites"):
        export_best(sweep, tmp_path / "others", data={"dsprites": small_data})
    (two_datasets / "search" / "trial_0005" / "checkpoint_000001" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        export_best(sweep, tmp_path / "others", data={"dsprites": small_data, "blocks": blocks})
    assert not (tmp_path / "others").exists()


@pytest.mark.browser
def test_the_page_of_all_fits_a_phone_and_sorts(
    browser: Chrome, without_models: Path, small_data: DSprites, blocks: Blocks
) -> None:
    browser.get((Path(written(without_models, small_data, blocks).page)).as_uri())
    for width in (390, 1200):
        window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    headers = browser.find_elements("css selector", "#settings-by-data-set th")
    assert [header.text.split("\n")[0].rstrip(" ↕") for header in headers] == [
        "setting",
        "mean rank",
        "dsprites",
        "blocks",
    ]
    headers[3].click()
    rows = browser.find_elements("css selector", "#settings-by-data-set tbody tr")
    assert [row.text.split("\n")[0][:8] for row in rows] == ["beta = 4", "beta = 8"]
