"""What every metric keeps to: a new one is tested without another line here."""

import copy
import functools
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from betavae.data import FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.metrics import METRICS, EncodedSample, Metric, Rows, Score, Scores

DEAR = ("dci",)
"""A minute, of boosted trees."""

DEAR_ROWS = 900
"""About the number of rows of a score that takes more than a second of the usual rows."""

pytestmark = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name for name in METRICS]
)

NUM_LATENTS = 6
ROUNDING = 1e-12
"""Of sums of some thousand float64, which may be taken in another order."""

SPACE = FactorSpace(
    ("kind", "size", "turn", "place"), (("a", "b", "c"), range(5), range(7), range(23)), categorical=["kind"]
)
"""With more values of a factor than a metric may have bins."""

NUM_VALUES = 13
EVEN_SPACE = FactorSpace("abcd", [range(NUM_VALUES)] * 4)
"""More images than metrics draw, and a prime number of values of every factor."""


@dataclass(frozen=True)
class Named(FactorImages):
    """A data set that has a number of images, and none to look at."""

    factors: FactorSpace
    source: str = "named"
    fingerprint: str = "0" * 64

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 1, 64, 64

    def images(self, indices: Any, device: Any = "cpu") -> torch.Tensor:
        raise NotImplementedError

    def verify(self) -> None:
        raise NotImplementedError


def rows_of(metric: Metric, space: FactorSpace) -> Rows:
    """Those that it asks for of a model that was trained on all images; else of one that saw the first value alone."""
    data = Named(space)
    rows = metric.rows(data, len(data)) or metric.rows(data, len(data) // space.sizes[0])
    assert rows is not None
    if metric.seconds > 1 and rows.seed is not None:  # fewer drawn rows, since it is taken dozens of times
        return Rows(rows.indices[:: len(rows.indices) // DEAR_ROWS], rows.description, rows.seed)
    return rows


def sample_of(metric: Metric, space: FactorSpace = SPACE) -> EncodedSample:
    """Noisy codes of the factors, two of each of the first two; the last latent is near the prior."""
    rows, generator = rows_of(metric, space), np.random.default_rng(0)
    factors = space.indices_to_factors(rows.indices)
    mean = factors[:, [0, 1, 2, 3, 0, 1]] + generator.normal(size=(len(factors), NUM_LATENTS))
    logvar = generator.uniform(-3, -1, mean.shape)
    mean[:, -1], logvar[:, -1] = 0.01 * mean[:, -1], 1e-3 * logvar[:, -1]
    recon_nats = generator.uniform(50, 100, len(mean)) if metric.needs_decoder else None
    return EncodedSample(mean, logvar, factors, space, rows, recon_nats)


@pytest.fixture
def metric(name: str) -> Metric:
    return METRICS[name]()


@functools.cache
def score_of_sample(name: str) -> Score:
    """Taken once: a score is frozen."""
    metric = METRICS[name]()
    return metric.score(sample_of(metric))


@pytest.fixture
def score(name: str) -> Score:
    return score_of_sample(name)


def test_a_score_says_how_it_was_taken(metric: Metric, score: Score) -> None:
    rows = rows_of(metric, SPACE)
    assert len(np.unique(rows.indices)) == len(rows.indices)
    assert (score.num_rows, score.rows, score.rows_seed) == (len(rows.indices), rows.description, rows.seed)
    assert score.estimator
    data = Named(SPACE)
    is_taken = {metric.rows(data, num_training) is not None for num_training in (1, len(data) // 2, len(data))}
    assert (is_taken == {True}) == metric.is_always_taken
    assert metric.label
    assert format(score.value, metric.format)
    assert tuple(score.by_factor) in ((), SPACE.names)
    assert list(score.numbers(metric.name)) == [metric.name, *(f"{metric.name}/{name}" for name in score.by_factor)]


def test_a_score_is_the_same_every_time_and_leaves_the_sample_as_it_was(metric: Metric, score: Score) -> None:
    """Fails with a random number that is not from the sample's generator."""
    sample = sample_of(metric)
    before = copy.deepcopy(sample)
    np.random.seed(1)
    torch.manual_seed(1)
    assert metric.score(sample) == score
    for name in ("mean", "logvar", "factors"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(before, name))


def test_permuting_the_latents_permutes_what_is_said_of_them_and_nothing_else(metric: Metric, score: Score) -> None:
    """Of the details, a list with an entry per latent is permuted, and `matched_latents` holds their numbers."""
    order = [3, 0, 5, 1, 4, 2]
    sample = sample_of(metric)
    permuted = metric.score(replace(sample, mean=sample.mean[:, order], logvar=sample.logvar[:, order]))
    assert permuted.value == pytest.approx(score.value, rel=ROUNDING)
    assert permuted.by_factor == pytest.approx(score.by_factor, rel=ROUNDING)
    assert permuted.details.keys() == score.details.keys()
    for key, value in score.details.items():
        if key == "matched_latents":
            value = {factor: order.index(latent) for factor, latent in value.items()}
        if isinstance(value, list) and len(value) == NUM_LATENTS:
            np.testing.assert_allclose(permuted.details[key], np.array(value)[order], rtol=ROUNDING)
        else:
            assert permuted.details[key] == pytest.approx(value, rel=ROUNDING)


def test_scaling_and_shifting_a_latent_changes_nothing(metric: Metric, score: Score) -> None:
    """By powers of two, which float64 multiplies without rounding, and by shifts that it adds almost without."""
    scale, shift = 2.0 ** np.array([-3, 0, 2, 5, -1, 10]), np.array([0.0, 4.0, -1.0, 64.0, 0.5, 0.0])
    sample = sample_of(metric)
    changed = metric.score(replace(sample, mean=scale * sample.mean + shift, logvar=sample.logvar + 2 * np.log(scale)))
    if not metric.ignores_scale:
        assert abs(changed.value - score.value) > ROUNDING, "its ignores_scale should be True"
        return  # it compares posteriors with the prior, or latents with one another or a threshold
    # no code of the sample is so near the edge of a bin that rounding moves it
    assert changed.value == pytest.approx(score.value, abs=ROUNDING)
    assert changed.by_factor == pytest.approx(score.by_factor, abs=ROUNDING)


def test_a_perfect_code_reaches_the_ceiling(metric: Metric) -> None:
    """One latent per factor holds the index of its value, with a narrow posterior."""
    rows = rows_of(metric, SPACE)
    factors = SPACE.indices_to_factors(rows.indices)
    mean = factors.astype(np.float64)
    score = metric.score(replace(sample_of(metric), mean=mean, logvar=np.full_like(mean, -12.0)))
    if score.ceiling is None:
        pytest.skip("names no ceiling")
    # the documented error of a gap of the exact estimator; the others have none
    assert score.value == pytest.approx(score.ceiling, abs=3e-4)
    assert score.ceiling > 0.5


def codes_without_factors(rows: Rows, factors: np.ndarray, seed: int) -> np.ndarray:
    """Codes that know nothing of any factor: random ones of rows that were drawn; sums of factors of a whole set.

    Modulo the prime number of values, sums of two or more factors are evenly spread over the values of each.
    """
    if len(rows.indices) < EVEN_SPACE.size:
        return np.random.default_rng(seed).normal(size=(len(factors), NUM_LATENTS))
    weights = np.random.default_rng(seed).integers(1, NUM_VALUES, (EVEN_SPACE.num_factors, NUM_LATENTS))
    return (factors @ weights % NUM_VALUES).astype(np.float64)


def test_codes_that_know_nothing_of_the_factors_score_at_chance(metric: Metric) -> None:
    rows = rows_of(metric, EVEN_SPACE)
    factors = EVEN_SPACE.indices_to_factors(rows.indices)
    excess, values = [], []
    for seed in range(8):
        mean = codes_without_factors(rows, factors, seed)
        sample = sample_of(metric, EVEN_SPACE)
        score = metric.score(replace(sample, mean=mean, logvar=np.full_like(mean, -6.0)))
        if score.chance is None:
            pytest.skip("names no chance level")
        excess.append(score.value - score.chance)
        values.append(score.value)
    # four standard errors of the mean over the seeds, and the documented error of a gap of the exact estimator
    tolerance = 4 * np.std(excess, ddof=1) / np.sqrt(len(excess)) + 3e-4 * (len(rows.indices) == EVEN_SPACE.size)
    assert abs(np.mean(excess)) <= tolerance
    informed = metric.score(sample_of(metric, EVEN_SPACE))
    assert informed.value > max(*values, informed.chance), "a code of the factors is told from every one of none"


def as_kept(name: str, score: Score) -> dict[str, Any]:
    """The content of a checkpoint's scores, as it comes back from JSON."""
    scores = Scores({name: score}, (0.5,) * NUM_LATENTS, "named", "0" * 64, step=3)
    kept: dict[str, Any] = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert Scores.from_dict(copy.deepcopy(kept)) == scores
    return kept


def test_round_trip(name: str, score: Score) -> None:
    kept = as_kept(name, score)
    assert Scores.from_dict(kept)[name].to_dict() == score.to_dict()


def test_a_score_that_lacks_a_value_or_has_one_too_many_is_refused(name: str, score: Score) -> None:
    for key in score.to_dict():
        kept = as_kept(name, score)
        del kept["scores"][name][key]
        with pytest.raises(InputError, match=f"^{name}: a score must hold value, "):
            Scores.from_dict(kept)
    kept = as_kept(name, score)
    kept["scores"][name]["other"] = 1
    with pytest.raises(InputError, match=f"^{name}: a score must hold value, "):
        Scores.from_dict(kept)


def test_a_damaged_value_is_refused_by_name(name: str, score: Score) -> None:
    damage = {
        "value": ("1", None, True, float("nan"), float("inf"), [1.0]),
        "estimator": (1, None),
        "num_rows": ("1", 1.0, None, True),
        "rows": (1, None),
        "rows_seed": ("1", 0.5, True),
        "ceiling": ("1", float("nan")),
        "chance": ("0", float("inf")),
        "by_factor": (None, [], {"size": "1"}, {"size": None}),
        "details": (None, []),
    }
    assert damage.keys() == score.to_dict().keys()
    for key, values in damage.items():
        for value in values:
            kept = as_kept(name, score)
            kept["scores"][name][key] = value
            with pytest.raises(InputError, match=rf"^{name}: {key}(\.size)? must be "):
                Scores.from_dict(kept)


def test_details_that_are_missing_or_damaged_are_refused_by_name(name: str, score: Score) -> None:
    for key in score.details:
        for value in ("1", [], {}, [[0.5]], {"size": "1"}):
            kept = as_kept(name, score)
            kept["scores"][name]["details"][key] = value
            with pytest.raises(InputError, match=rf"^{name}: details\.{key}"):
                Scores.from_dict(kept)
        kept = as_kept(name, score)
        del kept["scores"][name]["details"][key]
        with pytest.raises(InputError, match=rf"^{name}: details\.{key}"):
            Scores.from_dict(kept)


def test_a_score_that_no_record_can_hold_is_refused_where_it_is_taken(name: str, score: Score) -> None:
    with pytest.raises(InputError, match="value must be a finite number"):
        replace(score, value=float("nan"))
