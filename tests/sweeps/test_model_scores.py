"""Scores of a sweep's models on request: taken once, kept at once, from the kept codes where these are enough."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from toy_parts import Blocks

from betavae.data import DSprites
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.metrics import METRICS, EncodedSample, Score
from betavae.metrics.irs import IRSMetric
from betavae.records.checkpoint import CODES_FILE, SCORES_FILE, add_scores, load_model, read_scores
from betavae.records.sweep import read_sweep
from betavae.records.weights import MODEL_FILE
from sweeps.model_scores import _TimeLeft, models_to_score, take_model_scores
from sweeps.options.options import ReportOptions
from sweeps.storage.mirror import Mirror

SOME = ("irs", "modularity", "total_correlation")

Take = Callable[..., list[str]]


@pytest.fixture
def take(small_data: DSprites) -> Take:
    """Take scores of a sweep's models, and return the problems."""

    def take(folder: Path, *scores: str, top: int | None = None, exact: int = 0) -> list[str]:
        models = models_to_score(read_sweep(folder), ReportOptions(scores=scores, top=top, exact=exact), data={})
        return take_model_scores(models, {"dsprites": small_data}, device="cpu", mirror=Mirror(folder)).problems

    return take


def checkpoint(folder: Path, trial: str) -> Path:
    return max((folder / "search" / f"trial_{trial}").glob("checkpoint_*"))


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_the_scores_that_are_asked_for_are_taken_and_kept(
    make_sweep, take: Take, small_data: DSprites, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_sweep({name: {"migs": [mig]} for name, mig in zip("abc", (0.5, 0.4, 0.3), strict=True)})
    assert take(folder, *SOME, top=2) == []
    assert lines(capsys.readouterr().err) == [
        f"scores of {name}, model {number} of 2: total_correlation, modularity, irs ..."
        for number, name in enumerate("ab", start=1)
    ]
    expected = evaluate(load_model(checkpoint(folder, "a")), small_data, SOME)
    for trial, has_them in (("a", True), ("b", True), ("c", False)):
        scores = read_scores(checkpoint(folder, trial))
        for name in SOME:
            assert (name in scores) == has_them
            if has_them:
                assert scores[name].value == expected[name].value
                assert scores[name].details["data"] == {"source": "rendered", "sha256": small_data.fingerprint}
    assert take(folder, *SOME) == []
    assert len(lines(capsys.readouterr().err)) == 1, "those of the third trial alone were missing"
    before = checkpoint(folder, "a").joinpath(SCORES_FILE).stat().st_mtime_ns
    assert take(folder, *SOME) == []
    assert capsys.readouterr().err == ""
    assert checkpoint(folder, "a").joinpath(SCORES_FILE).stat().st_mtime_ns == before


def test_exact_is_a_case_of_it(make_sweep, take: Take, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(
        {"a": {"migs": [0.5]}, "b": {"migs": [0.4]}}, confirming={"0000": {"migs": [0.1, 0.3], "seed": 5}}
    )
    assert take(folder, "irs", exact=1) == []
    assert lines(capsys.readouterr().err) == [
        "scores of a, model 1 of 3: irs, mig_exact ...",
        "scores of b, model 2 of 3: irs ...",
        "scores of confirm/0000, model 3 of 3: irs, mig_exact ...",
    ]


def test_scored_rows_need_no_model_and_others_do(make_sweep, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small set is scored as a whole; here SAP selects other rows than the checkpoint keeps."""
    folder = make_sweep({"a": {"migs": [0.5]}})
    (checkpoint(folder, "a") / MODEL_FILE).unlink()
    monkeypatch.setattr(METRICS["sap"], "num_rows", 100)
    (problem,) = take(folder, "irs", "mig_exact", "sap")
    assert problem.startswith("Trial a has no sap: ")
    assert "model.safetensors" in problem
    assert {"irs", "mig_exact"} <= read_scores(checkpoint(folder, "a")).by_name.keys()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_without_its_codes_a_model_is_encoded_again(
    make_sweep, take: Take, small_data: DSprites, damage: Callable[[Path], Any]
) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})
    damage(checkpoint(folder, "a") / CODES_FILE)
    assert take(folder, "irs") == []
    expected = evaluate(load_model(checkpoint(folder, "a")), small_data, "irs")["irs"].value
    assert read_scores(checkpoint(folder, "a"))["irs"].value == expected


def test_changed_weights_give_no_score(make_sweep, take: Take) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})
    (checkpoint(folder, "a") / CODES_FILE).unlink()
    weights = checkpoint(folder, "a") / MODEL_FILE
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    (problem,) = take(folder, "irs", "sap")
    assert problem.startswith("Trial a has no irs, sap: ")
    assert "model.safetensors is not what was written" in problem


def test_a_score_of_other_images_is_taken_again(make_sweep, take: Take, small_data: DSprites) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})
    assert take(folder, "irs") == []
    score = read_scores(checkpoint(folder, "a"))["irs"]
    other = replace(score, value=0.123, details={**score.details, "data": {"source": "file", "sha256": "1" * 64}})
    add_scores(checkpoint(folder, "a"), {"irs": other})
    assert take(folder, "irs") == []
    assert read_scores(checkpoint(folder, "a"))["irs"] == score


def test_an_interruption_loses_no_score_that_was_taken(make_sweep, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})

    def interrupt(self: IRSMetric, sample: EncodedSample) -> Score:
        raise KeyboardInterrupt

    monkeypatch.setattr(IRSMetric, "score", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take(folder, *SOME)
    assert {"modularity", "total_correlation"} <= read_scores(checkpoint(folder, "a")).by_name.keys()
    assert "irs" not in read_scores(checkpoint(folder, "a"))


def test_a_score_that_cannot_be_taken_is_a_problem_and_the_others_are_taken(
    make_sweep, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: IRSMetric, sample: EncodedSample) -> Score:
        raise InputError("A value of each factor must have two rows.")

    monkeypatch.setattr(IRSMetric, "score", refuse)
    folder = make_sweep({"a": {"migs": [0.5]}})
    assert take(folder, *SOME) == ["Trial a has no irs: A value of each factor must have two rows."]
    assert {"modularity", "total_correlation"} <= read_scores(checkpoint(folder, "a")).by_name.keys()


@pytest.mark.slow  # boosted trees in two processes
def test_all_takes_every_score(make_sweep, take: Take) -> None:
    folder = make_sweep({"a": {"migs": [0.5]}})
    assert take(folder, "all") == []
    taken = read_scores(checkpoint(folder, "a")).by_name.keys()
    assert taken == {name for name, metric in METRICS.items() if metric.is_always_taken}


def test_the_time_left_is_by_the_mean_speed_so_far() -> None:
    now = 0.0
    progress = Progress(get_time=lambda: now, disable=True)
    progress.add_task("", total=10.0)
    (task,) = progress.tasks
    assert str(_TimeLeft().render(task)) == "-:--:-- left"
    now = 60.0
    progress.advance(task.id, 2.5)
    assert str(_TimeLeft().render(task)) == "0:03:00 left"
    now = 90.0  # a long score: no step
    assert str(_TimeLeft().render(task)) == "0:04:30 left"


def test_by_default_the_exact_score_is_taken_where_there_are_factors(
    two_datasets: Path, small_data: DSprites, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blocks, "has_factors", False)
    data = {"dsprites": small_data, "blocks": blocks}
    models = models_to_score(read_sweep(two_datasets), ReportOptions(scores=("elbo",), top=1), data=data)
    assert {(model.name, model.scores) for model in models} == {
        ("0003", ("mig_exact", "elbo")),
        ("confirm/0000", ("mig_exact", "elbo")),
        ("confirm/0001", ("mig_exact", "elbo")),
        ("0005", ("elbo",)),
        ("confirm/1000", ("elbo",)),
        ("confirm/1001", ("elbo",)),
    }


def test_the_numbers_of_the_options_hold_for_each_data_set(two_datasets: Path) -> None:
    """Fails if the best of all are scored: they are of blocks."""
    options = ReportOptions(scores=("irs",), top=2, exact=1)
    models = models_to_score(read_sweep(two_datasets), options, data={})
    assert [(model.name, model.scores) for model in models] == [
        ("0003", ("mig_exact", "irs")),
        ("0002", ("irs",)),
        ("confirm/0000", ("mig_exact", "irs")),
        ("confirm/0001", ("mig_exact", "irs")),
        ("0005", ("mig_exact", "irs")),
        ("0004", ("irs",)),
        ("confirm/1000", ("mig_exact", "irs")),
        ("confirm/1001", ("mig_exact", "irs")),
    ]
