import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS, Dataset, DSpritesDataset
from betavae.records.checkpoint import add_scores, read_scores
from betavae.records.sweep import Selection, Sweep, read_sweep
from betavae.records.trial import Checkpoint, Trial, by_dataset, ranked


def test_how_each_trial_ended_is_read(make_sweep) -> None:
    folder = make_sweep(
        {
            "a": {"migs": [0.1, 0.2]},
            "b": {"migs": [0.3], "stopped": True},
            "c": {"migs": [0.2], "error": "ValueError: no"},
            "d": {"migs": []},
        },
        outcome="done",
    )
    sweep = read_sweep(folder)
    assert {trial.trial_id: trial.status for trial in sweep.trials} == {
        "a": "finished",
        "b": "stopped",
        "c": "failed",
        "d": "unfinished",
    }
    assert [trial.trial_id for trial in ranked(sweep.trials)] == ["b", "a", "c"]
    assert sweep.trials[2].error == "ValueError: no"


def test_a_running_sweep_is_read_up_to_its_last_whole_line(make_sweep) -> None:
    """Fails if the report that is being written is taken for damage."""
    folder = make_sweep({"a": {"migs": [0.2, 0.1]}})
    results = folder / "search" / "trial_a" / "result.json"
    results.write_text(results.read_text()[:-20])
    sweep = read_sweep(folder)
    assert not sweep.has_ended
    assert [report["mig"] for report in sweep.trials[0].reports] == [0.2]
    assert sweep.unreadable == ()


def test_a_damaged_trial_is_named_and_the_others_are_read(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": []}, "b": {"migs": [0.2]}})
    (folder / "search" / "trial_a" / "params.json").write_text("{")
    sweep = read_sweep(folder)
    assert [trial.trial_id for trial in sweep.trials] == ["b"]
    assert sweep.unreadable[0].startswith("Trial search/a could not be read")
    assert "no checkpoint tells what it trained either" in sweep.unreadable[0]


def test_the_best_checkpoint_is_the_best_of_those_that_can_be_read(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.1, 0.2]}})
    trial_folder = folder / "search" / "trial_a"

    def best() -> Checkpoint:
        checkpoint = read_sweep(folder).trials[0].best_checkpoint
        assert checkpoint is not None
        return checkpoint

    shutil.copytree(trial_folder / "checkpoint_000001", trial_folder / "checkpoint_000000")
    mig = read_scores(trial_folder / "checkpoint_000000")["mig"]
    add_scores(trial_folder / "checkpoint_000000", {"mig": replace(mig, value=0.1)})
    assert best().folder == trial_folder / "checkpoint_000001"
    scores = trial_folder / "checkpoint_000001" / "scores.json"
    scores.write_text(scores.read_text().replace("0.2", "0.3"))  # one digit flipped
    assert best().folder == trial_folder / "checkpoint_000000"


def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a sweep's folder, but has no sweep\.json"):
        read_sweep(tmp_path)


def test_a_trial_is_its_number(make_sweep) -> None:
    sweep = read_sweep(make_sweep({"0007": {"migs": [0.2], "seed": 3}, "b": {"migs": [0.1]}}))
    assert [(trial.trial_id, trial.index, trial.config.seed) for trial in sweep.trials] == [("0007", 7, 3), ("b", 1, 0)]


@pytest.mark.parametrize("index", [None, -1, "7", 7.0, True])
def test_a_trial_without_a_number_is_damaged(make_sweep, index: object) -> None:
    folder = make_sweep({"a": {"migs": []}})
    path = folder / "search" / "trial_a" / "params.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "index": index}))
    (problem,) = read_sweep(folder).unreadable
    assert f"{path} must hold a trial's number as index, but holds {index!r}" in problem


def test_a_damaged_plan_is_taken_from_the_latest_checkpoint(make_sweep) -> None:
    folder = make_sweep({"0007": {"migs": [0.2], "beta": 8.0, "objective": "beta-tcvae"}})
    expected = read_sweep(folder).trials[0].config
    (folder / "search" / "trial_0007" / "params.json").write_text("{")
    sweep = read_sweep(folder)
    assert (sweep.trials[0].index, sweep.trials[0].config) == (7, expected)
    assert sweep.unreadable[0].endswith("its values are taken from its latest checkpoint.")


@pytest.mark.parametrize(
    ("values", "differences"),
    [
        ({"beta": 8.0}, ("beta 8.0", "beta 4.0")),
        (
            {"objective": "beta-tcvae", "seed": 1},
            ("objective beta-tcvae and alpha 1.0 and seed 1", "objective beta-vae and alpha of none and seed 0"),
        ),
    ],
)
def test_a_plan_that_a_checkpoint_contradicts_is_refused(
    make_sweep, values: dict[str, object], differences: tuple[str, str]
) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}})
    path = folder / "search" / "trial_a" / "params.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    sweep = read_sweep(folder)
    assert sweep.trials == ()
    planned, trained = differences
    assert f"says {planned}, but its checkpoint was trained with {trained}." in sweep.unreadable[0]


def trial_of(index: int, dataset: Dataset, *migs: float) -> Trial:
    reports = tuple({"step": 10 * count, "mig": mig} for count, mig in enumerate(migs, start=1))
    return Trial(f"{index:04}", index, Path("search"), TrialConfig(dataset=dataset), reports)


TWO_DATA_SETS = (
    trial_of(0, DSpritesDataset(), 0.2),
    trial_of(1, BlocksDataset(), 0.9),
    trial_of(2, DSpritesDataset(images=100), 0.3),
    trial_of(3, BlocksDataset(), 0.8),
)


def test_trials_of_two_data_sets_are_not_ranked() -> None:
    with pytest.raises(ValueError, match=r"must be of one data set .*, but are of dsprites, blocks; rank"):
        ranked(TWO_DATA_SETS)
    groups = by_dataset(TWO_DATA_SETS)
    assert {name: [trial.index for trial in ranked(group)] for name, group in groups.items()} == {
        "dsprites": [2, 0],  # trained on fewer images, and scored on the same
        "blocks": [1, 3],
    }
    assert ranked([TWO_DATA_SETS[0], replace(TWO_DATA_SETS[1], reports=())]) == [TWO_DATA_SETS[0]]


def test_a_sweep_has_a_part_for_each_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a part keeps scores of the rule, or trials of the confirmation, that are of another data set."""
    monkeypatch.setitem(DATASETS._parts, "blocks", BlocksDataset)
    selection = Selection("UDR", False, {"0000": 0.5, "0001": 0.6})
    new_seed = trial_of(1000, BlocksDataset(), 0.7)
    record = {"data": {"blocks": {}, "dsprites": {}, "../elsewhere": {}}}
    sweep = Sweep(Path("study"), record, TWO_DATA_SETS, (new_seed,), (), selection)
    parts = sweep.by_dataset()
    assert list(parts) == ["blocks", "dsprites"]  # not a name that is no data set's here
    assert [[trial.index for trial in part.trials] for part in parts.values()] == [[1, 3], [0, 2]]
    assert [part.confirming for part in parts.values()] == [(new_seed,), ()]
    assert [part.selection.scores for part in parts.values() if part.selection] == [{"0001": 0.6}, {"0000": 0.5}]


def test_a_sweep_of_one_data_set_is_its_own_part() -> None:
    sweep = Sweep(Path("study"), {}, TWO_DATA_SETS[::2], (), ())
    assert sweep.by_dataset()["dsprites"] is sweep
    assert Sweep(Path("study"), {"data": {"dsprites": {}}}, (), (), ()).dataset_names == ("dsprites",)
