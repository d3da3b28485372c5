"""What every logger must bear: a trial's life, a resume, a failure, a folder that cannot be read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from betavae.config import TrialConfig
from betavae.metrics import live_metrics
from betavae.records.trial import PlannedTrial
from sweeps.loggers import LOGGERS, Logger
from sweeps.loggers.base import LogContext
from sweeps.options.command_line import parse_options
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

PLANNED = PlannedTrial(0, TrialConfig(steps=3, eval_every=1, latent_size=3))


@pytest.fixture
def stage(tmp_path: Path, with_store: Callable[[Path], None]) -> StageFolder:
    with_store(tmp_path)
    stage = StageFolder(Mirror(tmp_path / "search"), "mig")
    stage.trial(0).plan(PLANNED)
    return stage


def logger_of(name: str, stage: StageFolder, *, resumed: bool = False) -> Logger:
    known = (stage.read(0),) if resumed else ()
    options = parse_options(["--verbose"], gpus_found=0)
    return LOGGERS[name](LogContext(Mirror(stage.path.parent), stage, options, 1, ("shape", "posX"), known))


def report(stage: StageFolder, step: int) -> dict[str, float]:
    """A report of that step, which is the last line of the trial's folder."""
    scores = dict.fromkeys(live_metrics(), 0.1 * step) | {"mig/shape": 0.2, "mig/posX": 0.3}
    losses = {"loss/total_nats": 9.0, "loss/recon_nats": 8.0, "loss/kl_nats": 1.0, "images_per_second": 50.0}
    values = {"step": step, **scores, **losses}
    with (stage.trial(0).path / "result.json").open("a") as file:
        file.write(json.dumps(values) + "\n")
    return values


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", LOGGERS)
def test_a_trials_life_and_its_resume_leave_the_trials_own_files_alone(name: str, stage: StageFolder) -> None:
    own = stage.trial(0).path / "params.json"
    before = own.read_bytes()
    with logger_of(name, stage) as logger:
        logger.started(PLANNED)
        for step in (1, 2):
            logger.reported(PLANNED, report(stage, step))
    with logger_of(name, stage, resumed=True) as logger:
        logger.started(PLANNED)
        logger.reported(PLANNED, report(stage, 2))  # a resumed trial repeats its latest report
        logger.reported(PLANNED, report(stage, 3))
        logger.ended(PLANNED, stage.read(0))
    assert own.read_bytes() == before
    assert LOGGERS[name].name == name


@pytest.mark.parametrize("name", LOGGERS)
def test_a_trial_that_fails_before_its_first_report_can_end(name: str, stage: StageFolder) -> None:
    stage.trial(0).fail(ValueError("the reason"), would_recur=True)
    before = stage.read(0)
    with logger_of(name, stage) as logger:
        logger.ended(PLANNED, before)
    assert stage.read(0) == before


@pytest.mark.parametrize("name", LOGGERS)
def test_a_trial_whose_folder_is_gone_can_end(name: str, stage: StageFolder) -> None:
    with logger_of(name, stage) as logger:
        logger.started(PLANNED)
        shutil.rmtree(stage.trial(0).path)
        logger.ended(PLANNED, None)
    assert not stage.trial(0).path.exists()


@pytest.mark.parametrize("name", LOGGERS)
def test_what_a_logger_writes_lies_in_the_sweeps_folder(
    name: str, stage: StageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with logger_of(name, stage) as logger:
        logger.started(PLANNED)
        logger.reported(PLANNED, report(stage, 1))
        logger.ended(PLANNED, stage.read(0))
    assert not files_of(elsewhere)
