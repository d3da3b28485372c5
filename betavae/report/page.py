"""The page: a jinja2 template with its style, its script and all figures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from betavae.bars import tracked
from betavae.columns import Column, field_column, has_several_objectives, report_column, shown_fields
from betavae.data import FactorImages, FactorSpace
from betavae.records.sweep import Sweep
from betavae.records.trial import Trial, ranked
from betavae.report import choice_plots, comparison_plots, model_plots, plots
from betavae.report.choice import LEAST_SEEDS, agreements, describe_rule, flagged, labels_of_ranking
from betavae.report.confirmation import Confirmed
from betavae.report.diagnosis import diagnose_factors, diagnose_latents, diagnose_position
from betavae.report.field_axis import TrialColors, compared_axes
from betavae.report.findings import (
    Importances,
    counted,
    describe_config,
    describe_importance,
    describe_state,
    describe_training,
    varied_fields,
)
from betavae.report.headline import headline
from betavae.report.method_section import PENDING, compares_methods, method_section
from betavae.report.methods import MAX_LISTED, MethodComparison
from betavae.report.page_numbers import page_numbers
from betavae.report.pictures import Picture, png_address, save_picture, write_traversal_gif
from betavae.report.portrait import NUM_COLUMNS, Latent, Portrait
from betavae.report.provenance import describe_method, describe_metrics, describe_scores, provenance
from betavae.report.score_table import agreement, describe_agreement, score_columns, scored_models
from betavae.report.seed_study import explain, reproduced
from betavae.report.settings import median_of, quartiles_of, settings_of
from betavae.report.table import Row, heading, page_columns, page_rows
from betavae.report.trial_notes import anchor_of, trial_notes
from betavae.samples import TRAVERSAL_RANGE

_NUM_MARKED = 3

_IMPORTANCE = (
    "Importance of each hyper-parameter, by two of optuna's evaluators. A tick is one of ten repeats, each with "
    "another random number among the hyper-parameters: its importance is noise."
)
_CURVES = "Every trial over its steps; the mark at the end is how it ended."
_CURVES_OF_OBJECTIVES = f"{_CURVES} Thick: the median of each objective, at the steps that half of its trials reached."
_INFORMATION = (
    "Mutual information of each latent with each factor, in nats; the colour is the share of the factor's entropy H. "
    "Framed: the latent that knows the factor best, where one knows it."
)


def render_page(
    sweep: Sweep,
    *,
    rows: Sequence[Row],
    confirmations: Sequence[Confirmed],
    portraits: Sequence[Portrait],
    data: Mapping[str, FactorImages],
    importances: Importances,
    problems: Sequence[str],
    methods: MethodComparison | None,
    folder: Path,
    num_datasets: int = 1,
) -> str:
    """Save every figure below `folder`, and return the page of one data set that shows them.

    Args:
        sweep: All trials are of one data set, and at least one has a score.
        rows: From `table_rows`.
        confirmations: The highest median first.
        portraits: The models to show, the best first.
        data: The whole sets, by the name of the data set.
        importances: See `importance_bars`; may be empty.
        problems: Shown on top.
        methods: The comparison of the objectives; None if there are not two to compare.
        folder: Where the figures go.
        num_datasets: Number of data sets of the whole sweep. If there are several, the page links to that of all, one
            folder above.
    """
    method, varied = describe_method(portraits, sweep.rank_by), varied_fields(sweep.trials)
    rows, confirmations = page_rows(sweep, rows), list(confirmations)
    columns = page_columns(sweep, rows)
    settings, seed_study = settings_of(sweep.trials), reproduced(sweep.trials)
    return template("report.html").render(
        name=sweep.folder.name,
        dataset=sweep.trials[0].config.dataset.name,
        num_datasets=num_datasets,
        label=report_column(sweep.rank_by).label,
        headline=headline(sweep.trials, confirmations, selection=sweep.selection),
        rule=describe_rule(sweep),
        is_ruled=sweep.selection is not None,
        ranking_labels=labels_of_ranking(sweep.rank_by),
        **_choice(sweep, folder / "figures"),
        state=describe_state(sweep),
        training=describe_training(sweep.trials, data),
        problems=problems,
        numbers=page_numbers(sweep, confirmations, portraits),
        confirmations=confirmations,
        other_columns=_other_columns(confirmations),
        confirmed_label="" if not confirmations else report_column(confirmations[0].score).label,
        chosen_by_score=sweep.chosen_by_score is not None,
        median_of=median_of,
        quartiles_of=quartiles_of,
        compared_label=report_column(sweep.rank_by).label if sweep.selection is None else sweep.selection.label,
        methods=None if methods is None else method_section(methods, folder / "figures"),
        methods_pending=PENDING if methods is None and compares_methods(sweep) else "",
        max_listed=MAX_LISTED,
        columns=columns,
        heading=heading,
        notes=_notes(sweep, [column.name for column in columns]),
        rows=rows,
        **_model_scores(sweep, folder / "figures"),
        seed_study=seed_study,
        seed_study_explained=explain(seed_study) if seed_study else "",
        failed_new_seeds=[trial for trial in sweep.confirming if trial.error is not None],
        failed=[row for row in rows if row["error"]],
        trial_notes=trial_notes(sweep, portraits, varied),
        settings=settings if any(len(setting.trials) > 1 for setting in settings) else [],
        counted=counted,
        describe=lambda setting: describe_config(setting.config, varied),
        pictures=_sweep_pictures(sweep, portraits, importances, folder / "figures"),
        confirmation_pictures=_confirmation_pictures(confirmations, varied, folder / "figures"),
        importance_described=describe_importance(importances, num_trials=len(ranked(sweep.trials))),
        method=method,
        models=[
            _model_values(sweep, portrait, varied, folder / "models")
            for portrait in tracked(portraits, "drawing the models", total=len(portraits))
        ],
        limit=f"{TRAVERSAL_RANGE:g}",
        num_columns=NUM_COLUMNS,
        provenance=provenance(sweep, portraits, method),
    )


def template(name: str) -> jinja2.Template:
    """Return a template of a page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("betavae.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _other_columns(confirmations: Sequence[Confirmed]) -> list[Column]:
    """Return the other scores that have been taken of every seed of some configuration."""
    names = dict.fromkeys(name for confirmation in confirmations for name in confirmation.other_scores)
    return [
        report_column(name)
        for name in names
        if any(confirmation.other_median(name) is not None for confirmation in confirmations)
    ]


def _model_scores(sweep: Sweep, folder: Path) -> dict[str, Any]:
    """Return the template's values for the table of models by scores."""
    models = scored_models(sweep)
    columns = score_columns(models)
    agreed = agreement(models)
    pictures = []
    if agreed is not None:
        figure = comparison_plots.score_agreement(agreed)
        caption = describe_agreement(agreed, is_ruled=sweep.selection is not None)
        pictures.append(save_picture(folder, "score_agreement", figure, caption=caption))
    return {
        "scored_models": models,
        "score_columns": columns,
        "score_notes": describe_metrics([column.name for column in columns]),
        "score_pictures": pictures,
    }


def _choice(sweep: Sweep, folder: Path) -> dict[str, Any]:
    """Return the template's values for what a choice cost, where its models have scores with labels."""
    agreed, pictures = agreements(sweep), []
    if agreed and sweep.selection is not None:
        figure = choice_plots.choice_scatter(agreed, label=sweep.selection.label)
        caption = (
            f"Each model at its end: {sweep.selection.label} against scores with labels. A ring marks the chosen model."
        )
        pictures.append(save_picture(folder, "choice", figure, caption=caption))
    return {
        "agreements": agreed,
        "has_seeds": any(setting.num_seeds >= LEAST_SEEDS for setting in settings_of(sweep.trials)),
        "flagged": [trial.trial_id for trial in flagged(sweep.trials)],
        "choice_label": "" if sweep.selection is None else sweep.selection.label,
        "choice_pictures": pictures,
    }


def _notes(sweep: Sweep, names: Sequence[str]) -> list[str]:
    """Return what the table's columns are: the metrics, and the numbers that follow from parameters."""
    derived = [trial.config for trial in sweep.trials if not trial.config.derived().keys().isdisjoint(names)]
    helps = dict.fromkeys(config.objective.derived_help for config in derived)
    return [*describe_metrics(names), *(text[0].upper() + text[1:] for text in helps if text)]


def _sweep_pictures(
    sweep: Sweep, portraits: Sequence[Portrait], importances: Importances, folder: Path
) -> dict[str, list[Picture]]:
    save, trials = partial(save_picture, folder), ranked(sweep.trials)
    rank_by, label = sweep.rank_by, report_column(sweep.rank_by).label
    ranking = portraits[0].scores[rank_by] if portraits else None
    ceiling, chance = (None, None) if ranking is None else (ranking.ceiling, ranking.chance)
    varied = [axis.column.name for axis in compared_axes(trials)]
    configs = [trial.config for trial in trials]
    pictures: dict[str, list[Picture]] = {"against": [], "together": [], "learning": [], "factors": []}
    for name in _fields_with_panel(trials):
        figure = plots.score_against(name, sweep, ceiling=ceiling, chance=chance)
        caption = f"Best {label} of every trial against {field_column(name).label}."
        if not has_several_objectives(configs) or "." in name:
            caption += " A bar: the median of a setting with several seeds."
        file_name = f"{rank_by}_against_{name}".replace("/", "_").replace(".", "_")
        pictures["against"].append(save(file_name, figure, caption=caption))
    parallel = [name for name in varied if "." not in name]  # the parameter of one objective is of few trials
    if len(parallel) > 1:
        figure = plots.parallel_coordinates(sweep, parallel, num_marked=_NUM_MARKED)
        pictures["together"].append(save("parallel_coordinates", figure, caption=_describe_parallel(sweep)))
    if importances:
        figure = comparison_plots.importance_bars(importances)
        pictures["together"].append(save("importance", figure, caption=_IMPORTANCE))
    curves = _CURVES_OF_OBJECTIVES if has_several_objectives(configs) else _CURVES
    if "likelihood" in varied:
        curves += " Losses of different likelihoods do not compare."
    learning = plots.learning_curves(sweep, ceiling=ceiling, chance=chance)
    pictures["learning"].append(save("learning_curves", learning, caption=curves))
    pictures["factors"] += _factor_pictures(portraits, folder)
    return pictures


def _fields_with_panel(trials: Sequence[Trial]) -> list[str]:
    """Return the fields against which the score is drawn: the varied ones, or else one.

    Not the objective: a section of its own compares objectives.
    """
    varied = [axis.column.name for axis in compared_axes(trials)]
    return [name for name in varied if name != "objective"] if varied else shown_fields([trials[0].config])[:1]


def _describe_parallel(sweep: Sweep) -> str:
    color, label = TrialColors.of(ranked(sweep.trials)).label, report_column(sweep.rank_by).label
    marked = f"the best {_NUM_MARKED} are marked{f', in the colour of their {color}' if color else ''}"
    spread = "Lines of one value are spread around it, the better ones above."
    return f"A line per trial; {marked}. {spread} The axis of the {label} ends at the best."


def _factor_pictures(portraits: Sequence[Portrait], folder: Path) -> list[Picture]:
    """Draw the scores of the factors."""
    labelled = [portrait for portrait in portraits if portrait.is_labelled]
    if not labelled:
        return []
    label = report_column(comparison_plots.factor_metric(labelled[0])).label
    caption = f"The {label} of each factor of {labelled[0].trial.config.dataset.name}, for the models shown below."
    return [save_picture(folder, "factors", comparison_plots.factor_bars(labelled), caption=caption)]


def _confirmation_pictures(confirmations: Sequence[Confirmed], varied: Sequence[str], folder: Path) -> list[Picture]:
    if not confirmations:
        return []
    score = confirmations[0].score
    label = report_column(score).label
    caption = (
        f"{label} at the end of training with new seeds: a point each, a bar at the median. Diamond: the score of the "
        f"configuration in the search, selected {labels_of_ranking(score)}."
    )
    checkpoint = confirmations[0].trials[0].final_checkpoint
    known = None if checkpoint is None else checkpoint.scores.by_name.get(score)
    ceiling, chance = (None, None) if known is None else (known.ceiling, known.chance)
    names = [describe_config(confirmation.config, varied).replace(", ", "\n") for confirmation in confirmations]
    figure = comparison_plots.confirmation_points(confirmations, names, label=label, ceiling=ceiling, chance=chance)
    return [save_picture(folder, "confirmation", figure, caption=caption)]


def _model_values(sweep: Sweep, portrait: Portrait, varied: Sequence[str], folder: Path) -> dict[str, Any]:
    anchor = anchor_of(portrait)
    save = partial(save_picture, folder / anchor)
    save("traversal", model_plots.traversal_figure(portrait), caption="")
    save("reconstructions", model_plots.reconstructions_figure(portrait), caption="")
    write_traversal_gif(folder / anchor / "traversal.gif", portrait)
    shown = [latent for latent in portrait.shown(model_plots.MAX_ROWS) if latent.is_active]
    folded = [latent for latent in portrait.latents if latent not in shown]
    pairs = np.stack([portrait.samples.originals, portrait.samples.reconstructions])
    pictures = []
    if portrait.is_labelled:
        heatmap = model_plots.information_heatmap(portrait.scores, portrait.latents)
        pictures = [
            save("codes", model_plots.code_figure(portrait), caption=_describe_codes(portrait.space)),
            save("mutual_information", heatmap, caption=_INFORMATION),
        ]
    _, _, height, width, _ = pairs.shape
    return {
        "anchor": anchor,
        "shape": width / height,
        "title": portrait.title,
        "described": describe_config(portrait.trial.config, varied),
        "scores_described": describe_scores(sweep, portrait),
        "diagnosis": [diagnose_latents(portrait), *diagnose_factors(portrait), *diagnose_position(portrait)],
        "shown": [_latent_values(portrait, latent, anchor) for latent in shown],
        "folded": [_latent_values(portrait, latent, anchor) for latent in folded],
        "reconstructions": png_address(model_plots.tile(pairs)),
        "pictures": pictures,
        "method": describe_method([portrait], sweep.rank_by),
    }


def _describe_codes(space: FactorSpace) -> str:
    """Return the caption of a model's codes."""
    sentences = ["Mean of the posterior mean, by latent."]
    if space.position is not None:
        sentences.append("Left: at each position (brown below 0, violet above).")
    lines = "" if space.lines is None else f", a line per {space.lines}"
    sentences.append(f"Against the values of each factor{lines}: a latent of one factor is flat in all others.")
    if space.cyclic:
        sentences.append(f"Cyclic: {', '.join(space.cyclic)}; a line ends at the first value again.")
    return " ".join(sentences)


def _latent_values(portrait: Portrait, latent: Latent, anchor: str) -> dict[str, Any]:
    return {
        "index": latent.index,
        "name": f"{anchor}-{latent.index}",
        "kl_nats": latent.kl_nats,
        "described": latent.describe(),
        "strip": png_address(model_plots.tile(portrait.samples.traversal[latent.index][None])),
    }
