"""The weak points of one model in words: collapsed latents, factors without a gap, a rotated position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from betavae.columns import field_column
from betavae.metrics.active_units import ACTIVE_UNIT_NATS
from betavae.report.information import information_of
from betavae.report.portrait import KNOWN_SHARE, Portrait

_SHARED_WITH = 0.5
"""Two latents share a factor if the second knows more than this share of what the first knows."""

_NOTABLE_GAIN = 0.01


def diagnose_latents(portrait: Portrait) -> str:
    """Return which latents have collapsed, and the consequence."""
    collapsed = sorted(latent.index for latent in portrait.latents if not latent.is_active)
    count, threshold = len(portrait.latents), f"{ACTIVE_UNIT_NATS:g} nats"
    if not collapsed:
        return f"All {count} latents are active (KL above {threshold}); more latents might find use too."
    change, weight = _largest_change(portrait, collapsed), portrait.trial.config.objective.kl_weight
    if len(collapsed) == count:
        cure = "More steps" if weight is None else f"A lower {field_column(weight).label}, or more steps"
        return (
            f"Posterior collapse: all {count} latents have a KL below {threshold}, so that the decoder receives "
            "next to nothing of an image and draws nearly the same for all; moving a latent changes a pixel by "
            f"{change:.0%} at most. {cure} may help."
        )
    sentences = [
        f"Collapsed (KL below {threshold}): {'latent' if len(collapsed) == 1 else 'latents'} "
        f"{', '.join(map(str, collapsed))} of {count}: {_price(portrait, weight)}. Moving one changes a pixel by "
        f"{change:.0%} at most."
    ]
    if portrait.is_labelled:
        sentences.append(
            f"The binned MIG still counts its mean, however little that varies ({_most_known(portrait, collapsed)}); "
            "the exact MIG counts at most its KL."
        )
    return " ".join(sentences)


def diagnose_factors(portrait: Portrait) -> list[str]:
    """Return why each factor of a small gap has none: no latent knows it, or two share it.

    Nothing is returned for a model that has not been compared with factors.
    """
    if not portrait.is_labelled:
        return []
    information = information_of(portrait.scores)
    collapsed = {latent.index for latent in portrait.latents if not latent.is_active}
    sentences = []
    for name, gap, shares in zip(information.factors, information.gaps, information.shares.T, strict=True):
        first, *others = np.argsort(-shares, kind="stable").tolist()
        if shares[first] < KNOWN_SHARE:
            sentences.append(f"No latent knows {name}: the best has {shares[first]:.1%} of its entropy.")
        elif others and shares[others[0]] > _SHARED_WITH * shares[first]:
            rival = f"{others[0]} (collapsed)" if others[0] in collapsed else f"{others[0]}"
            sentences.append(
                f"Latents {first} and {rival} share {name}: they know {shares[first]:.0%} and "
                f"{shares[others[0]]:.0%} of its entropy, which leaves a gap of {gap:.2f}."
            )
    return sentences


def diagnose_position(portrait: Portrait) -> list[str]:
    """Return the rotation of the latents against the position and its cost; nothing if it costs nothing."""
    rotation = portrait.rotation
    if rotation is None or rotation.rotated_score - rotation.score < _NOTABLE_GAIN:
        return []
    first, second = rotation.latents
    return [
        f"Latents {first} and {second}, which know the position best, are rotated against it by "
        f"{abs(rotation.degrees)} degrees: rotated back, the MIG would be {rotation.rotated_score:.3f} instead of "
        f"{rotation.score:.3f}."
    ]


def _price(portrait: Portrait, weight: str | None) -> str:
    price = "more KL there costs more than it saves in reconstruction"
    if weight is None:
        return price
    column = field_column(weight)
    return f"at {column.label} = {column.write(portrait.trial.config.value(weight))} {price}"


def _largest_change(portrait: Portrait, latents: Sequence[int]) -> float:
    """Return the most that a pixel changes over the traversals of these latents, as a share of white."""
    traversal = portrait.samples.traversal[list(latents)].astype(int)
    return float((traversal.max(axis=1) - traversal.min(axis=1)).max()) / 255


def _most_known(portrait: Portrait, collapsed: Sequence[int]) -> str:
    """Return the collapsed latents' largest entry of the matrix, in words."""
    information = information_of(portrait.scores)
    nats = information.nats[list(collapsed)]
    row, column = map(int, np.unravel_index(nats.argmax(), nats.shape))
    return f"at most {nats[row, column]:.2f} nats of {information.factors[column]}, in latent {collapsed[row]}"
