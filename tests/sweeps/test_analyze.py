import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.errors import InputError
from betavae.files import replace_json
from betavae.metrics import METRICS
from betavae.records.checkpoint import SCORES_FILE, _with_checksum, add_scores, read_scores
from betavae.records.sweep import Sweep, read_sweep
from betavae.records.trial import Trial
from betavae.records.weights import MODEL_FILE
from betavae.report.export import export_best
from betavae.report.findings import CHANCE
from betavae.report.onnx_files import DECODER_FILE, ENCODER_FILE
from betavae.report.write import Report
from betavae.text import one_line
from sweeps.analyze import BAD_INPUT, DONE, main
from sweeps.interrupts import Interruption
from sweeps.printing import print_escaped
from sweeps.run import _write_report
from sweeps.search.importance import MIN_TRIALS, importances
from sweeps.tables import describe_curves

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _on_small_data(small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)


def test_a_report_is_made_and_the_exact_score_taken_once(make_sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}})
    for is_taken in (True, False):
        assert main([str(folder), "--top", "1"]) == DONE
        output = capsys.readouterr()
        assert output.out == f"{folder / 'report' / 'index.html'}\n"
        assert ("scores of a, model 1 of 1: mig_exact ..." in output.err) == is_taken
    (row,) = json.loads((folder / "report" / "summary.json").read_text())["trials"]
    assert f"{row['mig_exact']:.4f}" in (folder / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{tmp}/nothing", "must be a sweep's folder, but has no sweep.json"),
        ("{empty}", "must hold a trial with a finished evaluation, but no trial has one yet"),
        ("{sweep} --top 0", "--top must be at least 1"),
        ("{sweep} --exact -1", "--exact must be at least 0"),
        ("{sweep} --scores mig mog", "--scores must be some of mig, mig_quantile, "),
        ("{sweep} --scores mig mog", "all, but got 'mog'."),
        ("{sweep} --output {sweep}/search", "must be a new folder or an earlier report"),
        ("{sweep} --output /dev/null/report", "The report's folder must be one that can be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: str, message: str, write_sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "tmp": tmp_path,
        "sweep": write_sweep(tmp_path / "sweep", {"a": {"migs": [0.2]}}),
        "empty": write_sweep(tmp_path / "empty", {"a": {"migs": []}}),
    }
    assert main(arguments.format(**places).split()) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*/report"))


def test_the_best_model_is_exported_with_its_card(
    make_sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new_seeds = {f"000{i}": {"migs": [0.1, 0.2 + 0.1 * i], "seed": 500_000 + i} for i in range(2)}
    folder = make_sweep({"a": {"migs": [0.2, 0.4]}, "b": {"migs": [0.1]}}, confirming=new_seeds)
    exported = tmp_path / "model"
    asked = [str(folder), "--top", "1", "--exact", "1", "--export", str(exported)]
    assert main(asked) == DONE
    assert capsys.readouterr().out.splitlines()[1] == str(exported / "README.md")
    card = (exported / "README.md").read_text()
    assert "| `mig` | 0.4000 |" in card
    assert "| `mig_exact` |" in card
    assert "The median `mig` of all trials, each at its end, is 0.2500." in card  # 0.4 and 0.1: what nobody selected
    assert "trained with 2 seeds that took no part in the choice, has a median `mig` of\n  0.2500" in card
    shutil.rmtree(folder)  # what is given away stands alone
    script = (exported / "traverse.py").read_text()
    exec(compile(script, str(exported / "traverse.py"), "exec"), {"__file__": str(exported / "traverse.py")})
    assert {path.name for path in exported.glob("*.png")} == {f"latent_{latent}.png" for latent in range(3)}
    assert len(script.splitlines()) <= 20
    assert main(asked) == BAD_INPUT
    assert "exported to a new or an empty folder" in capsys.readouterr().err


def test_models_of_two_likelihoods_are_not_chosen_by_one(make_sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}, "b": {"migs": [0.1], "likelihood": "gaussian"}})
    assert main([str(folder), "--select", "elbo", "--exact", "0"]) == BAD_INPUT
    assert "--select elbo needs models of one likelihood, since" in capsys.readouterr().err
    assert main([str(folder), "--exact", "0"]) == DONE
    assert "Losses of different likelihoods do not compare." in (folder / "report" / "index.html").read_text()


def test_the_card_of_a_model_has_its_likelihood_and_what_that_has_learnt(
    make_sweep, small_data: DSprites, tmp_path: Path
) -> None:
    values = {"likelihood": "gaussian", "learn_pixel_scale": True}
    sweep = read_sweep(make_sweep({"a": {"migs": [0.2, 0.4], **values}}))
    (trial,) = sweep.trials
    scales = {100: 0.09, 200: 0.0712345}
    reports = tuple(report | {"weight/pixel_scale": scales[report["step"]]} for report in trial.reports)
    export_best(
        replace(sweep, trials=(replace(trial, reports=reports),)), tmp_path / "model", data={"dsprites": small_data}
    )
    card = (tmp_path / "model" / "README.md").read_text()
    row = "| likelihood | gaussian, pixel scale 0.1, learn pixel scale True; learnt: pixel scale 0.07123 |"
    assert row in card.splitlines()


def test_a_model_of_changed_weights_is_not_exported_and_nothing_is_written(
    make_sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}})
    weights = folder / "search" / "trial_a" / "checkpoint_000000" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert main([str(folder), "--export", str(tmp_path / "model")]) == BAD_INPUT
    assert "model.safetensors is not what was written" in capsys.readouterr().err
    assert not (folder / "report").exists()
    assert not (tmp_path / "model").exists()


def test_top_exact_and_output_say_how_much_and_where(
    make_sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_sweep({name: {"migs": [mig]} for name, mig in zip("abcde", (0.5, 0.4, 0.3, 0.2, 0.1), strict=True)})
    elsewhere = tmp_path / "elsewhere"
    assert main([str(folder), "--top", "2", "--exact", "0", "--output", str(elsewhere)]) == DONE
    output = capsys.readouterr()
    assert output.out == f"{elsewhere / 'index.html'}\n"
    assert "mig_exact" not in output.err
    models = json.loads((elsewhere / "summary.json").read_text())["models"]
    assert [model["trial"] for model in models] == ["a", "b", "c", "e"]  # the median and the worst beside the best
    assert not (folder / "report").exists()
    assert main([str(folder), "--top", "1", "--exact", "2", "--output", str(elsewhere)]) == DONE
    assert capsys.readouterr().err.count("mig_exact") == 2


def test_a_damaged_best_has_no_exact_score_and_the_page_says_so(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}, "b": {"migs": [0.1]}})
    for name in ("model.safetensors", "codes.npz"):
        (folder / "search" / "trial_a" / "checkpoint_000000" / name).unlink()
    assert main([str(folder)]) == DONE
    page = (folder / "report" / "index.html").read_text()
    assert "Trial a has no mig_exact" in page
    assert "Trial a is not shown" in page


def fail_to_keep(folder: Path, scores: dict[str, Any]) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(folder))


def test_an_exact_score_that_cannot_be_kept_is_shown(
    make_sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output, exported = make_sweep({"a": {"migs": [0.2]}}), tmp_path / "report", tmp_path / "model"
    monkeypatch.setattr("sweeps.model_scores.add_scores", fail_to_keep)
    assert main([str(folder), "--top", "1", "--output", str(output), "--export", str(exported)]) == DONE
    assert (
        "Trial a has mig_exact, shown here, which could not be written to its checkpoint: Read-only file system."
        in capsys.readouterr().err
    )
    (row,) = json.loads((output / "summary.json").read_text())["trials"]
    assert f"{row['mig_exact']:.4f}" in (output / "index.html").read_text()
    assert f"| `mig_exact` | {row['mig_exact']:.4f} |" in (exported / "README.md").read_text()
    assert read_scores(exported)["mig_exact"].value == row["mig_exact"]


def test_a_sweep_that_cannot_be_written_names_the_option_for_another_place(
    make_sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}})
    monkeypatch.setattr("betavae.report.write.tempfile.TemporaryDirectory", lambda dir: fail_to_keep(dir, {}))
    assert main([str(folder)]) == BAD_INPUT
    assert capsys.readouterr().err == (
        f"error: The report's folder must be one that can be written, but {folder / 'report'}: Read-only file system; "
        "name another with --output.\n"
    )


@pytest.mark.parametrize(
    ("trials", "damaged", "message"),
    [
        ({}, False, "but no trial has one yet; no trial has started."),
        ({"a": {"migs": []}}, False, "but no trial has one yet; wait for the first."),
        ({"a": {"migs": [], "error": "E: why"}}, False, "but 1 trial failed (a: E: why)."),
        (
            {name: {"migs": [], "error": f"E: {name}"} for name in "abcde"},
            False,
            "but 5 trials failed (a: E: a; b: E: b; c: E: c; and 2 more).",
        ),
        (
            {"a": {"migs": [], "error": "E: why"}, "b": {"migs": [], "seed": 1}},
            False,
            "but 1 trial failed (a: E: why) and 1 trial had none yet.",
        ),
        ({"a": {"migs": []}}, True, "but some cannot be read (Trial search/a could not be read: "),
    ],
)
def test_why_no_trial_has_a_score(
    trials: dict[str, Any], damaged: bool, message: str, make_sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_sweep(trials)
    if damaged:
        (folder / "search" / "trial_a" / "params.json").write_text("[]")
    assert main([str(folder)]) == BAD_INPUT
    error = capsys.readouterr().err
    assert f"must hold a trial with a finished evaluation, {message}" in error
    assert error.count("\n") == 1


def test_an_interruption_is_one_line_and_exit_130(
    make_sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    folder = make_sweep({"a": {"migs": [0.2]}})
    monkeypatch.setattr("sweeps.analyze.write_report", interrupt)
    assert Interruption().run(lambda: main([str(folder), "--exact", "0"])) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "search"}


def test_a_reader_that_has_gone_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        for _ in range(2):
            print_escaped("a line", file=stream)
        assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev


def test_what_a_file_says_reaches_the_terminal_as_text(make_sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep({"a": {"migs": [], "error": "E: \x1b]0;owned\x07\u202e"}})
    assert main([str(folder)]) == BAD_INPUT
    assert r"(a: E: \x1b]0;owned\x07\u202e)" in capsys.readouterr().err


def test_printed_commands_are_quoted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    location = "/results/a b'c$(id)"
    assert shlex.split(describe_curves(location))[1:] == ["tensorboard", "--logdir", location]

    def fail(*arguments: object, **options: object) -> None:
        raise InputError("the reason")

    monkeypatch.setattr("sweeps.run.analyze", fail)
    assert _write_report(SimpleNamespace(location=location, options=SimpleNamespace(report=None))) == 1
    (said, command) = capsys.readouterr().err.splitlines()
    assert said == "error: no report: the reason"
    assert shlex.split(command.removeprefix("write it with: ")) == ["python", "sweeps/analyze.py", location]


def test_a_chosen_model_of_changed_weights_is_not_exported_and_no_report_is_written(
    make_sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model at the end of its training, which the rule chooses; the best by its highest score is whole."""
    folder = make_sweep({"a": {"migs": [0.1, 0.2], "exact": 0.3}, "b": {"migs": [0.3]}})
    (weights,) = folder.glob("search/trial_a/checkpoint_*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    asked = [str(folder), "--select", "mig_exact", "--exact", "0", "--export", str(tmp_path / "model")]
    assert main(asked) == BAD_INPUT
    assert "model.safetensors is not what was written" in capsys.readouterr().err
    assert not (folder / "report").exists()
    assert not (tmp_path / "model").exists()


HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) ![i](https://e.org/i.png) `a|b`\n| c | $\\frac \u202e"


def test_an_exported_card_holds_no_markup_of_the_sweeps(
    make_sweep, small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by another library: its only links, pictures and code are the template's, and no HTML is in it."""
    monkeypatch.setattr("betavae.report.card._describe_dataset", lambda dataset: HOSTILE)  # as a file's name may be
    folder = make_sweep({"a": {"migs": [0.2]}})
    record = json.loads((folder / "sweep.json").read_text())
    record |= {"command": shlex.join(["run.py", HOSTILE]), "versions": {HOSTILE: HOSTILE}}
    (folder / "sweep.json").write_text(json.dumps(record))
    folder = folder.rename(folder.with_name("$x <b> `y` | [z](javascript:1)"))
    (checkpoint,) = folder.glob("search/*/checkpoint_*")
    scores = read_scores(checkpoint)
    add_scores(checkpoint, {"mig": replace(scores["mig"], estimator=HOSTILE, rows=HOSTILE)})
    of_other_data = replace(read_scores(checkpoint), data_source=HOSTILE, data_fingerprint=HOSTILE)
    replace_json(checkpoint / SCORES_FILE, _with_checksum(of_other_data.to_dict()))
    export_best(read_sweep(folder), tmp_path / "model", data={"dsprites": small_data})
    _, front_matter, card = (tmp_path / "model" / "README.md").read_text().split("---\n", 2)
    assert "alert" not in front_matter
    assert "<" not in card
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(card)
    inline = [child for token in tokens for child in token.children or []]
    assert not {token.type for token in (*tokens, *inline)} & {"html_block", "html_inline", "link_open", "image"}
    assert all(
        child.content in (*METRICS, "config.json", "scores.json", MODEL_FILE, ENCODER_FILE, DECODER_FILE)
        for child in inline
        if child.type == "code_inline"
    )
    facts = [token.children for token in tokens if token.type == "inline"]
    assert sum(one_line(HOSTILE) in "".join(child.content for child in children or []) for children in facts) >= 4
    rows = [len(line.split("|")) for line in card.splitlines() if line.startswith("|")]
    assert rows[:13].count(4) == 13  # the facts: two cells each


def test_the_command_needs_no_ray() -> None:
    """Fails if a module on the way imports it: the report is made where there is none."""
    code = "import sys; sys.modules['ray'] = None; import sweeps.analyze; assert 'ray.tune' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def _trials(scores: np.ndarray, **columns: np.ndarray) -> list[Trial]:
    configs = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [
        Trial(f"{index}", index, Path(), TrialConfig.from_dict(config), ({"step": 1, "mig": float(score)},))
        for index, (config, score) in enumerate(zip(configs, scores, strict=True))
    ]


def test_importance_finds_the_one_that_decides() -> None:
    """The score is a function of beta alone: beta must beat the random number in every repeat, lr must not."""
    generator = np.random.default_rng(0)
    beta, lr = np.exp(generator.uniform(0, 3, 60)), np.exp(generator.uniform(-9, -6, 60))
    found = importances(_trials(np.log(beta) / 3, beta=beta.tolist(), lr=lr.tolist()))
    assert len(found) == 2
    for by_name in found.values():
        assert (by_name["beta"] > by_name[CHANCE]).all()
        assert by_name["lr"].mean() < 0.5 * by_name["beta"].mean()
        np.testing.assert_allclose(sum(by_name.values()), 1, atol=1e-9)


def test_importance_takes_schedules_among_numbers_as_categories() -> None:
    """The score is 1 with the schedule and 0 without it, whatever lr is."""
    generator = np.random.default_rng(0)
    beta = [4.0, 8.0, "12@0,4@70"] * 20
    scores = np.array([float(value == "12@0,4@70") for value in beta])
    found = importances(_trials(scores, beta=beta, lr=np.exp(generator.uniform(-9, -6, 60)).tolist()))
    assert all(by_name["beta"].min() > by_name["lr"].max() for by_name in found.values())


def test_a_name_that_two_objectives_share_is_no_hyper_parameter_of_both() -> None:
    """The score follows the beta of one objective alone: without their parameters, objective and lr are left."""
    betas, objectives = [1.0, 2.0, 4.0, 8.0] * 6, ["beta-vae", "beta-tcvae"] * 12
    scores = np.array([beta if name == "beta-vae" else 0.0 for beta, name in zip(betas, objectives, strict=True)])
    lr = np.exp(np.random.default_rng(0).uniform(-9, -6, 24)).tolist()
    found = importances(_trials(scores, objective=objectives, beta=betas, lr=lr))
    assert [set(by_name) for by_name in found.values()] == [{"objective", "lr", CHANCE}] * 2
    assert importances(_trials(scores, objective=objectives, beta=betas)) == {}


def test_few_trials_or_one_axis_or_equal_scores_say_nothing() -> None:
    values = np.arange(1.0, 30.0)
    assert importances(_trials(values, beta=values.tolist(), lr=[1e-3] * len(values))) == {}
    few = values[: MIN_TRIALS - 1]
    assert importances(_trials(few, beta=few.tolist(), lr=(few / 1e4).tolist())) == {}
    assert importances(_trials(0 * values, beta=values.tolist(), lr=(values / 1e4).tolist())) == {}


def test_several_data_sets_have_a_model_each_and_importances_of_their_own(
    two_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report itself is tested in tests/report/test_datasets.py."""
    given: dict[str, Any] = {}

    def write_report(sweep: Sweep, output: Path, **arguments: Any) -> Report:
        given.update(arguments)
        return Report(str(output / "index.html"), ())

    monkeypatch.setattr("sweeps.analyze.write_report", write_report)
    monkeypatch.setattr("sweeps.analyze.importances", lambda trials: [trial.trial_id for trial in trials])
    assert main([str(two_datasets), "--exact", "0", "--export", str(tmp_path / "models")]) == DONE
    assert capsys.readouterr().out.splitlines() == [
        str(two_datasets / "report" / "index.html"),
        str(tmp_path / "models" / "dsprites" / "README.md"),
        str(tmp_path / "models" / "blocks" / "README.md"),
    ]
    assert set(given["data"]) == {"dsprites", "blocks"}
    assert given["importances"] == {
        "dsprites": ["0000", "0001", "0002", "0003"],
        "blocks": ["0004", "0005", "0006", "0007"],
    }


def test_importances_are_of_one_data_set() -> None:
    trials = _trials(np.linspace(0, 1, 20), lr=np.geomspace(1e-4, 1e-3, 20), latent_size=np.tile([3, 5], 10))
    trials[0] = replace(trials[0], config=replace(trials[0].config, dataset=BlocksDataset()))
    with pytest.raises(ValueError, match="must be of one data set"):
        importances(trials)
