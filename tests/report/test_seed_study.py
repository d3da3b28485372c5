import json
from pathlib import Path

import pytest
from toy_parts import WholeSprites

from betavae.records.sweep import read_sweep
from betavae.report.seed_study import PUBLISHED, explain, reproduced
from betavae.report.write import write_report

# the last evaluation of each: a median of 0.2 at beta 1, of 0.1 at beta 5, which was not published
TRIALS = {
    **{f"a{i}": {"migs": [0.9, mig], "beta": 1.0, "seed": i} for i, mig in enumerate((0.1, 0.2, 0.6))},
    "b": {"migs": [0.0, 0.1], "beta": 5.0},
    "cut": {"migs": [0.7], "beta": 1.0, "seed": 3},
}


OWN = {"images": 10_000, "architecture": "conv3", "latent_size": 64, "batch_size": 64, "lr": 1e-3}


def _on_first_images(trials: dict[str, dict], **config: object) -> dict[str, dict]:
    return {name: trial | OWN | config for name, trial in trials.items()}


def test_published_means_are_those_of_the_published_gaps() -> None:
    for beta, gaps in PUBLISHED.items():
        assert gaps["mig"] == pytest.approx(sum(gaps.values()) / 5 - gaps["mig"] / 5, abs=5e-5), beta


def test_it_takes_medians_of_the_last_scores_of_both_kinds(make_sweep) -> None:
    one, other = reproduced(read_sweep(make_sweep(_on_first_images(TRIALS))).trials)
    assert (one.config.value("beta"), one.num_seeds, one.published["mig"]) == (1.0, 3, 0.0108)
    assert (one.whole_set["mig"], one.whole_set["shape"], one.own_rows["mig"]) == (0.2, 0.2, 0.1)
    assert (one.own_rows["shape"], one.own_rows["scale"]) == (0.0, 0.0)
    assert (other.config.value("beta"), other.num_seeds, other.published) == (5.0, 1, {})


@pytest.mark.parametrize("other", [{"latent_size": 10}, {"lr": 1e-4}, {"likelihood": "gaussian"}])
def test_what_was_published_is_shown_beside_nothing_else(make_sweep, other: dict[str, object]) -> None:
    one, _ = reproduced(read_sweep(make_sweep(_on_first_images(TRIALS, **other))).trials)
    assert (one.own_rows["mig"], one.published) == (0.1, {})


def test_a_study_of_the_whole_set_is_none(make_sweep) -> None:
    assert reproduced(read_sweep(make_sweep(TRIALS)).trials) == []


def test_three_sentences_say_why(make_sweep) -> None:
    said = explain(reproduced(read_sweep(make_sweep(_on_first_images(TRIALS))).trials))
    assert said.count(". ") == 2
    assert "up to 0.2000 for shape and 0.2000 for scale" in said
    assert "first 10,000 of 737,280 images" in said


def test_images_of_several_scales_are_not_said_to_be_of_one(make_sweep) -> None:
    said = explain(reproduced(read_sweep(make_sweep(_on_first_images(TRIALS, images=500_000))).trials))
    assert "never varies" not in said


def test_the_page_and_the_summary_show_the_three_columns(make_sweep) -> None:
    folder = make_sweep(_on_first_images(TRIALS), outcome="done")
    for path in folder.glob("search/*/*/model.safetensors"):
        path.unlink()  # no model is looked at: whole dSprites takes minutes
    data = {"dsprites": WholeSprites()}
    page = Path(write_report(read_sweep(folder), folder / "report", data=data, num_best=1, importances={}).page)
    assert "Trained on the first 10,000 of 737,280 images of dsprites in file order" in page.read_text()
    rows = page.read_text().partition('id="seed-study"')[2].partition("</section>")[0]
    assert "<td>0.0108</td>" in rows
    assert "<td>0.1000</td><td>0.2000</td>" in rows
    one, _ = json.loads((page.parent / "summary.json").read_text())["seed_study"]
    assert (one["published"]["mig"], one["own_rows"]["mig"], one["whole_set"]["mig"]) == (0.0108, 0.1, 0.2)
    assert sorted(zip(one["seeds"], one["mig_own_rows"], one["mig_whole_set"], strict=True)) == [
        (0, 0.05, 0.1),
        (1, 0.1, 0.2),
        (2, 0.3, 0.6),
    ]
