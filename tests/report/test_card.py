"""The front matter of a model's card, as the Hub reads it."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_parts import Blocks

from betavae.data import DATASETS, DSprites
from betavae.metrics import METRICS
from betavae.records.checkpoint import add_scores, read_scores
from betavae.records.sweep import read_sweep
from betavae.report.export import export_best

HUB_ID = r"(?:[\w-]+/)?[\w.-]+"
"""The pattern of `dataset.type` by which the Hub refuses a card; quoted in embeddings-benchmark/mteb, issue 1111."""

HEADINGS = [
    "Model Details",
    "Uses",
    "Bias, Risks, and Limitations",
    "How to Get Started with the Model",
    "Training Details",
    "Evaluation",
]
"""Those of huggingface_hub's modelcard_template.md that are filled in here, in its order but for the start."""


def parts_of(card: Path) -> tuple[dict[str, Any], str]:
    """The front matter and the text."""
    match = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", card.read_text(), flags=re.DOTALL)
    assert match is not None
    return yaml.safe_load(match[1]), match[2]


@pytest.fixture(scope="module")
def card(write_sweep, small_data: DSprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    sweep = read_sweep(write_sweep(folder / "study", {"a": {"migs": [0.2, 0.4], "objective": "beta-tcvae"}}))
    return export_best(sweep, folder / "model", data={"dsprites": small_data}).cards[0]


@pytest.fixture
def _without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes seconds less."""
    monkeypatch.setattr("betavae.report.export.missing_packages", lambda: ["onnx"])


def test_the_front_matter_is_yaml_and_holds_what_the_hub_reads(card: Path) -> None:
    front, _ = parts_of(card)
    scores = read_scores(card.parent)
    assert front["library_name"] == "betavae-lab"
    assert front["pipeline_tag"] == "image-feature-extraction"
    assert front["tags"] == ["disentanglement", "representation-learning", "variational-autoencoder", "beta-tcvae"]
    assert front["datasets"] == ["dsprites"]
    assert front["metrics"] == list(scores.by_name)
    (entry,) = front["model-index"]
    assert entry["name"] == "beta-tcvae-dsprites"
    (result,) = entry["results"]
    assert result["task"] == {"type": "image-feature-extraction", "name": "Disentanglement"}
    assert result["dataset"] == {"type": "dsprites", "name": "dsprites"}
    for item in result["metrics"]:
        assert type(item["value"]) is float
        assert item["value"] == pytest.approx(scores[item["type"]].value, abs=5e-7)  # six decimals
        assert item["name"] == METRICS[item["type"]].label
    assert {item["type"] for item in result["metrics"]} == set(scores.by_name)


def test_no_license_is_invented(card: Path) -> None:
    front, text = parts_of(card)
    assert "license" not in front
    assert "| license | none is named" in text


def test_the_text_has_the_headings_of_the_hubs_layout(card: Path) -> None:
    _, text = parts_of(card)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS
    assert re.findall(r"^# (.+)$", text, flags=re.MULTILINE) == ["beta-tcvae, beta 4, 3 latents, on dsprites"]


@pytest.mark.usefixtures("_without_onnx")
def test_the_card_says_of_how_many_starts_the_model_is(make_sweep, small_data: DSprites, tmp_path: Path) -> None:
    lines = []
    for starts in (1, 3):
        folder = make_sweep({f"{starts}": {"migs": [0.2], "starts": starts, "start_steps": 50}})
        sweep = read_sweep(folder)
        card = export_best(sweep, tmp_path / f"model{starts}", data={"dsprites": small_data}).cards[0]
        lines.append(next(line for line in card.read_text().splitlines() if line.startswith("| training |")))
        shutil.rmtree(folder)
    assert lines[1] == lines[0].replace(", seed", ", kept at step 50 as the best of 3 starts by the loss, seed")


@pytest.mark.usefixtures("_without_onnx")
def test_a_small_value_is_a_number_of_yaml(make_sweep, small_data: DSprites, tmp_path: Path) -> None:
    """Python's 1e-05 is a text in YAML 1.1."""
    folder = make_sweep({"a": {"migs": [0.2]}})
    (checkpoint,) = folder.glob("search/*/checkpoint_*")
    add_scores(checkpoint, {"mig_quantile": replace(read_scores(checkpoint)["mig_quantile"], value=1e-5)})
    front, _ = parts_of(export_best(read_sweep(folder), tmp_path / "model", data={"dsprites": small_data}).cards[0])
    values = {item["type"]: item["value"] for item in front["model-index"][0]["results"][0]["metrics"]}
    assert values["mig_quantile"] == 1e-5


@pytest.mark.usefixtures("_without_onnx")
def test_images_that_nobody_else_knows_are_no_data_set_of_the_hub(make_sweep, blocks: Blocks, tmp_path: Path) -> None:
    folder = make_sweep({"a": {"migs": [0.2], "dataset": "blocks"}})
    front, _ = parts_of(export_best(read_sweep(folder), tmp_path / "model", data={"blocks": blocks}).cards[0])
    assert "datasets" not in front
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "blocks"


@pytest.mark.parametrize("name", DATASETS)
def test_the_name_of_a_data_set_is_one_that_the_hub_takes(name: str) -> None:
    assert re.fullmatch(HUB_ID, name)
    assert DATASETS[name].is_published == (name != "file")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("run.py --data-file /home/ada/'my data'/a.npz --results=/srv/ada/r --beta 1 -b 64", "a.npz --results=r"),
        ("/home/ada/.venv/bin/betavae-sweep --data-file ada/a.npz", "betavae-sweep --data-file ada/a.npz"),
        ("run.py --name 'unbalanced", "not recorded"),
    ],
)
@pytest.mark.usefixtures("_without_onnx")
def test_no_folder_of_the_machine_is_in_the_command(
    command: str, shown: str, write_sweep, small_data: DSprites, tmp_path: Path
) -> None:
    sweep = read_sweep(write_sweep(tmp_path / "study", {"a": {"migs": [0.2]}}))
    sweep = replace(sweep, record={**sweep.record, "command": command})
    card = export_best(sweep, tmp_path / "model", data={"dsprites": small_data}).cards[0].read_text()
    (row,) = [line for line in card.splitlines() if line.startswith("| command |")]
    assert shown in row
    assert "/home" not in row
    assert "/srv" not in row
