"""The axes of one part: which values a trial gets, from which place, and what is refused."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from betavae.errors import InputError
from sweeps.dry_run import describe_options
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.options.recorded import options_from_dict, options_to_dict
from sweeps.search.draws import OptunaDraw
from sweeps.search.plan import check_resume, num_trials, planned_trials
from sweeps.search.space import Range, Space
from sweeps.tables import _describe_varied

BETAS = "--objective beta-vae beta-tcvae --latent-size 5 --lr 1e-3"
GAMMAS = "--objective annealed-vae factor-vae --latent-size 5 --lr 1e-3"


def parse(words: str) -> Options:
    options = parse_options(words.split(), gpus_found=0)
    options.check()
    return options


def values(options: Options, name: str) -> dict[str, set[object]]:
    """Return the values of a parameter in the trials of each objective."""
    found: dict[str, set[object]] = defaultdict(set)
    for trial in planned_trials(options):
        found[trial.config.objective.name].add(trial.config.value(name))
    return dict(found)


@pytest.mark.parametrize(
    ("words", "annealed", "factor"),
    [
        ("", {1000}, {35}),
        ("--factor-vae.gamma 10 20", {1000}, {10, 20}),
        ("--gamma 5", {5}, {5}),
        ("--gamma 5 --factor-vae.gamma 10 20", {5}, {10, 20}),
        ("--factor-vae.gamma 10 20 --annealed-vae.gamma 7 8 9", {7, 8, 9}, {10, 20}),
        ("--annealed-vae.gamma 1@0,16@50 --factor-vae.gamma=3", {"1@0,16@50"}, {3}),
    ],
)
def test_an_axis_of_a_part_comes_before_the_shared_axis_and_the_default(
    words: str, annealed: set[object], factor: set[object]
) -> None:
    options = parse(f"{GAMMAS} {words}")
    assert values(options, "gamma") == {"annealed-vae": annealed, "factor-vae": factor}
    assert options.space.num_points == num_trials(options) == len(annealed) + len(factor)


def test_equal_spaces_have_equal_axes_however_they_are_given() -> None:
    shared = parse(f"{BETAS} --beta 1 4").space
    assert parse(f"{BETAS} --beta-vae.beta 1 4 --beta-tcvae.beta 1 4").space == shared
    assert parse(f"{BETAS} --beta 1 4 --beta-tcvae.beta 1 4").space == shared
    assert parse("--beta-tcvae.beta 1 4").space == parse("--beta 1 4").space
    split = parse(f"{BETAS} --beta 1 4 --beta-tcvae.beta 2").space
    assert "beta" not in split.axes
    assert (split.axes["beta-vae.beta"], split.axes["beta-tcvae.beta"]) == ((1.0, 4.0), (2.0,))
    assert split.with_defaults() == split
    assert split.axis("beta") == (1.0, 4.0, 2.0)


def test_the_values_of_a_parameter_span_its_ranges_and_lists() -> None:
    axes = {"objective": ("beta-vae", "beta-tcvae"), "beta-vae.beta": (0.5, 40.0), "beta-tcvae.beta": Range(1.0, 10.0)}
    assert Space(axes).axis("beta") == Range(0.5, 40.0)
    assert Space(axes).num_points is None
    assert Space({**axes, "beta-tcvae.beta": (1.0, 3.0, 10.0), "latent_size": Range(3, 6)}).num_points == (2 + 3) * 4


def test_the_command_line_overrides_every_axis_of_the_name_in_a_file_and_a_preset(tmp_path: Path) -> None:
    """Fails if an axis of a part, which comes before a shared axis, comes before the command line, too."""
    preset = "--preset methods --objective beta-vae beta-tcvae"
    published = {"beta-vae": {1, 2, 4, 6, 8, 16}, "beta-tcvae": {1, 2, 4, 6, 8, 10}}
    assert values(parse(preset), "beta") == published
    assert values(parse(f"{preset} --beta 3"), "beta") == {"beta-vae": {3}, "beta-tcvae": {3}}
    assert values(parse(f"{preset} --beta-tcvae.beta 3"), "beta") == {**published, "beta-tcvae": {3}}
    assert values(parse(f"{preset} --beta 3 --beta-tcvae.beta 5"), "beta") == {"beta-vae": {3}, "beta-tcvae": {5}}
    study = tmp_path / "study.toml"
    study.write_text('beta-tcvae.beta = 7\npreset = "methods"\nobjective = ["beta-vae", "beta-tcvae"]')
    file = f"--config {study}"
    assert values(parse(file), "beta") == {**published, "beta-tcvae": {7}}
    assert values(parse(f"{file} --beta 3"), "beta") == {"beta-vae": {3}, "beta-tcvae": {3}}
    assert values(parse(f"{file} --beta-vae.beta 3"), "beta") == {"beta-vae": {3}, "beta-tcvae": {7}}


def test_each_axis_has_the_origin_of_its_values() -> None:
    words = "--preset methods --objective beta-vae beta-tcvae factor-vae dip-vae-i"
    split = parse(f"{words} --beta-tcvae.beta 3 --factor-vae.gamma 4")
    names = ("beta-vae.beta", "beta-tcvae.beta", "gamma", "lambda_od", "discriminator_lr")
    found = [split.origins[name] for name in names]
    assert found == ["preset", "command line", "command line", "preset", "default"]
    rows = [re.split(" {2,}", line) for line in describe_options(split).splitlines()]
    assert ["--beta-tcvae.beta", "3", "command line"] in rows
    assert ["--beta-vae.beta", "1 2 4 6 8 16", "preset"] in rows
    assert ["--gamma", "4", "command line"] in rows  # factor-vae is the one part with a gamma
    shared = parse(f"{words} --beta 3 --beta-vae.beta 5")
    assert {shared.origins[name] for name in ("beta-vae.beta", "beta-tcvae.beta")} == {"command line"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--vae.gamma 3",
            "--vae.gamma must begin with the name of a part, one of annealed-vae, factor-vae, but got vae.",
        ),
        ("--vae.x 3", "--vae.x must begin with the name of a part, one of dsprites, color-dsprites, "),
        ("--beta-vae.gamma 3", "beta-vae has no gamma; it has beta."),
        ("--beta-vae.latent-size 3", "beta-vae has no latent_size; it has beta."),
        ("--annealed-vae.c_max 3", "--annealed-vae.c_max is not an option (did you mean --annealed-vae.c-max?)"),
        (
            "--factor-vae.gamma 3",
            "--factor-vae.gamma needs --objective factor-vae, but got beta-tcvae; leave --factor-vae.gamma out, or add "
            "factor-vae to --objective.",
        ),
        (
            "--beta-vae.beta 3 --beta-vae.beta 4",
            "--beta-vae.beta must be given once, with all of its values, but is given twice.",
        ),
        ("--beta 3 --beta-tcvae.beta 4", "--beta has no effect beside --beta-tcvae.beta; leave --beta out."),
        ("--beta-vae.beta", "--beta-vae.beta must be a value, several values, or a range LOW..HIGH, but got nothing."),
        ("--beta-vae.beta x", "--beta-vae.beta must be a number or points such as"),
        (f"{BETAS} --beta-tcvae.beta 3 0", "--beta-tcvae.beta must be positive and finite, but got 0.0."),
        (f"{BETAS} --beta-tcvae.beta 3 3", "--beta-tcvae.beta must name each value once, but got 3 3."),
        (f"{BETAS} --beta-tcvae.beta 1..3", "--search grid needs values, but --beta-tcvae.beta is the range 1..3;"),
    ],
)
def test_a_wrong_axis_of_a_part_is_refused_in_a_sentence(words: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        parse(words)


@pytest.mark.parametrize(
    "text",
    [
        '"factor-vae.gamma" = [10, 20]\n"annealed-vae.c-max" = 3',
        "factor-vae.gamma = [10, 20]\nannealed-vae.c_max = 3",
        "[factor-vae]\ngamma = [10, 20]\n[annealed-vae]\nc-max = 3",
        "[space]\nannealed-vae.c_max = 3\n[space.factor-vae]\ngamma = [10, 20]",
    ],
)
def test_a_file_gives_axes_of_parts_as_names_or_as_tables(text: str, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(text)
    expected = parse(f"{GAMMAS} --factor-vae.gamma 10 20 --annealed-vae.c-max 3").space
    assert parse(f"{GAMMAS} --config {study}").space == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vae.gamma = 3", "must hold options of run.py, but got vae"),
        ('"vae.gamma" = 3', "--vae.gamma must begin with the name of a part"),
        ("[beta-vae]\ngamma = 3", "beta-vae has no gamma; it has beta."),
        ('beta-vae.beta = 3\n"beta-vae.beta" = 4', "study.toml must give beta-vae.beta once, with all"),
        ("latent_size = 3\nlatent-size = 5", "study.toml must give latent_size once, with all of its values, but"),
        (
            "beta = 3\n[space]\nbeta = 5",
            "study.toml must give beta once, with all of its values, but gives it 2 times.",
        ),
        ("[factor-vae]\ngamma = 3", "--factor-vae.gamma needs --objective factor-vae, but got beta-tcvae"),
    ],
)
def test_a_wrong_axis_of_a_part_in_a_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        parse(f"--config {study}")


@pytest.mark.parametrize("words", ["--preset methods", f"{GAMMAS} --factor-vae.gamma 1@0,2@9 3", BETAS])
def test_a_record_gives_the_same_sweep_again(words: str, tmp_path: Path) -> None:
    asked = parse(words)
    record = json.loads(json.dumps({"format": 1, "options": options_to_dict(asked)}))
    assert options_from_dict(record["options"]).space == asked.space
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    again = parse(f"--config {tmp_path / 'sweep.json'}")
    assert (again.space, planned_trials(again)) == (asked.space, planned_trials(asked))


@pytest.mark.parametrize("name", ["vae.gamma", "beta-vae.gamma", "beta-vae."])
def test_a_record_with_an_unknown_axis_is_refused(name: str) -> None:
    record = options_to_dict(parse(""))
    record["space"][name] = [3.0]
    with pytest.raises(InputError, match=r"must begin with the name of a part|beta-vae has no"):
        options_from_dict(record)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("--beta 1 4", "--beta-vae.beta 1 4 --beta-tcvae.beta 1 4", ""),
        ("--beta 1 4", "--beta 1 4 --beta-tcvae.beta 1", "--beta-tcvae.beta must stay 1 4 in this sweep, but got 1;"),
        ("--beta 1 4 --beta-tcvae.beta 1", "--beta 1 4", "--beta-tcvae.beta must stay 1 in this sweep, but got 1 4;"),
        ("--beta 4 --beta-tcvae.beta 1", "--beta 4 --beta-tcvae.beta 2", "--beta-tcvae.beta must stay 1 in this sweep"),
        ("--beta 4", "--beta 5", "--beta must stay 4 in this sweep, but got 5;"),
    ],
)
def test_a_resume_compares_the_axes_of_each_part(old: str, new: str, message: str) -> None:
    started, resumed = parse(f"{BETAS} {old}"), parse(f"{BETAS} {new}")
    if not message:
        check_resume(resumed, started)
        return
    with pytest.raises(InputError, match=re.escape(message)):
        check_resume(resumed, started)


def test_a_trial_with_a_value_of_another_part_lies_outside_the_space() -> None:
    options = parse(f"{GAMMAS} --annealed-vae.gamma 7 --factor-vae.gamma 10")
    configs = [trial.config for trial in planned_trials(options)]
    assert [options.space.mismatch(config) for config in configs] == ["", ""]
    swapped = parse(f"{GAMMAS} --annealed-vae.gamma 10 --factor-vae.gamma 7")
    assert [swapped.space.mismatch(config) for config in configs] == ["gamma 7.0, not 10", "gamma 10.0, not 7"]


@pytest.mark.parametrize("search", ["random", "optuna --sampler tpe", "optuna --sampler gp --repeats 1"])
def test_a_search_draws_from_the_axis_of_each_part(search: str) -> None:
    """Optuna fails if two parts give one name two lists of values; a resumed study fails if a name differs."""
    words = "--beta-vae.beta 1 4 16 --beta-tcvae.beta 2 6"
    options = parse(f"{BETAS} {words} --search {search} --trials 5 --scheduler none")
    if search == "random":
        configs = [trial.config for trial in planned_trials(options)]
    else:
        draw, resumed = OptunaDraw(options, num_known_trials=0), OptunaDraw(options, num_known_trials=5)
        trials = [draw.next(index) for index in range(5)]
        for trial in trials:
            resumed.begin(trial)
            resumed.end(trial.index, trial.config.value("beta"))
        configs = [trial.config for trial in trials]
        params = {name for trial in resumed._study.trials for name in trial.params}
        assert params == {"objective", "beta-vae.beta", "beta-tcvae.beta"}
    assert {config.objective.name for config in configs} == {"beta-vae", "beta-tcvae"}
    assert [options.space.mismatch(config) for config in configs] == [""] * 5


def test_the_plan_names_the_part_of_an_axis_where_parts_differ() -> None:
    assert _describe_varied(parse(f"{GAMMAS} --factor-vae.gamma 10 20 --c-max 1 2")).startswith(
        "objective annealed-vae factor-vae, c max 1 2, gamma 10 20 of factor-vae"
    )
    assert "beta 1 2 (" in _describe_varied(parse(f"{BETAS} --beta 1 2"))


def test_a_data_set_may_have_an_axis_of_its_own() -> None:
    assert parse("--dsprites.images 700").space == parse("--images 700").space


def test_the_help_explains_axes_of_parts_once_and_lists_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("the values are for that part alone (--beta-tcvae.beta 1 4).") == 1
    assert len(re.findall(r"--[\w-]+\.\w", text)) == 1


def test_the_presets_of_all_methods_have_the_published_values_or_some_of_them() -> None:
    """Values: Locatello et al. 2019, arXiv:1811.12359, table of hyper-parameters."""
    full, small = parse("--preset methods"), parse("--preset methods-small")
    published = {
        "beta-vae": ("beta", {1, 2, 4, 6, 8, 16}),
        "annealed-vae": ("c_max", {5, 10, 25, 50, 75, 100}),
        "factor-vae": ("gamma", {10, 20, 30, 40, 50, 100}),
        "dip-vae-i": ("lambda_od", {1, 2, 5, 10, 20, 50}),
        "dip-vae-ii": ("lambda_od", {1, 2, 5, 10, 20, 50}),
        "beta-tcvae": ("beta", {1, 2, 4, 6, 8, 10}),
    }
    for objective, (name, published_values) in published.items():
        assert values(full, name)[objective] == published_values
        assert len(values(small, name)[objective]) == 3
        assert values(small, name)[objective] < published_values
    assert (num_trials(full), num_trials(small)) == (6 * 6 * 5, 6 * 3 * 3)
    assert {trial.config.steps * trial.config.batch_size for trial in planned_trials(small)} == {384_000}
