"""What a sweep found, in words, and how sure it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Float

from betavae.config import NUM_IMAGES, TrialConfig
from betavae.records.sweep import Sweep
from betavae.records.trial import Status, Trial, ranked
from betavae.report.confirmation import Confirmed, probability_better, seeds_needed
from betavae.report.portrait import KNOWN_SHARE, Portrait
from betavae.report.settings import Setting, permutation_p, settings_of, share_of_wins, varied_fields

FIELD_NAMES = {"beta": "beta", "latent_size": "latent size", "lr": "lr", "batch_size": "batch size"}
"""How a field is called in words; another by its own name."""

Importances = Mapping[str, Mapping[str, Float[np.ndarray, " repeats"]]]
"""By evaluator, by hyper-parameter: one importance per repeat; in each repeat they sum to 1."""

CHANCE = "a random number"
"""A hyper-parameter that nothing depends on, to compare importances with."""

_SIGNIFICANT = 0.05
_SHARED_WITH = 0.5
_NOTABLE_GAIN = 0.01


@dataclass(frozen=True)
class Headline:
    """The finding, and what it is worth.

    Attributes:
        claim: What came first, and by how much.
        certainty: What that says, and what it does not.
    """

    claim: str
    certainty: str


def headline(trials: Sequence[Trial], confirmations: Sequence[Confirmed] = ()) -> Headline:
    """Say what won and how sure that is: by the confirmation, where there is one.

    Args:
        trials: Of the search; at least one of them has a score.
        confirmations: The highest median first.
    """
    if confirmations:
        return _confirmed(trials, confirmations)
    settings, names = settings_of(trials), varied_fields(trials)
    found = _alone(settings[0]) if len(settings) == 1 else _compare(settings, names)
    cut = sum(not trial.is_complete for trial in trials if trial.reports)
    if not cut:
        return found
    return Headline(
        found.claim,
        f"{found.certainty} {cut} of {len(ranked(trials))} trials did not run to their end; they are ranked by fewer "
        "steps.",
    )


def describe_config(config: TrialConfig, names: Sequence[str]) -> str:
    """The fields that a sweep varied: `beta = 8, lr = 0.001`."""
    shown = names or ("beta", "latent_size", "lr")
    return ", ".join(f"{FIELD_NAMES.get(name, name)} = {_value(getattr(config, name))}" for name in shown)


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe_state(sweep: Sweep) -> str:
    """How many trials there are, and how each kind ended."""
    state = f"{counted(len(sweep.trials), 'trial')}: {_count_endings(sweep.trials)}."
    if sweep.confirming:
        state += f" {len(sweep.confirming)} that confirm: {_count_endings(sweep.confirming)}."
    return state if sweep.has_ended else f"{state} The sweep has not ended: it runs still, or was cut."


def _count_endings(trials: Sequence[Trial]) -> str:
    counts = Counter(trial.status for trial in trials)
    return ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status])


def describe_training(trials: Sequence[Trial]) -> str:
    """Warn of trials that were trained on a part of the set; empty where there are none."""
    parts = sorted({trial.config.images for trial in trials if trial.config.images < NUM_IMAGES})
    if not parts:
        return ""
    counts = " or ".join(f"{part:,}" for part in parts)
    return (
        f"Trained on the first {counts} of {NUM_IMAGES:,} images in file order, which do not vary as the whole set "
        "does. The MIG is of the whole set: it tells what such a model knows of images that it has never seen."
    )


def diagnose_latents(portrait: Portrait) -> str:
    """Say which latents have collapsed, and what that means."""
    collapsed = sorted(latent.index for latent in portrait.latents if not latent.is_active)
    count, beta = len(portrait.latents), portrait.trial.config.beta
    threshold = f"{portrait.scores['active_unit_threshold_nats']:g} nats"
    weighs_all = portrait.trial.config.objective == "beta-vae"  # by beta; another objective only a part of the KL
    if not collapsed:
        return f"All {count} latents are active (KL above {threshold}); more latents might find use too."
    change = _largest_change(portrait, collapsed)
    if len(collapsed) == count:
        cure = "A lower beta, or more steps" if weighs_all else "More steps"
        return (
            f"Posterior collapse: all {count} latents have a KL below {threshold}, so that the decoder is told next to "
            "nothing and draws much the same whatever the image; moving a latent changes a pixel by "
            f"{change:.0%} at most. {cure} may help."
        )
    price = "more KL there costs more than it saves in reconstruction"
    if weighs_all:
        price = f"at beta = {_value(beta)} {price}"
    return (
        f"Collapsed (KL below {threshold}): {'latent' if len(collapsed) == 1 else 'latents'} "
        f"{', '.join(map(str, collapsed))} of {count}: {price}. Moving one changes a pixel by {change:.0%} at most. "
        "The binned MIG still sees its mean, however little that varies "
        f"({_most_known(portrait, collapsed)}); the exact MIG sees at most its KL."
    )


def diagnose_factors(portrait: Portrait) -> list[str]:
    """Say of each factor with a small gap why it is small: no latent knows it, or two share it."""
    mig = portrait.scores["mig"]
    information = np.array(mig["mutual_information_nats"])
    collapsed = {latent.index for latent in portrait.latents if not latent.is_active}
    said = []
    for column, (name, gap) in enumerate(mig["gaps"].items()):
        shares = information[:, column] / mig["entropies_nats"][name]
        first, *others = np.argsort(-shares, kind="stable").tolist()
        if shares[first] < KNOWN_SHARE:
            said.append(f"No latent knows {name}: the best has {shares[first]:.1%} of its entropy.")
        elif others and shares[others[0]] > _SHARED_WITH * shares[first]:
            rival = f"{others[0]} (collapsed)" if others[0] in collapsed else f"{others[0]}"
            said.append(
                f"Latents {first} and {rival} share {name}: they know {shares[first]:.0%} and "
                f"{shares[others[0]]:.0%} of its entropy, which leaves a gap of {gap:.2f}."
            )
    return said


def diagnose_position(portrait: Portrait) -> list[str]:
    """Say how far position is turned against the latents' axes, and what that costs; nothing if it costs nothing."""
    found = portrait.position
    if found is None or found.turned_score - found.score < _NOTABLE_GAIN:
        return []
    first, second = found.latents
    return [
        f"Latents {first} and {second}, which know the position best, are turned against it by {abs(found.degrees)} "
        f"degrees: turned back, the MIG would be {found.turned_score:.3f} instead of {found.score:.3f}."
    ]


def _largest_change(portrait: Portrait, latents: Sequence[int]) -> float:
    """The most that a pixel changes over the traversals of these latents, as a share of white."""
    traversal = portrait.samples.traversal[list(latents)].astype(int)
    return float((traversal.max(axis=1) - traversal.min(axis=1)).max()) / 255


def describe_importance(importances: Importances, *, num_trials: int) -> str:
    """Say which hyper-parameters stand out from chance in every evaluator; empty without importances."""
    if not importances:
        return ""
    names = [name for name in next(iter(importances.values())) if name != CHANCE]
    certain = [
        name for name in names if all(by_name[name].mean() > by_name[CHANCE].max() for by_name in importances.values())
    ]
    chance = max(by_name[CHANCE].max() for by_name in importances.values())
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


def _compare(settings: Sequence[Setting], names: Sequence[str]) -> Headline:
    first, second = settings[:2]
    what, lead = describe_config(first.config, names), first.median - second.median
    over = f"{_seeds(first)} against {_seeds(second)}" if first.num_seeds != second.num_seeds else _seeds(first)
    if min(first.num_seeds, second.num_seeds) == 1:
        return Headline(
            f"{what} ranks first with a MIG of {first.median:.3f}, {lead:.3f} ahead of the next.",
            f"{over[0].upper()}{over[1:]}: a rank, not a result. Another seed can turn it round; try the best settings "
            "again with several seeds before you believe it.",
        )
    chance = permutation_p(first.scores, second.scores)
    verb = "wins" if chance < _SIGNIFICANT else "leads"
    return Headline(
        f"{what} {verb} by {lead:.3f} over {over}: a median MIG of {first.median:.3f} against {second.median:.3f} of "
        f"{describe_config(second.config, names)}.",
        f"It is the better one in {share_of_wins(first.scores, second.scores):.0%} of the pairs of their runs "
        f"(p = {chance:.2g}): {_verdict(chance)} The same runs chose it, as the best of {len(settings)} settings, "
        "which flatters it.",
    )


def _confirmed(trials: Sequence[Trial], confirmations: Sequence[Confirmed]) -> Headline:
    first, names = confirmations[0], varied_fields(trials)
    what = describe_config(first.config, names)
    failed = f" ({first.num_failed} more failed)" if first.num_failed else ""
    if first.num_seeds == 1:
        return Headline(
            f"{what} has a MIG of {first.median:.3f} with one new seed{failed}.",
            "One seed is no result: another can turn it round.",
        )
    low, high = first.quartiles
    certainty = ["The seeds took no part in the search, and each counts with the end of its training."]
    if first.search_score is not None:
        curse = first.search_score - first.median
        certainty.append(
            f"The search had promised {first.search_score:.3f}, selected with labels: {abs(curse):.3f} "
            f"{'more' if curse > 0 else 'less'}."
        )
    if len(confirmations) > 1:
        certainty.append(_against_second(first, confirmations[1], names))
        certainty.append(f"That it is the best of {len(confirmations)} by these seeds flatters it.")
    could_be_chosen = ranked([trial for trial in trials if trial.status != "failed"])
    if could_be_chosen and could_be_chosen[0].setting not in {one.config for one in confirmations}:
        certainty.append("The search has a better one that was not confirmed.")
    return Headline(
        f"{what} has a median MIG of {first.median:.3f} over {first.num_seeds} new seeds{failed}, the middle half in "
        f"{low:.3f} .. {high:.3f}.",
        " ".join(certainty),
    )


def _against_second(first: Confirmed, second: Confirmed, names: Sequence[str]) -> str:
    better, needed = probability_better(first.scores, second.scores), seeds_needed(first.scores, second.scores)
    said = (
        f"Its median is above that of {describe_config(second.config, names)} ({second.median:.3f} over "
        f"{_seeds(second)}) in {better:.0%} of bootstrap resamples of the seeds"
    )
    if needed is None or needed <= min(first.num_seeds, second.num_seeds):
        return f"{said}."
    return f"{said}; if they differ as seen, about {needed:,} seeds of each would tell (5 % level, 80 % power)."


def _seeds(tried: Setting) -> str:
    return "one seed" if tried.num_seeds == 1 else f"{tried.num_seeds} seeds"


def _verdict(chance: float) -> str:
    if chance < _SIGNIFICANT:
        return "more than the luck of the seeds."
    return "the luck of the seeds can do as much, so these runs do not tell the two apart."
