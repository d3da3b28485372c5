"""A comparison of objectives: which models, which numbers, and what a page shows of them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from sweep_folders import MakeSweep

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.metrics import Score
from betavae.objectives import OBJECTIVES
from betavae.records.checkpoint import add_scores
from betavae.records.sweep import Selection, read_sweep
from betavae.records.trial import Trial
from betavae.report.method_plots import MANY, method_panels, value_places
from betavae.report.method_section import method_section
from betavae.report.methods import MethodComparison, best_rows, compare_methods
from betavae.report.palette import INK, METHOD_COLORS, MUTED, shades
from betavae.report.write import write_report


def trial(index: int, mig: float, objective: str, *, seed: int = 0, done: bool = True, **values: Any) -> Trial:
    """A trial of two steps: its score is higher at the first, and what counts is the last."""
    config = TrialConfig.from_dict(
        {"objective": objective, "steps": 2, "eval_every": 1, "lr": 1e-3, "seed": seed, **values}
    )
    last = {"step": 2, "mig": mig, "mig_quantile": mig / 2, "loss/kl_nats": 100 * mig, "loss/recon_nats": 7.0 + seed}
    first = {**last, "step": 1, "mig": 0.95}
    return Trial(f"{index:04}", index, Path("nowhere"), config, (first, last) if done else (first,))


TRIALS = [
    trial(0, 0.50, "factor-vae", gamma=40.0, seed=1),
    trial(1, 0.10, "factor-vae", gamma=40.0, seed=0),
    trial(2, 0.20, "factor-vae", gamma=40.0, seed=2),
    trial(3, 0.30, "factor-vae", gamma=10.0, seed=0),
    trial(4, 0.25, "factor-vae", gamma=10.0, seed=1),
    trial(5, 0.05, "beta-vae", beta=16.0),
    trial(6, 0.06, "beta-vae", beta=4.0, done=False),
    trial(7, 0.04, "beta-vae", beta=2.0),
    trial(8, 0.40, "dip-vae-i"),
]


@pytest.fixture
def comparison() -> MethodComparison:
    compared = compare_methods(TRIALS)
    assert compared is not None
    return compared


def test_objectives_are_in_the_order_of_their_table_and_values_from_low_to_high(comparison: MethodComparison) -> None:
    assert [method.name for method in comparison.methods] == ["beta-vae", "factor-vae", "dip-vae-i"]
    betas, gammas, alone = comparison.methods
    assert [value.label for value in betas.values] == ["2", "16"]
    assert [value.label for value in gammas.values] == ["10", "40"]
    assert [each.config.seed for each in gammas.values[1].trials] == [0, 1, 2]
    assert ([value.label for value in alone.values], alone.varied) == ([""], ())
    assert (gammas.describe(gammas.values[1]), alone.describe(alone.values[0])) == ("gamma = 40", "")


def test_a_trial_that_did_not_run_to_its_end_is_left_out_and_counted(comparison: MethodComparison) -> None:
    assert (comparison.num_left_out, comparison.num_stopped) == (1, 0)
    assert "0006" not in comparison.ranking.numbers
    failed = [replace(each, error="NonFiniteLossError") if each.index < 5 else each for each in TRIALS]
    fewer = compare_methods(failed)
    assert fewer is not None
    assert [method.name for method in fewer.methods] == ["beta-vae", "dip-vae-i"]


def test_stopped_trials_make_the_others_a_selection(tmp_path: Path) -> None:
    stopped = compare_methods([*TRIALS, replace(trial(9, 0.1, "beta-vae", beta=8.0, done=False), was_stopped=True)])
    assert stopped is not None
    assert (stopped.num_left_out, stopped.num_stopped) == (2, 1)
    assert "1 trial of these ended by the stopping rule" in method_section(stopped, tmp_path).compared


def test_scores_are_those_of_the_end_of_training(comparison: MethodComparison) -> None:
    """Fails if the best evaluation is taken: all have 0.95 there."""
    assert comparison.ranking.column.name == "mig"
    assert comparison.ranking.of(TRIALS[:3]) == [0.50, 0.10, 0.20]
    assert [quantity.column.name for quantity in comparison.scores] == ["mig", "mig_quantile"]
    assert [quantity.column.name for quantity in comparison.others] == ["loss/kl_nats", "loss/recon_nats"]


def test_a_number_that_a_model_lacks_is_not_compared() -> None:
    *others, last = TRIALS
    report = {name: number for name, number in last.reports[-1].items() if name not in ("mig_quantile", "loss/kl_nats")}
    compared = compare_methods([*others, replace(last, reports=(*last.reports[:1], report))])
    assert compared is not None
    names = [quantity.column.name for quantity in (*compared.scores, *compared.others)]
    assert names == ["mig", "loss/recon_nats"]


def test_the_best_value_has_the_highest_median_and_not_the_luckiest_seed(comparison: MethodComparison) -> None:
    """gamma 40 has the highest score, 0.50, but a median of 0.20; that of gamma 10 is 0.275."""
    best = {each.method.name: each for each in comparison.best_values()}
    assert list(best) == ["dip-vae-i", "factor-vae", "beta-vae"]
    assert best["factor-vae"].value.label == "10"
    assert best["factor-vae"].scores == (0.30, 0.25)
    assert best["factor-vae"].median == pytest.approx(0.275)
    assert best["factor-vae"].quartiles == pytest.approx((0.2625, 0.2875))
    assert best["factor-vae"].medians["loss/kl_nats"] == pytest.approx(27.5)
    assert best["factor-vae"].medians["loss/recon_nats"] == 7.5
    assert best["beta-vae"].value.label == "16"


def test_rows_hold_the_best_values_as_numbers(comparison: MethodComparison) -> None:
    first, second, _ = best_rows(comparison)
    assert (first["objective"], first["value"], first["seeds"]) == ("dip-vae-i", "", 1)
    assert (second["value"], second["mig_median"], second["mig_each"]) == ("gamma = 10", 0.275, "0.3 0.25")
    assert second["mig_first_quartile"] == pytest.approx(0.2625)
    assert second["mig_quantile_median"] == pytest.approx(0.1375)


def test_a_value_of_two_fields_has_both() -> None:
    pairs = [(4, 1e-3), (2, 1e-3), (2, 1e-4)]
    trials = [trial(i, 0.1, "beta-vae", beta=beta, lr=lr) for i, (beta, lr) in enumerate(pairs)]
    compared = compare_methods([*trials, trial(9, 0.2, "beta-tcvae")])
    assert compared is not None
    method = compared.methods[0]
    assert [value.label for value in method.values] == ["2, 0.0001", "2, 0.001", "4, 0.001"]
    assert method.describe(method.values[0]) == "beta = 2, lr = 0.0001"


def test_another_field_gives_other_methods() -> None:
    trials = [trial(i, 0.1 * i, "beta-vae", architecture=name) for i, name in enumerate(("conv64", "burgess"))]
    assert compare_methods(trials) is None
    compared = compare_methods(trials, field="architecture")
    assert compared is not None
    assert [method.name for method in compared.methods] == ["burgess", "conv64"]
    assert [value.label for method in compared.methods for value in method.values] == ["", ""]


def test_fewer_than_two_methods_are_not_compared() -> None:
    assert compare_methods(TRIALS[:5]) is None
    assert compare_methods([]) is None
    assert compare_methods([*TRIALS[:5], TRIALS[6]]) is None  # the other has not run to its end


def points(figure: Any, panel: int) -> list[tuple[float, float, str]]:
    """Every point of a panel: its place, its number and its colour."""
    return [
        (float(x), float(y), to_hex(marks.get_facecolors()[0]))
        for marks in figure.axes[panel].collections
        if type(marks).__name__ == "PathCollection"
        for x, y in marks.get_offsets()
    ]


def test_every_model_is_a_point_in_its_column_in_the_shade_of_its_value(comparison: MethodComparison) -> None:
    figure = method_panels(comparison, comparison.scores, list(OBJECTIVES))
    for panel, quantity in enumerate(comparison.scores):
        drawn = points(figure, panel)
        assert sorted(number for _, number, _ in drawn) == pytest.approx(sorted(quantity.numbers.values()))
        assert {round(x) for x, _, _ in drawn} == {0, 1, 2}
        assert len({x for x, _, _ in drawn}) == len(drawn)  # none lies on another
        highest = max(*quantity.numbers.values(), *quantity.chance.values())
        assert figure.axes[panel].get_ylim() == pytest.approx((0, 1.12 * highest))
    light, dark = shades(METHOD_COLORS[list(OBJECTIVES).index("factor-vae")], 2)
    low, high = value_places(1, 2)
    of_factor = [(x, color) for x, _, color in points(figure, 0) if round(x) == 1]
    assert sum(color == light and abs(x - low) < abs(x - high) for x, color in of_factor) == 2
    assert sum(color == dark and abs(x - high) < abs(x - low) for x, color in of_factor) == 3


def test_lines_mark_the_medians_of_the_models_and_of_chance(comparison: MethodComparison) -> None:
    chance = {"0000": 0.1, "0001": 0.3, "0003": 0.2, "0008": 0.5}
    ranking = replace(comparison.ranking, chance=chance)
    figure = method_panels(replace(comparison, scores=(ranking,)), (ranking,), list(OBJECTIVES))
    lines = [line for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1 and line.get_alpha() is None]
    medians = {round(np.mean(line.get_xdata())): line.get_ydata()[0] for line in lines if line.get_color() == INK}
    chances = {round(np.mean(line.get_xdata())): line.get_ydata()[0] for line in lines if line.get_color() == MUTED}
    assert medians == pytest.approx({0: 0.045, 1: 0.25, 2: 0.40})
    assert chances == pytest.approx({1: 0.2, 2: 0.5})
    assert len(figure.axes[0].get_legend().get_texts()) == 3


def test_values_are_written_below_their_places(comparison: MethodComparison) -> None:
    """Fails if the value in the middle of a column is lost to the name of the method below it."""
    more = compare_methods([*TRIALS, trial(9, 0.3, "beta-vae", beta=4.0)])
    assert more is not None
    axes = method_panels(more, more.scores[:1], list(OBJECTIVES)).axes[0]
    axes.figure.draw_without_rendering()
    values = [(float(tick.get_loc()), tick.label1.get_text()) for tick in axes.xaxis.get_minor_ticks()]
    places = [*value_places(0, 3), *value_places(1, 2), *value_places(2, 1)]
    assert [place for place, _ in values] == pytest.approx(places)
    assert [label for _, label in values] == ["2", "4", "16", "10", "40", ""]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["beta-vae\nbeta", "factor-vae\ngamma", "dip-vae-i\n"]


@pytest.mark.parametrize("num_models", [MANY - 1, MANY])
def test_many_models_have_a_violin(num_models: int) -> None:
    trials = [trial(i, 0.01 * i, "beta-vae", seed=i) for i in range(num_models)]
    compared = compare_methods([*trials, trial(99, 0.2, "beta-tcvae")])
    assert compared is not None
    axes = method_panels(compared, compared.scores[:1], list(OBJECTIVES)).axes[0]
    bodies = [body for body in axes.collections if type(body).__name__ != "PathCollection"]
    assert len(bodies) == (num_models >= MANY)


def test_equal_scores_of_many_models_are_drawn_and_have_no_shares(tmp_path: Path) -> None:
    """Fails if a violin of one number is asked for, or if 0/0 comes to the page."""
    trials = [trial(i, 0.1, name, seed=i) for name in ("beta-vae", "beta-tcvae") for i in range(MANY)]
    compared = compare_methods([replace(each, trial_id=f"{i}") for i, each in enumerate(trials)])
    assert compared is not None
    section = method_section(compared, tmp_path)
    assert section.shares == {}
    assert section.shares_explained == "All models have the same MIG: there is no spread to divide."


def test_points_of_losses_lie_below_the_end_of_their_axis(comparison: MethodComparison) -> None:
    figure = method_panels(comparison, (comparison.ranking, *comparison.others), list(OBJECTIVES))
    for axes, quantity in zip(figure.axes, (comparison.ranking, *comparison.others), strict=True):
        assert axes.get_ylim() == (0, pytest.approx(1.08 * max(quantity.numbers.values())))


MIXED: dict[str, dict[str, Any]] = {
    "a": {"migs": [0.6, 0.5], "objective": "factor-vae", "gamma": 40.0},
    "b": {"migs": [0.1, 0.3], "objective": "factor-vae", "gamma": 10.0, "seed": 1},
    "c": {"migs": [0.1, 0.2], "objective": "factor-vae", "gamma": 10.0},
    "d": {"migs": [0.3, 0.4], "beta": 2.0},
    "e": {"migs": [0.3], "beta": 4.0},
}


IRS = {"robustness_by_latent": [0.1] * 3, "largest_deviation_by_latent": [0.1] * 3, "robustness": [[0.1]] * 3}


def test_scores_on_request_are_of_the_best_checkpoint_once_every_model_has_them(make_sweep: MakeSweep) -> None:
    folder = make_sweep(MIXED)
    score = Score(value=0.7, estimator="by hand", num_rows=1, rows="none", chance=0.2, details=IRS)
    added = {"irs": score, "total_correlation": replace(score, chance=None, details={"num_latents": 3})}
    for name in "abcd":
        compared = compare_methods(read_sweep(folder).trials)
        assert compared is not None
        assert "irs" not in [each.column.name for each in compared.scores]
        assert [each.column.name for each in compared.others] == ["loss/kl_nats", "loss/recon_nats"]
        (checkpoint,) = folder.glob(f"search/trial_{name}/checkpoint_*")
        add_scores(checkpoint, added)
    compared = compare_methods(read_sweep(folder).trials)
    assert compared is not None
    irs = compared.scores[-1]
    assert (irs.column.name, irs.is_of_best, irs.numbers["a"], irs.chance["a"]) == ("irs", True, 0.7, 0.2)
    assert compared.others[0].column.name == "total_correlation"
    assert not compared.ranking.is_of_best
    axes = method_panels(compared, compared.scores, list(OBJECTIVES)).axes[-1]
    assert axes.get_ylabel() == "IRS\n(best checkpoint)"


def test_scores_on_request_are_of_the_final_model_where_a_rule_chose(make_sweep: MakeSweep) -> None:
    folder = make_sweep(MIXED)
    score = Score(value=0.7, estimator="by hand", num_rows=1, rows="none", chance=0.2, details=IRS)
    for checkpoint in folder.glob("search/trial_*/checkpoint_*"):
        add_scores(checkpoint, {"irs": score})
    sweep = read_sweep(folder)
    ruled = sweep.with_selection(Selection("UDR", False, {each.trial_id: 0.1 for each in sweep.trials}))
    compared = [compare_methods(each.trials) for each in (sweep, ruled)]
    assert [each.scores[-1].column.name for each in compared if each is not None] == ["irs", "irs"]
    assert [each.scores[-1].is_of_best for each in compared if each is not None] == [True, False]


@pytest.mark.parametrize(("rank_by", "words"), [("mig", "with labels"), ("elbo", "without labels")])
def test_the_words_of_a_selection_follow_the_ranking_score(rank_by: str, words: str, tmp_path: Path) -> None:
    ranked = [
        replace(
            each,
            rank_by=rank_by,
            reports=tuple({**report, "elbo": -100.0 - report["mig"]} for report in each.reports),
            was_stopped=each.status != "finished",
        )
        for each in TRIALS
    ]
    compared = compare_methods(ranked)
    assert compared is not None
    assert f"are left are selected {words}." in method_section(compared, tmp_path).compared


def test_the_page_compares_objectives(make_sweep: MakeSweep, small_data: DSprites) -> None:
    folder = make_sweep(MIXED, outcome="done")
    for path in folder.glob("search/*/*/model.safetensors"):
        path.unlink()
    page = Path(
        write_report(
            read_sweep(folder), folder / "report", data={"dsprites": small_data}, num_best=1, importances={}
        ).page
    ).read_text()
    assert '<section id="methods">' in page
    assert '<a href="#methods">Objectives</a>' in page
    assert "4 models of 2 objectives, each at the end of its training" in page
    assert "Left out: 1 trial that did not run to the end." in page
    assert "biased upwards" in page
    assert "--scores total_correlation" in page
    assert "depend on the objectives and values that were chosen" in page
    with (folder / "report" / "methods.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["objective"], row["value"], row["mig_median"]) for row in rows] == [
        ("factor-vae", "gamma = 40", "0.5"), ("beta-vae", "", "0.4"),
    ]  # fmt: skip
    shares = json.loads((folder / "report" / "summary.json").read_text())["methods"]["shares"]
    assert sum(shares[name]["share"] for name in ("method", "value", "seed")) == pytest.approx(1)


def test_the_page_says_when_objectives_cannot_be_compared_yet(make_sweep: MakeSweep, small_data: DSprites) -> None:
    folder = make_sweep({name: MIXED[name] for name in "ae"})
    for path in folder.glob("search/*/*/model.safetensors"):
        path.unlink()
    sweep = read_sweep(folder)
    page = Path(
        write_report(sweep, folder / "report", data={"dsprites": small_data}, num_best=1, importances={}).page
    ).read_text()
    assert "Objectives are compared when trials of two or more have run to their end." in page
    assert not (folder / "report" / "methods.csv").exists()


def test_a_page_of_one_objective_has_none_of_it(reported: Path) -> None:
    page = (reported / "index.html").read_text()
    assert "#methods" not in page
    assert "Objectives" not in page
    assert "methods" not in json.loads((reported / "summary.json").read_text())
    assert not (reported / "methods.csv").exists()
