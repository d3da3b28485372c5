import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from angles import models_of
from bends import position_in_size, stretch
from collect import collected, confirmed_in, merged
from early_numbers import numbers_and_score, rank_correlation
from known_codes import cells_of, sample_of, scores_of
from methods_table import heading, rows_of
from position_latents import normal_marginals
from search_cost import History, draw, kind_of, rank_correlations, read_history
from search_replay import grid_draw, random_draw, read_table, replay, tpe_draw
from sweep_folders import SPACE
from torch.utils.tensorboard import SummaryWriter
from total_correlation import differences, rotated

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import metrics_of
from betavae.gaussian import DiagonalGaussian
from betavae.metrics.representation import Representation
from betavae.records.sweep import Sweep, read_sweep
from betavae.records.trial import PlannedTrial
from sweeps.options.command_line import parse_options
from sweeps.options.recorded import options_to_dict
from sweeps.search.plan import confirming_trials, planned_trials
from sweeps.search.stopping import NoStopping, SuccessiveHalving

ROOT = Path(__file__).parents[1]
STUDIES = sorted(ROOT.glob("sweeps/studies/*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_has_the_configuration_that_was_published_of_it(path: Path) -> None:
    """Fails where a file asks for what run.py refuses, or no longer for what docs/results.json has."""
    options = parse_options(["--config", str(path)], gpus_found=1)
    options.check()
    assert options.sweep.preset == "quick"
    planned = [trial.config.to_dict() for trial in planned_trials(options)]
    results = json.loads((ROOT / "docs" / "results.json").read_text())
    for published in (one for one in results["configurations"] if one["study"] == path.stem):
        values = {name: value for name, value in published.items() if name in planned[0]}
        assert len(values) >= 11
        seeds = {config["seed"] for config in planned if values.items() <= config.items()}
        assert seeds
        if any(name.startswith("search_score_selected_") for name in published):  # it was confirmed
            seeds = {each.config.seed for each in confirming_trials(options, [TrialConfig.from_dict(values)]).values()}
            assert seeds == set(published["seeds"])
        else:
            assert seeds >= set(published["seeds"])


OF_SWEEPS = {
    "angles": [],
    "bends": [],
    "calibrate_part": [],
    "collect": ["--json", "results.json", "--figure", "figure.png"],
    "early_numbers": ["--steps", "1000"],
    "known_codes": [],
    "label_free": [],
    "methods_table": [],
    "pictures": [],
    "position_latents": [],
    "search_cost": ["--figure", "figure.png"],
    "search_replay": [],
    "total_correlation": [],
}
OF_NONE = ["learning_speed", "tables", "untrained"]


def test_every_script_of_the_studies_is_tried_below() -> None:
    assert sorted([*OF_SWEEPS, *OF_NONE]) == sorted(path.stem for path in ROOT.glob("studies/*.py"))


@pytest.mark.parametrize("name", OF_SWEEPS)
def test_a_folder_that_is_no_sweeps_ends_a_script_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = ROOT / "studies" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "missing"), *OF_SWEEPS[name]])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert "missing" in capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("calibrate_part", [], "a checkpoint must hold mig_exact, but none does"),
        ("early_numbers", ["--steps", "100"], "must hold three trials or more with loss/total_nats at these steps"),
        ("label_free", ["--udr-min-kl", "-1"], "--udr-min-kl must be at least 0 nats, but got -1.0"),
        ("label_free", ["--having", "mig_exact"], "must hold a model with mig_exact at the end of its training"),
    ],
)
def test_a_sweep_without_what_a_script_needs_ends_it_in_a_sentence(
    name: str, words: list[str], message: str, make_sweep, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder = make_sweep({"a": {"migs": [0.4, 0.1]}})
    script = ROOT / "studies" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(folder), *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_script_whose_reader_has_left_ends_without_a_word() -> None:
    """Fails if a closed pipe counts as wrong input."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from sweeps.printing import input_errors_end_the_script\n"
        "with input_errors_end_the_script():\n    for _ in range(100_000): print('row', flush=True)"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "row\n"
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OF_NONE)
def test_a_word_that_a_script_does_not_know_ends_it_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "studies" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "missing"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert "unrecognized arguments: missing" in capsys.readouterr().err


def test_repeats_of_a_search_are_those_of_one_space_and_one_rule() -> None:
    """Fails where searches of different axes, samplers or rules count as repeats of each other."""

    def kind(words: str = "") -> str:
        arguments = ["--config", "search", *words.split()]
        record = {"options": options_to_dict(parse_options(arguments, gpus_found=0))}
        return kind_of(Sweep(Path("study"), record, (), (), ()))

    learning = "--search optuna --trials 24 --scheduler asha --grace-steps 750 --beta 1..32 -z 5..10"
    assert kind() == kind("--seed 1") == "grid over beta 1 2 4 8 16 32, z 5 10"
    assert kind(learning) == "optuna + asha from 750 over beta 1..32, z 5..10"
    assert kind(f"{learning} --sampler gp") == "optuna (gp) + asha from 750 over beta 1..32, z 5..10"
    assert kind("--repeats 3") == "grid over beta 1 2 4 8 16 32, z 5 10, 3 seeds each"
    by_default = options_to_dict(parse_options(["--scheduler", "asha", "--steps", "3000"], gpus_found=0))
    earlier = {"options": by_default, "decided": {"grace_steps": 1_500}}
    assert "asha from 1500" in kind_of(Sweep(Path("study"), earlier, (), (), ()))


def test_models_that_differ_in_more_than_the_objective_have_rows_that_say_so(make_sweep) -> None:
    trials = {"a": {"migs": [0.1, 0.4]}, "b": {"migs": [0.1, 0.3], "lr": 5e-4}, "c": {"migs": [0.1, 0.2], "beta": 8.0}}
    values = [row[1] for row in rows_of(read_sweep(make_sweep(trials)).trials)]
    assert len(set(values)) == 3
    assert all("beta " in value and "lr " in value for value in values)


def test_models_of_several_likelihoods_are_not_ordered_by_one(
    make_sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_sweep({"a": {"migs": [0.1, 0.4]}, "b": {"migs": [0.1, 0.2], "likelihood": "gaussian"}})
    script = ROOT / "studies" / "label_free.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(folder), "--rules", "elbo"])
    runpy.run_path(str(script), run_name="__main__")
    output = capsys.readouterr()
    assert output.err == "elbo is left out: models of several likelihoods do not compare by it.\n"
    assert len(output.out.splitlines()) == 2  # the heading


@pytest.mark.parametrize("name", ["angles", "bends", "position_latents", "total_correlation"])
def test_a_script_for_dsprites_takes_no_other_data(
    name: str, two_datasets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "studies" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(two_datasets)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert "must be a sweep of dsprites, but has trials of blocks." in capsys.readouterr().err


def test_searches_of_one_name_have_colours_and_labels_of_their_own() -> None:
    history = History(np.array([100, 200]), np.array([0.1, 0.3]), np.array([1, 2]))
    kinds = ("random over beta 1..4", "random + asha from 750 over beta 1..4", "grid over beta 1", "grid over beta 2")
    (axes,) = draw({kind: [history] for kind in kinds}, limit=200).axes
    medians = [line for line in axes.lines if line.get_linewidth() > 2]
    assert len({line.get_color() for line in medians}) == len({line.get_label() for line in medians}) == 4
    assert rank_correlations([]) == {}


def test_known_codes_are_what_they_are_called(small_data: DSprites) -> None:
    """The perfect code is at the ceiling, the others are not, and the table has companions and chance levels."""
    scores = {}
    for codes in ("perfect", "rotated", "random"):
        for name, (metric, rows) in metrics_of(["mig", "mig_exact", "infomec"], dataset=None, data=small_data).items():
            scores[codes, name] = metric.score(sample_of(codes, small_data, rows))
    ceiling = scores["perfect", "mig"].ceiling
    assert ceiling is not None
    # scale and orientation have two values each, which the random codes of 384 images know a little of
    for name, best in (("mig", ceiling), ("mig_exact", 1.0)):
        assert scores["perfect", name].value > best - 0.05
        assert scores["random", name].value < scores["rotated", name].value < 0.6 * best
    assert "elbo" not in scores_of(partial(sample_of, "random", small_data), small_data)  # which needs a decoder
    assert list(cells_of("infomec", scores["perfect", "infomec"])) == ["infomec", "infomec, infoc", "infomec, infoe"]


def test_the_angle_of_every_model_is_taken_of_the_codes_that_its_checkpoint_keeps(make_sweep, capsys) -> None:
    trials = {
        "whole": {"migs": [0.1, 0.2]},
        "cut": {"migs": [0.3]},
        "other": {"migs": [0.2, 0.1], "latent_size": 1},
    }
    folder: Path = make_sweep(trials)
    (model,) = models_of(read_sweep(folder), SPACE)
    assert model.trial.trial_id == "whole"
    assert model.codes.mean.shape == (SPACE.size, 3)
    assert model.rotation.rotated_score > 0
    assert "other is left out: it has one latent." in capsys.readouterr().err


def test_a_code_on_a_circle_is_rotated_along_it_and_back() -> None:
    """Fails where the two latents are rotated in other units than their standard deviations, or the others too."""
    angles = torch.arange(0, 360, dtype=torch.float64).deg2rad().float()
    mean = torch.stack([3 * angles.cos(), torch.linspace(0, 1, 360), 5 * angles.sin()], dim=1)
    variance = torch.tensor([9.0, 7.0, 25.0]) / 100  # of the circle, the same in all directions
    before = DiagonalGaussian(mean, variance.log().expand(360, 3))
    after = rotated(before, (0, 2), 30)
    further = mean.roll(-30, 0)
    expected = torch.stack([further[:, 0], mean[:, 1], further[:, 2]], dim=1)
    torch.testing.assert_close(after.mean, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(after.logvar, before.logvar)
    torch.testing.assert_close(rotated(after, (0, 2), -30).mean, mean, rtol=0, atol=1e-4)
    assert differences(before, before, batch_size=64).tolist() == [0.0] * 150


def test_bends_are_measured_in_steps_of_the_position_and_of_the_scale() -> None:
    """The columns of a latent are stretched by a tenth for half of the sprites; that of size follows the row."""
    sprite, column, row = np.meshgrid(np.arange(12), np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij")
    stretched = -0.3 * column * (1 + 0.1 * (sprite % 2)) + 0.2 * (sprite - 5.5)
    size = 0.5 * (sprite // 2) + 0.05 * np.sign(row)
    grid = np.stack([0.3 * row, size, stretched], axis=-1)
    widths = np.log([0.01, 0.1, 0.04]) * 2
    codes = Representation(grid.reshape(-1, 3), logvar=np.tile(widths, (grid[..., 0].size, 1)))
    assert stretch(grid) == pytest.approx(0.05 / 1.05 * np.arange(-3.5, 4).std())
    assert stretch(grid.swapaxes(1, 2)) == pytest.approx(0, abs=1e-9)
    assert position_in_size(codes, grid, np.arange(12) // 2) == pytest.approx((0.1, 0.2))


def test_normal_marginals_keep_the_order_of_each_latent() -> None:
    values = np.random.default_rng(0).uniform(size=(10_000, 2)) * [1.0, 50.0]
    normal = normal_marginals(values)
    assert np.array_equal(normal.argsort(0), values.argsort(0))
    np.testing.assert_allclose(
        [normal.mean(0), normal.std(0), (normal**4).mean(0)], [[0, 0], [1, 1], [3, 3]], atol=0.02
    )


def test_numbers_early_in_training_are_paired_with_scores_at_the_end(make_sweep) -> None:
    """Of trials that ran all their steps alone. Four trials have 24 orders, of which two are as far from none."""
    folder: Path = make_sweep(
        {name: {"migs": [0.1, 0.1], "exact": exact} for name, exact in zip("abcd", (0.5, 0.4, 0.3, 0.1), strict=True)}
        | {"e": {"migs": [0.1, 0.1]}}
    )
    losses = {"a": 10.0, "b": 12.0, "c": 15.0, "d": 30.0, "e": 5.0}
    trials = [
        replace(trial, reports=tuple({**each, "loss/total_nats": losses[trial.trial_id]} for each in trial.reports))
        for trial in read_sweep(folder).trials
    ]
    rows = [numbers_and_score(trial, "loss/total_nats", steps=[100, 200], score="mig_exact") for trial in trials]
    assert rows == [[10.0, 10.0, 0.5], [12.0, 12.0, 0.4], [15.0, 15.0, 0.3], [30.0, 30.0, 0.1], None]
    unfinished = replace(trials[0], reports=trials[0].reports[:1])
    assert numbers_and_score(unfinished, "loss/total_nats", steps=[100], score="mig_exact") is None
    for number, steps in (("loss/total_nats", [100, 150]), ("loss/none_nats", [100])):
        assert numbers_and_score(trials[0], number, steps=steps, score="mig_exact") is None
    assert numbers_and_score(trials[0], "mig", steps=[200], score="mig_exact") == [0.1, 0.5]
    losses, _, scores = np.array(rows[:4]).T
    assert rank_correlation(losses, scores) == (pytest.approx(-1), pytest.approx(2 / 24))


def test_history_follows_the_clock_over_all_trials(make_sweep) -> None:
    """Fails where trials are read one after the other, or steps are not counted from the report before."""
    folder: Path = make_sweep({"a": {"migs": [0.1, 0.4]}, "b": {"migs": [0.3, 0.2]}})
    for name, reports in {"a": [(1.0, 100, 0.1), (4.0, 200, 0.4)], "b": [(2.0, 100, 0.3), (3.0, 200, 0.2)]}.items():
        with SummaryWriter(str(folder / "search" / f"trial_{name}")) as writer:
            for time, step, mig in reports:
                writer.add_scalar("mig", mig, step, walltime=time)
    history = read_history(read_sweep(folder))
    assert history.spent.tolist() == [100, 200, 300, 400]
    assert history.best.tolist() == pytest.approx([0.1, 0.3, 0.3, 0.4])
    assert history.begun.tolist() == [1, 2, 2, 2]


def test_what_was_found_for_some_steps_and_what_a_score_cost() -> None:
    history = History(np.array([100, 200, 300]), np.array([0.1, 0.3, 0.3]), np.array([1, 2, 2]))
    assert [history.best_at(steps) for steps in (99, 100, 250, 900)] == [0.0, 0.1, 0.3, 0.3]
    assert [history.begun_at(steps) for steps in (99, 100, 900)] == [0, 1, 2]
    assert (history.steps_to(0.1), history.steps_to(0.2), history.steps_to(0.31)) == (100, 200, None)


def test_early_scores_are_correlated_with_the_last_of_trials_that_ran_to_their_end(make_sweep) -> None:
    trials = {
        "a": {"migs": [0.1, 0.9]},
        "b": {"migs": [0.2, 0.5]},
        "c": {"migs": [0.3, 0.1]},
        "cut": {"migs": [0.9]},
    }
    correlations = rank_correlations(read_sweep(make_sweep(trials)).trials)
    assert correlations == {100: (pytest.approx(-1), 3)}


@pytest.fixture
def table(make_sweep):
    """Two configurations, one of two seeds: one is never good, one is from its first report."""
    trials = {
        "bad": {"migs": [0.1, 0.2], "beta": 1.0},
        "good": {"migs": [0.3, 0.4], "beta": 8.0},
        "again": {"migs": [0.3, 0.4], "beta": 8.0, "seed": 1},
        "cut": {"migs": [0.9], "beta": 8.0, "seed": 2},
    }
    return read_table(read_sweep(make_sweep(trials)).trials)


class RecordingDraw:
    """Gives the good configuration, the bad one, then the good one for ever; keeps the scores of those that ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, float | None]] = []

    def next(self, index: int) -> PlannedTrial:
        values = {"beta": 1.0 if index == 1 else 8.0, "latent_size": 3, "lr": 1e-3}
        return PlannedTrial(index, TrialConfig.from_dict(values))

    def begin(self, trial: PlannedTrial) -> None:
        raise AssertionError("no trial was there before")

    def end(self, index: int, score: float | None) -> None:
        self.ends.append((index, score))


def test_a_table_holds_the_trials_that_ran_to_their_end(table) -> None:
    good, bad = ((100, 0.3), (200, 0.4)), ((100, 0.1), (200, 0.2))
    assert table.curves == {(8.0, 3, 1e-3): [good, good], (1.0, 3, 1e-3): [bad]}
    assert (table.steps, table.budget) == (200, 400)


@pytest.mark.parametrize(
    ("other", "what"),
    [({"beta": 2.0, "latent_size": 4}, "Every configuration"), ({"batch_size": 16}, "of one study")],
)
def test_a_table_with_holes_or_of_two_studies_is_refused(make_sweep, other: dict[str, float], what: str) -> None:
    trials = {"a": {"migs": [0.1, 0.2]}, "b": {"migs": [0.1, 0.2], "seed": 1} | other}
    with pytest.raises(ValueError, match=what):
        read_table(read_sweep(make_sweep(trials)).trials)


@pytest.mark.parametrize("draw", [grid_draw, random_draw, tpe_draw])
def test_a_replay_spends_a_grids_steps_on_what_the_trials_reported(table, draw) -> None:
    history = replay(table, draw(table, 0), NoStopping(), generator=np.random.default_rng(0))
    assert history.spent.tolist() == [0, 100, 200, 300, 400]
    assert history.begun.tolist() == [0, 1, 1, 2, 2]
    assert history.best[1] in (0.1, 0.3)
    if draw is grid_draw:
        assert history.best[-1] == 0.4  # the good one is among the two


def test_a_trial_that_is_stopped_is_charged_for_what_it_ran(table) -> None:
    """The good one goes on, the bad one is stopped half way, and a third begins; without a rule two spend it all."""
    draw = RecordingDraw()
    whole = replay(table, draw, NoStopping(), generator=np.random.default_rng(0))
    assert draw.ends == [(0, 0.4), (1, 0.2)]
    assert whole.begun_at(400) == 2
    draw = RecordingDraw()
    rule = SuccessiveHalving(grace_steps=100, max_steps=200, keep_one_of=3)
    halved = replay(table, draw, rule, generator=np.random.default_rng(0))
    assert draw.ends == [(0, 0.4), (1, 0.1), (2, 0.4)]
    assert halved.spent.tolist() == [0, 100, 200, 300, 400, 500]
    assert halved.begun.tolist() == [0, 1, 1, 2, 3, 3]


def test_as_many_trials_as_the_budget_is_good_for(table) -> None:
    """200 steps each without a rule; 100 and a third of 100 with one: 400 / 133."""
    assert (table.num_trials(None), table.num_trials(100)) == (2, 3)


def test_results_keep_the_studies_that_are_not_here(make_sweep) -> None:
    confirming = {"new": {"migs": [0.2, 0.3]}, "other": {"migs": [0.2, 0.1], "seed": 1}}
    mine = collected(read_sweep(make_sweep({"a": {"migs": [0.1, 0.4]}}, confirming=confirming)))
    name = next(iter(mine["studies"]))
    known = {
        "studies": {name: "old", "elsewhere": "kept"},
        "configurations": [{"study": name, "mig": []}, {"study": "elsewhere", "mig": [0.9]}],
        "seed_study": [{"study": "elsewhere"}],
    }
    results = merged(known, mine)
    assert results["studies"]["elsewhere"] == "kept"
    assert results["studies"][name] != "old"
    assert [one["study"] for one in results["configurations"]] == ["elsewhere", name]
    assert results["configurations"][1]["mig"] == [0.3, 0.1]
    assert results["seed_study"] == [{"study": "elsewhere"}]
    kept = merged(json.loads((ROOT / "docs" / "results.json").read_text()), mine)  # the one that is there
    assert {"beta-vae", name} <= {one["study"] for one in kept["configurations"]}
    assert confirmed_in(mine) == []  # no exact score has been taken


def test_the_figure_of_results_is_of_the_exact_score(make_sweep) -> None:
    """Fails if it shows the score of a search that chose by another beside it."""
    searched = {"a": {"migs": [0.1, 0.4], "exact": 0.5}}
    confirming = {f"{seed}": {"migs": [0.2, 0.3], "exact": exact, "seed": seed} for seed, exact in ((1, 0.3), (2, 0.4))}
    folder = make_sweep(searched, confirming=confirming)
    (drawn,) = confirmed_in(collected(read_sweep(folder)))
    assert (drawn.final_scores, drawn.search_score) == ((0.3, 0.4), None)  # in the order of `mig`, by which it chose
    record = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(record | {"options": {"report": {"select": "mig_exact"}}}))
    (drawn,) = confirmed_in(collected(read_sweep(folder)))
    assert (drawn.final_scores, drawn.median, drawn.search_score) == ((0.4, 0.3), pytest.approx(0.35), 0.5)


@pytest.mark.parametrize("num_seeds", [4, 5])
def test_the_figure_of_results_has_studies_of_new_seeds_without_a_search(make_sweep, num_seeds: int) -> None:
    trials = {str(seed): {"migs": [0.2, 0.3], "exact": 0.1 * (1 + seed), "seed": seed} for seed in range(num_seeds)}
    drawn = confirmed_in(collected(read_sweep(make_sweep(trials))))
    assert [one.search_score for one in drawn] == ([None] if num_seeds == 5 else [])
    assert all(sorted(one.final_scores) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]) for one in drawn)


def test_a_study_that_chose_nothing_is_recorded_as_it_ended(make_sweep) -> None:
    """Fails where the best report is taken in place of the last."""
    (one,) = collected(read_sweep(make_sweep({"a": {"migs": [0.4, 0.1]}})))["configurations"]
    assert one["mig"] == [0.1]
    assert "search_score_selected_with_labels" not in one


def test_a_study_that_looked_at_no_factor_has_the_scores_that_were_taken_later(make_sweep) -> None:
    sweep = read_sweep(make_sweep({"a": {"migs": [0.4, 0.1], "exact": 0.2}}))
    (trial,) = sweep.trials
    reports = [
        {"elbo": -100.0} | {name: value for name, value in report.items() if not name.startswith(("mig/", "mig_q"))}
        for report in trial.reports
    ]
    for report in reports:
        del report["mig"]
    unlabelled = replace(sweep, trials=(replace(trial, reports=tuple(reports), rank_by="elbo"),))
    (one,) = collected(unlabelled)["configurations"]
    assert one["mig_exact"] == [0.2]
    assert not {"mig", "medians"} & one.keys()


@pytest.mark.parametrize("script", sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("studies/*.py")]))
def test_a_script_runs_its_own_checkout_whatever_is_installed(script: Path) -> None:
    """`measure` does so for the benchmarks; run.py and analyze.py are run for it, in test_run."""
    text = script.read_text()
    first = re.search(r"^(from|import) (betavae|sweeps)", text, re.MULTILINE)
    own = re.search(r"^(sys\.path\.insert|from measure|import measure)", text, re.MULTILINE)
    assert first is None or (own is not None and own.start() < first.start())


def test_the_table_of_methods_has_a_row_for_each_value(write_sweep, tmp_path: Path) -> None:
    trials = {
        "a": {"migs": [0.0, 0.1], "beta": 4.0, "seed": 1},
        "b": {"migs": [0.2, 0.3], "beta": 16.0, "seed": 1},
        "c": {"migs": [0.0, 0.5], "beta": 4.0, "seed": 2},
    }
    rows = rows_of(read_sweep(write_sweep(tmp_path / "study", trials)).trials)
    assert [row[:4] for row in rows] == [
        ["beta-vae", "beta 4", "2", "0.300 (0.100 to 0.500)"], ["beta-vae", "beta 16", "1", "0.300 (0.300 to 0.300)"],
    ]  # fmt: skip
    assert {row[4] for row in rows} == {"not taken"}
    assert len(rows[0]) == len(heading())
