"""The card of an exported model, a README.md in the layout of model cards on the Hugging Face Hub.

Source:
    The front matter: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. The headings:
    `modelcard_template.md` of huggingface_hub.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from betavae.columns import field_column, report_column
from betavae.config import TrialConfig
from betavae.data import Dataset, FactorImages
from betavae.metrics import METRICS, Scores
from betavae.parts import Part, parameters_of
from betavae.records.checkpoint import CONFIG_FILE
from betavae.records.sweep import Sweep
from betavae.records.trial import Checkpoint, Trial, ranked
from betavae.report.choice import labels_of_choice
from betavae.report.confirmation import confirmed
from betavae.report.provenance import describe_score
from betavae.report.settings import median_of
from betavae.text import markdown, one_line

CARD_FILE = "README.md"

_TASK = "image-feature-extraction"
"""The Hub's name of what the model does."""


@dataclass(frozen=True)
class _CardScore:
    """A row of a card's table: a score's name, its value, its factors' scores, and how it was taken."""

    name: str
    value: str
    factors: list[str]
    method: str


@dataclass(frozen=True)
class _IndexedScore:
    """A score of the front matter: the metric's name and label, and the value in digits that YAML reads as a number."""

    name: str
    label: str
    value: str


def card_text(sweep: Sweep, trial: Trial, checkpoint: Checkpoint, *, data: FactorImages, has_onnx: bool) -> str:
    """Return the card of a model. It names no license, which is the publisher's to choose.

    Args:
        sweep: The trials of one data set.
        trial: The trial of the model.
        checkpoint: The checkpoint of the model.
        data: The whole data set.
        has_onnx: Whether ONNX files are beside the card.
    """
    template = (files("betavae.report") / "templates" / "card.md").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = markdown  # for all texts of a sweep's files
    environment.filters["yaml"] = _yaml
    config, scores = TrialConfig.read(checkpoint.folder / CONFIG_FILE), checkpoint.scores
    confirmations = confirmed(sweep.trials, sweep.confirming, score=sweep.chosen_by_score)
    return environment.from_string(template).render(
        config=config,
        model=_describe_part(config.objective),
        architecture=_describe_part(config.architecture),
        likelihood=_describe_likelihood(trial, checkpoint),
        lr=field_column("lr").write(config.value("lr")),
        dataset=_describe_dataset(config.dataset),
        derived=[f"{field_column(name).label} {value:.3g}" for name, value in config.derived().items()],
        image_shape=config.dataset.image_shape,
        num_training=config.dataset.num_training(data),
        num_images=len(data),
        scores=scores,
        task=_TASK,
        has_onnx=has_onnx,
        indexed=list(_indexed_scores(scores)),
        card_scores=_card_scores(scores),
        factors=_factors(scores),
        choice=_describe_choice(sweep),
        rank_by=_code(trial.rank_by),
        confirmed_score=_code(sweep.chosen_by_score or trial.rank_by),
        origin=f"{sweep.folder.name}/{checkpoint.folder.relative_to(sweep.folder)}",
        command=_describe_command(sweep),
        versions=", ".join(f"{name} {value}" for name, value in sweep.record.get("versions", {}).items()),
        median=median_of([other.last_score for other in ranked(sweep.trials)]),
        confirmations=[confirmation for confirmation in confirmations if confirmation.config == trial.setting],
    )


def _describe_choice(sweep: Sweep) -> str:
    """Return how the model was chosen, and whether that looked at factors."""
    labels, selection = labels_of_choice(sweep), sweep.selection
    num_trials = len(ranked(sweep.trials)) if selection is None else len(selection.scores)
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


def _describe_part(part: Part) -> str:
    """Return a part with its parameters: `beta-vae, beta 4`."""
    return _described(part.name, part.shown_values())


def _describe_dataset(dataset: Dataset) -> str:
    """Return a data set with the parameters that are not the default, without folders of this machine."""
    defaults = {name: each.default for name, each in parameters_of(type(dataset)).items()}
    values = dataset.public_values()
    return _described(dataset.name, {name: value for name, value in values.items() if value != defaults[name]})


def _described(name: str, values: Mapping[str, Any]) -> str:
    columns = [(field_column(name), value) for name, value in values.items()]
    return ", ".join([name, *(f"{column.label} {column.write(value)}" for column, value in columns)])


def _describe_command(sweep: Sweep) -> str:
    """Return the command that started the sweep, each absolute path as its name alone."""
    try:
        words = shlex.split(sweep.record.get("command", ""))
    except ValueError:  # a record that was changed by hand
        words = []
    return shlex.join([_without_folder(word) for word in words]) or "not recorded"


def _without_folder(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)


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


def _indexed_scores(scores: Scores) -> Iterator[_IndexedScore]:
    """Yield the scores of known metrics, for the front matter: a name from a file may be anything."""
    for name, score in scores.by_name.items():
        if name in METRICS and math.isfinite(score.value):
            yield _IndexedScore(name, report_column(name).label, f"{score.value:.6f}")


def _yaml(text: str) -> str:
    """Return a text as a quoted scalar of YAML, on one line."""
    return json.dumps(one_line(text), ensure_ascii=False)
