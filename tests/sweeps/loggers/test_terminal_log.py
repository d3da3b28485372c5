import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS, DSpritesDataset
from betavae.records.trial import PlannedTrial, Trial
from sweeps.loggers.base import LogContext
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.loggers.terminal_log import TerminalLog
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options, SweepOptions
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

OPTIONS = parse_options(["--beta", "1", "2", "--steps", "100", "-b", "10"], gpus_found=0)
CONFIG = TrialConfig(steps=100, eval_every=50, batch_size=10)


def context_of(
    stage: StageFolder, options: Options = OPTIONS, *, num_planned: int = 2, known: tuple[Trial, ...] = ()
) -> LogContext:
    return LogContext(stage.mirror, stage, options, num_planned, (), known)


def ray_trial(planned: PlannedTrial) -> SimpleNamespace:
    """What Ray's callbacks are given of a trial."""
    return SimpleNamespace(config=planned.to_dict())


def loggers_of(log: TerminalLog) -> RayLoggers:
    return RayLoggers(log.context, {"terminal": log})


def report(step: int, mig: float) -> dict[str, Any]:
    losses = {"loss/recon_nats": 120.0, "loss/kl_nats": 2.5, "images_per_second": 50.0}
    return {"step": step, "mig": mig, **losses}


def run(tmp_path: Path, options: Options, *, is_terminal: bool) -> str:
    """One trial starts, reports and ends; another fails."""
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    said = io.StringIO()
    console = Console(file=said, force_terminal=is_terminal, width=120, highlight=False, no_color=True)
    with loggers_of(TerminalLog(context_of(search, options), console=console)) as log:
        for index in range(2):
            planned = PlannedTrial(index, replace(CONFIG, eval_every=100, seed=index))
            trial = ray_trial(planned)
            search.trial(index).plan(planned)
            log.on_trial_start(0, [], trial)
            log.log_result(trial, report(50, 0.1))
            (search.trial(index).path / "result.json").write_text(json.dumps(report(100, 0.25)) + "\n")
            if index == 1:
                search.trial(index).fail(ValueError("the reason"), would_recur=False)
            log.on_trial_complete(0, [], trial)
    return said.getvalue()


ENDED = [
    "   [1/2] 0000  beta 4       z 10    lr 0.001  finished         mig 0.250   best so far 0.250 (0000)",
    "   [2/2] 0001  FAILED: ValueError: the reason (traceback: search/trial_0001/error.txt)   best so far 0.250 (0000)",
]


def test_in_a_pipe_a_line_says_that_a_trial_ended(tmp_path: Path) -> None:
    assert run(tmp_path, OPTIONS, is_terminal=False).splitlines() == ENDED


def test_quiet_says_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, replace(OPTIONS, sweep=SweepOptions(quiet=True)), is_terminal=True) == ""


def test_verbose_says_starts_and_reports_too(tmp_path: Path) -> None:
    said = run(tmp_path, replace(OPTIONS, sweep=SweepOptions(verbose=True)), is_terminal=False).splitlines()
    assert said[:3] == [
        "0000  started",
        "0000  step 50      mig 0.1000  recon 120.00  kl 2.50  50 images/s",
        ENDED[0],
    ]


def test_a_terminal_has_a_bar_which_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    said = run(tmp_path, OPTIONS, is_terminal=True)
    # the first has half of its 100 steps to go, the second all of its own: 150 steps of 10 images, at 50 images/s
    assert "0/2 trials, 1 running  50 images/s  about 0:00:30 left" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor comes back


def times_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: TrialConfig, *, num_planned: int) -> list[str]:
    """What the bar says 0, 4 and 60 seconds after a trial's report of step 50."""
    clock = [0.0]
    monkeypatch.setattr("sweeps.loggers.terminal_log.time.monotonic", lambda: clock[0])
    context = context_of(StageFolder(Mirror(tmp_path), "mig"), num_planned=num_planned)
    log, trial = TerminalLog(context, console=Console(file=io.StringIO())), PlannedTrial(0, config)
    log.started(trial)
    log.reported(trial, report(50, 0.1))
    left = []
    for clock[0] in (0.0, 4.0, 60.0):
        shown = Console(file=io.StringIO(), width=120)
        shown.print(log._picture())
        left.append(shown.file.getvalue().split("about ")[1].split()[0])
    return left


def test_the_time_left_runs_down_between_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = times_left(tmp_path, monkeypatch, CONFIG, num_planned=2)
    # 150 steps of 10 images at 50 images/s; after a minute it should have reported, and counts no further than that
    assert left == ["0:00:30", "0:00:26", "0:00:20"]


def test_the_time_left_counts_all_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of 100 steps, and 2 x 20 of other starts: 140 steps of 10 images at 50 images/s take 28 s."""
    config = replace(CONFIG, starts=3, start_steps=20)
    assert times_left(tmp_path, monkeypatch, config, num_planned=1) == ["0:00:10", "0:00:06", "0:00:00"]


def test_a_trial_that_goes_on_is_among_the_best_once(tmp_path: Path) -> None:
    search = StageFolder(Mirror(tmp_path), "mig")
    planned = PlannedTrial(0, CONFIG)
    search.trial(0).plan(planned)
    result = search.trial(0).path / "result.json"
    result.write_text(json.dumps(report(50, 0.1)) + "\n")
    console = Console(file=io.StringIO())
    with TerminalLog(context_of(search, known=(search.read(0),)), console=console) as log:
        log.started(planned)
        result.write_text(result.read_text() + json.dumps(report(100, 0.3)) + "\n")
        log.ended(planned, search.read(0))
    assert [(best.trial_id, best.score) for best in log._best["dsprites"]] == [("0000", 0.3)]
    assert "[1/2]" in console.file.getvalue()


def shown(tmp_path: Path, reports: list[Any], damage: tuple[str, bytes] | None = None) -> str:
    """What is said of one trial that reports this, and whose folder is then damaged."""
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, highlight=False, no_color=True)
    options = replace(OPTIONS, sweep=SweepOptions(verbose=True))
    planned = PlannedTrial(0, CONFIG)
    trial = ray_trial(planned)
    search.trial(0).plan(planned)
    with loggers_of(TerminalLog(context_of(search, options, num_planned=1), console=console)) as log:
        log.on_trial_start(0, [], trial)
        for line in reports:
            log.on_trial_result(0, [], trial, line)
        if damage is not None:
            (search.trial(0).path / damage[0]).write_bytes(damage[1])
        log.on_trial_complete(0, [], trial)
    return output.getvalue()


@pytest.mark.parametrize(
    "broken",
    [
        {"step": 50},
        {"step": 50, "mig": "high", "images_per_second": 1.0},
        {"step": "second", "mig": 0.1, "images_per_second": 1.0},
        report(50, float("nan")) | {"images_per_second": float("nan")},
        report(50, 0.1) | {"images_per_second": 1e-300},
        report(50, 0.1) | {"images_per_second": -1.0},
        report(50, 0.1) | {"images_per_second": []},
    ],
)
def test_a_report_that_cannot_be_shown_costs_its_line(tmp_path: Path, broken: dict[str, Any]) -> None:
    said = shown(tmp_path, [broken, report(100, 0.25)])
    assert "0000  step 100     mig 0.2500" in said
    assert "[1/1] 0000" in said


@pytest.mark.parametrize("content", [b"", b"\x80", b"null", b"[]", b"{}x"])
def test_a_trial_that_cannot_be_read_costs_its_line(tmp_path: Path, content: bytes) -> None:
    assert "[1/1] 0000  its folder cannot be read" in shown(tmp_path, [], ("params.json", content))


def test_no_error_of_a_trial_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    said = shown(tmp_path, [], ("error.txt", "Error: \x1b]0;title\x07\x9b31m\u202edehsinif".encode()))
    assert r"FAILED: Error: \x1b]0;title\x07\x9b31m\u202edehsinif" in said


def test_an_output_that_cannot_be_written_ends_no_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = io.StringIO()
    full.write = _raise_disk_full  # type: ignore[method-assign,assignment]
    search = StageFolder(Mirror(tmp_path), "mig")
    log = loggers_of(TerminalLog(context_of(search), console=Console(file=full)))
    log.on_trial_complete(0, [], ray_trial(PlannedTrial(0, CONFIG)))
    assert capsys.readouterr().err.startswith("warning: the terminal log of trial 0000 is incomplete: ")


def _raise_disk_full(text: str) -> int:
    raise OSError("No space left on device")


def test_the_best_so_far_is_that_of_the_trials_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of blocks score higher than those of dSprites; one ended before a resume."""
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    options = parse_options(["--dataset", "dsprites", "blocks", "--beta", "4"], gpus_found=0)
    search = StageFolder(Mirror(tmp_path / "search"), "mig")
    datasets = (DSpritesDataset(), BlocksDataset(), DSpritesDataset())
    planned = [PlannedTrial(index, replace(CONFIG, dataset=each)) for index, each in enumerate(datasets)]
    for each, mig in zip(planned, (0.2, 0.9, 0.1), strict=True):
        search.trial(each.index).plan(each)
        (search.trial(each.index).path / "result.json").write_text(json.dumps(report(100, mig)) + "\n")
    console = Console(file=io.StringIO(), width=200)
    context = context_of(search, options, num_planned=3, known=(search.read(0),))
    with TerminalLog(context, console=console) as log:
        for each in planned[1:]:
            log.started(each)
            log.ended(each, search.read(each.index))
        best_lines = log._best_lines()
    lines = console.file.getvalue().splitlines()
    assert [line.partition("   best ")[2] for line in lines] == [
        "of blocks so far 0.900 (0001)",
        "of dsprites so far 0.200 (0000)",
    ]
    assert "dataset blocks" in lines[0]
    assert [line.split()[:3] for line in best_lines] == [
        ["0000", "mig", "0.200"], ["0002", "mig", "0.100"], ["0001", "mig", "0.900"],
    ]  # fmt: skip
