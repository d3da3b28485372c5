"""A sweep as Optuna studies, read back by Optuna."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from betavae.config import parameters_by_name
from betavae.data import DSprites
from betavae.errors import InputError
from betavae.records.sweep import read_sweep
from betavae.report.write import Report
from sweeps.analyze import BAD_INPUT, DONE, main
from sweeps.options.command_line import parse_options
from sweeps.options.recorded import options_to_dict
from sweeps.search.distributions import spanning_distribution
from sweeps.search.optuna_study import write_studies

SCHEDULE = "12@0,4@70"

COMMON = "--objective beta-vae -z 3 --lr 1e-3 --steps 200 --eval-every 100"
"""Values of every trial of `make_sweep`."""


def recorded(folder: Path, words: str) -> Path:
    """Write the options of a command line into a sweep's record."""
    record = json.loads((folder / "sweep.json").read_text())
    options = parse_options(f"{COMMON} {words}".split(), gpus_found=0)
    (folder / "sweep.json").write_text(json.dumps(record | {"options": options_to_dict(options)}))
    return folder


def loaded(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}")


def names_in(path: Path) -> set[str]:
    return set(optuna.get_all_study_names(f"sqlite:///{path}"))


@pytest.fixture
def grid(make_sweep) -> Path:
    """A grid with a trial for each way to end, in another order than their numbers, and a schedule among the betas."""
    trials = {
        "0003": {"migs": [0.3], "beta": SCHEDULE, "batch_size": 32},
        "0000": {"migs": [0.5, 0.2], "beta": 4.0, "batch_size": 16},
        "0001": {"migs": [0.4], "beta": 4.0, "batch_size": 32, "seed": 1, "stopped": True},
        "0002": {"migs": [0.1], "beta": SCHEDULE, "batch_size": 16, "seed": 2, "error": "E: \x1b[31mred"},
        "0005": {"migs": [], "beta": 4.0, "batch_size": 16, "seed": 3},
    }
    confirming = {f"000{seed}": {"migs": [0.6, 0.1 + seed / 10], "seed": 500_000 + seed} for seed in range(2)}
    for values in confirming.values():
        values |= {"beta": 4.0, "batch_size": 16}
    return recorded(make_sweep(trials, confirming=confirming), f"--beta 4 {SCHEDULE} -b 16 32 --confirm 1")


@pytest.fixture
def study(grid: Path, tmp_path: Path) -> optuna.Study:
    assert write_studies(read_sweep(grid), tmp_path / "study.db") == []
    return loaded(tmp_path / "study.db", "study")


def test_every_trial_is_there_in_order_with_its_state_and_value(study: optuna.Study) -> None:
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.metric_names == ["mig"]
    assert [(trial.user_attrs["trial"], trial.state.name, trial.value) for trial in study.trials] == [
        ("0000", "COMPLETE", 0.5),
        ("0001", "PRUNED", 0.4),
        ("0002", "FAIL", None),
        ("0003", "RUNNING", None),
        ("0005", "RUNNING", None),
    ]
    assert study.best_trial.user_attrs["trial"] == "0000"


def test_intermediate_values_are_the_ranking_score_by_step(study: optuna.Study) -> None:
    assert [trial.intermediate_values for trial in study.trials] == [
        {100: 0.5, 200: 0.2}, {100: 0.4}, {100: 0.1}, {100: 0.3}, {},
    ]  # fmt: skip


def test_parameters_are_those_that_vary_and_an_axis_with_a_schedule_is_of_categories(study: optuna.Study) -> None:
    assert [trial.params for trial in study.trials][:3] == [
        {"beta": 4.0, "batch_size": 16}, {"beta": 4.0, "batch_size": 32}, {"beta": SCHEDULE, "batch_size": 16},
    ]  # fmt: skip
    for trial in study.trials:
        assert trial.distributions == {
            "beta": CategoricalDistribution((4.0, SCHEDULE)),
            "batch_size": IntDistribution(16, 32, log=True),
        }


def test_attributes_say_what_a_study_has_no_place_for(study: optuna.Study, grid: Path) -> None:
    first, second, third, _, last = (trial.user_attrs for trial in study.trials)
    assert (first["seed"], first["status"]) == (0, "finished")
    assert (second["seed"], second["status"]) == (1, "stopped")
    assert (first["final/mig"], first["final/active_units"]) == (0.2, 3)
    assert first["checkpoint"] == "search/trial_0000/checkpoint_000000"
    assert (grid / first["checkpoint"] / "model.safetensors").is_file()
    assert first["checkpoint/mig"] == 0.5  # that of the best, not of the end
    assert third["error"] == r"E: \x1b[31mred"
    assert "error" not in first
    assert last == {"trial": "0005", "seed": 3, "status": "unfinished"}
    assert study.user_attrs == {"dataset": "dsprites"}


def test_a_confirmation_is_a_study_of_final_scores(study: optuna.Study, tmp_path: Path) -> None:
    """Its highest scores are 0.6, selected; beside the search's they would be the best."""
    assert names_in(tmp_path / "study.db") == {"study", "study/confirm"}
    confirmation = loaded(tmp_path / "study.db", "study/confirm")
    assert [trial.value for trial in confirmation.trials] == [0.1, 0.2]
    assert [trial.user_attrs["trial"] for trial in confirmation.trials] == ["confirm/0000", "confirm/0001"]
    assert [trial.user_attrs["seed"] for trial in confirmation.trials] == [500_000, 500_001]


def test_each_data_set_has_a_study(two_datasets: Path, tmp_path: Path) -> None:
    recorded(two_datasets, "--dataset dsprites blocks --beta 4 8 --repeats 2 --confirm 1 --seeds 2 -b 64")
    path = tmp_path / "study.db"
    assert write_studies(read_sweep(two_datasets), path) == []
    assert names_in(path) == {"study/dsprites", "study/dsprites/confirm", "study/blocks", "study/blocks/confirm"}
    for name, best in (("dsprites", 0.22), ("blocks", 0.72)):
        study = loaded(path, f"study/{name}")
        assert study.user_attrs == {"dataset": name}
        assert study.best_value == best
        assert study.trials[0].distributions == {"beta": FloatDistribution(4, 8, log=True)}
        assert len(study.trials) == 4


def test_a_range_is_the_range_that_was_asked_for_and_parts_own_parameters(make_sweep, tmp_path: Path) -> None:
    """As the search itself names them: `gamma` of two objectives are two parameters."""
    trials = {
        "0000": {"migs": [0.1, 0.2], "objective": "factor-vae", "gamma": 20.0},
        "0001": {"migs": [0.3, 0.1], "objective": "annealed-vae", "gamma": 1000.0, "seed": 1},
        "0002": {"migs": [0.2, 0.1], "objective": "beta-vae", "beta": 3.0, "seed": 2},
    }
    words = (
        "--objective factor-vae annealed-vae beta-vae --factor-vae.gamma 10..100 --annealed-vae.gamma 100 1000 "
        "--beta 1..32 --search optuna --trials 3 -b 64"
    )
    folder = recorded(make_sweep(trials), words)
    write_studies(read_sweep(folder), tmp_path / "study.db")
    study = loaded(tmp_path / "study.db", "study")
    objectives = CategoricalDistribution(("factor-vae", "annealed-vae", "beta-vae"))
    assert [trial.params for trial in study.trials] == [
        {"objective": "factor-vae", "factor-vae.gamma": 20.0},
        {"objective": "annealed-vae", "annealed-vae.gamma": 1000.0},
        {"objective": "beta-vae", "beta": 3.0},
    ]
    assert [trial.distributions for trial in study.trials] == [
        {"objective": objectives, "factor-vae.gamma": FloatDistribution(10, 100, log=True)},
        {"objective": objectives, "annealed-vae.gamma": FloatDistribution(100, 1000, log=True)},
        {"objective": objectives, "beta": FloatDistribution(1, 32, log=True)},
    ]


def test_a_trial_outside_the_axes_is_left_out_by_name(make_sweep, tmp_path: Path) -> None:
    folder = make_sweep({"0000": {"migs": [0.1, 0.2], "beta": 4.0}, "0001": {"migs": [0.1, 0.2], "beta": 5.0}})
    recorded(folder, "--beta 4 8 -b 64")
    problems = write_studies(read_sweep(folder), tmp_path / "study.db")
    assert problems == ["Trial 0001 is left out of the Optuna study: beta 5.0, not 4 8."]
    assert len(loaded(tmp_path / "study.db", "study").trials) == 1


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("beta", (4.0, 1.0, 16.0), FloatDistribution(1, 16, log=True)),
        ("beta", (0.0, 1.0), FloatDistribution(0, 1)),  # no logarithm of 0
        ("beta", (4.0, SCHEDULE), CategoricalDistribution((4.0, SCHEDULE))),
        ("latent_size", (10, 5), IntDistribution(5, 10, log=True)),
        ("compile", (False, True), CategoricalDistribution((False, True))),
        ("objective", ("beta-vae", "beta-tcvae"), CategoricalDistribution(("beta-vae", "beta-tcvae"))),
    ],
)
def test_distributions_span_the_values(name: str, values: tuple[Any, ...], expected: object) -> None:
    assert spanning_distribution(parameters_by_name().get(name), values) == expected


@pytest.mark.parametrize("name", ["a?b#c%20.db", "new/{SCHEMA_VERSION} é.db", "study"])
def test_a_file_may_have_any_name(name: str, grid: Path, tmp_path: Path) -> None:
    path = tmp_path / "x" / name
    write_studies(read_sweep(grid), path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from trials").fetchone() == (7,)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(make: Callable[[Path], Any], grid: Path, tmp_path: Path, capsys) -> None:
    """Refused before any work."""
    make(tmp_path / "study.db")
    assert main([str(grid), "--export-optuna", str(tmp_path / "study.db")]) == BAD_INPUT
    assert capsys.readouterr().err == (
        f"error: Studies are written to a new file, but {tmp_path / 'study.db'} exists; give another --export-optuna.\n"
    )
    assert not (grid / "report").exists()


def test_what_fails_leaves_no_file(make_sweep, tmp_path: Path) -> None:
    folder = make_sweep({"a": {"migs": [0.1, 0.2]}})
    with pytest.raises(InputError, match="A sweep's record must hold its options"):
        write_studies(read_sweep(folder), tmp_path / "new" / "study.db")
    assert not (tmp_path / "new").exists()


def test_the_command_writes_the_file_and_prints_its_name(
    grid: Path, small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    monkeypatch.setattr("sweeps.analyze.write_report", lambda sweep, output, **_: Report(str(output), ()))
    path = tmp_path / "study.db"
    assert main([str(grid), "--exact", "0", "--export-optuna", str(path)]) == DONE
    assert capsys.readouterr().out.splitlines() == [str(grid / "report" / "index.html"), str(path)]
    states = [trial.state for trial in loaded(path, "study").trials]
    assert states.count(TrialState.COMPLETE) == 1
