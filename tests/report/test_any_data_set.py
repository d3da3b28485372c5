"""Reports of a data set, of an objective and of fields that the report was not written for."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image
from toy_parts import BLOCKS, BLOCKS_FINGERPRINT, Blocks

from betavae.config import TrialConfig
from betavae.metrics import Score, Scores
from betavae.records.checkpoint import load_model
from betavae.records.sweep import Sweep, read_sweep
from betavae.report import comparison_plots, latent_traversal, model_plots, plots
from betavae.report.export import export_best
from betavae.report.field_axis import FieldAxis, TrialColors, compared_axes
from betavae.report.findings import describe_config
from betavae.report.palette import FACTOR_COLORS, METHOD_COLORS, MUTED
from betavae.report.pictures import information_pixels
from betavae.report.portrait import Portrait, latents_by_kl, portray
from betavae.report.table import page_columns, page_rows, table_rows
from betavae.report.write import write_report

TRIALS = {
    "a": {"score": 0.5, "objective": "free-bits", "free_nats": 0.0, "lr": 1e-3},
    "b": {"score": 0.4, "objective": "free-bits", "free_nats": 8.0, "anneal": True, "lr": 1e-3},
    "c": {"score": 0.3, "objective": "beta-vae", "beta": 4.0, "lr": 1e-4},
    "d": {"score": 0.2, "objective": "beta-vae", "beta": 4.0, "lr": 1e-4, "seed": 1},
}


@pytest.fixture
def sweep(make_blocks_sweep) -> Sweep:
    return read_sweep(make_blocks_sweep(TRIALS))


@pytest.fixture
def portrait(sweep: Sweep) -> Portrait:
    trial = sweep.trials[0]
    assert trial.best_checkpoint is not None
    return portray(trial, trial.best_checkpoint, title="best", data=Blocks(), device="cpu")


def test_the_page_is_written_and_shows_colours(sweep: Sweep) -> None:
    report = write_report(sweep, sweep.folder / "report", data={"blocks": Blocks()}, num_best=1, importances={})
    output = Path(report.page).parent
    page = Path(report.page).read_text()
    assert not [problem for problem in report.problems if "not shown" in problem]
    assert "objective = free-bits" in page
    assert "KL there costs more" in page or "Posterior collapse" in page or "latents are active" in page
    pixels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(address))))
        for address in re.findall(r'class="pixels" src="data:image/png;base64,([^"]+)"', page)
    ]
    assert len(pixels) == 3
    assert all(array.shape == (128, 512, 3) for array in pixels)
    assert (pixels[0][..., 0] != pixels[0][..., 1]).any()
    with Image.open(output / "models" / "best_a" / "traversal.gif") as movie:
        assert movie.n_frames > 1
    figures = {path.stem for path in (output / "figures").glob("*.png")}
    assert figures == {
        "methods", "methods_losses", "mig_against_free-bits_free_nats", "mig_against_free-bits_anneal",
        "mig_against_lr", "parallel_coordinates", "learning_curves", "factors",
    }  # fmt: skip
    with (output / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mig/hue"] != "" for row in rows] == [True] * 4
    assert [(row["beta"], row["free_nats"]) for row in rows] == [("", "0.0"), ("", "8.0"), ("4.0", ""), ("4.0", "")]
    assert json.loads((output / "summary.json").read_text())["models"][0]["rotation"] is None


def test_the_page_has_a_column_for_every_field_and_factor(sweep: Sweep) -> None:
    """Of one objective; the parameters of several are in one column, since most rows have no value of each."""
    one = replace(sweep, trials=sweep.trials[2:])
    names = {column.name for column in page_columns(one, page_rows(one, table_rows(one)))}
    assert {"beta", "lr", "latent_size", "mig", "mig_quantile", "beta_norm"} <= names
    assert {"mig/hue", "mig/size", "mig/corner", "loss/extra"} <= names
    assert not {"mig_quantile/hue", "dataset", "images_per_second", "objective"} & names
    rows = page_rows(sweep, table_rows(sweep))
    columns = [column.name for column in page_columns(sweep, rows)]
    assert columns[columns.index("objective") + 1] == "objective parameters"
    assert not {"free_nats", "anneal", "beta", "beta_norm"} & set(columns)
    assert {"lr", "loss/extra"} <= set(columns)
    described = [(row["objective"], row["objective parameters"]) for row in rows]
    assert described[:3] == [
        ("free-bits", "free nats 0, anneal False"), ("free-bits", "free nats 8, anneal True"), ("beta-vae", "beta 4"),
    ]  # fmt: skip


def test_a_loss_that_one_objective_has_is_no_column_of_several(sweep: Sweep) -> None:
    first, *others = sweep.trials
    more = replace(first, reports=tuple(report | {"loss/capacity_nats": 5.0} for report in first.reports))
    for trials, is_shown in (((more, *others), False), ((more,), True)):
        part = replace(sweep, trials=trials)
        names = [column.name for column in page_columns(part, page_rows(part, table_rows(part)))]
        assert ("loss/capacity_nats" in names) == is_shown


def test_there_is_no_map_and_one_line_where_the_factors_have_neither(portrait: Portrait) -> None:
    assert (portrait.position_codes, portrait.rotation) == (None, None)
    figure = model_plots.code_figure(portrait)
    assert [axes.get_title() for axes in figure.axes] == ["hue", "size", "corner"]
    assert not figure.legends
    hue = figure.axes[0]
    curves = [line for line in hue.lines if len(line.get_xydata()) == 6]
    assert len(curves) == len([latent for latent in portrait.latents if latent.is_active] or portrait.latents)
    codes = portrait.mean_codes["hue"]
    assert codes.shape == (1, 6, 4)
    np.testing.assert_allclose(curves[0].get_ydata() + 3.0, codes[0, :, portrait.latents[0].index], atol=1e-12)
    (corners,) = {line.get_linestyle() for line in figure.axes[2].lines if len(line.get_xydata()) == 4}
    assert corners == "None"  # they have no order to draw a line along


def test_factors_have_colours_by_their_place(portrait: Portrait) -> None:
    axes = comparison_plots.factor_bars([portrait]).axes[0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == list(FACTOR_COLORS[:3])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(BLOCKS.names)


def test_traversals_and_reconstructions_are_in_colour(portrait: Portrait) -> None:
    traversal, pairs = portrait.samples.traversal, portrait.samples
    shown = model_plots.traversal_figure(portrait).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[:64, :64], traversal[portrait.latents[0].index, 0])
    shown = model_plots.reconstructions_figure(portrait).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[64:, :64], pairs.reconstructions[0])
    np.testing.assert_array_equal(shown[:64, 64:128], pairs.originals[1])
    assert shown.shape == (128, 512, 3)


def test_a_traversal_of_a_given_image_is_in_colour(portrait: Portrait) -> None:
    model = load_model(portrait.checkpoint)
    image = Blocks().images([20])[0]
    picture = latent_traversal(model, dim=1, image=image, num_columns=3).axes[0].images[0].get_array()
    assert picture.shape == (64, 64, 3)
    with torch.no_grad():
        code = model.encode(image[None]).mean.clone()
        code[0, 1] = -3.0
        expected = model.decode(code).sigmoid()[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(picture, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"image must have shape \(3, 64, 64\), but got \(64, 64\)"):
        latent_traversal(model, image=np.zeros((64, 64)))


@pytest.mark.parametrize("num_factors", [1, 12])
def test_information_pixels_take_any_factors(num_factors: int) -> None:
    """A running sweep draws them at each report. Fails if a factor needs a colour or a name that is known."""
    names = [f"factor {k}" for k in range(num_factors)]
    score = Score(
        value=0.5,
        by_factor=dict.fromkeys(names, 0.5),
        details={
            "matched_latents": dict.fromkeys(names, 1),
            "entropies_nats": dict.fromkeys(names, 1.0),
            "mutual_information_nats": [[0.1] * num_factors, [0.6] * num_factors],
        },
        estimator="by hand",
        num_rows=1,
        rows="none",
    )
    scores = Scores({"mig": score}, (1.0, 2.0), "drawn", BLOCKS_FINGERPRINT)
    latents = latents_by_kl(scores)
    pixels = information_pixels(scores, latents)
    assert (pixels.shape[0], pixels.shape[2], latents[0].index) == (30 * 3, 3, 1)
    frame = tuple(bytes.fromhex(FACTOR_COLORS[(num_factors - 1) % 7][1:]))
    left = 88 + 76 * (num_factors - 1)
    assert tuple(pixels[30 + 2, left + 2]) == frame


def test_a_category_has_an_axis(sweep: Sweep) -> None:
    figure = plots.score_against("objective", sweep, ceiling=None)
    axes = figure.axes[0]
    points = np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections if len(marks.get_offsets())])
    assert {tuple(point) for point in points.tolist()} == {(1.0, 0.5), (1.0, 0.4), (0.0, 0.3), (0.0, 0.2)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["beta-vae", "free-bits"]
    bars = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "_"]
    assert bars == [[[0.0, pytest.approx(0.25)]]]


def test_a_switch_is_a_category_and_few_batch_sizes_are_numbers(make_blocks_sweep) -> None:
    trials = read_sweep(
        make_blocks_sweep({"a": {"score": 0.1, "batch_size": 16}, "b": {"score": 0.2, "batch_size": 64}})
    ).trials
    sizes = FieldAxis.of("batch_size", trials)
    assert (sizes.is_category, sizes.is_log, sizes.values) == (False, True, (16, 64))
    np.testing.assert_allclose(sizes.shares([16, 32, 64, None]), [0, 0.5, 1, np.nan])


def test_trials_without_a_field_are_left_out_and_counted(sweep: Sweep) -> None:
    axes = plots.score_against("free_nats", sweep, ceiling=None).axes[0]
    points = np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections if len(marks.get_offsets())])
    assert {tuple(point) for point in points.tolist()} == {(0.0, 0.5), (8.0, 0.4)}
    assert axes.get_xlabel() == "free nats\n(2 of 4 trials have none)"
    assert axes.get_xscale() == "linear"


def test_lines_pass_below_an_axis_that_their_trial_does_not_have(sweep: Sweep) -> None:
    names = [axis.column.name for axis in compared_axes(sweep.trials)]
    assert names == ["objective", "free-bits.free_nats", "free-bits.anneal", "lr"]  # beta has one value alone
    axes = plots.parallel_coordinates(sweep, names, num_marked=1).axes[0]
    lines = {tuple(np.round(line.get_ydata(), 6)) for line in axes.lines if len(line.get_ydata()) == 5}
    lowest = (0, -0.14, -0.14, 0, 0.4)
    assert lines == {(1, 0, 0, 1, 1), (0.7, 1, 1, 0.7, 0.8), (0.3, -0.14, -0.14, 0.3, 0.6), lowest}
    assert axes.get_ylim()[0] < -0.14
    assert sum(text.get_text() == "none" for text in axes.texts) == 2


def test_colours_are_of_the_objective_where_there_are_several(sweep: Sweep) -> None:
    colors = TrialColors.of(sweep.trials)
    assert colors.label == "objective"
    first, second, third, fourth = (to_hex(color).upper() for color in colors.colors(sweep.trials))
    assert first == second != third == fourth == METHOD_COLORS[0]
    alone = TrialColors.of(sweep.trials[:2])
    assert (alone.methods, alone.label) == ({}, "free nats")
    assert TrialColors.of(sweep.trials[2:]).axis is None  # they differ in the seed alone


def test_a_trial_without_the_number_of_the_colours_is_grey(sweep: Sweep) -> None:
    colors = TrialColors(FieldAxis.of("free_nats", sweep.trials))
    first, second, third, _ = (to_hex(color) for color in colors.colors(sweep.trials))
    assert third == MUTED
    assert len({first, second, third}) == 3


def test_a_configuration_is_described_by_the_fields_that_it_has(sweep: Sweep) -> None:
    names = ["objective", "free_nats", "beta"]
    described = [describe_config(trial.config, names) for trial in sweep.trials[1:3]]
    assert described == ["objective = free-bits, free nats = 8", "objective = beta-vae, beta = 4"]
    assert describe_config(sweep.trials[0].config, ()) == "free nats = 0, anneal = False, latent size = 4, lr = 0.001"
    assert describe_config(TrialConfig(), ()) == "beta = 4, latent size = 10, lr = 0.001"


def test_a_card_lists_its_objectives_parameters_and_its_images(sweep: Sweep, tmp_path: Path) -> None:
    export_best(sweep, tmp_path / "model", data={"blocks": Blocks()})
    card = (tmp_path / "model" / "README.md").read_text()
    assert "\n---\n\n# free-bits, free nats 0, anneal False, 4 latents, on blocks\n" in card
    assert "images of 64 x 64 with 3 channels" in card
    assert "| trained on | 72 of 72 images of blocks, drawn, SHA-256 cccc" in card
    assert "| | score | hue | size | corner |" in card
    assert re.search(r"\| `mig` \| 0\.5000 \| 0\.\d{3} \| 0\.\d{3} \| 0\.\d{3} \|", card)
    assert re.search(r"\| `active_units` \| \d \|  \|  \|  \|", card)
    assert (tmp_path / "model" / "scores.json").is_file()


def test_a_report_without_beta_at_all(make_blocks_sweep) -> None:
    sweep = read_sweep(make_blocks_sweep({"a": {"score": 0.5, "objective": "free-bits"}}))
    write_report(sweep, sweep.folder / "report", data={"blocks": Blocks()}, num_best=1, importances={})
    assert (sweep.folder / "report" / "figures" / "mig_against_free_nats.png").is_file()


def test_the_ranking_score_has_its_name_everywhere(make_blocks_sweep) -> None:
    """Fails where a text or an axis still names the MIG, or its values are shown in place of the ranking score's."""
    trials = {"a": {"score": 0.2, "beta": 1.0}, "b": {"score": 0.7, "beta": 8.0}, "c": {"score": 0.6, "beta": 8.0}}
    sweep = read_sweep(make_blocks_sweep(trials | {"c": trials["c"] | {"seed": 1}}, rank_by="mig_quantile"))
    write_report(sweep, sweep.folder / "report", data={"blocks": Blocks()}, num_best=1, importances={})
    page = (sweep.folder / "report" / "index.html").read_text()
    summary = json.loads((sweep.folder / "report" / "summary.json").read_text())
    assert summary["claim"].startswith("beta = 8 ranks first with a MIG, equal mass of 0.650; the next has 0.200")
    assert (summary["rank_by"], summary["settings"][0]["best_scores"]) == ("mig_quantile", [0.7, 0.6])
    assert "<dt>best MIG, equal mass</dt><dd>0.700</dd>" in page
    assert "<button>median MIG, equal mass</button>" in page
    assert "MIG, equal mass: 20 equal-mass bins of the posterior mean" in page
    assert "recorded a score of 0.7000 (MIG, equal mass), but its checkpoint gives" in page
    assert (sweep.folder / "report" / "figures" / "mig_quantile_against_beta.png").is_file()
    figures = plots.score_against("beta", sweep, ceiling=None), plots.learning_curves(sweep, ceiling=None)
    assert [figure.axes[0].get_ylabel() for figure in figures] == ["MIG, equal mass"] * 2
    assert [column.name for column in page_columns(sweep, table_rows(sweep))][2] == "mig_quantile"
    assert "mig_quantile/hue" in {column.name for column in page_columns(sweep, table_rows(sweep))}


def test_an_axis_of_scores_shows_those_outside_0_and_1(make_blocks_sweep) -> None:
    sweep = read_sweep(make_blocks_sweep({"a": {"score": -2.0}, "b": {"score": 3.0, "lr": 0.1}}))
    assert plots.score_against("lr", sweep, ceiling=None).axes[0].get_ylim() == (-2, 3)
    axes = plots.parallel_coordinates(sweep, ["lr"], num_marked=1).axes[0]
    assert {tuple(line.get_ydata()) for line in axes.lines} >= {(0.0, 0.0), (1.0, 1.0)}


def test_an_axis_of_scores_in_nats_follows_them(make_blocks_sweep) -> None:
    """Fails if it reaches up to 1: all models would lie on one line at the bottom."""
    sweep = read_sweep(make_blocks_sweep({"a": {"score": -130.0}, "b": {"score": -120.0, "lr": 0.1}}))
    low, high = plots.score_against("lr", sweep, ceiling=None).axes[0].get_ylim()
    assert -140 < low < -130
    assert -120 < high < -110
