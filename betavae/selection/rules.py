"""The rules that choose models: by a score at the end of training, or by how models agree."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from betavae.errors import UnknownNameError
from betavae.metrics import METRICS, Codes
from betavae.records.checkpoint import (
    CODES_FILE,
    CONFIG_FILE,
    CheckpointError,
    check_checkpoint,
    load_model,
    read_codes,
)
from betavae.records.trial import Trial, by_dataset
from betavae.records.weights import MODEL_FILE
from betavae.selection.centrality import images_to_encode, model_centrality
from betavae.selection.cross_mig import cross_mig
from betavae.selection.udr import INFORMATIVE_NATS, NUM_ROWS, udr

Among = Literal["setting", "all"]
"""The models that UDR compares a model with: the other seeds of its setting, or all others."""

Progress = Callable[[int], None]

T = TypeVar("T")

_ROWS_SEED = 0


@dataclass(frozen=True)
class Choice:
    """The scores by which a rule chooses models.

    Attributes:
        scores: By trial's identifier; a trial that cannot be scored has none.
        problems: A sentence for each trial whose model cannot be read.
    """

    scores: dict[str, float]
    problems: list[str] = field(default_factory=list)


class Rule(ABC):
    """A rule that scores the models of trials at their end; the highest score is chosen.

    Attributes:
        name: The name on the command line.
        label: The name in tables and figures.
        needs_factors: Whether the rule looks at factors.
        files: Files of a checkpoint that the rule reads, apart from records.
    """

    name: str
    label: str
    needs_factors: bool = False
    files: tuple[str, ...] = ()

    @abstractmethod
    def choose(self, trials: Sequence[Trial], *, device: str = "cpu", on_progress: Progress | None = None) -> Choice:
        """Score the final models of trials.

        Args:
            trials: The trials; those without a final checkpoint have no score.
            device: Where to compute.
            on_progress: Called with parts of `work`, as they are done.
        """

    @property
    def described(self) -> str:
        """The label, and what else tells this rule from others of its name."""
        return self.label

    def work(self, trials: Sequence[Trial]) -> int:
        """Return the work of `choose`, in the unit of `on_progress`; 0 if it takes no time to speak of."""
        return 0


class ScoreRule(Rule):
    """A score of the final model, as its trial's last report or its checkpoint holds it.

    Args:
        metric: A name in `METRICS`.
    """

    def __init__(self, metric: str) -> None:
        self.name = metric
        self.label, self.needs_factors = METRICS[metric].label, METRICS[metric].needs_factors
        if not METRICS[metric].is_live:
            self.files = (CODES_FILE, MODEL_FILE)  # from which the score is taken

    def choose(self, trials: Sequence[Trial], *, device: str = "cpu", on_progress: Progress | None = None) -> Choice:
        """Return the scores that are known."""
        known = {trial.trial_id: trial.final_score(self.name) for trial in trials}
        return Choice({trial_id: score for trial_id, score in known.items() if score is not None})


class CodesRule(Rule):
    """A rule that compares the codes that final checkpoints hold: of 1,000 of their images, drawn at random."""

    files = (CODES_FILE,)

    def choose(self, trials: Sequence[Trial], *, device: str = "cpu", on_progress: Progress | None = None) -> Choice:
        """Compare the models whose codes are of the same images."""
        problems: list[str] = []
        codes = dict(_read(trials, lambda folder: _some_rows(read_codes(folder)), self.files, problems))
        groups: dict[Hashable, list[Trial]] = {}
        for trial in trials:
            if trial.trial_id in codes:
                group = (trial.config.dataset.name, codes[trial.trial_id].rows.tobytes())
                groups.setdefault(group, []).append(trial)
        scores: dict[str, float] = {}
        for compared in groups.values():
            if len(compared) > 1:
                values = self._scores(compared, [codes[trial.trial_id] for trial in compared]).tolist()
                pairs = zip(compared, values, strict=True)
                scores |= {trial.trial_id: value for trial, value in pairs if not math.isnan(value)}
        return Choice(scores, problems)

    @abstractmethod
    def _scores(self, trials: Sequence[Trial], codes: Sequence[Codes]) -> Float[np.ndarray, " trials"]:
        """Return the score of each of two trials or more; nan for one that is compared with no other."""


@dataclass(frozen=True)
class UdrRule(CodesRule):
    """UDR by Spearman correlations: how alike models encode the same images.

    Attributes:
        among: The models that a model is compared with.
        min_kl: A latent with at most this KL, averaged over the images, is left out, in nats.
    """

    name = "udr"
    label = "UDR"
    similarity: ClassVar[str] = "spearman"

    among: Among = "all"
    min_kl: float = INFORMATIVE_NATS

    @property
    def described(self) -> str:
        """The label, with the least KL of a latent if it is not the default."""
        return self.label if self.min_kl == INFORMATIVE_NATS else f"{self.label} (above {self.min_kl:g} nats)"

    def _scores(self, trials: Sequence[Trial], codes: Sequence[Codes]) -> Float[np.ndarray, " trials"]:
        settings: list[Hashable] = [trial.setting if self.among == "setting" else None for trial in trials]
        return udr(
            [each.mean for each in codes],
            logvars=_logvars(codes),
            groups=settings,
            similarity=self.similarity,
            min_kl=self.min_kl,
        ).scores


@dataclass(frozen=True)
class UdrLassoRule(UdrRule):
    """UDR by the coefficients of Lasso regressions."""

    name = "udr-lasso"
    label = "UDR (Lasso)"
    similarity = "lasso"


@dataclass(frozen=True)
class CrossMigRule(CodesRule):
    """Cross-model MIG: how much the latents of one model say of those of another, one by one."""

    name = "cross-mig"
    label = "cross-model MIG (nats)"

    def _scores(self, trials: Sequence[Trial], codes: Sequence[Codes]) -> Float[np.ndarray, " trials"]:
        return cross_mig([each.mean for each in codes], logvars=_logvars(codes)).scores


@dataclass(frozen=True)
class ModelCentralityRule(Rule):
    """ModelCentrality: how well models tell which latent of another model generated images."""

    name = "model-centrality"
    label = "ModelCentrality"
    files = (MODEL_FILE,)

    def choose(self, trials: Sequence[Trial], *, device: str = "cpu", on_progress: Progress | None = None) -> Choice:
        """Compare the final models of each data set."""
        problems: list[str] = []
        models = dict(_read(trials, lambda folder: load_model(folder, device), (CONFIG_FILE, MODEL_FILE), problems))
        scores: dict[str, float] = {}
        for group in by_dataset(trial for trial in trials if trial.trial_id in models).values():
            if len(group) > 1:
                result = model_centrality(
                    [models[trial.trial_id] for trial in group], device=device, on_progress=on_progress
                )
                scores |= {trial.trial_id: score for trial, score in zip(group, result.scores.tolist(), strict=True)}
        return Choice(scores, problems)

    def work(self, trials: Sequence[Trial]) -> int:
        """Return the number of images that models encode."""
        return sum(images_to_encode(len(group)) for group in by_dataset(trials).values())


RULES: dict[str, type[UdrRule] | type[CrossMigRule] | type[ModelCentralityRule]] = {
    rule.name: rule for rule in (UdrRule, UdrLassoRule, CrossMigRule, ModelCentralityRule)
}
"""The rules that compare models with one another."""


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules: those that compare models, and each score of which a higher value is better."""
    return (*RULES, *(name for name, metric in METRICS.items() if metric.higher_is_better and metric.is_always_taken))


def find_rule(name: str, *, among: Among = "all", min_kl: float | None = None) -> Rule:
    """Return a rule.

    Args:
        name: One of `rule_names`.
        among: For UDR: the models that a model is compared with.
        min_kl: For UDR: latents with at most this KL, in nats, are left out; 0.01 if None.

    Raises:
        UnknownNameError: If there is no such rule; the message lists the names.
    """
    if name not in rule_names():
        raise UnknownNameError("rule", f"must be one of {', '.join(rule_names())}, but got {name!r}.")
    rule = RULES.get(name)
    if rule is None:
        return ScoreRule(name)
    if issubclass(rule, UdrRule):
        return rule(among, INFORMATIVE_NATS if min_kl is None else min_kl)
    return rule()


def _read(
    trials: Sequence[Trial], read: Callable[[Path], T], files: Sequence[str], problems: list[str]
) -> Iterator[tuple[str, T]]:
    """Yield what each trial's final checkpoint holds, by identifier; add a sentence for each damaged checkpoint."""
    for trial in trials:
        if trial.final_checkpoint is None:
            continue
        try:
            check_checkpoint(trial.final_checkpoint.folder, only=files)
            yield trial.trial_id, read(trial.final_checkpoint.folder)
        except CheckpointError as error:
            problems.append(f"Trial {trial.trial_id} takes no part in the choice: {error}")


def _logvars(codes: Sequence[Codes]) -> list[Float[np.ndarray, "rows _latents"]]:
    return [each.logvar for each in codes if each.logvar is not None]  # every checkpoint's model has some


def _some_rows(codes: Codes) -> Codes:
    """Return the codes of images drawn from them: they lie in index order, so the first would share a factor."""
    count = min(NUM_ROWS, len(codes.rows))
    drawn = np.sort(np.random.default_rng(_ROWS_SEED).choice(len(codes.rows), count, replace=False))
    return Codes(codes.rows[drawn], codes.mean[drawn], None if codes.logvar is None else codes.logvar[drawn])
