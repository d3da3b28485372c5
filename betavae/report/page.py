"""What the page says: a jinja2 template with its style, its script and all of its pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from betavae.bars import tracked
from betavae.records.sweep import Sweep
from betavae.records.trial import ranked
from betavae.report import model_plots, plots
from betavae.report.confirmation import Confirmed, confirmed
from betavae.report.findings import (
    FIELD_NAMES,
    Importances,
    counted,
    describe_config,
    describe_importance,
    describe_state,
    describe_training,
    diagnose_factors,
    diagnose_latents,
    diagnose_position,
    headline,
)
from betavae.report.pictures import Picture, png_address, save_picture, write_traversal_gif
from betavae.report.portrait import NUM_COLUMNS, Latent, Portrait
from betavae.report.provenance import describe_exact, describe_mig, describe_scores, provenance
from betavae.report.seed_study import explain, reproduced
from betavae.report.settings import settings_of, varied_fields
from betavae.report.table import Row
from betavae.samples import TRAVERSAL_RANGE

_COLUMNS = (
    ("rank", "rank", "%d"),
    ("trial", "trial", "%s"),
    ("mig", "MIG", "%.4f"),
    ("mig_exact", "exact", "%.4f"),
    ("mig_seed_study", "MIG, own rows", "%.4f"),
    ("beta", "beta", "%.4g"),
    ("latent_size", "z", "%d"),
    ("lr", "lr", "%.3g"),
    ("seed", "seed", "%d"),
    ("status", "status", "%s"),
    ("step", "at step", "%d"),
    *((f"mig/{name}", name, "%.3f") for name in ("shape", "scale", "orientation", "posX", "posY")),
    ("active_units", "active", "%d"),
    ("loss/recon_nats", "recon", "%.1f"),
    ("loss/kl_nats", "kl", "%.2f"),
    ("beta_norm", "beta_norm", "%.3g"),
)
"""What the page's table shows: the value's name in a row, the column's label, how it is written."""

_NUM_MARKED = 3

_AGAINST = "Best MIG of every trial against {}. A bar: the median of a setting with several seeds."
_PARALLEL = (
    f"A line per trial; the best {_NUM_MARKED} are marked, in the colour of their beta. The MIG's axis ends at the "
    "best."
)
_IMPORTANCE = (
    "Importance of each hyper-parameter, by two of optuna's evaluators. A tick is one of ten repeats, each with "
    "another random number among the hyper-parameters: whatever it gets is noise."
)
_CONFIRMATION = (
    "MIG at the end of training with new seeds: a point each, a bar at the median. Diamond: what the search had seen "
    "of the configuration, selected with labels."
)
_CURVES = "Every trial over its steps; the mark at the end says how it ended."
_FACTORS = "The gap of each factor, for the models shown below; the MIG is their mean."
_CODES = (
    "Mean of the posterior mean, by latent. Left: at each position (brown below 0, violet above). Then against each "
    "factor's value, a line per shape: a latent of one factor is flat in all others."
)
_INFORMATION = (
    "Mutual information of each latent with each factor, in nats; the colour is the share of the factor's entropy H. "
    "Framed: the latent that knows the factor best, where one knows it."
)


def render_page(
    sweep: Sweep,
    *,
    rows: Sequence[Row],
    portraits: Sequence[Portrait],
    importances: Importances,
    problems: Sequence[str],
    folder: Path,
) -> str:
    """Save every figure below `folder`, and return the page that shows them.

    Args:
        sweep: At least one of its trials has a score.
        rows: Of the ranked table.
        portraits: The models to show, the best first.
        importances: See `importance_bars`; may be empty.
        problems: Shown on top.
        folder: Where the figures go.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("betavae.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    how, varied = describe_mig(portraits), varied_fields(sweep.trials)
    confirmations = confirmed(sweep.trials, sweep.confirming)
    settings, seed_study = settings_of(sweep.trials), reproduced(sweep.trials)
    return environment.get_template("report.html").render(
        name=sweep.folder.name,
        headline=headline(sweep.trials, confirmations),
        state=describe_state(sweep),
        training=describe_training(sweep.trials),
        problems=problems,
        numbers=[*_confirmed_numbers(confirmations), *_numbers(sweep, rows, portraits)],
        confirmations=confirmations,
        columns=[
            {"name": name, "label": label, "format": form}
            for name, label, form in _COLUMNS
            if any(row.get(name) is not None for row in rows)
        ],
        rows=rows,
        seed_study=seed_study,
        seed_study_said=explain(seed_study) if seed_study else "",
        failed_new_seeds=[trial for trial in sweep.confirming if trial.error is not None],
        failed=[row for row in rows if row["error"]],
        settings=settings if any(setting.num_seeds > 1 for setting in settings) else [],
        counted=counted,
        describe=lambda setting: describe_config(setting.config, varied),
        pictures=_sweep_pictures(sweep, portraits, importances, folder / "figures"),
        confirmation_pictures=_confirmation_pictures(confirmations, varied, folder / "figures"),
        importance_said=describe_importance(importances, num_trials=len(ranked(sweep.trials))),
        how=how,
        models=[
            _model_values(sweep, portrait, varied, folder / "models")
            for portrait in tracked(portraits, "drawing the models", total=len(portraits))
        ],
        limit=f"{TRAVERSAL_RANGE:g}",
        num_columns=NUM_COLUMNS,
        provenance=provenance(sweep, portraits, how),
    )


def _sweep_pictures(
    sweep: Sweep, portraits: Sequence[Portrait], importances: Importances, folder: Path
) -> dict[str, list[Picture]]:
    save = partial(save_picture, folder)
    ceiling = portraits[0].scores["mig"]["ceiling"] if portraits else None
    varied = [name for name in FIELD_NAMES if name in varied_fields(ranked(sweep.trials))]
    pictures: dict[str, list[Picture]] = {"against": [], "together": [], "learning": [], "factors": []}
    for name in varied or ["beta"]:
        figure = plots.mig_against(name, sweep, ceiling=ceiling)
        pictures["against"].append(save(f"mig_against_{name}", figure, caption=_AGAINST.format(plots.LABELS[name])))
    if len(varied) > 1:
        figure = plots.parallel_coordinates(sweep, varied, num_marked=_NUM_MARKED)
        pictures["together"].append(save("parallel_coordinates", figure, caption=_PARALLEL))
    if importances:
        figure = plots.importance_bars(importances)
        pictures["together"].append(save("importance", figure, caption=_IMPORTANCE))
    pictures["learning"].append(save("learning_curves", plots.learning_curves(sweep, ceiling=ceiling), caption=_CURVES))
    if portraits:
        pictures["factors"].append(save("factors", plots.factor_bars(portraits), caption=_FACTORS))
    return pictures


def _confirmation_pictures(confirmations: Sequence[Confirmed], varied: Sequence[str], folder: Path) -> list[Picture]:
    if not confirmations:
        return []
    figure = plots.confirmation_points(confirmations, varied)
    return [save_picture(folder, "confirmation", figure, caption=_CONFIRMATION)]


def _confirmed_numbers(confirmations: Sequence[Confirmed]) -> list[dict[str, str]]:
    if not confirmations:
        return []
    first = confirmations[0]
    how = f"median over {first.num_seeds} new seeds, each at the end of its training"
    numbers = [{"name": "confirmed MIG", "value": f"{first.median:.3f}", "how": how}]
    if first.exact_median is not None:
        numbers.append({"name": "confirmed exact MIG", "value": f"{first.exact_median:.3f}", "how": "the same models"})
    return numbers


def _model_values(sweep: Sweep, portrait: Portrait, varied: Sequence[str], folder: Path) -> dict[str, Any]:
    anchor = f"{portrait.title.replace(' ', '_')}_{portrait.trial.trial_id}"
    save = partial(save_picture, folder / anchor)
    save("traversal", model_plots.traversal_figure(portrait), caption="")
    save("reconstructions", model_plots.reconstructions_figure(portrait), caption="")
    write_traversal_gif(folder / anchor / "traversal.gif", portrait)
    shown = [latent for latent in portrait.shown(model_plots.MAX_ROWS) if latent.is_active]
    folded = [latent for latent in portrait.latents if latent not in shown]
    pairs = np.stack([portrait.samples.originals, portrait.samples.reconstructions])
    return {
        "anchor": anchor,
        "title": portrait.title,
        "described": describe_config(portrait.trial.config, varied),
        "scores_said": describe_scores(sweep, portrait),
        "diagnosis": [diagnose_latents(portrait), *diagnose_factors(portrait), *diagnose_position(portrait)],
        "shown": [_latent_values(portrait, latent, anchor) for latent in shown],
        "folded": [_latent_values(portrait, latent, anchor) for latent in folded],
        "reconstructions": png_address(model_plots.tile(pairs)),
        "pictures": [
            save("codes", model_plots.code_figure(portrait), caption=_CODES),
            save(
                "mutual_information",
                model_plots.information_heatmap(portrait.scores, portrait.latents),
                caption=_INFORMATION,
            ),
        ],
        "how": describe_mig([portrait]),
    }


def _latent_values(portrait: Portrait, latent: Latent, anchor: str) -> dict[str, Any]:
    return {
        "index": latent.index,
        "name": f"{anchor}-{latent.index}",
        "kl_nats": latent.kl_nats,
        "described": latent.describe(),
        "strip": png_address(model_plots.tile(portrait.samples.traversal[latent.index][None])),
    }


def _numbers(sweep: Sweep, rows: Sequence[Row], portraits: Sequence[Portrait]) -> list[dict[str, str]]:
    """The few numbers that a reader takes away, each with how it was taken."""
    scored = [row for row in rows if row["rank"] is not None]
    best, median = scored[0], float(np.median([trial.last_score for trial in ranked(sweep.trials)]))
    numbers = [
        {
            "name": "best MIG",
            "value": f"{best['mig']:.3f}",
            "how": f"trial {best['trial']} at step {best['step']}; binned, the best of {len(scored)} trials, selected "
            "with labels",
        },
        {
            "name": "median MIG",
            "value": f"{median:.3f}",
            "how": f"over the {len(scored)} trials, each at its end: not selected",
        },
    ]
    exact = [portrait for portrait in portraits if "mig_exact" in portrait.scores]
    if exact:
        score = exact[0].scores["mig_exact"]
        numbers.insert(
            1,
            {
                "name": f"exact MIG, {exact[0].title}",
                "value": f"{score['score']:.3f}",
                "how": f"{describe_exact(score)}; {score['score_without_shape']:.3f} without shape",
            },
        )
    if portraits:
        numbers.append(
            {
                "name": f"active latents, {portraits[0].title}",
                "value": f"{len(portraits[0].active)} of {len(portraits[0].latents)}",
                "how": f"KL above {portraits[0].scores['active_unit_threshold_nats']:g} nats",
            }
        )
    return numbers
