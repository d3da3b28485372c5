"""Where a report's images and scores are not those of the sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from betavae.columns import report_column
from betavae.data import FactorImages
from betavae.records.sweep import Sweep, name_in_sweep
from betavae.records.trial import Trial
from betavae.report.portrait import Portrait

_SAME_SCORE = 1e-9
_SAME_ON_OTHER_MACHINES = 1e-3


def differences(sweep: Sweep, portraits: Sequence[Portrait], data: Mapping[str, FactorImages]) -> list[str]:
    """Return where the images and scores of this machine differ from those of the sweep, in a sentence each.

    Args:
        sweep: Its record and trials are read.
        portraits: The models that were scored again.
        data: The images of this machine, by the name of the data set.
    """
    return [
        *_data_differences(sweep, data),
        *_scored_on_other_data(sweep, data),
        *(sentence for portrait in portraits for sentence in _score_differences(portrait)),
    ]


def _score_differences(portrait: Portrait) -> list[str]:
    trial, sentences = portrait.trial, []
    label = report_column(trial.rank_by).label
    score = trial.score if trial.choice is None else trial.last_score
    if abs(portrait.score - score) > _SAME_SCORE:
        sentences.append(
            f"Trial {trial.trial_id} reached a score of {score:.4f} ({label}), but its best checkpoint that can "
            f"be read has {portrait.score:.4f}: its figures and its scores on request are of that one."
        )
    if portrait.rescored is not None and abs(portrait.rescored - portrait.score) > _SAME_ON_OTHER_MACHINES:
        sentences.append(
            f"Trial {trial.trial_id} recorded a score of {portrait.score:.4f} ({label}), but its checkpoint gives "
            f"{portrait.rescored:.4f} here, on the same rows."
        )
    return sentences


def _data_differences(sweep: Sweep, data: Mapping[str, FactorImages]) -> list[str]:
    """Compare the images that the sweep trained on with those of this machine."""
    sentences = []
    for name, images in data.items():
        trained = _trained_on(sweep, name)
        if trained not in (None, images.fingerprint):
            sentences.append(
                f"The sweep trained on {name} of SHA-256 {trained[:12]}..., but these figures are of "
                f"{images.fingerprint[:12]}..."
            )
    return sentences


def _scored_on_other_data(sweep: Sweep, data: Mapping[str, FactorImages]) -> list[str]:
    """Name the trials whose checkpoints were scored on other images than the sweep's, or else this machine's."""
    others: dict[tuple[str, str], list[str]] = {}
    for trial in (*sweep.trials, *sweep.confirming):
        name = trial.config.dataset.name
        trained, here = _trained_on(sweep, name), data[name].fingerprint if name in data else None
        expected, whose = (here, "this machine has") if trained is None else (trained, "the sweep trained on")
        for what, fingerprint in _fingerprints(trial):
            if expected is not None and fingerprint != expected:
                scored = f"{what} {name} of SHA-256 {fingerprint[:12]}..."
                others.setdefault((scored, f"{whose} {expected[:12]}..."), []).append(name_in_sweep(trial))
    return [
        f"{'Trial' if len(names) == 1 else 'Trials'} {', '.join(names)}: {scored}, but {expected}"
        for (scored, expected), names in others.items()
    ]


def _trained_on(sweep: Sweep, name: str) -> str | None:
    """Return the fingerprint of a data set that the sweep records."""
    fingerprint: str | None = sweep.record.get("data", {}).get(name, {}).get("sha256")
    return fingerprint


def _fingerprints(trial: Trial) -> set[tuple[str, str]]:
    """Return those of the images that a trial's checkpoints were scored on, each with what was taken of them."""
    all_scores = [known.scores for known in (trial.best_checkpoint, trial.final_checkpoint) if known is not None]
    fingerprints = {("scored on", scores.data_fingerprint) for scores in all_scores}
    for name, score in ((name, score) for scores in all_scores for name, score in scores.by_name.items()):
        data = score.details.get("data")  # of a score on request, which may have been taken on another machine
        if isinstance(data, dict) and "sha256" in data:
            fingerprints.add((f"{report_column(name).label} taken of", str(data["sha256"])))
    return fingerprints
