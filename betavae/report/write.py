"""One offline page of a sweep, and its figures, table and summary as files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch

from betavae.data import DSprites
from betavae.files import replacing_folder, write_json
from betavae.records.checkpoint import CheckpointError
from betavae.records.sweep import Sweep, name_in_sweep
from betavae.records.trial import Trial, ranked
from betavae.report.confirmation import confirmed
from betavae.report.exact_scores import EXACT_SCORE
from betavae.report.findings import Importances, headline
from betavae.report.page import render_page
from betavae.report.palette import RC_PARAMS
from betavae.report.portrait import Portrait, portray
from betavae.report.seed_study import reproduced
from betavae.report.settings import setting_values, settings_of
from betavae.report.table import Row, table_rows, write_csv

PAGE_FILE = "index.html"
SUMMARY_FILE = "summary.json"
TABLE_FILE = "trials.csv"


@dataclass(frozen=True)
class Report:
    """A report that has been written.

    Attributes:
        page: Its page, a path or a URL.
        problems: What could not be read or done, a sentence each; the page says the same.
    """

    page: str
    problems: tuple[str, ...]


def write_report(
    sweep: Sweep,
    output: Path,
    *,
    data: DSprites,
    device: torch.device | str = "cpu",
    num_best: int = 3,
    importances: Importances,
    problems: Sequence[str] = (),
) -> Report:
    """Write the page and its files; an earlier report in the same place is replaced when the new one is whole.

    Args:
        sweep: At least one of its trials has a score.
        output: The report's folder.
        data: The whole set, to look at the models with.
        device: Where to compute.
        num_best: How many of the best models are shown, beside the median and the worst.
        importances: Of the hyper-parameters, see `importance_bars`; empty where nothing can be said.
        problems: A sentence each.

    Returns:
        Where the page is, and what its reader has to know: `problems` and what could not be read here.

    Raises:
        ValueError: If `output` holds something that is no report.
        OSError: If it cannot be written.
    """
    check_output(output)
    portraits, damaged = _portray(sweep, num_best=num_best, data=data, device=device)
    problems = [*sweep.unreadable, *problems, *damaged, *_differences(sweep, portraits, data)]
    rows = table_rows(sweep)
    with replacing_folder(output) as folder, matplotlib.rc_context(RC_PARAMS):
        write_csv(folder / TABLE_FILE, rows)
        write_json(folder / SUMMARY_FILE, _summary(sweep, rows, portraits, problems))
        page = render_page(
            sweep, rows=rows, portraits=portraits, importances=importances, problems=problems, folder=folder
        )
        (folder / PAGE_FILE).write_text(page, encoding="utf-8", errors="backslashreplace")
    return Report(str(output / PAGE_FILE), tuple(problems))


def check_output(output: Path) -> None:
    """Refuse a place where no report can go.

    Raises:
        ValueError: If it holds something that is no report.
        OSError: If it cannot be written.
    """
    own = all((output / name).is_file() for name in (PAGE_FILE, SUMMARY_FILE, TABLE_FILE))
    if output.is_dir() and any(output.iterdir()) and not own:
        raise ValueError(f"{output} must be a new folder or an earlier report, but holds something else.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists() and not output.is_dir():
            raise NotADirectoryError(0, "it is a file")
        with tempfile.TemporaryDirectory(dir=output.parent):
            pass
    except OSError as error:
        raise OSError(
            f"The report's folder must be one that can be written, but {output}: {error.strerror}; name another with "
            "--output."
        ) from error


def _portray(
    sweep: Sweep, *, num_best: int, data: DSprites, device: torch.device | str
) -> tuple[list[Portrait], list[str]]:
    """Look at the best models, the median one and the worst; say which checkpoints are damaged."""
    portraits: list[Portrait] = []
    damaged: dict[str, str] = {}

    def attempt(trial: Trial, title: str) -> None:
        try:
            portraits.append(_portray_trial(trial, title, data=data, device=device))
        except CheckpointError as error:
            damaged[trial.trial_id] = f"Trial {trial.trial_id} is not shown: {error}"

    scored = ranked(sweep.trials)
    for rank, trial in enumerate(scored, start=1):
        if len(portraits) < num_best:
            attempt(trial, "best" if rank == 1 else f"rank {rank}")
    for title, trial in (("median", scored[len(scored) // 2]), ("worst", scored[-1])):
        if trial.trial_id not in {portrait.trial.trial_id for portrait in portraits}:
            attempt(trial, title)
    return portraits, list(damaged.values())


def _portray_trial(trial: Trial, title: str, *, data: DSprites, device: torch.device | str) -> Portrait:
    if trial.best_checkpoint is None:
        raise CheckpointError(f"{trial.folder} must hold a checkpoint with its scores, but has none that can be read.")
    return portray(trial, trial.best_checkpoint, title=title, data=data, device=device)


def _differences(sweep: Sweep, portraits: Sequence[Portrait], data: DSprites) -> list[str]:
    """What is not here as it was in the sweep."""
    said = _data_differences(sweep, data)
    for portrait in portraits:
        recorded = portrait.scores["mig"]["score"]
        if abs(recorded - portrait.trial.score) > 1e-9:
            said.append(
                f"Trial {portrait.trial.trial_id} reached a MIG of {portrait.trial.score:.4f}, but what is left of it "
                f"is a checkpoint of {recorded:.4f}: its pictures and exact score are of that one."
            )
        if abs(portrait.rescored - recorded) > 0.001:
            said.append(
                f"Trial {portrait.trial.trial_id} recorded a MIG of {recorded:.4f}, but its checkpoint gives "
                f"{portrait.rescored:.4f} here, on the same rows."
            )
    return said


def _data_differences(sweep: Sweep, data: DSprites) -> list[str]:
    """Where the images are not the same ones: the sweep's, those that a trial was scored on, and this machine's."""
    trained = sweep.record.get("data", {}).get("sha256")
    differences = []
    if trained not in (None, data.fingerprint):
        differences.append(
            f"The sweep trained on data of SHA-256 {trained[:12]}..., but these pictures are of "
            f"{data.fingerprint[:12]}..."
        )
    expected, whose = (data.fingerprint, "this machine has") if trained is None else (trained, "the sweep trained on")
    others: dict[str, list[str]] = {}
    for trial in (*sweep.trials, *sweep.confirming):
        for score, fingerprint in _scored_on(trial):
            if fingerprint != expected:
                others.setdefault(f"{score} data of SHA-256 {fingerprint[:12]}...", []).append(name_in_sweep(trial))
    return differences + [
        f"{'Trial' if len(names) == 1 else 'Trials'} {', '.join(names)}: {what}, but {whose} {expected[:12]}..."
        for what, names in others.items()
    ]


def _scored_on(trial: Trial) -> set[tuple[str, str]]:
    """The fingerprints that a trial's checkpoints name, each with the score that was taken there."""
    checkpoints = [known for known in (trial.best_checkpoint, trial.final_checkpoint) if known is not None]
    scores = [("scored on", known.scores) for known in checkpoints]
    scores += [
        ("exact MIG taken of", known.scores[EXACT_SCORE]) for known in checkpoints if EXACT_SCORE in known.scores
    ]
    recorded = [(name, score.get("data")) for name, score in scores]
    return {(name, str(of["sha256"])) for name, of in recorded if isinstance(of, dict) and "sha256" in of}


def _summary(
    sweep: Sweep, rows: Sequence[Row], portraits: Sequence[Portrait], problems: Sequence[str]
) -> dict[str, Any]:
    confirmations = confirmed(sweep.trials, sweep.confirming)
    found = headline(sweep.trials, confirmations)
    return {
        "sweep": sweep.folder.name,
        "claim": found.claim,
        "certainty": found.certainty,
        "ended": sweep.has_ended,
        "problems": list(problems),
        "settings": [
            {
                "config": setting_values(setting.config),
                "median": setting.median,
                "quartiles": list(setting.quartiles),
                "scores": list(setting.scores),
            }
            for setting in settings_of(sweep.trials)
        ],
        "confirmed": [one.to_dict() for one in confirmations],
        "seed_study": [one.to_dict() for one in reproduced(sweep.trials)],
        "trials": list(rows),
        "models": [
            {
                "title": portrait.title,
                "trial": portrait.trial.trial_id,
                "checkpoint": str(portrait.checkpoint.relative_to(sweep.folder)),
                "mig_taken_again": portrait.rescored,
                "position": None if portrait.position is None else asdict(portrait.position),
                "scores": portrait.scores,
            }
            for portrait in portraits
        ],
        "record": sweep.record,
    }
