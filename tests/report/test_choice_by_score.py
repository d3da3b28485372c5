"""Models that are chosen by a score of the end of their training, such as the exact MIG."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_folders import chosen
from toy_parts import Blocks

from betavae.data import DSprites
from betavae.records.sweep import Sweep, read_sweep
from betavae.report.confirmation import confirmed
from betavae.report.headline import headline
from betavae.report.settings import settings_of
from betavae.report.trial_notes import trial_notes
from betavae.report.write import write_report
from betavae.selection.rules import find_rule
from sweeps.choosing import (
    choose_models,
    files_to_read,
    rated_by_score,
    scores_now,
)
from sweeps.options.options import ReportOptions
from sweeps.storage.mirror import Mirror
from sweeps.tables import Results, format_table

MakeSweep = Callable[..., Path]

LABEL = "exact MIG"
OPTIONS = ReportOptions(select="mig_exact")

SEARCHED = {
    **{f"a{seed}": {"migs": [0.6, 0.5], "exact": 0.30 + seed / 100, "beta": 8.0, "seed": seed} for seed in range(6)},
    **{f"b{seed}": {"migs": [0.3, 0.4], "exact": 0.40 + seed / 100, "beta": 4.0, "seed": seed} for seed in range(6)},
    "c0": {"migs": [0.9], "beta": 1.0, "stopped": True},
}
"""By `mig` the setting of beta 8 leads, by the exact score of final models that of beta 4; a stopped trial has none."""

CONFIRMING = {
    f"000{place}": {"migs": [0.1, mig], "exact": exact, "beta": 4.0, "seed": 500_000 + place}
    for place, (mig, exact) in enumerate([(0.30, 0.45), (0.35, 0.25), (0.20, 0.35)])
}


@pytest.fixture
def sweep(make_sweep: MakeSweep) -> Sweep:
    return chosen(read_sweep(make_sweep(SEARCHED, confirming=CONFIRMING, outcome="done")))


def test_settings_rank_by_the_score_at_the_end(sweep: Sweep) -> None:
    first, second, last = settings_of(sweep.trials)
    assert (first.config.value("beta"), first.median) == (4.0, pytest.approx(0.425))
    assert first.scores == pytest.approx((0.45, 0.44, 0.43, 0.42, 0.41, 0.40))
    assert first.best_scores == (0.4,) * 6
    assert (second.config.value("beta"), second.median) == (8.0, pytest.approx(0.325))
    assert (last.config.value("beta"), last.is_rated) == (1.0, False)


def test_the_headline_tests_the_score_that_chooses(sweep: Sweep) -> None:
    found = headline(sweep.trials, selection=sweep.selection)
    assert found.claim == (f"beta = 4 wins by 0.100 over 6 seeds: a median {LABEL} of 0.425 against 0.325 of beta = 8.")
    assert "by +0.100 on average (paired permutation test, p = 0.031)" in found.certainty


def test_one_setting_that_has_the_score_is_no_comparison(make_sweep: MakeSweep) -> None:
    """Fails if the highest `mig` of a stopped trial is compared with the exact score of another."""
    trials = {name: values for name, values in SEARCHED.items() if name in ("a0", "c0")}
    sweep = chosen(read_sweep(make_sweep(trials)))
    found = headline(sweep.trials, selection=sweep.selection)
    assert found.claim == f"beta = 8 alone has an {LABEL}: 0.300."
    assert found.certainty.startswith("No model of another setting was trained to its end, so none has this score.")


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (1, "One model of another setting was trained to its end, and has no such score."),
        (2, "2 models of other settings were trained to their end, and have no such score."),
    ],
)
def test_models_whose_score_is_missing_are_not_said_to_be_unfinished(
    make_sweep: MakeSweep, count: int, says: str
) -> None:
    others = {f"d{place}": {"migs": [0.2, 0.2], "beta": 1.0 + place} for place in range(count)}
    sweep = chosen(read_sweep(make_sweep({"a0": SEARCHED["a0"]} | others)))
    assert headline(sweep.trials, selection=sweep.selection).certainty == says


def test_the_confirmation_is_of_the_score_that_chooses(sweep: Sweep) -> None:
    (found,) = confirmed(sweep.trials, sweep.confirming, score=sweep.chosen_by_score)
    assert (found.final_scores, found.median) == ((0.45, 0.35, 0.25), 0.35)
    assert found.search_score == pytest.approx(0.425)
    assert found.other_median("mig") == 0.30
    assert found.to_dict()["mig"] == [0.30, 0.20, 0.35]  # in the order of the exact scores
    certainty = headline(sweep.trials, [found], selection=sweep.selection).certainty
    assert "The search had promised 0.425, selected with labels: 0.075 more." in certainty
    (by_mig,) = confirmed(sweep.trials, sweep.confirming)
    assert (by_mig.median, by_mig.search_score, by_mig.other_median("mig_exact")) == (0.30, 0.4, 0.35)


def test_the_files_hold_the_best_seen_and_the_end(sweep: Sweep, small_data: DSprites, tmp_path: Path) -> None:
    write_report(sweep, tmp_path / "report", data={"dsprites": small_data}, num_best=1, importances={})
    with (tmp_path / "report" / "trials.csv").open() as file:
        rows = {row["trial"]: row for row in csv.DictReader(file)}
    assert (rows["a0"]["best/mig"], rows["a0"]["final/mig"], rows["a0"]["final/mig_exact"]) == ("0.6", "0.5", "0.3")
    assert (rows["c0"]["best/mig"], rows["c0"]["choice"], rows["c0"]["final/mig_exact"]) == ("0.9", "", "")
    assert [row["rank"] for row in (rows["b5"], rows["a5"], rows["c0"])] == ["1", "7", "13"]
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["chosen_by"] == LABEL
    assert summary["settings"][0]["median"] == pytest.approx(0.425)
    assert summary["confirmed"][0]["score"] == "mig_exact"
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"median {LABEL}" in page
    assert "best MIG" in page


def test_the_printed_table_ranks_by_the_score_and_shows_the_best_seen(sweep: Sweep) -> None:
    trials = rated_by_score(read_sweep(sweep.folder).trials, OPTIONS)
    header, first, *_, last = (
        row.split() for row in format_table(trials, root=sweep.folder, chosen_by="mig_exact").splitlines()
    )
    assert header[:2] == ["mig_exact", "shape"]
    assert first[0].startswith("0.45")
    assert last[0] == "-"
    (results,) = Results.by_dataset(["dsprites"], trials, [], chosen_by="mig_exact")
    assert (
        "b5, mig_exact 0.450 at its end, the highest of 12, selected with labels (their median 0.375)" in results.best()
    )
    alone = [trial for trial in trials if trial.trial_id in ("b5", "c0")]  # c0 was stopped, and has no final model
    (results,) = Results.by_dataset(["dsprites"], alone, [], chosen_by="mig_exact")
    assert "b5, mig_exact 0.450 at its end, the only one, selected with labels: " in results.best()


def test_a_trial_that_is_pointed_at_names_the_score_that_chose(sweep: Sweep) -> None:
    notes = trial_notes(sweep, [], ["beta"])
    assert notes["b5"]["text"] == f"{LABEL} 0.4500, MIG 0.4000. beta = 4. Seed 5, finished"
    assert notes["c0"]["text"] == "MIG 0.9000. beta = 1. Seed 0, stopped"


def test_a_sweep_without_the_score_ranks_as_before(make_sweep: MakeSweep) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}, "b": {"migs": [0.4], "seed": 1}})
    trials = rated_by_score(read_sweep(folder).trials, OPTIONS)
    (results,) = Results.by_dataset(["dsprites"], trials, [], chosen_by="mig_exact")
    assert results.best().startswith("best       a, mig 0.500, selected with labels")
    assert results.tables(root=folder).split()[0] == "mig"


def test_a_score_that_is_known_needs_neither_images_nor_checkpoints(sweep: Sweep) -> None:
    trials = read_sweep(sweep.folder).trials
    selection, problems = choose_models(
        trials, find_rule("mig_exact"), {}, device="cpu", mirror=Mirror.at(str(sweep.folder))
    )
    assert (len(selection.scores), problems) == (12, [])
    assert files_to_read(find_rule("mig_exact"), trials) == ()
    assert files_to_read(find_rule("dci"), trials) != ()


def test_trials_that_end_while_the_report_is_made_are_ranked_too(sweep: Sweep) -> None:
    assert sweep.selection is not None
    earlier = replace(sweep.selection, scores={"a0": 0.3})
    now = scores_now(earlier, sweep.trials)
    assert now is not None
    assert now.scores == sweep.selection.scores


def test_a_data_set_of_which_no_model_has_the_score_ranks_as_without(make_sweep: MakeSweep, blocks: Blocks) -> None:
    trials = {
        "0000": {"migs": [0.1, 0.2], "exact": 0.3},
        "0001": {"migs": [0.4], "dataset": "blocks", "latent_size": 3, "stopped": True},
    }
    parts = chosen(read_sweep(make_sweep(trials))).by_dataset()
    assert parts["dsprites"].chosen_by_score == "mig_exact"
    assert parts["blocks"].selection is None


def test_a_stopped_trial_that_is_rated_does_not_come_last(make_sweep: MakeSweep) -> None:
    """With one finished trial, a score of every evaluation compares the others too."""
    trials = {"a": {"migs": [0.1, 0.2]}, "b": {"migs": [0.9], "beta": 8.0, "stopped": True}}
    sweep = chosen(read_sweep(make_sweep(trials)), "mig")
    found = headline(sweep.trials, selection=sweep.selection)
    assert found.claim.startswith("beta = 8 ranks first")
    assert found.certainty.endswith("1 of 2 trials did not run to their end; they are ranked by fewer steps.")


def test_a_trial_that_the_score_has_not_rated_has_none_in_the_printed_table(make_sweep: MakeSweep) -> None:
    trials = {
        **{name: {"migs": [0.5, mig], "seed": seed} for seed, (name, mig) in enumerate([("a", 0.2), ("b", 0.3)])},
        "c": {"migs": [0.9], "seed": 2, "stopped": True},
    }
    rated = rated_by_score(read_sweep(make_sweep(trials)).trials, ReportOptions(select="mig"))
    rows = [row.split() for row in format_table(rated, root=rated[0].folder.parents[1], chosen_by="mig").splitlines()]
    assert [row[0] for row in rows] == ["mig", "0.3000", "0.2000", "-"]
    assert "0.9000" in rows[-1]  # its best
