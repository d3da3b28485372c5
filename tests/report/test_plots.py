from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from betavae.data import DSprites
from betavae.records.sweep import read_sweep
from betavae.report import comparison_plots, model_plots, plots
from betavae.report.palette import FACTOR_COLORS
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
    axes = plots.score_against("beta", sweep, ceiling=0.9).axes[0]
    points = np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections])
    assert {tuple(point) for point in points.tolist()} == {(4.0, 0.2), (4.0, 0.4), (8.0, 0.3)}
    assert axes.get_ylim() == (0, 1)
    bars = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "_"]
    assert bars == [[[4.0, pytest.approx(0.3)]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["finished", "stopped"]


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
