import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from betavae.data import DSprites
from betavae.records.sweep import read_sweep
from betavae.report.comparison import probability_better, seeds_needed, t_test_power
from betavae.report.confirmation import confirmed
from betavae.report.findings import describe_state
from betavae.report.headline import headline
from betavae.report.write import write_report

SEARCHED = {"a": {"migs": [0.3, 0.5], "beta": 8.0}, "b": {"migs": [0.4, 0.2], "beta": 4.0}}
NEW_SEEDS = {
    **{f"000{i}": {"migs": [0.9, mig], "beta": 8.0, "seed": 500_000 + i} for i, mig in enumerate((0.30, 0.10, 0.20))},
    **{f"100{i}": {"migs": [0.1, mig], "beta": 4.0, "seed": 501_000 + i} for i, mig in enumerate((0.25, 0.35, 0.15))},
}
CUT = {"0003": {"migs": [0.99], "beta": 8.0, "seed": 500_003}}


def test_what_was_confirmed_is_ranked_by_the_median_at_the_end(make_sweep) -> None:
    """Fails where a run's best evaluation counts (0.9), or a run that has not ended (0.99)."""
    sweep = read_sweep(make_sweep(SEARCHED, confirming=NEW_SEEDS | CUT))
    first, second = confirmed(sweep.trials, sweep.confirming)
    assert (first.config.value("beta"), first.median, first.search_score) == (4.0, 0.25, 0.4)
    assert (second.config.value("beta"), second.final_scores, second.search_score) == (8.0, (0.30, 0.20, 0.10), 0.5)
    assert second.quartiles == pytest.approx((0.15, 0.25))
    assert [trial.config.seed for trial in second.trials] == [500_000, 500_002, 500_001]


def test_the_headline_speaks_from_the_confirmation(make_sweep) -> None:
    sweep = read_sweep(make_sweep(SEARCHED, confirming=NEW_SEEDS))
    found = headline(sweep.trials, confirmed(sweep.trials, sweep.confirming))
    assert found.claim == "beta = 4 has a median MIG of 0.250 over 3 new seeds, the middle half in 0.200 .. 0.300."
    assert "The search had promised 0.400, selected with labels: 0.150 more." in found.certainty
    assert "Its median is above that of beta = 8 (0.200 over 3 seeds) in " in found.certainty
    assert "if they differ as seen, about 64 seeds of each would tell" in found.certainty  # half a standard deviation
    assert "That it is the best of 2 by these seeds flatters it." in found.certainty
    assert "in pairs" not in found.certainty  # the seeds are others
    assert "(permutation test, p = " in found.certainty
    assert "not confirmed" not in found.certainty


def test_confirmations_of_the_same_seeds_are_compared_in_pairs_too(make_sweep) -> None:
    """Differences of +0.2, -0.1 and +0.1, as the final scores are: 6 of 8 choices of signs are as far from 0."""
    differences = {"8": (0.30, 0.10, 0.20), "4": (0.50, 0.00, 0.30)}
    new_seeds = {
        f"{beta}-{seed}": {"migs": [0.9, mig], "beta": float(beta), "seed": 500 + seed}
        for beta, migs in differences.items()
        for seed, mig in enumerate(migs)
    }
    sweep = read_sweep(make_sweep(SEARCHED, confirming=new_seeds))
    certainty = headline(sweep.trials, confirmed(sweep.trials, sweep.confirming)).certainty
    assert (
        "in pairs of the same seed it is better by +0.067 on average (paired permutation test, p = 0.75)" in certainty
    )
    assert "bootstrap resamples of the seeds; in pairs" in certainty
    assert "With 3 pairs p is at least 0.25" in certainty


def test_a_seed_that_failed_and_a_best_that_was_not_confirmed_are_named(make_sweep) -> None:
    new_seeds = {name: values for name, values in NEW_SEEDS.items() if name.startswith("1")}
    new_seeds["1003"] = {"migs": [0.1], "beta": 4.0, "seed": 501_003, "error": "NonFiniteLossError: nan"}
    sweep = read_sweep(make_sweep(SEARCHED, confirming=new_seeds))
    found = headline(sweep.trials, confirmed(sweep.trials, sweep.confirming))
    assert "over 3 new seeds (1 more failed)" in found.claim
    assert "The search has a better one that was not confirmed." in found.certainty
    assert "flatters" not in found.certainty
    assert "4 that confirm: 3 finished, 1 failed." in describe_state(sweep)


def test_a_search_trial_that_cannot_be_read_leaves_the_confirmation_standing(make_sweep, small_data: DSprites) -> None:
    folder = make_sweep(SEARCHED, confirming={name: v for name, v in NEW_SEEDS.items() if name.startswith("1")})
    for file in ("params.json", "checkpoint_000000/report.json"):
        (folder / "search" / "trial_b" / file).write_text("{")
    sweep = read_sweep(folder)
    (one,) = confirmed(sweep.trials, sweep.confirming)
    assert (one.median, one.search_score) == (0.25, None)
    assert "promised" not in headline(sweep.trials, [one]).certainty
    report = write_report(sweep, folder / "report", data={"dsprites": small_data}, num_best=1, importances={})
    assert any("search/b could not be read" in problem for problem in report.problems)


def test_one_new_seed_is_no_result(make_sweep) -> None:
    sweep = read_sweep(make_sweep(SEARCHED, confirming={"0000": NEW_SEEDS["0000"]}))
    found = headline(sweep.trials, confirmed(sweep.trials, sweep.confirming))
    assert found.claim == "beta = 8 has a MIG of 0.300 with one new seed."
    assert found.certainty.startswith("One seed is no result")


def test_the_page_and_the_summary_show_every_new_seed(make_sweep, small_data: DSprites) -> None:
    sweep = read_sweep(make_sweep(SEARCHED, confirming=NEW_SEEDS, outcome="done"))
    page = write_report(sweep, sweep.folder / "report", data={"dsprites": small_data}, num_best=1, importances={}).page
    text = Path(page).read_text()
    assert all(f"{mig:.3f} " in text for mig in (0.30, 0.10, 0.20, 0.25, 0.35, 0.15))
    assert (sweep.folder / "report" / "figures" / "confirmation.pdf").exists()
    first, second = json.loads((sweep.folder / "report" / "summary.json").read_text())["confirmed"]
    assert (first["config"]["beta"], first["median"]) == (4.0, 0.25)
    assert dict(zip(second["seeds"], second["mig"], strict=True)) == {500_000: 0.30, 500_002: 0.20, 500_001: 0.10}
    assert second["mig_exact"] == [None] * 3


def test_probability_better_of_groups_that_do_not_overlap_or_are_one() -> None:
    assert probability_better((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)) == 1
    assert probability_better((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)) == 0
    # symmetric: one half, but for the error of 20,000 resamples, five standard errors of at most 1 / 2
    assert abs(probability_better((0.1, 0.2, 0.3), (0.1, 0.2, 0.3)) - 0.5) < 5 * 0.5 / math.sqrt(20_000)


def test_probability_better_counts_every_resample_of_two_seeds() -> None:
    """Medians of two draws from (0, 2) are 0, 1, 2 with 1/4, 1/2, 1/4; the other side is always 0.5."""
    expected = 0.5 + 0.25
    error = 5 * math.sqrt(expected * (1 - expected) / 20_000)
    assert abs(probability_better((0.0, 2.0), (0.5, 0.5)) - expected) < error


@pytest.mark.parametrize(("effect", "number"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17), (2.0, 6)])
def test_so_many_seeds_give_a_t_test_its_power(effect: float, number: int) -> None:
    """The numbers that tables of power have for 80 % at 5 %; by the normal approximation the last would be 4."""
    others = (-math.sqrt(0.5), math.sqrt(0.5))  # a standard deviation of 1
    assert seeds_needed([other + effect for other in others], others) == number


def test_the_power_of_a_t_test_is_the_share_of_tests_that_tell() -> None:
    draws = np.random.default_rng(0)
    first, second = draws.normal(1.5, 1, (20_000, 5)), draws.normal(0, 1, (20_000, 5))
    told = scipy.stats.ttest_ind(first, second, axis=1).pvalue < 0.05
    assert t_test_power(1.5, 5) == pytest.approx(told.mean(), abs=5 * 0.5 / math.sqrt(20_000))


def test_equal_scores_apart_from_others_need_two_seeds_and_a_tiny_difference_none_that_is_named() -> None:
    assert seeds_needed((0.5, 0.5), (0.4, 0.4)) == 2
    assert seeds_needed((1e-9, 1.0), (0.0, 1.0 - 1e-9)) is None


@pytest.mark.parametrize(
    ("scores", "others"), [((0.3,), (0.1, 0.2)), ((0.1, 0.2), (0.2, 0.1)), ((0.5, 0.5, 0.0), (0.4, 0.4, 0.4))]
)
def test_no_number_of_seeds_is_named_where_none_can_be(scores: tuple[float, ...], others: tuple[float, ...]) -> None:
    assert seeds_needed(scores, others) is None


def test_what_the_search_saw_is_the_median_over_its_seeds_and_a_seed_counts_once(make_sweep) -> None:
    """The configuration was chosen by it: one lucky seed, or the same trial twice, says no more."""
    searched = {
        "a": {"migs": [0.30], "beta": 8.0, "seed": 0},
        "b": {"migs": [0.40], "beta": 8.0, "seed": 1},
        "c": {"migs": [0.90], "beta": 4.0, "seed": 0},
        "d": {"migs": [0.10], "beta": 4.0, "seed": 1},
        "e": {"migs": [0.05], "beta": 4.0, "seed": 2},
        "f": {"migs": [0.90], "beta": 4.0, "seed": 0},
    }
    new = {"0000": {"migs": [0.2, 0.3], "beta": 8.0, "seed": 500_000}}
    sweep = read_sweep(make_sweep(searched, confirming=new))
    (first,) = confirmed(sweep.trials, sweep.confirming)
    assert first.search_score == pytest.approx(0.35)
    assert "was not confirmed" not in headline(sweep.trials, [first]).certainty
