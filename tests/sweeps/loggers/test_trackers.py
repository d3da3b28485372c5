"""What trackers are given, read back by themselves, without a network."""

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import command_of, descendants
from trackers import PICTURES, tracked

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.data.own_file import FileDataset
from betavae.errors import InputError
from betavae.evaluation import evaluate
from betavae.metrics import Scores
from betavae.records.record import FORMAT
from betavae.records.trial import PlannedTrial, Trial
from betavae.training import TrainingRun
from sweeps.loggers import LOGGERS, Tracker, check_loggers
from sweeps.loggers.base import LogContext
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.loggers.tracker import RunPlan
from sweeps.loggers.wandb_log import WandbLog
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.run import BAD_INPUT, main
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder
from sweeps.trainable import DataMismatchError

TRACKERS = [name for name, logger in LOGGERS.items() if issubclass(logger, Tracker)]
CONFIG = TrialConfig.from_dict(
    {"latent_size": 3, "batch_size": 2, "steps": 4, "eval_every": 1, "images": 100, "beta": "8@0,2@3"}
)
PLANNED = PlannedTrial(3, CONFIG)
TRIAL = SimpleNamespace(config=PLANNED.to_dict())

pytestmark = pytest.mark.usefixtures("trackers_offline")


@pytest.fixture
def sweep(tmp_path: Path, with_store: Callable[[Path], None]) -> Path:
    """The folder of a sweep that has planned a trial."""
    folder = tmp_path / "my sweep"
    with_store(folder)
    (folder / "sweep.json").write_text(json.dumps({"format": FORMAT, "start": "2026-01-01", "command": "run.py"}))
    stage_of(folder).trial(3).plan(PLANNED)
    return folder


@pytest.fixture(scope="module")
def trained(small_data: DSprites) -> tuple[TrainingRun, Scores]:
    run = TrainingRun.start(CONFIG, small_data)
    return run, evaluate(run.model, small_data)


def commit(sweep: Path, trained: tuple[TrainingRun, Scores], step: int) -> None:
    """A trial's process writes a checkpoint and its report."""
    run, scores = trained
    run.learner.step = step
    stage_of(sweep).trial(3).commit(run, scores=scores, report=report_of(step))


def stage_of(folder: Path, name: str = "search") -> StageFolder:
    return StageFolder(Mirror(folder / name), "mig")


def log_of(name: str, folder: Path, *, stage: str = "search", known: tuple[Trial, ...] = ()) -> RayLoggers:
    """The log of one tracker, as Ray calls it."""
    context = LogContext(Mirror(folder), stage_of(folder, stage), Options(), 1, (), known)
    return RayLoggers(context, {name: LOGGERS[name](context)})


def report_of(step: int) -> dict[str, Any]:
    return {"step": step, "mig": step / 8, "mig/posX": 0.25, "loss/kl_nats": 2.0, "images_per_second": 50.0}


def report(log: RayLoggers, folder: Path, step: int, *, stage: str = "search") -> None:
    """A trial's process writes a report, and Ray calls the loggers."""
    with (stage_of(folder, stage).trial(3).path / "result.json").open("a") as file:
        file.write(json.dumps(report_of(step)) + "\n")
    log.log_result(TRIAL, report_of(step))


def curve(*steps: int) -> list[tuple[int, float]]:
    return [(step, step / 8) for step in steps]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_run_has_what_tensorboard_has(name: str, sweep: Path, trained: tuple[TrainingRun, Scores]) -> None:
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        for step in (1, 2):
            commit(sweep, trained, step)
            log.log_result(TRIAL, report_of(step))
        for step in (3, 4):
            report(log, sweep, step)
        log.on_trial_complete(0, [], TRIAL)
    (trial,) = tracked(name, sweep).values()
    assert (trial.group, trial.name) == ("my sweep", "search/0003")
    assert trial.tags == {"search", "dsprites", "beta-vae"}
    assert trial.curves.keys() == report_of(1).keys() - {"step"}
    assert trial.curves["mig"] == curve(1, 2, 3, 4)
    assert trial.curves["loss/kl_nats"] == [(step, 2.0) for step in (1, 2, 3, 4)]
    assert {picture: sorted(steps) for picture, steps in trial.pictures.items()} == dict.fromkeys(PICTURES, [1, 2])
    derived = {"beta_start": 8.0, "beta_end": 2.0, **CONFIG.derived()}
    assert {key: str(value) for key, value in trial.config.items()} == {
        key: str(value) for key, value in (CONFIG.to_dict() | derived).items()
    }
    assert trial.summary["outcome"] == "finished"
    assert trial.summary["ending"] == "finished at step 4, best mig 0.500"
    assert (trial.summary["best_mig"], str(trial.summary["best_step"])) == (0.5, "4")
    assert trial.status == {"wandb": 0, "mlflow": "FINISHED"}[name]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_is_told_no_folder_of_the_machine(name: str, sweep: Path) -> None:
    dataset = FileDataset(data_file="/home/ada/patients.npz", image_size="64x64x1")
    planned = PlannedTrial(3, replace(CONFIG, dataset=dataset))
    trial = SimpleNamespace(config=planned.to_dict())
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], trial)
    (run,) = tracked(name, sweep).values()
    assert run.config["data_file"] == "patients.npz"
    assert "ada" not in str(run.config)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_trial_that_goes_on_gets_no_step_twice(name: str, sweep: Path) -> None:
    """Its process was lost after the second report: that is said again, and then the third."""
    with log_of(name, sweep) as log:
        for steps in ((1, 2), (2, 3, 4)):
            log.on_trial_start(0, [], TRIAL)
            for step in steps:
                log.log_result(TRIAL, report_of(step))
    assert tracked(name, sweep)["search/0003"].curves["mig"] == curve(1, 2, 3, 4)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resume_continues_the_run_without_a_step_twice(name: str, sweep: Path) -> None:
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        for step in (1, 2):
            report(log, sweep, step)
    trial = tracked(name, sweep)["search/0003"]
    assert (trial.summary["outcome"], trial.status) == ("interrupted", {"wandb": 1, "mlflow": "KILLED"}[name])
    known = stage_of(sweep).read(3)
    with log_of(name, sweep, known=(known,)) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, report_of(2))
        for step in (3, 4):
            report(log, sweep, step)
        log.on_trial_complete(0, [], TRIAL)
    (trial,) = tracked(name, sweep).values()
    assert trial.curves["mig"] == curve(1, 2, 3, 4)
    assert (trial.summary["outcome"], trial.status) == ("finished", {"wandb": 0, "mlflow": "FINISHED"}[name])
    if name == "wandb":  # a folder for each driver, of the same run
        keys = {file.stem for file in sweep.glob("wandb/offline-run-*/run-*.wandb")}
        assert (len(list(sweep.glob("wandb/offline-run-*"))), len(keys)) == (2, 1)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_added_at_a_resume_gets_the_earlier_reports(name: str, sweep: Path) -> None:
    for step in (1, 2):
        report(RayLoggers(log_of(name, sweep)._context, {}), sweep, step)
    with log_of(name, sweep, known=(stage_of(sweep).read(3),)) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, report_of(2))
        report(log, sweep, 3)
    assert tracked(name, sweep)["search/0003"].curves["mig"] == curve(1, 2, 3)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_run_that_cannot_be_opened_is_opened_later_with_all_reports(
    name: str, sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []
    really_open = LOGGERS[name].open  # type: ignore[attr-defined]

    def fail_thrice(self: Tracker, plan: RunPlan) -> Any:
        calls.append(plan)
        if len(calls) <= 3:
            raise ConnectionError("no route to host")
        return really_open(self, plan)

    monkeypatch.setattr(LOGGERS[name], "open", fail_thrice)
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        for step in (1, 2, 3):
            report(log, sweep, step)
    assert tracked(name, sweep)["search/0003"].curves["mig"] == curve(1, 2, 3)
    assert capsys.readouterr().err.count("no route to host") == 1


@pytest.mark.parametrize("name", TRACKERS)
def test_the_confirmation_is_in_the_same_group(name: str, sweep: Path) -> None:
    stage_of(sweep, "confirm").trial(3).plan(PLANNED)
    for stage in ("search", "confirm"):
        with log_of(name, sweep, stage=stage) as log:
            log.on_trial_start(0, [], TRIAL)
            report(log, sweep, 1, stage=stage)
            report(log, sweep, 4, stage=stage)
            log.on_trial_complete(0, [], TRIAL)
    trials = tracked(name, sweep)
    assert trials.keys() == {"search/0003", "confirm/0003"}
    assert {trial.group for trial in trials.values()} == {"my sweep"}
    assert trials["confirm/0003"].tags == {"confirm", "dsprites", "beta-vae"}
    assert trials["confirm/0003"].curves == trials["search/0003"].curves


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize(
    ("end", "outcome", "ending", "status"),
    [
        (
            lambda trial: trial.fail(ValueError("the reason"), would_recur=False),
            "failed",
            "failed at step 1: ValueError, see error.txt in its folder",
            (1, "FAILED"),
        ),
        (
            lambda trial: trial.fail(DataMismatchError("host7: no /home/ada/patients.npz\nbut"), would_recur=False),
            "failed",
            "failed at step 1: an error, see error.txt in its folder",
            (1, "FAILED"),
        ),
        (lambda trial: trial.stop(1), "stopped", "stopped at step 1, best mig 0.125", (0, "FINISHED")),
        (lambda trial: None, "interrupted", "unfinished at step 1, best mig 0.125", (1, "KILLED")),
        (
            lambda trial: (trial.path / "params.json").write_text("null"),
            "failed",
            "its folder cannot be read",
            (1, "FAILED"),
        ),
    ],
)
def test_how_a_trial_ended_is_in_its_run(
    name: str, sweep: Path, end: Any, outcome: str, ending: str, status: tuple[int, str]
) -> None:
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        report(log, sweep, 1)
        end(stage_of(sweep).trial(3))
        log.on_trial_complete(0, [], TRIAL)
    trial = tracked(name, sweep)["search/0003"]
    assert (trial.summary["outcome"], trial.summary["ending"]) == (outcome, ending)
    assert trial.status == dict(zip(("wandb", "mlflow"), status, strict=True))[name]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_report_that_ray_did_not_pass_on_before_an_interrupt_is_added(name: str, sweep: Path) -> None:
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        report(log, sweep, 1)
    for step in (2, 3):  # written by the trial's process, while the driver ends
        report(RayLoggers(log._context, {}), sweep, step)
    with log_of(name, sweep, known=(stage_of(sweep).read(3),)) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, report_of(3))
        report(log, sweep, 4)
    assert tracked(name, sweep)["search/0003"].curves["mig"] == curve(1, 2, 3, 4)


@pytest.mark.parametrize("name", TRACKERS)
def test_trials_that_run_at_the_same_time_are_runs_of_their_own(name: str, sweep: Path) -> None:
    trials = [PlannedTrial(index, replace(CONFIG, seed=index)) for index in range(4, 8)]
    with log_of(name, sweep) as log:
        for trial in trials:
            stage_of(sweep).trial(trial.index).plan(trial)
            log.on_trial_start(0, [], SimpleNamespace(config=trial.to_dict()))
        for step in (1, 2):
            for trial in trials:
                log.log_result(SimpleNamespace(config=trial.to_dict()), report_of(step) | {"mig": float(trial.index)})
    runs = tracked(name, sweep)
    assert len(runs) == 4
    for trial in trials:
        run = runs[f"search/{trial.index:04}"]
        assert run.curves["mig"] == [(step, float(trial.index)) for step in (1, 2)]
        assert str(run.config["seed"]) == str(trial.index)


def test_the_service_of_wandb_ends_with_the_stage(sweep: Path) -> None:
    with log_of("wandb", sweep) as log:
        log.on_trial_start(0, [], TRIAL)
    assert not [pid for pid in descendants(os.getpid()) if "wandb-core" in command_of(pid)]
    assert "WANDB_SERVICE" not in os.environ


def test_no_key_is_written_down(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WANDB_API_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(variable, "0123456789" * 4)
    for name in TRACKERS:
        with log_of(name, sweep) as log:
            log.on_trial_start(0, [], TRIAL)
            report(log, sweep, 1)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name.endswith(".wandb") for file in files)
    assert not [file for file in files if b"0123456789" * 4 in file.read_bytes()]


def test_a_factor_of_any_name_is_in_mlflow(sweep: Path) -> None:
    with log_of("mlflow", sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, {"step": 1, "mig": 0.1, "mig/größe (°)": 0.5})
    assert tracked("mlflow", sweep)["search/0003"].curves["mig/gr__e ___"] == [(1, 0.5)]


def fail(*arguments: object, **named_arguments: object) -> Any:
    raise ZeroDivisionError("no luck")


CALLS = {
    "wandb": ["setup", "init", "Image", "teardown", "Run.log", "Run.finish", "Run.mark_preempting"],
    "mlflow": [
        f"MlflowClient.{name}"
        for name in (
            *("__init__", "search_runs", "create_run", "get_experiment_by_name", "create_experiment", "update_run"),
            *("get_metric_history", "log_batch", "log_image", "set_terminated"),
        )
    ],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in CALLS.items() for call in calls])
def test_a_call_that_raises_costs_one_line_and_nothing_else(
    name: str,
    call: str,
    sweep: Path,
    trained: tuple[TrainingRun, Scores],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit(sweep, trained, 1)
    other = PlannedTrial(4, CONFIG)
    stage_of(sweep).trial(4).plan(other)
    module = LOGGERS[name].load()  # type: ignore[attr-defined]
    *owners, method = call.split(".")
    owner = module
    for each in owners:
        owner = getattr(owner, each)
    with monkeypatch.context() as broken:
        broken.setattr(owner, method, fail)
        with log_of(name, sweep) as log:
            log.on_trial_start(0, [], TRIAL)
            log.log_result(TRIAL, report_of(1))
            report(log, sweep, 4)
            log.on_trial_complete(0, [], TRIAL)
            log.on_trial_start(0, [], SimpleNamespace(config=other.to_dict()))  # runs until the end
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith(f"warning: the {name} log ")
    assert "is incomplete: ZeroDivisionError: no luck; the sweep continues (this warning is not repeated)" in errors
    if name == "wandb":  # of which one call is to end the service
        module.teardown()


@pytest.mark.parametrize("step", ["second", None, [], float("nan")])
@pytest.mark.parametrize("name", TRACKERS)
def test_a_report_of_no_step_costs_itself(
    name: str, step: object, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_of(name, sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, {"step": step, "mig": 0.1})
        log.log_result(TRIAL, report_of(2))
    assert tracked(name, sweep)["search/0003"].curves["mig"] == curve(2)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_server_that_cannot_be_reached_costs_one_line_without_its_password(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    LOGGERS["mlflow"].check(Options())
    with log_of("mlflow", sweep) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, report_of(1))
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1
    assert "API request to http://...@127.0.0.1:9/" in errors
    assert "secret" not in errors


def test_a_server_that_hangs_does_not_hold_the_end(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()
    monkeypatch.setattr("sweeps.loggers.tracker._PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(WandbLog, "open", lambda self, plan: released.wait())
    with log_of("wandb", sweep) as log:
        log.on_trial_start(0, [], TRIAL)
    released.set()
    assert "the wandb log is incomplete: TimeoutError: it has not answered for 0.2 s" in capsys.readouterr().err


class OnlineRun:
    """A run as W&B's server continues it: of which it has the steps before `step`."""

    def __init__(self, step: int, folder: Path) -> None:
        self.step, self.logged, self.dir = step, [], str(folder / "run" / "files")
        self.summary: dict[str, Any] = {}

    def log(self, row: dict[str, Any], *, step: int, commit: bool) -> None:
        self.logged.append((step, row["mig"]))

    def mark_preempting(self) -> None:
        pass

    def finish(self, *, exit_code: int) -> None:
        pass


@pytest.mark.parametrize("num_known", [0, 1, 2, 3])
def test_online_the_server_says_which_steps_it_has(
    num_known: int, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver was killed: some reports before the last may not have arrived."""
    for step in (1, 2, 3):
        report(RayLoggers(log_of("wandb", sweep)._context, {}), sweep, step)
    run, asked = OnlineRun(num_known + 1 if num_known else 0, sweep), {}
    module = LOGGERS["wandb"].load()  # type: ignore[attr-defined]
    fake = SimpleNamespace(
        setup=lambda: SimpleNamespace(settings=SimpleNamespace(mode="online", project="mine", finish_timeout=5.0)),
        init=lambda **settings: asked.update(settings) or run,
        Settings=module.Settings,
        Image=module.Image,
        teardown=lambda: None,
    )
    monkeypatch.setattr(WandbLog, "load", lambda *self: fake)
    with log_of("wandb", sweep, known=(stage_of(sweep).read(3),)) as log:
        log.on_trial_start(0, [], TRIAL)
        log.log_result(TRIAL, report_of(3))
        log.log_result(TRIAL, report_of(4))
    assert run.logged == curve(*range(num_known + 1, 5))
    assert (asked["resume"], asked["project"], asked["group"]) == ("allow", "mine", "my sweep")
    assert asked["settings"].finish_timeout == 5.0


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("problem", ["missing", "a folder of this name"])
def test_a_missing_package_is_refused_before_any_work(
    name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None if problem == "missing" else SimpleNamespace(__file__=None))
    assert main(["--track", name, "--results", str(tmp_path / "results")]) == BAD_INPUT
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith(f"error: {name} needs the package {name}, but it ")
    assert f"pip install -c constraints.txt -e '.[{name}]'" in errors
    assert not (tmp_path / "results").exists()


def refusal(words: str) -> str:
    with pytest.raises(InputError) as refused:
        check_loggers(parse_options(words.split(), gpus_found=0))
    return str(refused.value)


def test_wandb_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    assert refusal("--track wandb").endswith("call `wandb login`, or set WANDB_MODE=offline.")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    check_loggers(parse_options(["--track", "wandb"], gpus_found=0))
    assert not [pid for pid in descendants(os.getpid()) if "wandb-core" in command_of(pid)]


def test_wandb_that_is_disabled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert refusal("--track wandb").startswith("WANDB_MODE must be online or offline, but is disabled")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nonsense://user:secret@host", "must name a store that MLflow can use, but: "),
        ("mlruns", "must name a server or a database, such as sqlite:///mlflow.db, but is 'mlruns': "),
        ("file:///tmp/mlruns", "must name a server or a database"),
    ],
)
def test_a_store_that_mlflow_cannot_use_is_refused(uri: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    refused = refusal("--track mlflow")
    assert refused.startswith(f"MLFLOW_TRACKING_URI {message}")
    assert "secret" not in refused


def test_files_that_would_be_lost_with_the_copy_of_remote_results_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("--track mlflow --results s3://bucket/x").endswith("set MLFLOW_TRACKING_URI.")
    assert refusal("--track wandb --results s3://bucket/x").endswith("set WANDB_DIR.")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    check_loggers(parse_options(["--track", "mlflow", "wandb", "--results", "s3://bucket/x"], gpus_found=0))
