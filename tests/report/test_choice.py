"""What a choice cost, where its models have scores with labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from betavae.data import DSprites
from betavae.records.sweep import Selection, Sweep, read_sweep
from betavae.report.choice import agreements, bootstrap_interval, describe_rule, flagged, labels_of_choice
from betavae.report.choice_plots import choice_scatter
from betavae.report.export import CARD_FILE, export_best
from betavae.report.headline import headline
from betavae.report.write import write_report

RULE = {"a0": 0.5, "a1": 0.45, "a2": 0.1, "b0": 0.4, "b1": 0.35, "b2": 0.3}
"""By the rule the third seed of the first setting has failed."""

MIGS = {"a0": 0.4, "a1": 0.5, "a2": 0.05, "b0": 0.3, "b1": 0.1, "b2": 0.28}
"""With labels the second of the second has failed, too, and another model is the best."""

MakeSweep = Callable[..., Path]


def selection(*, needs_factors: bool = False, scores: dict[str, float] = RULE) -> Selection:
    return Selection("UDR", needs_factors, scores)


@pytest.fixture
def sweep(make_sweep: MakeSweep) -> Sweep:
    trials = {
        name: {"migs": [0.9 * mig, mig], "beta": 8.0 if name[0] == "a" else 4.0, "seed": int(name[1])}
        for name, mig in MIGS.items()
    }
    return read_sweep(make_sweep(trials, outcome="done")).with_selection(selection())


def test_the_cost_and_the_failed_seeds(sweep: Sweep) -> None:
    agreement = next(each for each in agreements(sweep) if each.column.name == "mig")
    assert [trial.trial_id for trial in agreement.trials] == sorted(RULE, key=lambda name: -RULE[name])
    assert (agreement.chosen, agreement.best) == (0.4, 0.5)
    assert agreement.share == pytest.approx(0.8)
    assert agreement.correlation == pytest.approx(spearmanr(list(RULE.values()), list(MIGS.values())).statistic)
    assert [trial.trial_id for trial in flagged(sweep.trials)] == ["a2"]
    assert (agreement.caught, agreement.missed, agreement.false_alarms) == (("a2",), ("b1",), ())


def test_the_headline_is_what_the_rule_chose_and_its_place_by_the_score(sweep: Sweep) -> None:
    """Fails if the setting that a rule prefers is said to lead by a score in which another one is ahead."""
    found = headline(sweep.trials, selection=sweep.selection)
    assert found.claim == "UDR chooses beta = 8, with a median of 0.450 over 3 seeds."
    assert "the next, beta = 4, has 0.350" in found.certainty
    assert "By its median MIG, 0.400, the setting is number 1 of 2." in found.certainty
    reversed_rule = selection(scores={name: 1 - score for name, score in RULE.items()})
    found = headline(sweep.with_selection(reversed_rule).trials, selection=reversed_rule)
    assert found.claim == "UDR chooses beta = 4, with a median of 0.650 over 3 seeds."
    assert "By its median MIG, 0.280, the setting is number 2 of 2." in found.certainty


def test_panels_of_different_models_have_one_scale_of_colours(sweep: Sweep) -> None:
    """Fails if the colours are those of the first panel alone, whose models have one beta."""
    few, *others = agreements(sweep)
    few = replace(few, trials=few.trials[:2], scores=few.scores[:2])
    assert {trial.config.value("beta") for trial in few.trials} == {8.0}
    figure = choice_scatter([few, *others], label="UDR")
    bar = figure.axes[-1]
    assert bar.get_ylim() == pytest.approx((4.0, 8.0))


def test_a_rule_that_scored_no_model_did_not_choose(two_datasets: Path) -> None:
    blocks = {"0004": 0.5, "0005": 0.4, "0006": 0.2, "0007": 0.1}
    parts = read_sweep(two_datasets).with_selection(selection(scores=blocks)).by_dataset()
    assert parts["dsprites"].selection is None
    assert parts["blocks"].selection is not None


def test_scores_are_those_at_the_end(make_sweep: MakeSweep) -> None:
    folder = make_sweep({"a": {"migs": [0.5, 0.2]}, "b": {"migs": [0.1, 0.4], "seed": 1}})
    sweep = read_sweep(folder).with_selection(selection(scores={"a": 0.9, "b": 0.1}))
    agreement = next(each for each in agreements(sweep) if each.column.name == "mig")
    assert (agreement.chosen, agreement.best, agreement.correlation) == (0.2, 0.4, None)  # two models: no correlation


def test_nothing_is_flagged_by_scores_below_zero(sweep: Sweep) -> None:
    """Half of a negative number is above it."""
    elbo = sweep.with_selection(selection(scores={name: -100.0 * score for name, score in RULE.items()}))
    assert flagged(elbo.trials) == []


def test_no_seed_of_a_small_setting_has_failed(sweep: Sweep) -> None:
    trials = [
        replace(trial, config=replace(trial.config, lr=1e-5 * (1 + place))) for place, trial in enumerate(sweep.trials)
    ]
    assert flagged(trials) == []


def test_without_a_rule_there_is_no_agreement(sweep: Sweep) -> None:
    plain = sweep.with_selection(None)
    assert agreements(plain) == []
    assert flagged(plain.trials) == []
    assert labels_of_choice(plain) == "with labels"
    assert describe_rule(plain) == "Models are chosen by their highest MIG during training, with labels."


def test_the_words_follow_the_rule(sweep: Sweep) -> None:
    assert labels_of_choice(sweep) == "without labels"
    assert "by UDR at the end of training, without labels: 6 of 6 models have it." in describe_rule(sweep)
    assert labels_of_choice(sweep.with_selection(selection(needs_factors=True))) == "with labels"


def test_the_interval_holds_the_correlation_and_narrows_with_models() -> None:
    generator = np.random.default_rng(0)
    widths = []
    for num_models in (20, 200):
        scores = generator.normal(size=num_models)
        others = scores + generator.normal(size=num_models)
        low, high = bootstrap_interval(scores, others)
        assert low < spearmanr(scores, others).statistic < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]
    same = np.arange(10.0)
    assert bootstrap_interval(same, same) == pytest.approx((1.0, 1.0))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of normal pairs with correlation r, Spearman's is 6 / pi * asin(r / 2)."""
    generator, correlation = np.random.default_rng(1), 0.6
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    covered = 0
    for _ in range(40):
        first = generator.normal(size=60)
        second = correlation * first + np.sqrt(1 - correlation**2) * generator.normal(size=60)
        low, high = bootstrap_interval(first, second)
        covered += low <= truth <= high
    assert covered >= 32  # of 38 expected, less four standard errors of 40 draws


def test_the_page_shows_the_final_model_of_the_chosen_and_the_card_says_so(
    sweep: Sweep, small_data: DSprites, tmp_path: Path
) -> None:
    data = {"dsprites": small_data}
    report = write_report(sweep, tmp_path / "report", data=data, num_best=1, importances={})
    page = Path(report.page).read_text()
    assert 'id="choice"' in page
    assert "without labels" in page
    assert "Flagged as failed seeds" in page
    assert (tmp_path / "report" / "figures" / "choice.png").exists()
    table = (tmp_path / "report" / "trials.csv").read_text().splitlines()
    assert table[0].split(",")[:3] == ["rank", "trial", "choice"]
    assert table[1].split(",")[1] == "a0"
    export_best(sweep, tmp_path / "export", data=data)
    card = (tmp_path / "export" / CARD_FILE).read_text()
    assert "**Selected without labels**: this is the final model of the best of 6 trials, by UDR" in card


def test_a_page_without_a_rule_has_no_such_section(sweep: Sweep, small_data: DSprites, tmp_path: Path) -> None:
    write_report(
        sweep.with_selection(None), tmp_path / "report", data={"dsprites": small_data}, num_best=1, importances={}
    )
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'id="choice"' not in page
    assert "chosen with labels" in page
