"""What TensorBoard is given, read back."""

import contextlib
import errno
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import Patience
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.objectives import BetaVAE
from betavae.records.checkpoint import SAMPLES_FILE
from betavae.records.trial import PlannedTrial, Trial
from betavae.training import TrainingRun
from sweeps.loggers.base import LogContext
from sweeps.loggers.event_file import EventFile
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.loggers.tensorboard_log import TensorBoardLog, _layout
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options, ReportOptions, SearchOptions
from sweeps.search.space import Space
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.trial_folder import TrialFolder

CONFIG = TrialConfig.from_dict(
    {"latent_size": 3, "batch_size": 2, "steps": 4, "eval_every": 1, "images": 100, "beta": 8.0}
)
PLANNED = PlannedTrial(0, CONFIG)
TRIAL = SimpleNamespace(config=PLANNED.to_dict())


def planned(index: int, config: TrialConfig = CONFIG) -> PlannedTrial:
    return PlannedTrial(index, replace(config, seed=index))


def board_of(folder: Path, search: StageFolder, known: tuple[Trial, ...] = ()) -> RayLoggers:
    """TensorBoard's log as Ray calls it."""
    names = ("shape", "scale", "orientation", "posX", "posY")
    context = LogContext(Mirror(folder), search, Options(), 60, names, known)
    return RayLoggers(context, {"tensorboard": TensorBoardLog(context)}).__enter__()


@pytest.fixture
def search(tmp_path: Path) -> StageFolder:
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    search.trial(0).plan(PLANNED)
    return search


@pytest.fixture
def board(search: StageFolder, tmp_path: Path) -> RayLoggers:
    return board_of(tmp_path, search)


def report(board: RayLoggers, step: int, mig: float) -> None:
    board.log_result(TRIAL, {"step": step, "mig": mig, "loss/kl_nats": 2.0, "config": {}})


def written(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def of_hparams(folder: Path, tag: str) -> HParamsPluginData:
    metadata = written(folder).summary_metadata[f"_hparams_/{tag}"]
    return HParamsPluginData.FromString(metadata.plugin_data.content)


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in written(folder).Scalars(tag)]


def test_a_trial_is_in_the_table_from_its_start(board: RayLoggers, search: StageFolder) -> None:
    board.on_trial_start(0, [], TRIAL)
    folder = search.trial(0).path
    start = of_hparams(folder, "session_start_info").session_start_info
    values = {name: value.number_value for name, value in start.hparams.items()}
    assert (values["beta"], values["latent_size"], values["seed"]) == (8.0, 3.0, 0.0)
    assert values["beta_norm"] == pytest.approx(8.0 * 3 / 4096)
    assert start.hparams["architecture"].string_value == "burgess"
    metrics = [info.name.tag for info in of_hparams(folder, "experiment").experiment.metric_infos]
    assert metrics[:3] == ["mig", "mig/shape", "mig/scale"]


def test_a_schedule_is_text_with_its_start_and_its_end_as_numbers(tmp_path: Path) -> None:
    config = TrialConfig.from_dict(CONFIG.to_dict() | {"beta": "12@0,12@2,4@3", "lr": "0.001@0,0.01@4"})
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    search.trial(0).plan(PlannedTrial(0, config))
    board = board_of(tmp_path, search)
    trial = SimpleNamespace(config=PlannedTrial(0, config).to_dict())
    board.on_trial_start(0, [], trial)
    values = of_hparams(search.trial(0).path, "session_start_info").session_start_info.hparams
    assert (values["beta"].string_value, values["lr"].string_value) == ("12@0,12@2,4@3", "0.001@0,0.01@4")
    assert (values["beta_start"].number_value, values["beta_end"].number_value) == (12.0, 4.0)
    assert (values["lr_start"].number_value, values["lr_end"].number_value) == (0.001, 0.01)
    assert values["beta_norm"].number_value == pytest.approx(4.0 * 3 / 4096)
    board.log_result(trial, {"step": 2, "mig": 0.1, "weight/beta": 12.0, "loss/kl_nats": 2.0, "config": {}})
    assert curve(search.trial(0).path, "weight/beta") == [(2, 12.0)]


def test_a_trial_that_goes_on_draws_no_step_twice(board: RayLoggers, search: StageFolder) -> None:
    """Its process was lost after the second report: that is said again, and then the third."""
    board.on_trial_start(0, [], TRIAL)
    report(board, 1, 0.1)
    report(board, 2, 0.2)
    board.on_trial_start(0, [], TRIAL)
    report(board, 2, 0.2)
    report(board, 3, 0.3)
    assert curve(search.trial(0).path, "mig") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_nor_does_one_that_goes_on_after_a_resume(board: RayLoggers, search: StageFolder, tmp_path: Path) -> None:
    board.on_trial_start(0, [], TRIAL)
    for step in (1, 2):
        report(board, step, 0.1)
    (search.trial(0).path / "result.json").write_text('{"step": 1, "mig": 0.1}\n{"step": 2, "mig": 0.1}\n')
    resumed = board_of(tmp_path, search, known=(search.read(0),))
    resumed.on_trial_start(0, [], TRIAL)
    for step in (1, 2, 3):
        report(resumed, step, 0.4)
    assert curve(search.trial(0).path, "mig") == [(1, 0.4), (2, 0.4), (3, 0.4)]


def test_a_checkpoint_is_shown(board: RayLoggers, search: StageFolder, small_data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, small_data)
    run.learner.step = 1
    search.trial(0).commit(run, scores=evaluate(run.model, small_data), report={"step": 1, "mig": 0.1})
    board.on_trial_start(0, [], TRIAL)
    report(board, 1, 0.1)
    events = written(search.trial(0).path)
    sizes = {tag: (image.width, image.height) for tag in events.Tags()["images"] for image in events.Images(tag)}
    assert sizes["reconstructions"] == (8 * 64, 2 * 64)
    assert sizes["traversal_by_kl"] == (7 * 64, 3 * 64)
    assert sizes["mutual_information"][0] > 300


def fail(folder: TrialFolder) -> None:
    folder.fail(ValueError("the reason"), would_recur=False)


def stop(folder: TrialFolder) -> None:
    folder.stop(1)


def finish(folder: TrialFolder) -> None:
    (folder.path / "result.json").write_text(json.dumps({"step": 4, "mig": 0.5}) + "\n")


@pytest.mark.parametrize(
    ("end", "status", "text"),
    [
        (fail, "STATUS_FAILURE", "failed at step 0: ValueError: the reason"),
        (stop, "STATUS_UNKNOWN", "stopped at step 0, best mig 0.000"),
        (finish, "STATUS_SUCCESS", "finished at step 4, best mig 0.500"),
    ],
)
def test_how_a_trial_ended_is_to_be_seen(
    board: RayLoggers, search: StageFolder, end: Any, status: str, text: str
) -> None:
    board.on_trial_start(0, [], TRIAL)
    end(search.trial(0))
    board.on_trial_complete(0, [], TRIAL)
    folder = search.trial(0).path
    assert of_hparams(folder, "session_end_info").session_end_info.status == Status.Value(status)
    (ending,) = written(folder).Tensors("ending/text_summary")
    assert ending.tensor_proto.string_val[0].decode() == text


def test_the_final_scores_of_a_trial_are_points_to_compare(board: RayLoggers, search: StageFolder) -> None:
    board.on_trial_start(0, [], TRIAL)
    reports = [{"step": 2, "mig": 0.5, "mig_quantile": 0.4}, {"step": 4, "mig": 0.25, "mig_quantile": 0.3}]
    (search.trial(0).path / "result.json").write_text("".join(json.dumps(report) + "\n" for report in reports))
    board.on_trial_complete(0, [], TRIAL)
    events = written(search.trial(0).path)
    points = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert points.pop("final/mig_quantile") == [(4, pytest.approx(0.3))]
    assert points == {"final/mig": [(4, 0.25)], "best/mig": [(4, 0.5)]}


def test_the_curves_are_grouped(board: RayLoggers, tmp_path: Path) -> None:
    assert written(tmp_path).Tags()["tensors"] == ["custom_scalars__config__"]


@pytest.mark.parametrize("select", [None, "udr"])
def test_a_choice_without_labels_has_no_charts_of_factors(select: str | None, search: StageFolder) -> None:
    rank_by = "mig" if select is None else "elbo"
    options = Options(search=SearchOptions(rank_by=rank_by), report=ReportOptions(select=select))
    stage = replace(search, rank_by=rank_by)
    context = LogContext(Mirror(search.path.parent), stage, options, 1, ("shape", "scale"), ())
    groups = _layout(context)
    numbers = TensorBoardLog(context)._compared_numbers(CONFIG)
    if select is None:
        assert groups["mig"].keys() == {"mean", "shape", "scale"}
        assert groups["mig"]["shape"] == ["Multiline", ["^mig/shape$"]]
        assert {"mig", "mig/shape", "mig/scale"} <= set(numbers)
    else:
        assert groups["elbo"].keys() == {"mean"}
        assert "mig" not in groups
        assert not any("mig" in name or name.startswith("elbo/") for name in numbers)


def test_a_learnt_parameter_has_a_chart_beside_the_schedules(search: StageFolder) -> None:
    space = Space({"likelihood": ("gaussian",), "learn_pixel_scale": (True,), "beta": ("1@0,4@9",), "steps": (9,)})
    context = LogContext(Mirror(search.path.parent), search, Options(space=space), 1, (), ())
    assert _layout(context)["weight"] == {name: ["Multiline", [f"^weight/{name}$"]] for name in ("beta", "pixel_scale")}
    context = replace(context, options=Options(space=Space({"likelihood": ("gaussian",)})))
    assert "weight" not in _layout(context)


def test_the_losses_of_several_starts_have_a_chart(search: StageFolder) -> None:
    context = LogContext(Mirror(search.path.parent), search, Options(space=Space({"starts": (1, 3)})), 1, (), ())
    assert _layout(context)["start"] == {"losses of the starts": ["Multiline", ["^start/.*$"]]}
    context = replace(context, options=Options(space=Space({"starts": (1,)})))
    assert "start" not in _layout(context)


def run_to_its_end(board: RayLoggers, trial: Any = TRIAL) -> None:
    """Every callback that Ray calls of a trial."""
    board.on_trial_start(0, [], trial)
    for step in (1, 2):
        board.log_result(trial, {"step": step, "mig": 0.1})
    board.on_trial_complete(0, [], trial)


def fill_disk(self: EventFile) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_the_curves_and_one_warning(
    board: RayLoggers, search: StageFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(EventFile, "flush", fill_disk)
    for index in range(1, 60):
        search.trial(index).plan(planned(index))
        run_to_its_end(board, SimpleNamespace(config=planned(index).to_dict()))
    assert capsys.readouterr().err == (
        "warning: the tensorboard log of trial 0001 is incomplete: No space left on device; the sweep continues "
        "(this warning is not repeated)\n"
    )


def test_the_layout_that_cannot_be_written_costs_a_warning(
    search: StageFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = board_of(tmp_path / "gone", search)
    assert "the tensorboard log is incomplete: No such file or directory" in capsys.readouterr().err
    run_to_its_end(board)
    assert curve(search.trial(0).path, "mig") == [(1, 0.1), (2, 0.1)]


@pytest.mark.parametrize("when", ["before its start", "after its start"])
def test_a_removed_folder_costs_the_curves_of_that_trial_alone(
    board: RayLoggers, search: StageFolder, when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SimpleNamespace(config=planned(1).to_dict())
    search.trial(1).plan(planned(1))
    if when == "after its start":
        board.on_trial_start(0, [], TRIAL)
    shutil.rmtree(search.trial(0).path)
    run_to_its_end(board)
    run_to_its_end(board, other)
    assert capsys.readouterr().err.count("the tensorboard log of trial 0000 is incomplete") == 1
    assert not search.trial(0).path.exists()
    assert curve(search.trial(1).path, "mig") == [(1, 0.1), (2, 0.1)]


@pytest.mark.parametrize(
    "damage",
    [
        ("result.json", b"\x80"),
        ("result.json", b"[]\n"),
        ("outcome.json", b"[]"),
        ("outcome.json", b""),
        ("params.json", b"null"),
        ("error.txt", b"\xff"),
    ],
)
def test_a_trial_that_cannot_be_read_ends_without_an_error(
    board: RayLoggers, search: StageFolder, damage: tuple[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    name, content = damage
    (search.trial(0).path / name).write_bytes(content)
    run_to_its_end(board)
    assert capsys.readouterr().err.count("\n") <= 1
    assert curve(search.trial(0).path, "mig") == [(1, 0.1), (2, 0.1)]


def test_what_is_no_number_costs_its_point(board: RayLoggers, search: StageFolder) -> None:
    board.on_trial_start(0, [], TRIAL)
    board.log_result(TRIAL, {"step": 1, "mig": "high", "mig/posX": None, "loss/kl_nats": float("nan")})
    board.log_result(TRIAL, {"step": 2, "mig": 0.2})
    assert curve(search.trial(0).path, "mig") == [(2, 0.2)]


@pytest.mark.parametrize("step", ["second", None, [], float("nan")])
def test_a_report_of_no_step_raises_nothing(board: RayLoggers, step: object) -> None:
    board.on_trial_start(0, [], TRIAL)
    board.log_result(TRIAL, {"step": step, "mig": 0.1})


@pytest.mark.parametrize("content", [b"", b"PK", b"null", None])
def test_pictures_that_cannot_be_read_cost_no_curve(
    board: RayLoggers, search: StageFolder, small_data: DSprites, content: bytes | None
) -> None:
    run = TrainingRun.start(CONFIG, small_data)
    run.learner.step = 1
    search.trial(0).commit(run, scores=evaluate(run.model, small_data), report={"step": 1, "mig": 0.1})
    samples = search.trial(0).path / "checkpoint_000000001" / SAMPLES_FILE
    samples.unlink() if content is None else samples.write_bytes(content)
    run_to_its_end(board)
    assert curve(search.trial(0).path, "mig") == [(1, 0.1), (2, 0.1)]
    assert written(search.trial(0).path).Tags()["images"] == []


def test_no_event_goes_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, target = tmp_path / "trial", tmp_path / "target"
    folder.mkdir()
    events = EventFile(folder)
    (path,) = folder.iterdir()
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        events.flush()
    monkeypatch.setattr("sweeps.loggers.event_file._numbers", iter([int(path.suffix[1:])]))
    monkeypatch.setattr("sweeps.loggers.event_file.time.time", lambda: int(path.name.split(".")[3]))
    with pytest.raises(FileExistsError):
        EventFile(folder)
    assert not target.exists()


TEXT = """
const texts = [];
(function walk(node) {
  if (node.nodeType === Node.TEXT_NODE) texts.push(node.textContent.trim());
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return texts.filter(text => text);
"""


@pytest.fixture
def tensorboard(tmp_path: Path) -> Iterator[str]:
    """The address of a server of TensorBoard's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(tmp_path),
        "--port",
        str(port),
        "--reload_interval",
        "1",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/"
    server.kill()
    server.wait()


def wait_for_texts(browser: Chrome, address: str, wanted: set[str]) -> list[str]:
    patience = Patience(cpu_seconds=300)
    while True:
        with contextlib.suppress(WebDriverException):  # it does not listen yet
            browser.get(address)
        for _ in range(10):
            time.sleep(0.5)
            texts: list[str] = browser.execute_script(TEXT)
            if wanted <= set(texts):
                return texts
        try:
            patience.check()
        except AssertionError as error:
            raise AssertionError(wanted - set(texts), " ".join(texts)[-3000:]) from error


@pytest.mark.slow  # the server takes five seconds to start
@pytest.mark.browser
def test_six_trials_are_in_the_table_while_they_run(
    board: RayLoggers, search: StageFolder, small_data: DSprites, tensorboard: str, browser: Chrome
) -> None:
    for index in range(6):
        trial = planned(index, replace(CONFIG, objective=BetaVAE(beta=2.0**index)))
        if index:  # the first is there already
            search.trial(index).plan(trial)
        board.on_trial_start(0, [], SimpleNamespace(config=trial.to_dict()))
    run = TrainingRun.start(CONFIG, small_data)
    run.learner.step = 1
    search.trial(0).commit(run, scores=evaluate(run.model, small_data), report={"step": 1, "mig": 0.1})
    report(board, 1, 0.125)
    trials = {f"search/trial_{index:04}" for index in range(6)}
    texts = wait_for_texts(browser, f"{tensorboard}#hparams", trials | {"0.12500"})
    assert {"beta", "beta_norm", "latent_size", "lr", "mig"} <= set(texts)
    assert {"8.0000", "16.000", "32.000"} <= set(texts)  # beta
    wait_for_texts(browser, f"{tensorboard}#images", {"reconstructions", "traversal_by_kl", "mutual_information"})


@pytest.mark.parametrize(("words", "is_there"), [([], False), (["--images", "5000"], True)])
def test_there_is_no_chart_of_a_score_that_is_never_taken(
    words: list[str], is_there: bool, search: StageFolder
) -> None:
    """The protocol of the seed study is of models that were trained on part of the images."""
    context = LogContext(Mirror(search.path.parent), search, parse_options(words, gpus_found=0), 1, ("shape",), ())
    assert ("mig_seed_study" in _layout(context)) == is_there
    assert "mig_quantile" in _layout(context)
