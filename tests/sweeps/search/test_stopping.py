from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from sweeps.options.command_line import parse_options
from sweeps.search.ray_search import RuleScheduler
from sweeps.search.stopping import MedianStopping, NoStopping, StoppingRule, SuccessiveHalving, stopping_rule
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
    scheduler = RuleScheduler(NoStopping(), rank_by="mig", folder=StageFolder(Mirror(Path()), "mig"))
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
    return stopping_rule(parse_options(f"--scheduler {name} --steps 270 --grace-steps 10".split(), gpus_found=0))


def test_optunas_percentile_stops_what_is_below_the_best_third_of_those_that_ended() -> None:
    events = [("report", trial, 20, 0.1 * trial) for trial in range(6)]
    events += [("ended", trial, 0, 0.0) for trial in range(6)]
    decided = replayed("percentile", [*events, ("report", 6, 20, 0.3), ("report", 7, 20, 0.4), ("report", 8, 5, 0.0)])
    assert decided[-3:] == [
        True,
        False,
        False,
    ]  # of 0 .. 0.5 two thirds lie below 0.33; before the grace none is judged
