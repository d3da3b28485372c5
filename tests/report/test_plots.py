import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from betavae.data import DSprites, FactorSpace
from betavae.objectives import OBJECTIVES
from betavae.records.sweep import Sweep, read_sweep
from betavae.report import comparison_plots, model_plots, plots
from betavae.report.palette import FACTOR_COLORS, METHOD_COLORS, score_axis, shades
from betavae.report.pictures import save_picture
from betavae.report.portrait import Portrait, latents_by_kl, portray


@pytest.fixture
def portrait(small_data: DSprites, make_sweep) -> Portrait:
    (trial,) = read_sweep(make_sweep({"a": {"migs": [0.2]}})).trials
    assert trial.best_checkpoint is not None
    return portray(trial, trial.best_checkpoint, title="best", data=small_data, device="cpu")


def test_every_trial_is_a_point_and_the_median_of_seeds_a_bar(make_sweep) -> None:
    trials: dict[str, dict[str, Any]] = {
        "a": {"migs": [0.1, 0.2], "beta": 4.0, "seed": 1},
        "b": {"migs": [0.4], "beta": 4.0, "seed": 2, "stopped": True},
        "c": {"migs": [0.3, 0.1], "beta": 8.0},
    }
    sweep = read_sweep(make_sweep(trials, outcome="done"))
    axes = plots.score_against("beta", sweep, ceiling=0.9, chance=0.011).axes[0]
    points = np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections])
    assert {tuple(point) for point in points.tolist()} == {(4.0, 0.2), (4.0, 0.4), (8.0, 0.3)}
    assert axes.get_ylim() == (0, pytest.approx(0.448)), "a little above the highest score, not up to 1"
    assert {text.get_text() for text in axes.texts} == {"a perfect code: 0.90 ↑", "chance: 0.011"}
    assert [line.get_ydata() for line in axes.lines if line.get_linestyle() == ":"] == [[0.011, 0.011]]
    bars = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "_"]
    assert bars == [[[4.0, pytest.approx(0.3)]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["finished", "stopped"]


@pytest.mark.parametrize(
    ("scores", "limits", "is_inside"),
    [
        ([0.1, 0.79], (0, 0.8848), False), ([0.1, 0.81], (0, 1), True), ([], (0, 1), True), ([0.0], (0, 1), True),
        ([-0.2, 0.5], (-0.2, 0.56), False), ([0.001], (0, 1.12 * 0.02), False), ([-130.0, -120.0], None, False),
    ],
)  # fmt: skip
def test_an_axis_of_scores_follows_the_scores(
    scores: list[float], limits: tuple[float, float] | None, is_inside: bool
) -> None:
    """With a perfect code as a line where the axis reaches it, and else as an arrow at its end."""
    axes = Figure().subplots()
    axes.plot(range(len(scores)), scores)
    score_axis(axes, "score", scores=scores, ceiling=0.9, chance=0.02)
    if limits is not None:
        assert axes.get_ylim() == pytest.approx(limits)
        assert (axes.texts[0].get_text() == "a perfect code: 0.90") == is_inside
        assert len([line for line in axes.lines if line.get_linestyle() == ":"]) == 1 + is_inside
    else:
        assert axes.get_ylim()[0] < -120


MIXED: dict[str, dict[str, Any]] = {
    "a": {"migs": [0.1, 0.2], "objective": "factor-vae", "gamma": 10.0},
    "b": {"migs": [0.3, 0.4], "objective": "factor-vae", "gamma": 40.0},
    "c": {"migs": [0.5], "objective": "annealed-vae", "gamma": 10.0, "lr": 1e-4},
    "d": {"migs": [0.3], "beta": 2.0},
}


@pytest.fixture
def mixed(make_sweep) -> Sweep:
    """Two objectives share a parameter's name, and one of them has one value of it."""
    return read_sweep(make_sweep(MIXED, outcome="done"))


def test_a_panel_of_one_objective_has_its_trials_alone_in_its_colour(mixed: Sweep) -> None:
    figure = plots.score_against("factor-vae.gamma", mixed, ceiling=None)
    axes, *others = figure.axes
    assert (others, figure.legends) == ([], [])
    assert axes.get_xlabel() == "gamma of factor-vae"
    marks = [marks for marks in axes.collections if len(marks.get_offsets())]
    points = np.concatenate([np.asarray(each.get_offsets()) for each in marks])
    assert {tuple(point) for point in points.tolist()} == {(10.0, 0.2), (40.0, 0.4)}
    colors = {to_hex(color[:3]).upper() for each in marks for color in each.get_facecolors()}
    assert colors == {METHOD_COLORS[list(OBJECTIVES).index("factor-vae")]}


def test_objectives_lie_side_by_side_against_a_field_that_they_share(mixed: Sweep) -> None:
    """Fails if the points of two objectives lie on one another, or if a point leaves its value's tick."""
    figure = plots.score_against("lr", mixed, ceiling=None)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    marks = [marks for marks in axes.collections if len(marks.get_offsets())]
    assert {float(x) for each in marks for x, _ in each.get_offsets()} == {1e-3, 1e-4}
    places = [each.get_offset_transform().transform(each.get_offsets())[:, 0] for each in marks]
    tick = axes.transData.transform((1e-3, 0))[0]
    at_tick = [place[0] - tick for place in places if abs(place[0] - tick) < 20]
    assert len({round(distance, 3) for distance in at_tick}) == 2  # factor-vae and beta-vae
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["beta-vae", "annealed-vae", "factor-vae"]
    assert [line for line in axes.lines if line.get_marker() == "_"] == []


def test_a_thick_curve_is_the_median_of_an_objective_where_half_of_its_trials_are(mixed: Sweep) -> None:
    axes = plots.learning_curves(mixed, ceiling=None).axes[0]
    thick = {to_hex(line.get_color()).upper(): line.get_xydata().tolist() for line in axes.lines if line.get_lw() == 2}
    medians = {name: thick[METHOD_COLORS[list(OBJECTIVES).index(name)]] for name in ("factor-vae", "beta-vae")}
    assert medians == {
        "factor-vae": [[100, pytest.approx(0.2)], [200, pytest.approx(0.3)]], "beta-vae": [[100, 0.3]],
    }  # fmt: skip
    few, *others = mixed.trials
    cut = replace(mixed, trials=(replace(few, reports=few.reports[:1]), *others))
    trials = [trial for trial in cut.trials if trial.config.objective.name == "factor-vae"]
    assert plots._median_curve(trials, "mig") == ([100, 200], [pytest.approx(0.2), 0.4])
    assert plots._median_curve([*trials, trials[0]], "mig")[0] == [100]


def lab(color: str, simulated: np.ndarray) -> np.ndarray:
    """A colour in CIELAB, after a matrix on its linear red, green and blue."""
    rgb = np.array(to_rgb(color))
    linear = np.clip(simulated @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    "simulated",
    # Machado et al. 2009, severity 1, doi:10.1109/TVCG.2009.113: nobody's, then protan, deutan and tritan vision
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ],
)
def test_the_colours_of_objectives_differ_to_the_colour_blind(simulated: Any) -> None:
    """A distance of 2.3 can just be seen; lines need more: five times as much here."""
    colors = [lab(color, np.array(simulated)) for color in METHOD_COLORS]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(colors, 2)) > 5 * 2.3
    assert len(METHOD_COLORS) >= len(OBJECTIVES)


def test_shades_go_from_light_to_dark_around_their_colour() -> None:
    lightness = [lab(shade, np.eye(3))[0] for shade in shades("#4477AA", 5)]
    assert lightness == sorted(lightness, reverse=True)
    assert (shades("#4477AA", 5)[2], shades("#4477AA", 1)) == ("#4477aa", ["#4477aa"])
    assert len(set(shades("#4477AA", 2))) == 2


def test_a_curve_per_trial_in_each_panel(make_sweep) -> None:
    sweep = read_sweep(make_sweep({"a": {"migs": [0.1, 0.2]}, "b": {"migs": [0.3], "beta": 9.0}, "c": {"migs": []}}))
    panels = plots.learning_curves(sweep, ceiling=None).axes[:3]
    curves = [line.get_xydata().tolist() for line in panels[0].lines if line.get_linestyle() == "-"]
    assert curves == [[[100, 0.1], [200, 0.2]], [[100, 0.3]]]


def test_bars_are_the_gaps_in_the_colours_of_their_factors(portrait: Portrait) -> None:
    axes = comparison_plots.factor_bars([portrait]).axes[0]
    gaps = portrait.scores["mig"].by_factor
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(list(gaps.values()))
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == list(FACTOR_COLORS[:5])


def test_a_frame_marks_the_latent_that_knows_the_factor(portrait: Portrait) -> None:
    """Latent 2 knows half of posX and has the lower KL: its frame is in the second row, posX's column."""
    information = np.zeros((3, 5))
    information[2, 3], mig = 0.5 * np.log(8), portrait.scores["mig"]
    details = {
        **mig.details,
        "mutual_information_nats": information.tolist(),
        "matched_latents": dict.fromkeys(mig.by_factor, 0) | {"posX": 2},
    }
    by_name = {"mig": replace(mig, details=details)}
    scores = replace(portrait.scores, by_name=by_name, kl_nats_per_latent=(2.0, 0.0, 1.0))
    figure = model_plots.information_heatmap(scores, latents_by_kl(scores))
    (frame,) = [patch for patch in figure.axes[0].patches if not patch.get_fill()]
    assert (round(frame.get_x() + 0.5), round(frame.get_y() + 0.5)) == (3, 1)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["latent 0", "latent 2", "latent 1"]


def test_traversal_rows_are_by_kl(portrait: Portrait) -> None:
    order = [latent.index for latent in portrait.latents]
    shown = model_plots.traversal_figure(portrait).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[:64, :64], portrait.samples.traversal[order[0], 0, :, :, 0])
    np.testing.assert_array_equal(shown[64:128, 64:128], portrait.samples.traversal[order[1], 1, :, :, 0])


def test_codes_are_drawn_against_each_factors_value(portrait: Portrait) -> None:
    """The strip of the first latent: its curve is the mean code, shifted to the strip's middle."""
    figure = model_plots.code_figure(portrait)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["position", *portrait.mean_codes]
    axes = figure.axes[titles.index("posX")]
    curve = [line for line in axes.lines if len(line.get_xydata()) == 8][0]
    expected = portrait.mean_codes["posX"][0, :, portrait.latents[0].index]
    np.testing.assert_allclose(curve.get_ydata() + 3.0, expected, atol=1e-12)


def test_the_line_of_a_cyclic_factor_ends_where_it_began(portrait: Portrait) -> None:
    portrait = replace(portrait, space=FactorSpace(portrait.space.names, portrait.space.values, cyclic=["posX"]))
    figure = model_plots.code_figure(portrait)
    (axes,) = [axes for axes in figure.axes if axes.get_title() == "posX"]
    curves = [line.get_ydata() for line in axes.lines if len(line.get_xydata()) == 9]
    assert curves
    assert all(curve[0] == curve[-1] for curve in curves)
    assert axes.get_xlim()[1] == 8.5
    (axes,) = [axes for axes in figure.axes if axes.get_title() == "posY"]
    assert axes.get_xlim()[1] == 7.5


def test_parallel_lines_end_at_the_score(make_sweep) -> None:
    trials = {
        "a": {"migs": [0.2], "beta": 1.0},
        "b": {"migs": [0.4], "beta": 100.0},
        "c": {"migs": [0.1], "beta": 10.0},
    }
    axes = plots.parallel_coordinates(read_sweep(make_sweep(trials)), ["beta"], num_marked=1).axes[0]
    lines = sorted(tuple(np.round(line.get_ydata(), 6)) for line in axes.lines if len(line.get_ydata()) == 2)
    assert (0.0, 0.5) in lines
    assert (0.5, 0.25) in lines
    assert (1.0, 1.0) in lines


def test_lines_of_one_value_are_spread_and_those_of_another_stay_apart() -> None:
    heights = plots.spread(np.array([1.0, 0.0, 1.0, np.nan, 0.5, 1.0]))
    top = heights[[0, 2, 5]]
    assert list(top) == sorted(set(top), reverse=True)  # the best is the highest
    assert top.max() <= 1
    assert top.min() > heights[4] + 0.1
    assert (heights[1], heights[4]) == (0.0, 0.5)  # alone: where they are
    assert np.isnan(heights[3])


def test_a_figure_of_a_page_has_ids_of_its_own_and_names_its_trials(make_sweep, tmp_path: Path) -> None:
    sweep = read_sweep(make_sweep({"a": {"migs": [0.2], "beta": 1.0}, "b": {"migs": [0.4], "beta": 9.0}}))
    pictures = [
        save_picture(tmp_path, name, plots.score_against("beta", sweep, ceiling=None), caption="") for name in "pq"
    ]
    for picture in pictures:
        assert sorted(re.findall('data-trial="([^"]*)"', picture.svg)) == [trial.trial_id for trial in sweep.trials]
    first, second = (set(re.findall(' id="([^"]*)"', picture.svg)) for picture in pictures)
    assert first
    assert not first & second
    for picture, ids in zip(pictures, (first, second), strict=True):
        assert {*re.findall('href="#([^"]*)"', picture.svg), *re.findall(r"url\(#([^)]*)\)", picture.svg)} <= ids
