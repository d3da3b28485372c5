"""Loggers of any kind, as Ray calls them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from betavae.config import TrialConfig
from betavae.errors import InputError
from betavae.records.trial import PlannedTrial, Trial
from sweeps.loggers import LOGGERS, check_loggers, chosen_loggers
from sweeps.loggers.base import LogContext, Logger, Report
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.options.command_line import parse_options
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

PLANNED = PlannedTrial(3, TrialConfig(steps=10, eval_every=5, latent_size=3))
TRIAL = SimpleNamespace(config=PLANNED.to_dict())


class Notes(Logger):
    """Keeps what it is told."""

    name = "notes"

    def __init__(self, context: LogContext) -> None:
        super().__init__(context)
        self.notes: list[object] = []

    def __exit__(self, *exception: object) -> None:
        self.notes.append("closed")

    def started(self, trial: PlannedTrial) -> None:
        self.notes.append(("started", trial.index))

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        self.notes.append(dict(report))

    def ended(self, trial: PlannedTrial, outcome: Trial | None) -> None:
        self.notes.append(("ended", None if outcome is None else outcome.status))


class Broken(Notes):
    """Fails at every report."""

    name = "broken"

    def reported(self, trial: PlannedTrial, report: Report) -> None:
        raise ZeroDivisionError("no luck")


@pytest.fixture
def context(tmp_path: Path) -> LogContext:
    stage = StageFolder(Mirror(tmp_path / "search"), "mig")
    return LogContext(Mirror(tmp_path), stage, parse_options(["--loggers", "terminal"], gpus_found=0), 1, ())


def test_a_logger_is_told_what_a_trial_does_without_what_ray_adds(context: LogContext) -> None:
    context.stage.trial(3).plan(PLANNED)
    notes = Notes(context)
    others = {"loss/kl_nats": 2.0, "weight/beta": 4.0, "start/0_nats": 90.0, "images_per_second": 9.0}
    report = {"step": 5, "mig": 0.1, "mig/shape": 0.2, **others}
    with RayLoggers(context, {"notes": notes}) as loggers:
        loggers.on_trial_start(0, [], TRIAL)
        loggers.log_result(TRIAL, {**report, "done": False, "config": {}, "pid": 7, "config/beta": 4.0})
        loggers.log_result(TRIAL, {"done": True, "trial_id": "x"})  # Ray's own, of a trial without a report
        loggers.on_trial_complete(0, [], TRIAL)
    assert notes.notes == [("started", 3), report, ("ended", "unfinished"), "closed"]


def test_a_logger_that_raises_costs_one_warning_and_no_other_logger(
    context: LogContext, capsys: pytest.CaptureFixture[str]
) -> None:
    notes, broken = Notes(context), Broken(context)
    with RayLoggers(context, {"broken": broken, "notes": notes}) as loggers:
        for step in (1, 2):
            loggers.log_result(TRIAL, {"step": step, "mig": 0.1})
        loggers.on_trial_complete(0, [], TRIAL)  # its folder is not there
    assert notes.notes == [{"step": 1, "mig": 0.1}, {"step": 2, "mig": 0.1}, ("ended", None), "closed"]
    assert broken.notes == [("ended", None), "closed"]
    assert capsys.readouterr().err == (
        "warning: the broken log of trial 0003 is incomplete: ZeroDivisionError: no luck; the sweep continues (this "
        "warning is not repeated)\n"
    )


def test_only_the_loggers_that_are_asked_for_follow(context: LogContext) -> None:
    assert list(RayLoggers(context)._loggers) == ["terminal"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", ["terminal", "tensorboard"]),
        ("--track wandb", ["terminal", "tensorboard", "wandb"]),
        ("--track mlflow wandb", ["terminal", "tensorboard", "mlflow", "wandb"]),
        ("--track", ["terminal", "tensorboard"]),
        ("--loggers terminal --track mlflow", ["terminal", "mlflow"]),
        ("--loggers terminal mlflow --track mlflow", ["terminal", "mlflow"]),
        ("--loggers wandb", ["wandb"]),
        ("--loggers", []),
        ("--loggers --track mlflow", ["mlflow"]),
    ],
)
def test_track_adds_to_the_loggers(words: str, names: list[str], trackers_offline: None) -> None:
    options = parse_options(words.split(), gpus_found=0)
    check_loggers(options)  # raises otherwise
    assert chosen_loggers(options.sweep) == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--loggers paper", "--loggers must be some of terminal, tensorboard, wandb, mlflow, but got 'paper'"),
        ("--track paper", "--track must be some of wandb, mlflow, but got 'paper'"),
        ("--track terminal", "--track must be some of wandb, mlflow, but got 'terminal'"),
    ],
)
def test_an_unknown_logger_is_refused(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_loggers(parse_options(words.split(), gpus_found=0))


def test_no_password_of_a_server_is_in_a_warning(context: LogContext, capsys: pytest.CaptureFixture[str]) -> None:
    loggers = RayLoggers(context, {})
    loggers._warn("mlflow", 3, ValueError("http://user:secret@host/api did not answer http://user:secret@host:5000"))
    error = capsys.readouterr().err
    assert "secret" not in error
    assert "ValueError: http://...@host/api did not answer http://...@host:5000;" in error


@pytest.mark.parametrize("moment", ["__init__", "__enter__", "__exit__"])
def test_a_logger_that_cannot_begin_or_end_costs_a_warning(
    moment: str, context: LogContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(Notes, moment, fail, raising=False)
    monkeypatch.setitem(LOGGERS._parts, "terminal", Notes)
    with RayLoggers(context) as loggers:
        loggers.on_trial_start(0, [], TRIAL)
    assert "the terminal log is incomplete: ZeroDivisionError: no luck" in capsys.readouterr().err
