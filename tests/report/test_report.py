import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from betavae.data import DSprites
from betavae.errors import InputError
from betavae.evaluation import take_score
from betavae.files import replace_json
from betavae.metrics import exact_mutual_information_gap
from betavae.metrics.representation import represent
from betavae.records.checkpoint import CheckpointError, _with_checksum, add_scores, load_model, read_scores
from betavae.records.record import FORMAT
from betavae.records.sweep import read_sweep
from betavae.report import write as report
from betavae.report.export import export_best
from betavae.report.table import write_csv
from betavae.report.write import write_report


def write(folder: Path, data: DSprites, output: Path | None = None) -> str:
    output = output or folder / "report"
    report = write_report(read_sweep(folder), output, data={"dsprites": data}, num_best=1, importances={})
    return Path(report.page).read_text()


@pytest.fixture
def folder(make_sweep) -> Path:
    """A sweep of two trials, to be damaged."""
    return make_sweep({"best": {"migs": [0.2, 0.5]}, "good": {"migs": [0.4], "beta": 2.0}})


@pytest.fixture
def without_models(folder: Path) -> Path:
    """The same without a model to look at: its report takes a second."""
    for path in folder.glob("search/*/*/model.safetensors"):
        path.unlink()
    return folder


def test_the_page_holds_all_that_it_shows(reported: Path) -> None:
    page = (reported / "index.html").read_text()
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)|url\(([^)]+)\)""", page)
    assert len(addresses) > 10
    assert all("".join(address).startswith(("data:", "#")) for address in addresses)
    assert "12 trials: 2 finished, 1 stopped, 1 failed, 8 unfinished." in page
    assert "&lt;b&gt;the loss&lt;/b&gt;" in page  # what a trial said is text, not markup


def test_the_files_beside_the_page(reported: Path) -> None:
    with (reported / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows][:4] == ["best", "good", "fair", "mid6"]
    assert [float(row["mig"]) for row in rows[:4]] == [0.5, 0.4, 0.3, 0.26]
    assert (rows[-1]["trial"], rows[-1]["mig"], rows[-1]["rank"]) == ("lost", "", "")
    summary = json.loads((reported / "summary.json").read_text())
    assert [(model["title"], model["trial"]) for model in summary["models"]] == [
        ("best", "best"), ("median", "mid4"), ("worst", "poor"),
    ]  # fmt: skip
    assert summary["trials"][0]["trial"] == "best"
    names = {path.stem for path in (reported / "figures").glob("*.pdf")}
    assert names == {
        "mig_against_beta", "mig_against_lr", "parallel_coordinates", "importance", "learning_curves", "factors",
    }  # fmt: skip
    for path in reported.glob("models/*"):
        assert {file.stem for file in path.glob("*.png")} == {
            "traversal", "reconstructions", "codes", "mutual_information",
        }  # fmt: skip
        with Image.open(path / "traversal.gif") as movie:
            frames = [movie.seek(frame) or movie.info["duration"] for frame in range(movie.n_frames)]
        assert sum(frames) == 20 * 120  # to and fro over 11 columns; equal frames are merged
    with Image.open(reported / "figures" / "factors.png") as picture:
        assert round(picture.info["dpi"][0]) == 200


def test_a_checkpoint_that_gives_another_score_here_is_told(reported: Path) -> None:
    """The fixture's models are untrained, and score nothing like what their trials say."""
    page = (reported / "index.html").read_text()
    assert re.search(r"Trial best recorded a score of 0\.5000 \(MIG\), but its checkpoint gives 0\.\d+ here", page)


def test_a_damaged_checkpoint_is_named_and_the_next_best_is_shown(folder: Path, small_data: DSprites) -> None:
    (folder / "search" / "trial_best" / "checkpoint_000001" / "model.safetensors").write_bytes(b"not a model")
    page = write(folder, small_data)
    assert "Trial best is not shown" in page
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert [(model["title"], model["trial"]) for model in summary["models"]][0] == ("rank 2", "good")
    assert "Trial best is not shown" in summary["problems"][0]


@pytest.mark.parametrize("damage", [b"", b"text", b"\x80\x02.", b"PK\x03\x04"])
def test_a_damaged_model_is_a_checkpoint_error(damage: bytes, folder: Path) -> None:
    checkpoint = folder / "search" / "trial_best" / "checkpoint_000001"
    (checkpoint / "model.safetensors").write_bytes(damage)
    with pytest.raises(CheckpointError, match="must hold a model"):
        load_model(checkpoint)


def test_a_damaged_config_is_a_checkpoint_error(folder: Path) -> None:
    checkpoint = folder / "search" / "trial_best" / "checkpoint_000001"
    (checkpoint / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="must be a mapping"):
        load_model(checkpoint)


def test_a_page_without_any_model(without_models: Path, small_data: DSprites) -> None:
    page = write(without_models, small_data)
    assert page.count("is not shown") == 2
    assert "Traversals" not in page


def test_a_new_report_replaces_the_old_one_whole(
    without_models: Path, small_data: DSprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_models
    write(folder, small_data)
    (folder / "report" / "figures" / "stale.png").touch()
    before = (folder / "report" / "index.html").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(report, "render_page", _raise_disk_full)
        with pytest.raises(OSError, match="disk full"):
            write(folder, small_data)
    assert (folder / "report" / "index.html").read_text() == before
    write(folder, small_data)
    assert not (folder / "report" / "figures" / "stale.png").exists()
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "search", "report"}


def _raise_disk_full(*arguments: object, **options: object) -> str:
    raise OSError("disk full")


def test_what_is_no_report_is_not_written_over(folder: Path, small_data: DSprites) -> None:
    with pytest.raises(ValueError, match="holds something else"):
        write(folder, small_data, output=folder / "search")
    assert len(list(folder.glob("search/trial_*"))) == 2
    (folder / "notes").mkdir()
    (folder / "notes" / "summary.json").write_text("{}")  # a common name makes no report
    with pytest.raises(ValueError, match="holds something else"):
        write(folder, small_data, output=folder / "notes")


def test_the_exact_score_is_of_every_image_and_kept(folder: Path, small_data: DSprites) -> None:
    checkpoint = folder / "search" / "trial_best" / "checkpoint_000001"
    assert "mig_exact" not in read_scores(checkpoint)
    seen: list[int] = []
    model = load_model(checkpoint)
    add_scores(checkpoint, {"mig_exact": take_score("mig_exact", model, small_data, on_progress=seen.append)})
    assert sum(seen) == len(small_data)
    scores = read_scores(checkpoint)
    posterior = represent(model, small_data, indices=np.arange(len(small_data)))
    expected = exact_mutual_information_gap(posterior.mean, posterior.logvar, small_data.factors)
    assert scores["mig_exact"].value == pytest.approx(expected.score, abs=1e-12)
    ordered = scores["mig_exact"].details["score_of_ordered_factors"]
    assert ordered == pytest.approx(expected.gaps[1:].mean(), abs=1e-12)
    assert scores["mig"].value == 0.5  # the other scores are kept
    page = write(folder, small_data)
    assert f"exact MIG {expected.score:.4f} ({expected.gaps[1:].mean():.3f} without shape)" in page
    assert f"768 images; {expected.gaps[1:].mean():.3f} without shape" in page


def test_no_cell_of_the_table_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    error = '=HYPERLINK(1)\nsecond line; "quoted", -1'
    write_csv(
        tmp_path / "t.csv", [{"error": error, "mig": -0.5, "rank": None}, {"error": " +1", "mig": 1e-7, "rank": 2}]
    )
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["error", "mig", "rank"], [f"'{error}", "-0.5", ""], ["' +1", "1e-07", "2"]]


NAME = "$\\frac{ <img src=x onerror=alert(1)> \"'"


def test_a_name_is_text_in_the_page_and_in_its_figures(make_sweep, small_data: DSprites) -> None:
    folder = make_sweep({NAME: {"migs": [0.2]}, "other": {"migs": [0.1], "error": f"<b>{NAME}", "seed": 1}})
    record = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(record | {"command": f"</script>\ud800{NAME}", "git": None}))
    folder = folder.rename(folder.with_name(NAME))
    page = write(folder, small_data)
    assert "<img src=x" not in page
    assert "<b>$" not in page
    assert page.count("</script>") == 2  # the notes of the trials, and the code
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def change_scores(checkpoint: Path, changes: dict[str, Any]) -> None:
    """Write other content into a checkpoint's scores, by paths with points, with the checksum of what is written."""
    values = read_scores(checkpoint).to_dict()
    for path, value in changes.items():
        *parents, name = path.split(".")
        target = values
        for parent in parents:
            target = target[parent]
        target[name] = value
    replace_json(checkpoint / "scores.json", _with_checksum(values))


@pytest.mark.parametrize(
    "changes",
    [
        {"scores.mig": {"value": 0.5}},
        {"scores.mig": "high"},
        {"scores.mig": []},
        {"scores.mig.value": "0.5"},
        {"scores.mig.value": None},
        {"scores.mig.by_factor": []},
        {"scores.mig.by_factor": {"shape": "much"}},
        {"scores.mig.details.entropies_nats": None},
        {"scores.mig.details.mutual_information_nats": [[0.1]]},
        {"scores.mig.ceiling": "none"},
        {"scores.mig.estimator": 3},
        {"kl_nats_per_latent": "high"},
        {"kl_nats_per_latent": [0.1]},
        {"scores.active_units.details.threshold_nats": True},
        {"data": []},
        {"data.sha256": None},
        {"scores.mig_exact": 0.5},
        {"scores.mig_exact": {"value": 0.5, "by_factor": [], "num_rows": "all"}},
        {"scores.mig_quantile": {"value": 0.5}},
        {"step": "second"},
        {"step": None},
    ],
)
def test_scores_of_the_wrong_shape_cost_their_model_and_not_the_report(
    changes: dict[str, Any], folder: Path, small_data: DSprites
) -> None:
    (folder / "search" / "trial_good" / "checkpoint_000000" / "model.safetensors").unlink()
    checkpoint = folder / "search" / "trial_best" / "checkpoint_000001"
    change_scores(checkpoint, changes)
    with pytest.raises(CheckpointError, match="must hold scores.json, but"):
        read_scores(checkpoint)
    assert "Trial best is not shown" in write(folder, small_data)


def test_scores_of_other_latents_or_without_mig_cost_their_model(folder: Path, small_data: DSprites) -> None:
    for name, changes in (("best", {"kl_nats_per_latent": [0.1], "scores": {}}), ("good", {"scores": {}})):
        (checkpoint,) = folder.glob(f"search/trial_{name}/checkpoint_*")
        mig = read_scores(checkpoint)["mig"].to_dict()
        score = mig | {"details": mig["details"] | {"mutual_information_nats": [[0.1] * 5]}}
        change_scores(checkpoint, changes | ({"scores": {"mig": score}} if name == "best" else {}))
    page = write(folder, small_data)
    assert "must be of its model&#39;s 3 latents" in page
    assert "Trial good is not shown: " in page


def test_a_model_of_a_data_set_that_is_not_here_is_not_shown(without_models: Path) -> None:
    sweep = read_sweep(without_models)
    report = write_report(sweep, without_models / "report", data={}, num_best=1, importances={})
    assert "No model of dsprites is shown: its images are not here." in report.problems


def test_scores_that_a_folder_could_not_keep_are_shown(folder: Path, small_data: DSprites) -> None:
    checkpoint = folder / "search" / "trial_best" / "checkpoint_000001"
    score = take_score("mig_exact", load_model(checkpoint), small_data)
    sweep = read_sweep(folder).with_scores({checkpoint: {"mig_exact": score}})
    output = folder / "report"
    write_report(sweep, output, data={"dsprites": small_data}, num_best=1, importances={})
    best, good = json.loads((output / "summary.json").read_text())["trials"]
    assert best["mig_exact"] == score.value
    assert "mig_exact" not in good
    assert "mig_exact" not in read_scores(checkpoint)
    export_best(sweep, folder / "model", data={"dsprites": small_data})
    assert read_scores(folder / "model")["mig_exact"] == score
    with pytest.raises(InputError, match="must hold dsprites"):
        export_best(sweep, folder / "other", data={})


def test_other_images_are_told(without_models: Path, small_data: DSprites) -> None:
    """The sweep's record names those of this machine; a trial was scored on others; an exact score is of others."""
    best, good = (without_models / "search" / f"trial_{name}" for name in ("best", "good"))
    change_scores(best / "checkpoint_000001", {"data.sha256": "a" * 64})
    mig = read_scores(good / "checkpoint_000000")["mig"]
    data = {"source": "file", "sha256": "b" * 64}
    exact = replace(mig, details={**mig.details, "score_of_ordered_factors": 0.1, "data": data})
    add_scores(good / "checkpoint_000000", {"mig_exact": exact})
    page = write(without_models, small_data)
    scored = "scored on dsprites of SHA-256 aaaaaaaaaaaa..."
    taken = "exact MIG taken of dsprites of SHA-256 bbbbbbbbbbbb..."
    assert f"Trial best: {scored}, but the sweep trained on 000000000000..." in page
    assert f"Trial good: {taken}, but the sweep trained on 000000000000..." in page


def test_trials_of_other_images_than_one_another_are_told(without_models: Path, small_data: DSprites) -> None:
    (without_models / "sweep.json").write_text(json.dumps({"format": FORMAT}))  # which names none
    assert "scored on" not in write(without_models, small_data)
    change_scores(without_models / "search" / "trial_best" / "checkpoint_000001", {"data.sha256": "a" * 64})
    page = write(without_models, small_data)
    scored = "Trial best: scored on dsprites of SHA-256 aaaaaaaaaaaa..."
    assert f"{scored}, but this machine has 000000000000..." in page
