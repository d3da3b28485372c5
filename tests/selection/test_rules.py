"""Rules that choose among the models of a sweep's folder."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from label_free import having, rows_of
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import InputError, UnknownNameError
from betavae.metrics import METRICS, Codes, Scores
from betavae.models import VAE
from betavae.records.checkpoint import CODES_FILE, CONFIG_FILE, load_model, read_history, write_checkpoint
from betavae.records.sweep import Sweep, read_sweep
from betavae.records.trial import Trial, ranked
from betavae.report.settings import settings_of
from betavae.selection import cross_mig, model_centrality, udr
from betavae.selection.rules import Rule, _some_rows, find_rule, rule_names
from sweeps.analyze import _completed
from sweeps.choosing import choose_models, compared_trials, default_among, rule_of, selection_of
from sweeps.options.options import ReportOptions
from sweeps.storage.mirror import Mirror

ROWS, LATENTS = 2_000, 4
INDICES = np.arange(ROWS)
AGREEING, ODD = "abc", "x"
REPORTS = [0.1, 0.2]
"""Scores of both evaluations of a trial: it is finished after the second."""

Remake = Callable[..., Sweep]


def normal(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, LATENTS))


def codes_of(name: str) -> Codes:
    mean = normal(0)[:, np.random.default_rng(ord(name)).permutation(LATENTS)] + 0.1 * normal(ord(name))
    return Codes(INDICES, normal(9) if name == ODD else mean, np.full((ROWS, LATENTS), -3.0))


@pytest.fixture
def sweep(make_sweep, scores: Scores) -> Sweep:
    """Three models that agree, of two settings, and one that agrees with none; untrained, each of its own."""
    seeds = {"a": 0, "b": 1, "c": 0, ODD: 1}
    trials = {
        name: {"migs": REPORTS, "beta": 8.0 if name in "ab" else 4.0, "seed": seed} for name, seed in seeds.items()
    }
    folder = make_sweep(trials)
    for number, name in enumerate(trials):
        (checkpoint,) = (folder / "search" / f"trial_{name}").glob("checkpoint_*")
        config, history = TrialConfig.read(checkpoint / CONFIG_FILE), read_history(checkpoint)
        shutil.rmtree(checkpoint)
        write_checkpoint(
            checkpoint,
            config=config,
            model=VAE(3, generator=torch.Generator().manual_seed(number)),
            training={},
            scores=replace(scores, codes=codes_of(name)),
            report=history.reports[-1],
            earlier=history.reports[:-1],
            samples={},
        )
    return read_sweep(folder)


def checkpoint(sweep: Sweep, name: str) -> Path:
    (path,) = (sweep.folder / "search" / f"trial_{name}").glob("checkpoint_*")
    return path


@pytest.mark.parametrize("name", ["udr", "udr-lasso"])
def test_udr_of_kept_codes_finds_the_odd_one(sweep: Sweep, name: str) -> None:
    choice = find_rule(name, among="all").choose(sweep.trials)
    drawn = [_some_rows(codes_of(trial.trial_id)) for trial in sweep.trials]
    similarity = "lasso" if name == "udr-lasso" else "spearman"
    expected = udr([each.mean for each in drawn], logvars=[each.logvar for each in drawn], similarity=similarity)
    assert choice.scores == dict(zip([*AGREEING, ODD], expected.scores.tolist(), strict=True))
    assert choice.problems == []
    assert choice.scores[ODD] < 0.5 * min(choice.scores[each] for each in AGREEING)


def test_the_cross_model_mig_of_kept_codes_finds_the_odd_one(sweep: Sweep) -> None:
    choice = find_rule("cross-mig").choose(sweep.trials)
    drawn = [_some_rows(codes_of(trial.trial_id)) for trial in sweep.trials]
    expected = cross_mig([each.mean for each in drawn], logvars=[each.logvar for each in drawn])  # type: ignore[misc]
    assert choice.scores == dict(zip([*AGREEING, ODD], expected.scores.tolist(), strict=True))
    assert choice.scores[ODD] < 0.1 * min(choice.scores[each] for each in AGREEING)


def test_the_study_of_rules_says_how_far_they_agree_with_labels(
    sweep: Sweep, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    rows = rows_of(sweep, "udr", among="all")
    assert {row[0] for row in rows} == {"UDR"}
    assert [row[2:] for row in rows if row[3] == "MIG"] == [
        ["4", "MIG", "not known", "0.200 / 0.200 = 100%", "0 of 0, 0 false alarms"]
    ]
    assert having(sweep, "mig").trials == sweep.trials
    assert having(sweep, "mig_exact").trials == ()


def test_udr_among_the_seeds_of_a_setting(sweep: Sweep) -> None:
    """A good model whose only sibling is the odd one is not told from it."""
    scores = find_rule("udr", among="setting").choose(sweep.trials).scores
    assert scores["a"] == scores["b"] > 2 * scores["c"]
    assert scores["c"] == scores[ODD]


def test_udr_leaves_out_latents_by_the_kl_that_a_sweep_records(sweep: Sweep) -> None:
    """All latents have about 1.5 nats. The analysis takes the limit from the sweep's record, with its rule."""
    recorded = {"select": "udr", "udr_among": "all", "udr_min_kl": 2}
    of_record = replace(sweep, record={"options": {"report": recorded}})
    options = _completed(ReportOptions(), of_record)
    assert _completed(ReportOptions(select="udr"), of_record) == options
    assert _completed(ReportOptions(select="udr-lasso"), of_record) == ReportOptions(select="udr-lasso", exact=0)
    rule = rule_of(options, sweep.trials)
    assert rule == find_rule("udr", among="all", min_kl=2.0)
    assert set(rule.choose(sweep.trials).scores.values()) == {0.0}
    assert selection_of(rule, {}).label == "UDR (above 2 nats)"
    usual = rule_of(replace(options, udr_min_kl=None), sweep.trials)
    assert usual == find_rule("udr", among="all", min_kl=0.01)
    assert min(usual.choose(sweep.trials).scores.values()) > 0
    assert selection_of(usual, {}).label == "UDR"


def test_a_sweep_that_has_one_seed_of_each_setting_so_far_is_analysed_as_it_asks(sweep: Sweep) -> None:
    """Only who asks for it now is refused: the sweep's other seeds are still to come."""
    so_far = replace(
        sweep,
        trials=tuple(trial for trial in sweep.trials if trial.trial_id in "ac"),
        record={"options": {"report": {"select": "udr", "udr_among": "setting"}}},
    )
    options = _completed(ReportOptions(), so_far)
    assert (options.select, options.udr_among) == ("udr", "setting")
    assert rule_of(options, so_far.trials).choose(so_far.trials).scores == {}
    with pytest.raises(InputError, match="--udr-among setting needs a setting with two trials or more"):
        _completed(ReportOptions(select="udr", udr_among="setting"), so_far)


def on_blocks(sweep: Sweep, names: str) -> list[Trial]:
    """The trials of a sweep, those of some names as if they were of another data set."""
    return [
        replace(trial, config=replace(trial.config, dataset=BlocksDataset())) if trial.trial_id in names else trial
        for trial in sweep.trials
    ]


@pytest.mark.parametrize("name", ["udr", "udr-lasso", "cross-mig"])
def test_models_of_one_data_set_are_compared(sweep: Sweep, name: str) -> None:
    """Fails if the odd one, the only model of its data set, is compared with those of the other."""
    alone = find_rule(name).choose([trial for trial in sweep.trials if trial.trial_id != ODD]).scores
    assert find_rule(name).choose(on_blocks(sweep, ODD)).scores == alone


@pytest.mark.parametrize("name", ["udr", "cross-mig"])
def test_models_that_were_trained_on_a_part_of_a_data_set_are_compared_with_the_others(sweep: Sweep, name: str) -> None:
    trials = [
        replace(trial, config=TrialConfig.from_dict({**trial.config.to_dict(), "images": 700 + number}))
        for number, trial in enumerate(sweep.trials)
    ]
    scores = find_rule(name).choose(trials).scores
    assert set(scores) == {*AGREEING, ODD}
    assert scores == find_rule(name).choose(sweep.trials).scores
    assert find_rule("model-centrality").work(trials) == find_rule("model-centrality").work(sweep.trials)


def test_each_data_set_has_its_compared_trials_and_its_problem(sweep: Sweep, small_data: DSprites) -> None:
    """Three trials of dSprites ran all their steps; that no other of blocks did is no reason to leave out blocks."""
    trials = on_blocks(sweep, ODD)
    trials[3] = replace(trials[3], reports=trials[3].reports[:1], was_stopped=True)
    assert [trial.trial_id for trial in compared_trials(trials)] == [*AGREEING, ODD]
    selection, problems = choose_models(
        trials, find_rule("udr"), {"dsprites": small_data}, device="cpu", mirror=Mirror(sweep.folder)
    )
    assert set(selection.scores) == set(AGREEING)
    (problem,) = problems
    assert problem.startswith("UDR scored none of 1 model of blocks, so they rank by mig: ")


def test_rows_are_drawn_from_all_images() -> None:
    """Fails with the first rows: images lie in index order, so that these have one shape and one scale."""
    rows = _some_rows(codes_of("a")).rows
    assert len(np.unique(rows)) == len(rows) == 1_000
    assert np.diff(rows).min() > 0
    assert rows.mean() == pytest.approx(ROWS / 2, rel=0.05)


def test_model_centrality_of_the_final_models(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"num_points": 6, "batch_size": 2, "num_scale_images": 8}
    for name, number in zip(("NUM_POINTS", "BATCH_SIZE", "NUM_SCALE_IMAGES"), few.values(), strict=True):
        monkeypatch.setattr(f"betavae.selection.centrality.{name}", number)
    monkeypatch.setattr(
        "betavae.selection.rules.model_centrality", lambda models, **options: model_centrality(models, **options, **few)
    )
    rule, counts = find_rule("model-centrality"), [0]
    choice = rule.choose(sweep.trials, on_progress=counts.append)
    models = [load_model(checkpoint(sweep, trial.trial_id)) for trial in sweep.trials]
    expected = model_centrality(models, **few).scores.tolist()
    assert choice.scores == dict(zip([*AGREEING, ODD], expected, strict=True))
    assert sum(counts) == rule.work(sweep.trials) == 4 * 4 * (6 * 2 + 8)


def test_a_score_at_the_end(sweep: Sweep) -> None:
    rule = find_rule("mig_quantile")
    assert rule.needs_factors
    assert set(rule.choose(sweep.trials).scores) == {*AGREEING, ODD}
    assert find_rule("mig_exact").choose(sweep.trials).scores == {}  # none has been taken


def test_a_damaged_checkpoint_takes_no_part(sweep: Sweep) -> None:
    (checkpoint(sweep, "b") / CODES_FILE).write_bytes(b"damaged")
    choice = find_rule("udr").choose(read_sweep(sweep.folder).trials)
    assert set(choice.scores) == {"a", "c", ODD}
    (problem,) = choice.problems
    assert problem.startswith("Trial b takes no part in the choice: ")


def test_one_model_cannot_be_compared(sweep: Sweep) -> None:
    for name in ("udr", "udr-lasso", "cross-mig", "model-centrality"):
        assert find_rule(name).choose(sweep.trials[:1]).scores == {}


@pytest.mark.parametrize("name", ["udr", "udr-lasso", "cross-mig", "model-centrality", "elbo"])
def test_rules_without_labels(name: str) -> None:
    assert not find_rule(name).needs_factors


def test_the_names_of_rules() -> None:
    assert {"udr", "udr-lasso", "cross-mig", "model-centrality", "mig", "mig_exact", "elbo"} <= set(rule_names())
    assert not {"total_correlation", "active_units", "mig_seed_study"} & set(rule_names())
    assert {find_rule(name).name for name in rule_names()} == set(rule_names())
    with pytest.raises(UnknownNameError, match="rule must be one of udr, "):
        find_rule("best")


def test_a_choice_orders_trials_and_settings(sweep: Sweep) -> None:
    """Trials that the rule has not scored come last, whatever their score during training."""
    better = replace(sweep.trials[3], reports=({**sweep.trials[3].reports[-1], "mig": 0.9},))
    trials = [replace(trial, choice=choice) for trial, choice in zip(sweep.trials, (0.1, 0.2, 0.3), strict=False)]
    assert [trial.trial_id for trial in ranked([better, *trials])] == ["c", "b", "a", ODD]
    assert [setting.config.objective.beta for setting in settings_of([better, *trials])] == [4.0, 8.0]  # type: ignore[attr-defined]
    assert trials[0].chosen_checkpoint == trials[0].final_checkpoint
    assert better.chosen_checkpoint == better.best_checkpoint


def test_trials_that_ran_all_steps_are_compared(sweep: Sweep, small_data: DSprites) -> None:
    def chosen(trials: list[object], rule: Rule) -> set[str]:
        selection, problems = choose_models(
            trials,  # type: ignore[arg-type]
            rule,
            {"dsprites": small_data},
            device="cpu",
            mirror=Mirror(sweep.folder),
        )
        assert problems == []
        assert selection.needs_factors == rule.needs_factors
        return set(selection.scores)

    stopped = [replace(trial, reports=trial.reports[:1]) for trial in sweep.trials]
    assert chosen(list(sweep.trials), find_rule("udr")) == {*AGREEING, ODD}
    assert chosen([*sweep.trials[:2], *stopped[2:]], find_rule("udr")) == {"a", "b"}
    assert chosen(list(sweep.trials), find_rule("elbo")) == {*AGREEING, ODD}  # taken, and kept
    assert "elbo" in read_sweep(sweep.folder).trials[0].final_checkpoint.scores.by_name  # type: ignore[union-attr]


def test_a_rule_that_can_compare_nothing_says_so(sweep: Sweep) -> None:
    selection, problems = choose_models(
        sweep.trials[:1], find_rule("udr"), {}, device="cpu", mirror=Mirror(sweep.folder)
    )
    assert selection.scores == {}
    assert problems == [
        "UDR scored none of 1 model, so they rank by mig: it compares final models with one another, or with the other "
        "seeds of their setting."
    ]


def test_all_are_compared_where_fewer_than_two_ran_all_steps(sweep: Sweep) -> None:
    stopped = [replace(trial, reports=trial.reports[:1]) for trial in sweep.trials]
    assert compared_trials([*sweep.trials[:2], *stopped[2:]]) == list(sweep.trials[:2])
    few = [sweep.trials[0], *stopped[1:]]
    assert compared_trials(few) == few
    failed = replace(few[1], error="NonFiniteLossError: the loss")
    assert compared_trials([few[0], failed, *few[2:]]) == [few[0], *few[2:]]


def test_seeds_of_a_setting_are_compared_where_there_are_several(sweep: Sweep) -> None:
    assert default_among(sweep.trials) == "setting"
    assert default_among([sweep.trials[0], sweep.trials[2]]) == "all"
    stopped = replace(sweep.trials[3], reports=sweep.trials[3].reports[:1])
    assert default_among([*sweep.trials[:3], stopped]) == "all"  # one of a setting's two was stopped
    assert default_among([]) == "all"


def test_every_rule_is_a_score_of_which_more_is_better() -> None:
    for name in rule_names():
        assert name not in METRICS or METRICS[name].higher_is_better
