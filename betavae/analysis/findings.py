"""What a sweep found, in words, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betavae.analysis.portrait import KNOWN_SHARE, Portrait
from betavae.analysis.results import Sweep, Trial, ranked
from betavae.analysis.settings import Setting, settings_of, share_of_wins, varied_fields
from betavae.config import TrialConfig

FIELD_NAMES = {"beta": "beta", "latent_size": "latent size", "lr": "lr"}
"""How a field is called in words; another by its own name."""

CHANCE = "a random number"
"""A hyper-parameter that nothing depends on, to compare importances with."""

_LIKELY, _CLEAR = 0.75, 0.95
_FEW_SEEDS = 5
_SHARED_WITH = 0.5


@dataclass(frozen=True)
class Headline:
    """The finding, and what it is worth.

    Attributes:
        claim: What came first, and by how much.
        certainty: What that says, and what it does not.
    """

    claim: str
    certainty: str


def headline(trials: Sequence[Trial]) -> Headline:
    """Say what won and how sure that is.

    Args:
        trials: At least one of them has a score.
    """
    settings, names = settings_of(trials), varied_fields(trials)
    repeated = [setting for setting in settings if setting.num_seeds > 1]
    if len(repeated) > 1:
        return _over_seeds(repeated[0], repeated[1], names)
    first = ranked(trials)[0]
    if len(settings) == 1:
        return _alone(settings[0])
    return _one_seed(first, ranked(trials)[1], names)


def describe_config(config: TrialConfig, names: Sequence[str]) -> str:
    """The fields that a sweep varied: `beta = 8, lr = 0.001`."""
    shown = names or ("beta", "latent_size", "lr")
    return ", ".join(f"{FIELD_NAMES.get(name, name)} = {_value(getattr(config, name))}" for name in shown)


def describe_state(sweep: Sweep) -> str:
    """How many trials there are, and how each kind ended."""
    counts: dict[str, int] = {}
    for trial in sweep.trials:
        counts[sweep.status(trial)] = counts.get(sweep.status(trial), 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    state = f"{len(sweep.trials)} trials: {parts}."
    return state if sweep.has_ended else f"{state} The sweep has not ended: it runs still, or was cut."


def diagnose_latents(portrait: Portrait) -> str:
    """Say which latents have collapsed, and what that means."""
    collapsed = sorted(latent.index for latent in portrait.latents if not latent.is_active)
    count, beta = len(portrait.latents), portrait.trial.config.beta
    threshold = f"{portrait.scores['active_unit_threshold_nats']:g} nats"
    if not collapsed:
        return f"All {count} latents are active (KL above {threshold}); more latents might find use too."
    if len(collapsed) == count:
        return (
            f"Posterior collapse: all {count} latents have a KL below {threshold}, so the decoder draws one mean image "
            "whatever it is given. A lower beta, or more steps if the loss still falls, may help."
        )
    return (
        f"Collapsed (KL below {threshold}): {'latent' if len(collapsed) == 1 else 'latents'} "
        f"{', '.join(map(str, collapsed))} of {count}. At beta = {_value(beta)} more KL there costs more than it "
        "saves in reconstruction. Moving such a latent changes no picture. The binned MIG still sees its mean, however "
        f"little that varies ({_most_known(portrait, collapsed)}); the exact MIG sees nothing there."
    )


def diagnose_factors(portrait: Portrait) -> list[str]:
    """Say of each factor with a small gap why it is small: no latent knows it, or two share it."""
    mig = portrait.scores["mig"]
    names = list(mig["gaps"])
    information = np.array(mig["mutual_information_nats"])
    said = []
    for column, name in enumerate(names):
        shares = information[:, column] / mig["entropies_nats"][name]
        first, *others = np.argsort(-shares, kind="stable").tolist()
        if shares[first] < KNOWN_SHARE:
            said.append(f"No latent knows {name}: the best has {shares[first]:.1%} of its entropy.")
        elif others and shares[others[0]] > _SHARED_WITH * shares[first]:
            said.append(
                f"Latents {first} and {others[0]} share {name}: they know {shares[first]:.0%} and "
                f"{shares[others[0]]:.0%} of its entropy, which leaves a gap of {mig['gaps'][name]:.2f}."
            )
    return said


def describe_importance(
    importances: Mapping[str, Mapping[str, Float[np.ndarray, " repeats"]]], *, num_trials: int
) -> str:
    """Say which hyper-parameters stand out from chance in every evaluator; empty without importances."""
    if not importances:
        return ""
    names = [name for name in next(iter(importances.values())) if name != CHANCE]
    certain = [
        name for name in names if all(by_name[name].mean() > by_name[CHANCE].max() for by_name in importances.values())
    ]
    chance = max(by_name[CHANCE].mean() for by_name in importances.values())
    said = ", ".join(FIELD_NAMES.get(name, name) for name in certain) or "no hyper-parameter"
    verb = "stand out" if len(certain) > 1 else "stands out"
    return (
        f"By both evaluators, {said} {verb} from chance in these {num_trials} trials: a random number gets up to "
        f"{chance:.0%} of the importance. Trials that were stopped early count with the score they had, and one seed "
        "per setting counts its luck as the setting's."
    )


def _most_known(portrait: Portrait, collapsed: Sequence[int]) -> str:
    """The collapsed latents' largest entry of the matrix."""
    mig = portrait.scores["mig"]
    information = np.array(mig["mutual_information_nats"])[list(collapsed)]
    row, column = map(int, np.unravel_index(information.argmax(), information.shape))
    return f"at most {information[row, column]:.2f} nats of {list(mig['gaps'])[column]}, in latent {collapsed[row]}"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _one_seed(first: Trial, second: Trial, names: Sequence[str]) -> Headline:
    return Headline(
        f"{describe_config(first.config, names)} ranks first with a MIG of {first.score:.3f}, "
        f"{first.score - second.score:.3f} ahead of the next.",
        "One seed per setting: a rank, not a result. Another seed can turn it round; try the best settings again with "
        "several seeds before you believe it.",
    )


def _alone(setting: Setting) -> Headline:
    described = describe_config(setting.config, ())
    if setting.num_seeds == 1:
        return Headline(
            f"{described} has a MIG of {setting.median:.3f}.", "One trial, and nothing to compare it with: no result."
        )
    low, high = setting.quartiles
    return Headline(
        f"{described} has a median MIG of {setting.median:.3f} over {setting.num_seeds} seeds.",
        f"The middle half lies in {low:.3f} .. {high:.3f}; there is no other setting to compare it with.",
    )


def _over_seeds(first: Setting, second: Setting, names: Sequence[str]) -> Headline:
    seeds = first.num_seeds if first.num_seeds == second.num_seeds else f"{first.num_seeds} and {second.num_seeds}"
    wins = share_of_wins(first.scores, second.scores)
    lead = first.median - second.median
    verdict = "wins by" if wins >= _LIKELY else "leads by only"
    return Headline(
        f"{describe_config(first.config, names)} {verdict} {lead:.3f} over {seeds} seeds: a median MIG of "
        f"{first.median:.3f} against {second.median:.3f} of {describe_config(second.config, names)}.",
        f"It is the better one in {wins:.0%} of the pairs of their runs: {_verdict(wins, first, second)}",
    )


def _verdict(wins: float, first: Setting, second: Setting) -> str:
    if wins < _LIKELY:
        return "the two cannot be told apart."
    if min(first.num_seeds, second.num_seeds) < _FEW_SEEDS:
        return f"a hint, since fewer than {_FEW_SEEDS} seeds say little."
    return "clear." if wins >= _CLEAR else "likely, not certain."
