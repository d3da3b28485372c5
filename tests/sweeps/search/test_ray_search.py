"""What a search gives out, learns, and knows again after a resume."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from betavae.config import TrialConfig
from betavae.objectives import BetaVAE
from betavae.records.trial import PlannedTrial, Trial, Trials
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.search.plan import planned_trials
from sweeps.search.ray_search import SweepSearch, search_stage
from sweeps.search.stopping import replay_trials, stopping_rules
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder


def asked(words: str) -> Options:
    fixed = "--seed 3 --objective beta-vae -z 5 --lr 1e-3 --steps 100 --eval-every 10"
    options = parse_options(f"{fixed} {words}".split(), gpus_found=0)
    options.check()
    return options


def known(planned: PlannedTrial, *, migs: list[float], status: str = "finished") -> Trial:
    reports = tuple({"step": 10 * count, "mig": mig} for count, mig in enumerate(migs, start=1))
    error, stopped = ("ValueError: no" if status == "failed" else None), status == "stopped"
    name = f"{planned.index:04}"
    trial = Trial(name, planned.index, Path(), planned.config, reports, error=error, was_stopped=stopped)
    assert trial.status == status
    return trial


def search_of(options: Options, folder: Path, before: Sequence[Trial] = ()) -> SweepSearch:
    stage = search_stage(options, StageFolder(Mirror(folder), "mig"), num_known_trials=len(before))
    return SweepSearch(stage, known_trials=Trials(list(before), {}))


def suggested(search: SweepSearch, trial_id: str = "x") -> dict[str, Any]:
    values = search.suggest(trial_id)
    assert values is not None
    return values


def test_a_resumed_search_gives_out_what_has_not_ended_then_what_is_new(tmp_path: Path) -> None:
    options = asked("--beta 1 2 3 4")
    planned = planned_trials(options)
    before = [
        known(planned[0], migs=[0.1] * 10, status="finished"),
        known(planned[1], migs=[0.1], status="unfinished"),
        known(planned[2], migs=[0.1], status="stopped"),
    ]
    search = search_of(options, tmp_path, before)
    assert search.num_remaining == 2
    assert [suggested(search, "x"), suggested(search, "y")] == [planned[1].to_dict(), planned[3].to_dict()]
    written = json.loads((tmp_path / "trial_0003" / "params.json").read_text())
    assert (written["index"], written["beta"], written["steps"]) == (3, 4.0, 100)  # written down before it starts


def test_a_trial_that_was_given_out_and_never_written_is_given_out_again(tmp_path: Path) -> None:
    """The driver died between two trials: the gap is filled, whatever came after it."""
    options = asked("--beta 1 2 3")
    planned = planned_trials(options)
    before = [known(planned[index], migs=[0.1] * 10, status="finished") for index in (0, 2)]
    search = search_of(options, tmp_path, before)
    assert (search.num_remaining, suggested(search)) == (1, planned[1].to_dict())


def optuna_trials(options: Options, *, beta: float = 4.0, count: int = 3) -> list[PlannedTrial]:
    """Trials of one configuration, as an Optuna search would have numbered them."""
    like = planned_trials(asked(f"--beta {beta} -z 5 --lr 5e-4"))[0].config
    return [PlannedTrial(index, replace(like, seed=3_000_000 + index)) for index in range(count)]


def test_a_resumed_optuna_search_knows_what_it_was_told(tmp_path: Path) -> None:
    options = asked("--search optuna --trials 20 --beta 1..32 --lr 1e-4..1e-3 -z 5 10")
    planned = optuna_trials(options)
    before = [
        known(planned[0], migs=[0.1, 0.4, 0.3] + [0.2] * 7, status="finished"),
        known(planned[1], migs=[0.2], status="unfinished"),
        known(planned[2], migs=[], status="failed"),
    ]
    search = search_of(options, tmp_path, before)
    assert search.num_remaining == 18
    assert suggested(search, "goes on") == planned[1].to_dict()
    assert suggested(search, "new")["seed"] == 3_000_003
    states = [(trial.state.name, trial.value) for trial in search._draw._study.trials]
    assert states == [("COMPLETE", 0.4), ("RUNNING", None), ("FAIL", None), ("RUNNING", None)]
    assert search._draw._study.trials[0].params == {"beta": 4.0, "latent_size": 5, "lr": 5e-4}
    StageFolder(Mirror(tmp_path), "mig").trial(1).plan(planned[1])
    (tmp_path / "trial_0001" / "result.json").write_text('{"step": 100, "mig": 0.6}\n')
    search.on_trial_complete("goes on")
    assert search._draw._study.best_value == 0.6


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random"])
def test_a_resumed_optuna_search_does_not_draw_its_first_trials_again(sampler: str, tmp_path: Path) -> None:
    options = asked(f"--search optuna --sampler {sampler} --trials 20 --beta 1..32")
    first = search_of(options, tmp_path / "a")
    drawn = [suggested(first, str(number)) for number in range(3)]
    planned = optuna_trials(options)
    before = [
        known(replace(trial, config=replace(trial.config, objective=BetaVAE(beta=values["beta"]))), migs=[0.1] * 10)
        for trial, values in zip(planned, drawn, strict=True)
    ]
    resumed = search_of(options, tmp_path / "b", before)
    again = [suggested(resumed, str(number)) for number in range(3)]
    assert all(1 <= values["beta"] <= 32 for values in (*drawn, *again))
    assert not {values["beta"] for values in drawn} & {values["beta"] for values in again}


def test_optuna_learns_the_mean_over_the_seeds_of_a_configuration(tmp_path: Path) -> None:
    options = asked("--search optuna --trials 5 --repeats 2 --beta 1..32")
    search = search_of(options, tmp_path)
    first, second, third = (suggested(search, name) for name in "abc")
    assert first["beta"] == second["beta"] != third["beta"]
    assert [first["seed"], second["seed"], third["seed"]] == [3_000_000, 3_000_001, 3_000_000]
    for name, index, mig in (("a", 0, 0.2), ("b", 1, 0.4)):
        (tmp_path / f"trial_{index:04}" / "result.json").write_text(json.dumps({"step": 100, "mig": mig}) + "\n")
        search.on_trial_complete(name)
    values = [trial.value for trial in search._draw._study.trials]
    assert values == [pytest.approx(0.3), None]


def test_optuna_is_asked_for_the_parameters_of_the_part_that_it_chose(tmp_path: Path) -> None:
    options = asked(
        "--search optuna --trials 30 --objective beta-vae beta-tcvae --beta 1..32 --architecture burgess conv3"
    )
    search = search_of(options, tmp_path)
    drawn = [suggested(search, str(number)) for number in range(12)]
    assert {values["objective"] for values in drawn} == {"beta-vae", "beta-tcvae"}
    params = [set(trial.params) for trial in search._draw._study.trials]
    assert params == [{"objective", "architecture", "beta"}] * 12


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_optuna_takes_numbers_and_schedules_as_categories(sampler: str, tmp_path: Path) -> None:
    options = asked(f"--search optuna --sampler {sampler} --trials 20 --beta 4 12@0,4@70 --steps 100 --eval-every 10")
    search = search_of(options, tmp_path / "a")
    drawn = [suggested(search, str(number)) for number in range(8)]
    assert {values["beta"] for values in drawn} == {4.0, "12@0,4@70"}
    before = [
        known(
            replace(trial, config=TrialConfig.from_dict(trial.config.to_dict() | {"beta": values["beta"]})),
            migs=[0.1] * 10,
        )
        for trial, values in zip(optuna_trials(options)[:8], drawn, strict=False)
    ]
    resumed = search_of(options, tmp_path / "b", before)
    assert suggested(resumed, "0")["beta"] in (4.0, "12@0,4@70")


def test_the_rule_is_told_what_was_reported() -> None:
    """Fails if ASHA starts with empty rungs: a poor score would be the first there, and run on."""
    options = asked("--scheduler asha --grace-steps 10 -b 16")
    planned = planned_trials(asked("--beta 4 5 6"))
    trials = [known(trial, migs=[0.3], status="unfinished") for trial in planned]
    assert not replay_trials(stopping_rules(options), []).of("dsprites").stops(9, step=10, score=0.1)
    assert replay_trials(stopping_rules(options), trials).of("dsprites").stops(9, step=10, score=0.1)


def test_a_search_ranks_by_the_score_that_is_asked_for(tmp_path: Path) -> None:
    options = asked("--rank-by mig_quantile --search optuna --trials 3 --beta 1..32")
    folder = StageFolder(Mirror(tmp_path), options.search.rank_by)
    search = SweepSearch(search_stage(options, folder), known_trials=Trials([], {}))
    suggested(search)
    report = {"step": 100, "mig": 0.9, "mig_quantile": 0.1}
    (tmp_path / "trial_0000" / "result.json").write_text(json.dumps(report) + "\n")
    search.on_trial_complete("x")
    assert search._draw._study.best_value == 0.1


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_optuna_never_repeats_a_configuration_with_the_same_seeds(sampler: str, tmp_path: Path) -> None:
    options = asked(f"--search optuna --sampler {sampler} --trials 6 --repeats 2 --beta 1 2 4 -z 5 6")
    search = search_of(options, tmp_path)
    drawn = []
    for number in range(12):
        drawn.append(suggested(search, str(number)))
        (tmp_path / f"trial_{number:04}" / "result.json").write_text('{"step": 100, "mig": 0.5}\n')
        search.on_trial_complete(str(number))
    assert len({(values["beta"], values["latent_size"], values["seed"]) for values in drawn}) == 12
