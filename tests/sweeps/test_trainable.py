"""What a trial's process does with faults, without a Ray around it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.objectives import BetaVAE
from betavae.records.trial import PlannedTrial, read_trial
from betavae.training import TrainingRun
from sweeps import trainable as trial_module
from sweeps.options.options import Evaluation
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import WRITE_FAILURE
from sweeps.trainable import EVALUATION, train_trial

CONFIG = TrialConfig.from_dict({"latent_size": 3, "batch_size": 2, "steps": 2, "eval_every": 1, "images": 100})
PLANNED = PlannedTrial(0, CONFIG)

Train = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def search(tmp_path: Path) -> StageFolder:
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    search.trial(0).plan(PLANNED)
    return search


@pytest.fixture
def train(search: StageFolder, small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train the trial on the small data, and return what it reported to Ray."""
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(trial_module, "_resources_of_trial", lambda: {"CPU": 1})
    monkeypatch.setattr(trial_module, "_this_node", lambda: "a")
    monkeypatch.setattr(DSprites, "open", lambda: small_data)
    monkeypatch.setattr(DSprites, "verify", lambda self: None)  # its fingerprint is made up
    monkeypatch.setattr(trial_module.tune, "report", reports.append)

    def train(
        config: TrialConfig = CONFIG, fingerprint: str = small_data.fingerprint, evaluation: Evaluation = EVALUATION
    ) -> list[dict[str, Any]]:
        values = PlannedTrial(0, config).to_dict()
        train_trial(values, stage_folder=search, fingerprints={"dsprites": fingerprint}, evaluation=evaluation)
        return reports

    return train


def error_of(search: StageFolder) -> str | None:
    path = search.trial(0).path / "error.txt"
    return path.read_text().splitlines()[-1] if path.exists() else None


def test_a_trial_that_ended_with_its_driver_has_not_died(search: StageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a cluster the machine keeps its name: only deaths below one driver add up."""
    drivers = iter(("one", "one", "two"))
    context = SimpleNamespace(get_node_id=lambda: "machine", get_job_id=lambda: next(drivers))
    monkeypatch.setattr(trial_module.ray, "get_runtime_context", lambda: context)
    assert [search.trial(0).note_start(step=0, node=trial_module._this_node()) for _ in range(3)] == [0, 1, 0]


def test_a_trial_trains_to_its_end(train: Train, search: StageFolder) -> None:
    assert [report["step"] for report in train()] == [1, 2]
    assert read_trial(search.trial(0).path).status == "finished"


def test_no_report_is_of_a_network_that_is_not_kept(train: Train) -> None:
    reports = train(replace(CONFIG, steps=5, starts=2, start_steps=3))
    assert [report["step"] for report in reports] == [3, 4, 5]
    assert all({"start/0_nats", "start/1_nats"} <= report.keys() for report in reports)


def test_scores_that_are_asked_for_live_are_in_every_report_and_checkpoint(train: Train, search: StageFolder) -> None:
    reports = train(evaluation=Evaluation(("live", "irs", "sap_continuous")))
    assert all({"mig", "irs", "sap_continuous", "sap_continuous/shape"} <= report.keys() for report in reports)
    best = read_trial(search.trial(0).path, rank_by="sap_continuous").best_checkpoint
    assert best is not None
    assert best.scores["sap_continuous"].value == max(report["sap_continuous"] for report in reports)


def test_images_that_are_not_the_sweeps_fail_the_trial_by_name_and_at_once(train: Train, search: StageFolder) -> None:
    assert train(fingerprint="1" * 64) == []
    assert str(error_of(search)).startswith(
        "sweeps.trainable.DataMismatchError: A trial must train on the sweep's images"
    )
    assert not search.trial(0).checkpoints()


def test_images_that_a_machine_does_not_have_fail_the_trial_by_name(
    train: Train, search: StageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> DSprites:
        raise ValueError("DISENTANGLEMENT_LIB_DATA must name a folder that is there.")

    monkeypatch.setattr(DSprites, "open", refuse)
    assert train() == []
    assert "DISENTANGLEMENT_LIB_DATA must name a folder" in str(error_of(search))


def test_images_that_change_while_a_trial_trains_fail_it_before_a_score_is_kept(
    train: Train, search: StageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def notice(self: DSprites) -> None:
        raise ValueError("The pixels must have another SHA-256.")

    monkeypatch.setattr(DSprites, "verify", notice)
    assert train() == []
    assert "The images changed while the trial trained on them" in str(error_of(search))
    assert not search.trial(0).checkpoints()


def test_a_trial_never_goes_on_from_a_checkpoint_of_other_values(train: Train, search: StageFolder) -> None:
    train(replace(CONFIG, steps=1))
    reports = train(replace(CONFIG, objective=BetaVAE(beta=2.0)))
    assert [report["step"] for report in reports] == [1]
    assert str(error_of(search)).endswith(
        "checkpoint_000000001 was trained with beta 4.0 and steps 1, and the trial has beta 2.0 and steps 2."
    )


def test_weights_that_become_infinite_are_not_tried_again(train: Train, search: StageFolder) -> None:
    assert train(replace(CONFIG, lr=1e30)) == []
    assert "NonFiniteLossError" in str(error_of(search))
    assert read_trial(search.trial(0).path).would_recur


@pytest.mark.parametrize("name", ["attempts.json", "error.txt"])
def test_a_trial_that_cannot_write_down_what_happened_tells_the_driver(
    name: str, train: Train, search: StageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if it raises to Ray, which would start it again for ever."""
    (search.trial(0).path / name).mkdir()
    monkeypatch.setattr(TrainingRun, "advance", lambda self, steps: 1 / 0)
    if name == "error.txt":  # the first error is tried again
        with pytest.raises(ZeroDivisionError):
            train()
    (report,) = train()
    assert report[WRITE_FAILURE].startswith("Trial search/0000 could not use its folder: ")


def test_a_trial_whose_folder_is_gone_tells_the_driver(train: Train, search: StageFolder) -> None:
    (search.trial(0).path / "params.json").unlink()
    (report,) = train()
    assert "a sweep's folder must be on storage that all machines share" in report[WRITE_FAILURE]


def test_a_final_score_of_factors_is_not_taken_of_images_without(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there by default, and the data set is known after it."""
    monkeypatch.setattr(DSprites, "has_factors", False)
    reports = train(evaluation=Evaluation(("elbo",), ("mig_exact", "total_correlation"), has_factors=False))
    assert "total_correlation" in reports[-1]
    assert "mig_exact" not in reports[-1]


def test_the_final_scores_are_taken_of_the_final_model_alone(train: Train, search: StageFolder) -> None:
    first, last = train(evaluation=Evaluation(final=("mig_exact_part", "irs")))
    assert {"mig_exact_part", "mig_exact_part/shape", "irs"} <= last.keys() - first.keys()
    final = read_trial(search.trial(0).path).final_checkpoint
    assert final is not None
    assert final.scores["irs"].value == last["irs"]
