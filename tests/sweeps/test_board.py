"""What TensorBoard is given, read back."""

import contextlib
import itertools
import json
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
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer import event_file_writer

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.training import TrainingRun
from sweeps.board import Board
from sweeps.search_folder import SearchFolder
from sweeps.storage import Mirror
from sweeps.trial_folder import TrialFolder

CONFIG = TrialConfig(latent_size=3, batch_size=2, steps=4, eval_every=1, images=100, beta=8.0)
TRIAL = SimpleNamespace(config=CONFIG.to_dict())


@pytest.fixture(autouse=True)
def _files_a_second_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads them in the order of their names, which hold the second."""
    seconds = itertools.count(1_700_000_000)
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: next(seconds)))


@pytest.fixture
def search(tmp_path: Path) -> SearchFolder:
    search = SearchFolder(Mirror(tmp_path / "search"), sweep_seed=0)
    search.trial(0).plan(CONFIG.to_dict())
    return search


@pytest.fixture
def board(search: SearchFolder, tmp_path: Path) -> Board:
    return Board(Mirror(tmp_path), search)


def report(board: Board, step: int, mig: float) -> None:
    board.on_trial_result(0, [], TRIAL, {"step": step, "mig": mig, "loss/kl_nats": 2.0, "config": {}})


def written(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def of_hparams(folder: Path, tag: str) -> HParamsPluginData:
    metadata = written(folder).summary_metadata[f"_hparams_/{tag}"]
    return HParamsPluginData.FromString(metadata.plugin_data.content)


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in written(folder).Scalars(tag)]


def test_a_trial_is_in_the_table_from_its_start(board: Board, search: SearchFolder) -> None:
    board.on_trial_start(0, [], TRIAL)
    folder = search.trial(0).path
    start = of_hparams(folder, "session_start_info").session_start_info
    values = {name: value.number_value for name, value in start.hparams.items()}
    assert (values["beta"], values["latent_size"], values["seed"]) == (8.0, 3.0, 0.0)
    assert values["beta_norm"] == pytest.approx(8.0 * 3 / 4096)
    assert start.hparams["architecture"].string_value == "burgess"
    metrics = [info.name.tag for info in of_hparams(folder, "experiment").experiment.metric_infos]
    assert metrics[:3] == ["mig", "mig/shape", "mig/scale"]


def test_a_trial_that_goes_on_draws_no_step_twice(board: Board, search: SearchFolder) -> None:
    """Its process was lost after the second report: that is said again, and then the third."""
    board.on_trial_start(0, [], TRIAL)
    report(board, 1, 0.1)
    report(board, 2, 0.2)
    board.on_trial_start(0, [], TRIAL)
    report(board, 2, 0.2)
    report(board, 3, 0.3)
    assert curve(search.trial(0).path, "mig") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_nor_does_one_that_goes_on_after_a_resume(board: Board, search: SearchFolder, tmp_path: Path) -> None:
    board.on_trial_start(0, [], TRIAL)
    for step in (1, 2):
        report(board, step, 0.1)
    (search.trial(0).path / "result.json").write_text('{"step": 1, "mig": 0.1}\n{"step": 2, "mig": 0.1}\n')
    resumed = Board(Mirror(tmp_path), search, known=[search.read(0)])
    resumed.on_trial_start(0, [], TRIAL)
    for step in (1, 2, 3):
        report(resumed, step, 0.4)
    assert curve(search.trial(0).path, "mig") == [(1, 0.4), (2, 0.4), (3, 0.4)]


def test_a_checkpoint_is_shown(board: Board, search: SearchFolder, small_data: DSprites) -> None:
    run = TrainingRun.start(CONFIG, small_data)
    run.step = 1
    search.trial(0).commit(run, scores=evaluate(run.model, small_data), report={"step": 1, "mig": 0.1})
    board.on_trial_start(0, [], TRIAL)
    report(board, 1, 0.1)
    events = written(search.trial(0).path)
    sizes = {tag: (image.width, image.height) for tag in events.Tags()["images"] for image in events.Images(tag)}
    assert sizes["reconstructions"] == (8 * 64, 2 * 64)
    assert sizes["traversal_by_kl"] == (7 * 64, 3 * 64)
    assert sizes["mutual_information"][0] > 300


def fail(folder: TrialFolder) -> None:
    folder.fail(ValueError("the reason"))


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
def test_how_a_trial_ended_is_to_be_seen(board: Board, search: SearchFolder, end: Any, status: str, text: str) -> None:
    board.on_trial_start(0, [], TRIAL)
    end(search.trial(0))
    board.on_trial_complete(0, [], TRIAL)
    folder = search.trial(0).path
    assert of_hparams(folder, "session_end_info").session_end_info.status == Status.Value(status)
    (ending,) = written(folder).Tensors("ending/text_summary")
    assert ending.tensor_proto.string_val[0].decode() == text


def test_the_curves_are_grouped(board: Board, tmp_path: Path) -> None:
    assert written(tmp_path).Tags()["tensors"] == ["custom_scalars__config__"]


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
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(WebDriverException):  # it does not listen yet
            browser.get(address)
        for _ in range(10):
            time.sleep(0.5)
            texts: list[str] = browser.execute_script(TEXT)
            if wanted <= set(texts):
                return texts
        assert time.monotonic() < deadline, (wanted - set(texts), " ".join(texts)[-3000:])


@pytest.mark.slow  # the server takes five seconds to start
@pytest.mark.browser
def test_six_trials_are_in_the_table_while_they_run(
    board: Board, search: SearchFolder, small_data: DSprites, tensorboard: str, browser: Chrome
) -> None:
    for seed in range(6):
        config = replace(CONFIG, seed=seed, beta=2.0**seed).to_dict()
        search.trial(seed).plan(config)
        board.on_trial_start(0, [], SimpleNamespace(config=config))
    run = TrainingRun.start(CONFIG, small_data)
    run.step = 1
    search.trial(0).commit(run, scores=evaluate(run.model, small_data), report={"step": 1, "mig": 0.1})
    report(board, 1, 0.125)
    trials = {f"search/trial_{seed:04}" for seed in range(6)}
    texts = wait_for_texts(browser, f"{tensorboard}#hparams", trials | {"0.12500"})
    assert {"beta", "beta_norm", "latent_size", "lr", "mig"} <= set(texts)
    assert {"8.0000", "16.000", "32.000"} <= set(texts)  # beta
    wait_for_texts(browser, f"{tensorboard}#images", {"reconstructions", "traversal_by_kl", "mutual_information"})
