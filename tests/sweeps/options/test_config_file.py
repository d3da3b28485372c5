import json
import re
from pathlib import Path

import pytest
from official_files import random_images, write_own_file

from betavae.errors import InputError
from betavae.records.record import FORMAT
from sweeps.options.command_line import parse_options
from sweeps.options.fields import flag, options_of
from sweeps.options.options import Options, SweepOptions
from sweeps.options.recorded import options_to_dict
from sweeps.options.studies import study_names
from sweeps.search.plan import planned_trials
from sweeps.search.space import Range

REPOSITORY = Path(__file__).parents[3]

STUDY = """
preset = "seed-study"
latent-size = 8
[search]
beta = [2, 4.5]
lr = "1e-4..1e-3"
search = "random"
trials = 3
[sweep]
report = false
[space]
compile = true
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def parse(*words: object) -> Options:
    return parse_options([str(word) for word in words], gpus_found=0)


def test_a_file_gives_options_and_the_command_line_comes_first(study: Path) -> None:
    options = parse("--trials", 5, "--config", study)
    assert (options.space.axis("beta"), options.space.axis("lr")) == ((2.0, 4.5), Range(1e-4, 1e-3))
    assert (options.space.axis("latent_size"), options.search.trials) == ((8,), 5)
    assert options.space.names_of("architecture") == ("conv3",)  # the preset's
    assert (options.sweep.report, options.space.axis("compile")) == (False, (True,))
    assert parse("--config", study, "--report").sweep.report
    assert {options.origins[name] for name in ("latent_size", "beta", "report", "compile", "preset")} == {"file"}
    assert (options.origins["trials"], options.origins["architecture"]) == ("command line", "preset")


def test_a_file_and_a_record_give_schedules_as_the_command_line_does(tmp_path: Path) -> None:
    study, record = tmp_path / "study.toml", tmp_path / "sweep.json"
    study.write_text('beta = [4, "12@0, 12@50, 4@70"]\nlr = "0.001@0,0.0001@100"\nsteps = 100\n')
    asked = parse("--beta", 4, "12@0,12@50,4@70", "--lr", "1e-3@0,1e-4@100", "--steps", 100)
    assert parse("--config", study).space == asked.space
    assert options_to_dict(asked)["space"]["beta"] == [4.0, "12@0,12@50,4@70"]
    record.write_text(json.dumps({"format": 1, "options": options_to_dict(asked)}))
    assert parse("--config", record).space == asked.space


def test_the_record_of_a_sweep_asks_for_the_same_again(study: Path, tmp_path: Path) -> None:
    asked = parse("--config", study, "--name", "first", "--seed", 3)
    record = tmp_path / "sweep.json"
    record.write_text(json.dumps({"format": 2, "options": options_to_dict(asked)}))
    again = options_to_dict(parse("--config", record))
    assert again["sweep"].pop("name") is None
    assert options_to_dict(asked)["sweep"].pop("name") == "first"
    assert {**again["sweep"], "name": "first"} == options_to_dict(asked)["sweep"]
    assert {group: again[group] for group in ("search", "space", "resources", "report")} == {
        group: options_to_dict(asked)[group] for group in ("search", "space", "resources", "report")
    }


def test_the_record_of_a_sweep_asks_for_the_grace_that_its_version_decided_on(tmp_path: Path) -> None:
    record = tmp_path / "sweep.json"
    asked = parse("--scheduler", "asha", "--steps", 3_000)
    written = {"format": FORMAT, "options": options_to_dict(asked), "decided": {"grace_steps": 1_500}}
    record.write_text(json.dumps(written))
    again = parse("--config", record)
    again.check()
    assert (asked.grace_steps, again.grace_steps) == (1_000, 1_500)
    assert parse("--config", record, "--lr", 1e-3).grace_steps == 1_500
    for words in ("--steps 30000", "--batch-size 16", "--steps 600 --eval-every 100"):
        assert (
            parse("--config", record, *words.split()).grace_steps == parse(*f"--steps 3000 {words}".split()).grace_steps
        )
    asked = parse("--scheduler", "asha", "--steps", 3_000, "--grace-steps", 500)
    record.write_text(json.dumps({**written, "options": options_to_dict(asked)}))
    assert parse("--config", record, "--steps", 30_000).grace_steps == 500
    written["options"]["search"]["scheduler"] = "none"  # type: ignore[index]
    record.write_text(json.dumps(written))
    parse("--config", record).check()


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ("", "--select udr"),
        ("", "--select sap"),
        ("", "--rank-by mig_quantile"),
        ("", "--final-scores sap"),
        ("", "--final-scores"),
        ("--select udr --repeats 2", "--select mig_exact"),
        ("--select udr --repeats 2", "--select cross-mig"),
        ("--rank-by mig_quantile", "--rank-by mig_exact_part"),
        ("--final-scores sap", "--final-scores mig_exact"),
    ],
)
def test_the_choice_of_a_record_follows_anew_where_the_command_line_changes_it(
    recorded: str, given: str, tmp_path: Path
) -> None:
    """What followed in the recorded sweep is no wish: it neither stays nor is refused."""
    record = tmp_path / "sweep.json"
    record.write_text(json.dumps({"format": FORMAT, "options": options_to_dict(parse(*recorded.split()))}))
    repeats = "--repeats 2" if "--repeats" in recorded else ""
    again, asked = parse("--config", record, *given.split()), parse(*f"{given} {repeats}".split())
    again.check()
    assert options_to_dict(again) == options_to_dict(asked)


@pytest.mark.parametrize(
    ("recorded", "given", "choice"),
    [
        ("--rank-by mig", "--final-scores sap", ("mig", None)),
        ("--rank-by mig_quantile", "--select sap", ("mig_quantile", "sap")),
        ("--select sap", "--final-scores irs", ("mig", "sap")),
        ("--select sap", "--rank-by mig_quantile", ("mig_quantile", "sap")),
    ],
)
def test_a_choice_that_a_record_asked_for_stays(
    recorded: str, given: str, choice: tuple[str, str | None], tmp_path: Path
) -> None:
    record = tmp_path / "sweep.json"
    record.write_text(json.dumps({"format": FORMAT, "options": options_to_dict(parse(*recorded.split()))}))
    again = parse("--config", record, *given.split())
    assert (again.search.rank_by, again.report.select) == choice


def test_a_part_that_the_command_line_leaves_needs_no_other_file(tmp_path: Path) -> None:
    """The file's values for all of its parts have no effect on the one that is left, and are no mistake."""
    (tmp_path / "study.toml").write_text(
        'objective = ["annealed-vae", "factor-vae"]\ngamma = 5\n"factor-vae.gamma" = [10, 20]'
    )
    asked = parse("--config", tmp_path / "study.toml", "--objective", "factor-vae")
    assert asked.space.axis("gamma") == (10.0, 20.0)
    words = "--objective factor-vae --gamma 3 --factor-vae.gamma 4"
    with pytest.raises(InputError, match="--gamma has no effect beside --factor-vae.gamma"):
        parse("--config", tmp_path / "study.toml", *words.split())


def test_another_file_of_images_has_its_own_size(tmp_path: Path) -> None:
    first, second, record = tmp_path / "first.npz", tmp_path / "second.npz", tmp_path / "sweep.json"
    write_own_file(first, images=random_images(70, 64, 64))
    write_own_file(second, images=random_images(70, 32, 32, 3))
    words = ["--dataset", "file", "--architecture", "mlp"]
    record.write_text(json.dumps({"format": FORMAT, "options": options_to_dict(parse(*words, "--data-file", first))}))
    assert parse("--config", record).space.axis("image_size") == ("64x64x1",)
    for option in ("--data-file", "--file.data-file"):
        assert parse("--config", record, option, second).space.axis("image_size") == ("32x32x3",)


def test_another_objective_leaves_out_what_it_does_not_have(tmp_path: Path) -> None:
    """A file cannot leave out what belongs to its own objective; what the command line gives is refused."""
    study, record = tmp_path / "study.toml", tmp_path / "sweep.json"
    for words in ("--beta 3", "--beta 3 --alpha 0.5", "--beta-tcvae.beta 4 --alpha 0.5@20,1@40"):
        asked = parse("--objective", "beta-tcvae", *words.split())
        record.write_text(json.dumps({"format": FORMAT, "options": options_to_dict(asked)}))
        assert parse("--config", record).space == asked.space
        again = parse("--config", record, "--objective", "factor-vae", "--gamma", 20)
        assert again.space == parse("--objective", "factor-vae", "--gamma", 20).space
        assert {"beta", "alpha"}.isdisjoint(again.space.axes)
    study.write_text('objective = "beta-tcvae"\nbeta = 3\nalpha = 0.5')
    assert parse("--config", study, "--objective", "beta-vae").space.axis("beta") == (3.0,)
    for words in ("--objective beta-vae --alpha 0.5", "--alpha 0.5 --objective beta-vae --beta 3"):
        with pytest.raises(InputError, match="--alpha needs --objective beta-tcvae, but got beta-vae"):
            parse("--config", study, *words.split())
    study.write_text('objective = "beta-vae"\nalpha = 0.5')
    with pytest.raises(InputError, match="--alpha needs --objective beta-tcvae, but got beta-vae"):
        parse("--config", study)


@pytest.mark.parametrize(
    ("on", "off", "left"),
    [
        ("--rotate-until 600 --rotate-every 50", "--rotate-until 0", "--rotate-every 50"),
        ("--starts 3 --start-steps 60", "--starts 1", "--start-steps 60"),
        ("--search optuna --trials 4 --sampler gp", "--search random --trials 4", "--sampler gp"),
        ("--scheduler asha --grace-steps 300", "--scheduler none", "--grace-steps 300"),
        ("--select udr --udr-min-kl 0.05", "--select mig_exact --rank-by elbo", "--udr-min-kl 0.05"),
        ("--confirm 2 --seeds 3", "--confirm 0", "--seeds 3"),
        ("--select udr-lasso --udr-among all", "--select cross-mig", "--udr-among all"),
    ],
)
@pytest.mark.parametrize("is_record", [True, False])
def test_a_file_is_used_without_what_the_command_line_turns_off(
    tmp_path: Path, on: str, off: str, left: str, *, is_record: bool
) -> None:
    """The file holds what belongs to it, too, which is refused where nothing turns it off."""
    file, name = tmp_path / ("sweep.json" if is_record else "study.toml"), options_in(left)[0][0]
    refusal = f"^{flag(name)} needs .*; leave it out, or give that too"
    if name == "seeds":
        refusal = "^--seeds 3 needs --confirm, the number of configurations to confirm; .* give --repeats"
    record = json.dumps({"format": FORMAT, "options": options_to_dict(parse(*on.split()))})
    file.write_text(record if is_record else toml_of(on))
    again = parse("--config", file, *off.split())
    again.check()
    assert name not in again.origins
    assert options_to_dict(again) == options_to_dict(parse(*off.split()))
    with pytest.raises(InputError, match=refusal):
        parse("--config", file, *off.split(), *left.split()).check()
    if not is_record:
        file.write_text(toml_of(f"{off} {left}"))
        with pytest.raises(InputError, match=refusal):
            parse("--config", file).check()


def options_in(words: str) -> list[tuple[str, str]]:
    pairs = [each.split() for each in words.removeprefix("--").split(" --")]
    return [(name.replace("-", "_"), value) for name, value in pairs]


def toml_of(words: str) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in options_in(words))


def test_an_empty_list_is_the_option_without_a_value(tmp_path: Path) -> None:
    study, record = tmp_path / "study.toml", tmp_path / "sweep.json"
    study.write_text('track = []\nloggers = ["terminal"]')
    asked = parse("--config", study)
    assert (asked.sweep.track, asked.sweep.loggers) == ((), ("terminal",))
    record.write_text(json.dumps({"format": 1, "options": options_to_dict(asked)}))
    assert parse("--config", record).sweep.track == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latent_siz = 3", "must hold options of run.py, but got latent_siz; did you mean latent_size?"),
        ("[serch]\nbeta = 3", "must hold options of run.py, but got serch; did you mean search?"),
        ("report = 3", "must be true or false, but got 3"),
        ("compile = []", "compile in "),
        ('config = "other.toml"', "config in "),
        ("beta = = 3", "--config must be a TOML file or a sweep.json, but"),
        (None, "--config must be a TOML file or a sweep.json or one of the studies beta-tcvae, "),
    ],
)
def test_what_is_no_option_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="(?s)study.toml") as error:
        parse("--config", path)
    assert message in str(error.value)


def test_a_wrong_value_is_refused_as_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('scheduler = "best"')
    with pytest.raises(InputError, match="--scheduler must be one of none, asha, .*, but got 'best'"):
        parse("--config", path)


@pytest.mark.parametrize(
    "text", ["{}", '{"format": 99, "options": {"sweep": {}}}', "[1]", '{"options": {}}', '{"options": 3}', "{"]
)
def test_a_json_file_that_is_no_record_of_a_sweep_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(
        ValueError,
        match="--config must be a TOML file or a sweep.json, but .*summary.json: ",
    ):
        parse("--config", path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "sweeps" / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_a_study_is_the_same_on_every_machine(path: Path) -> None:
    here, there = (parse_options(["--config", str(path)], gpus_found=gpus) for gpus in (0, 4))
    assert (here.search, here.space, here.confirm) == (there.search, there.space, there.confirm)
    named = {name for name, origin in here.origins.items() if origin == "file"}
    assert named >= {"preset", "search", "scheduler", "beta", "latent_size", "lr", "batch_size", "steps"}


def test_a_study_is_found_by_its_name_and_a_file_of_the_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the name, such as the study's own in `results`, does not hide it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beta-vae").mkdir()
    by_name = parse("--config", "beta-vae")
    assert by_name.space == parse("--config", REPOSITORY / "sweeps" / "studies" / "beta-vae.toml").space
    assert (by_name.sweep.name, by_name.search.repeats) == ("beta-vae", 2)
    (tmp_path / "beta-tcvae").write_text("beta = 3\n")
    assert parse("--config", "beta-tcvae").space.axis("beta") == (3.0,)


@pytest.mark.parametrize("name", ["beta-gamma", "../studies/beta-vae", "beta-vae.toml"])
def test_a_name_of_no_study_lists_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match="or one of the studies beta-tcvae, .*, beta-vae, beta-vae-relaxed, search, but "
    ):
        parse("--config", name)


def test_a_record_of_an_earlier_version_keeps_its_evaluations(tmp_path: Path) -> None:
    """The preset had no `eval_every` then."""
    options = options_to_dict(parse("--preset", "quick", "--steps", "3500", "--eval-every", "875"))
    del options["space"]["eval_every"]
    record = tmp_path / "sweep.json"
    record.write_text(json.dumps({"format": FORMAT, "options": options}))
    assert {trial.config.eval_every for trial in planned_trials(parse("--config", record))} == {875}


def test_the_help_names_every_study() -> None:
    text = options_of(SweepOptions)["config"].help
    assert [name for name in re.findall(r"`([\w.-]+)`", text) if name != "sweep.json"] == study_names()
