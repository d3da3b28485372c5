from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS
from betavae.records.trial import PlannedTrial, Trial
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.search.ray_search import RuleScheduler
from sweeps.search.stopping import (
    MedianStopping,
    NoStopping,
    StoppingRule,
    StoppingRules,
    SuccessiveHalving,
    replay_trials,
    stopping_rules,
)
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder


class Named:
    """What Ray's bracket needs of a trial."""

    def __init__(self, trial_id: int) -> None:
        self.trial_id = trial_id


@pytest.mark.parametrize("seed", range(5))
def test_successive_halving_decides_as_rays_does(seed: int) -> None:
    """A hundred trials reporting at every 10 steps, some at once, some late: decision by decision."""
    generator = np.random.default_rng(seed)
    ours, theirs = SuccessiveHalving(grace_steps=20, max_steps=200, keep_one_of=3), _Bracket(20, 200, 3, 0)
    step, running = {trial: 0 for trial in range(100)}, set(range(100))
    while running:
        trial = int(generator.choice(sorted(running)))
        step[trial] += 10
        score = float(generator.normal())
        stops = ours.stops(trial, step=step[trial], score=score)
        assert stops == (theirs.on_result(Named(trial), step[trial], score) == TrialScheduler.STOP)
        if stops or step[trial] >= 200:
            running.remove(trial)


def test_a_rung_keeps_the_best_third() -> None:
    rule = SuccessiveHalving(grace_steps=10, max_steps=100, keep_one_of=3)
    assert not rule.stops(0, step=10, score=0.1)  # the first there goes on
    assert rule.stops(1, step=10, score=0.05)
    assert not rule.stops(2, step=10, score=0.3)
    assert rule.stops(3, step=10, score=0.16)  # two thirds of the way from .05 over .1 to .3: .167
    assert not rule.stops(0, step=20, score=0.0)  # between rungs nobody is judged


def test_what_is_told_twice_changes_nothing() -> None:
    rule, again = (SuccessiveHalving(grace_steps=10, max_steps=100, keep_one_of=3) for _ in range(2))
    for trial, score in enumerate([0.1, 0.3, 0.2]):
        rule.stops(trial, step=10, score=score)
        again.stops(trial, step=10, score=score)
        assert not again.stops(trial, step=10, score=score)
    for score in (0.1, 0.19, 0.21, 0.4):
        assert rule.stops(9, step=10, score=score) == again.stops(9, step=10, score=score)
        rule._rungs[10].pop(9)
        again._rungs[10].pop(9)


def test_the_median_rule_stops_what_is_worse_than_the_mean_of_others() -> None:
    rule = MedianStopping(grace_steps=20, min_others=3)
    for trial, scores in enumerate([(0.1, 0.3), (0.2, 0.4), (0.3, 0.5)]):  # means 0.2, 0.3, 0.4: median 0.3
        for step, score in zip((10, 20), scores, strict=True):
            assert not rule.stops(trial, step=step, score=score)
    assert not rule.stops(3, step=10, score=0.0)  # before the grace
    assert rule.stops(3, step=20, score=0.29)
    assert not rule.stops(4, step=20, score=0.31)


def test_the_median_rule_waits_for_others_to_come_as_far() -> None:
    rule = MedianStopping(grace_steps=10, min_others=3)
    for trial in range(3):
        rule.stops(trial, step=10, score=0.5)
    assert not rule.stops(3, step=30, score=0.0)  # nobody else has reported at 30
    assert rule.stops(4, step=10, score=0.0)


def test_the_first_that_waits_runs_next_and_ended_trials_are_not_looked_at() -> None:
    """A paused one only if none is pending. The controller has no list of all trials here: to ask for it would fail."""
    scheduler = RuleScheduler(StoppingRules(NoStopping), rank_by="mig", folder=StageFolder(Mirror(Path()), "mig"))
    statuses = {"x_00002": "RUNNING", "x_00001": "PAUSED", "x_00005": "PENDING", "x_00004": "PENDING"}
    live = [SimpleNamespace(trial_id=name, status=status) for name, status in statuses.items()]
    controller = SimpleNamespace(get_live_trials=lambda: live)
    assert scheduler.choose_trial_to_run(controller).trial_id == "x_00004"
    live[:] = live[:2]
    assert scheduler.choose_trial_to_run(controller).trial_id == "x_00001"
    live.clear()
    assert scheduler.choose_trial_to_run(controller) is None


def replayed(name: str, events: list[tuple[str, int, int, float]]) -> list[bool]:
    """What a rule decides of some reports; the trials that are told to have ended are told so."""
    rule = rule_of(name)
    decisions = []
    for kind, trial, step, score in events:
        if kind == "ended":
            rule.ended(trial)
        else:
            decisions.append(rule.stops(trial, step=step, score=score))
    return decisions


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "percentile"])
def test_a_rule_that_is_told_again_decides_as_if_it_had_never_forgotten(name: str) -> None:
    """Twelve trials report in turn; a resume tells the rule trial by trial what they reported up to their stop."""
    generator = np.random.default_rng(0)
    rule, levels, running = rule_of(name), generator.normal(size=36), set(range(12))
    reports: dict[int, list[tuple[int, float]]] = {trial: [] for trial in running}
    for step in range(10, 271, 10):
        for trial in sorted(running):
            score = levels[trial] + 0.001 * step
            reports[trial].append((step, score))
            if rule.stops(trial, step=step, score=score):
                running.remove(trial)
    resumed = rule_of(name)
    for trial, values in reports.items():
        for step, score in values:
            resumed.stops(trial, step=step, score=score)
        if trial in running:
            rule.ended(trial)
            resumed.ended(trial)
    decisions = [
        [each.stops(trial, step=step, score=levels[trial] + 0.001 * step) for each in (rule, resumed)]
        for trial in range(12, 36)
        for step in range(10, 271, 10)
    ]
    assert all(before == after for before, after in decisions)
    assert 0 < sum(before for before, _ in decisions) < len(decisions)


def rule_of(name: str) -> StoppingRule:
    options = parse_options(f"--scheduler {name} --steps 270 --grace-steps 10".split(), gpus_found=0)
    return stopping_rules(options).of("dsprites")


def test_optunas_percentile_stops_what_is_below_the_best_third_of_those_that_ended() -> None:
    events = [("report", trial, 20, 0.1 * trial) for trial in range(6)]
    events += [("ended", trial, 0, 0.0) for trial in range(6)]
    decided = replayed("percentile", [*events, ("report", 6, 20, 0.3), ("report", 7, 20, 0.4), ("report", 8, 5, 0.0)])
    assert decided[-3:] == [
        True,
        False,
        False,
    ]  # of 0 .. 0.5 two thirds lie below 0.33; before the grace none is judged


@pytest.fixture
def two_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)


def options_of(name: str) -> Options:
    words = f"--dataset dsprites blocks --scheduler {name} --steps 270 --eval-every 10 --grace-steps 10 --beta 1..9"
    options = parse_options([*words.split(), "--search", "random", "--trials", "9"], gpus_found=0)
    options.check()
    return options


@pytest.mark.usefixtures("two_datasets")
@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "percentile"])
def test_trials_are_compared_within_their_data_set(name: str) -> None:
    """Scores of blocks are ten times those of dSprites: each data set is decided as if it were alone, resumed or not.

    Fails if one rule decides for both: it would stop most trials of dSprites.
    """
    generator = np.random.default_rng(0)
    levels = generator.normal(size=24)
    datasets = {trial: ("dsprites", "blocks")[trial % 2] for trial in range(24)}
    both, alone = stopping_rules(options_of(name)), {each: rule_of(name) for each in ("dsprites", "blocks")}
    running, trials, decisions = set(range(24)), {}, []
    for step in range(10, 271, 10):
        for trial in sorted(running):
            dataset = datasets[trial]
            score = float(levels[trial]) + 0.001 * step + 10 * (dataset == "blocks")
            stops = both.of(dataset).stops(trial, step=step, score=score)
            decisions.append(stops)
            assert stops == alone[dataset].stops(trial, step=step, score=score)
            trials.setdefault(trial, []).append({"step": step, "mig": score})
            if stops:
                running.remove(trial)
    assert name == "percentile" or any(decisions)  # a percentile is one of trials that ended
    resumed = replay_trials(stopping_rules(options_of(name)), [trial_of(*each, datasets) for each in trials.items()])
    for trial in running:
        both.of(datasets[trial]).ended(trial)
    for trial, dataset in ((24, "dsprites"), (25, "blocks"), (26, "dsprites")):
        for step in range(10, 271, 10):
            score = 0.001 * step + 10 * (dataset == "blocks")
            stops = both.of(dataset).stops(trial, step=step, score=score)
            assert resumed.of(dataset).stops(trial, step=step, score=score) == stops


def trial_of(index: int, reports: list[dict[str, float]], datasets: dict[int, str]) -> Trial:
    config = TrialConfig.from_dict({"dataset": datasets[index], "steps": 270, "eval_every": 10})
    is_stopped = reports[-1]["step"] < 270
    return Trial(f"{index:04}", index, Path(), config, tuple(reports), was_stopped=is_stopped)


@pytest.mark.usefixtures("two_datasets")
def test_ray_asks_the_rule_of_the_trials_data_set(tmp_path: Path) -> None:
    """0.1 is poor for dSprites, and the first score of blocks."""
    folder = StageFolder(Mirror(tmp_path), "mig")
    scheduler = RuleScheduler(stopping_rules(options_of("asha")), rank_by="mig", folder=folder)
    decisions = []
    for index, dataset, mig in ((0, "dsprites", 0.5), (1, "dsprites", 0.6), (2, "blocks", 0.1), (3, "dsprites", 0.1)):
        config = TrialConfig.from_dict({"dataset": dataset, "steps": 270, "eval_every": 10, "seed": index})
        planned = PlannedTrial(index, config)
        folder.trial(index).plan(planned)
        trial = SimpleNamespace(config=planned.to_dict())
        decisions.append(scheduler.on_trial_result(None, trial, {"step": 10, "mig": mig}))
    assert decisions == ["CONTINUE"] * 3 + ["STOP"]
