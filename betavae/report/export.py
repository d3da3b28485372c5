"""A model to give away: its weights, its scores, a card that describes them, and a script that draws it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from betavae.columns import field_column, report_column
from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.files import replacing_folder
from betavae.metrics import METRICS, Scores
from betavae.parts import Part, parameters_of
from betavae.records.checkpoint import (
    CONFIG_FILE,
    SCORES_FILE,
    CheckpointError,
    add_scores,
    check_checkpoint,
    copy_model,
)
from betavae.records.sweep import Sweep
from betavae.records.trial import Checkpoint, Trial, ranked
from betavae.records.weights import MODEL_FILE
from betavae.report.choice import labels_of_choice
from betavae.report.confirmation import confirmed
from betavae.report.provenance import describe_score
from betavae.report.settings import median_of
from betavae.text import markdown

CARD_FILE = "README.md"
SCRIPT_FILE = "traverse.py"


def export_best(sweep: Sweep, output: Path, *, data: Mapping[str, FactorImages]) -> list[Path]:
    """Copy the best checkpoint of a sweep's search to a folder of its own, and write its card.

    Of a sweep with several data sets, the best checkpoint of each goes to a folder of the data set's name. A data set
    without a score is left out.

    Args:
        sweep: At least one of its trials has a score.
        output: The folder; it must not exist, or be empty.
        data: The whole data sets, by name; those of the best trials among them.

    Returns:
        The cards.

    Raises:
        FileExistsError: If the folder holds something.
        InputError: If the data set of a best trial is not in `data`.
        CheckpointError: If a best trial has no checkpoint that is whole.
        OSError: If it cannot be written.
    """
    check_export(output)
    parts = sweep.by_dataset()
    checkpoints = best_checkpoints(sweep)  # all, before any is written
    for name in checkpoints:
        if name not in data:
            known = ", ".join(data) or "none"
            raise InputError(f"The data sets must hold {name}, of the best trial, but hold {known}.")
    folders = {name: output / name if len(parts) > 1 else output for name in checkpoints}
    for name, checkpoint in checkpoints.items():
        _export(parts[name], checkpoint, folders[name], data=data[name])
    return [folder / CARD_FILE for folder in folders.values()]


def _export(sweep: Sweep, checkpoint: Checkpoint, output: Path, *, data: FactorImages) -> None:
    """Copy the best checkpoint of the trials of one data set, and write its card."""
    trial = ranked(sweep.trials)[0]
    page = files("betavae.report") / "templates"
    card = _card(sweep, trial, checkpoint, data=data, template=(page / "card.md").read_text())
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(output) as folder:
        copy_model(checkpoint.folder, folder)
        shutil.copyfile(checkpoint.folder / SCORES_FILE, folder / SCORES_FILE)
        if checkpoint.folder in trial.unkept:
            add_scores(folder, trial.unkept[checkpoint.folder])
        (folder / SCRIPT_FILE).write_text((page / SCRIPT_FILE).read_text())
        (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")


def best_checkpoints(sweep: Sweep) -> dict[str, Checkpoint]:
    """Return the checkpoints to export, by data set: the best of the search, if the weights are as they were written.

    Raises:
        CheckpointError: If the best trial of a data set has no checkpoint that is whole.
    """
    trials = {name: ranked(part.trials) for name, part in sweep.by_dataset().items()}
    return {name: _whole_checkpoint(scored[0]) for name, scored in trials.items() if scored}


def _whole_checkpoint(trial: Trial) -> Checkpoint:
    checkpoint = trial.chosen_checkpoint
    if checkpoint is None:
        raise CheckpointError(f"{trial.folder} must hold a checkpoint to be exported, but has none that can be read.")
    check_checkpoint(checkpoint.folder, only=(CONFIG_FILE, MODEL_FILE))
    return checkpoint


def check_export(output: Path) -> None:
    """Refuse a place where nothing may be written.

    Raises:
        FileExistsError: If it holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"A model is exported to a new or an empty folder, but {output} holds something.")


@dataclass(frozen=True)
class _CardScore:
    """A row of a card's table: a score's name, its value, its factors' scores, and how it was taken."""

    name: str
    value: str
    factors: list[str]
    method: str


def _card(sweep: Sweep, trial: Trial, checkpoint: Checkpoint, *, data: FactorImages, template: str) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = markdown  # for all texts of a sweep's files
    config, scores = TrialConfig.read(checkpoint.folder / CONFIG_FILE), checkpoint.scores
    confirmations = confirmed(sweep.trials, sweep.confirming)
    return environment.from_string(template).render(
        config=config,
        model=_describe_part(config.objective),
        architecture=_describe_part(config.architecture),
        likelihood=_describe_likelihood(trial, checkpoint),
        lr=field_column("lr").write(config.value("lr")),
        dataset=_describe_part(config.dataset, only_changed=True),
        derived=[f"{field_column(name).label} {value:.3g}" for name, value in config.derived().items()],
        image_shape=config.dataset.image_shape,
        num_training=config.dataset.num_training(data),
        num_images=len(data),
        scores=scores,
        card_scores=_card_scores(scores),
        factors=_factors(scores),
        choice=_describe_choice(sweep),
        rank_by=_code(trial.rank_by),
        origin=f"{sweep.folder.name}/{checkpoint.folder.relative_to(sweep.folder)}",
        command=sweep.record.get("command", "not recorded"),
        versions=", ".join(f"{name} {value}" for name, value in sweep.record.get("versions", {}).items()),
        median=median_of([other.last_score for other in ranked(sweep.trials)]),
        confirmations=[confirmation for confirmation in confirmations if confirmation.config == trial.setting],
    )


def _describe_choice(sweep: Sweep) -> str:
    """Return how the model was chosen, and whether that looked at factors."""
    labels, num_trials = labels_of_choice(sweep), len(ranked(sweep.trials))
    origin = "the factors" if labels == "with labels" else "no factor"
    if sweep.selection is None:
        what = f"the best checkpoint of the best of {num_trials} trials, by {_code(sweep.rank_by)}"
    else:
        what = f"the final model of the best of {num_trials} trials, by {sweep.selection.label}"
    return f"**Selected {labels}**: this is {what}, which is computed from {origin}."


def _describe_likelihood(trial: Trial, checkpoint: Checkpoint) -> str:
    """Return the likelihood with its parameters, and the values that it had learnt at the checkpoint."""
    likelihood, step = trial.config.likelihood, checkpoint.scores.step
    report = next((report for report in trial.reports if report["step"] == step), {})
    columns = [report_column(f"weight/{name}") for name in likelihood.learnt_names()]
    learnt = [f"{column.label} {column.write(report.get(column.name))}" for column in columns]
    return _describe_part(likelihood) + (f"; learnt: {', '.join(learnt)}" if learnt else "")


def _describe_part(part: Part, *, only_changed: bool = False) -> str:
    """Return a part with its parameters: `beta-vae, beta 4`; with `only_changed`, those that are not the default."""
    defaults = {name: each.default for name, each in parameters_of(type(part)).items()}
    shown = {name: value for name, value in part.values().items() if not only_changed or value != defaults[name]}
    columns = [(field_column(name), value) for name, value in shown.items()]
    return ", ".join([part.name, *(f"{column.label} {column.write(value)}" for column, value in columns)])


def _card_scores(scores: Scores) -> list[_CardScore]:
    factors = _factors(scores)
    return [
        _CardScore(
            _code(name),
            report_column(name).write(score.value),
            [f"{score.by_factor[factor]:.3f}" if factor in score.by_factor else "" for factor in factors],
            describe_score(score),
        )
        for name, score in scores.by_name.items()
    ]


def _factors(scores: Scores) -> list[str]:
    return list(dict.fromkeys(factor for score in scores.by_name.values() for factor in score.by_factor))


def _code(name: str) -> str:
    """Return a score's name as Markdown: as code if it is a metric's, else as text, which may be of anything."""
    return f"`{name}`" if name in METRICS else markdown(name)
