from collections.abc import Sequence

import numpy as np
import pytest
from jaxtyping import Float
from scipy.stats import spearmanr

from betavae.selection import CrossMIG, cross_mig

ROWS, LATENTS, LOGVAR = 1_000, 4, -3.0


def normal(seed: int, num_latents: int = LATENTS) -> Float[np.ndarray, "rows latents"]:
    return np.random.default_rng(seed).normal(size=(ROWS, num_latents))


def turned(codes: Float[np.ndarray, "rows latents"], degrees: float) -> Float[np.ndarray, "rows latents"]:
    """The codes with their first two latents rotated."""
    angle = np.radians(degrees)
    rotation = np.eye(codes.shape[1])
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    rotated: np.ndarray = codes @ rotation
    return rotated


def compared(*codes: np.ndarray, logvars: Sequence[np.ndarray] | None = None) -> CrossMIG:
    """Posteriors of one width, unless others are given."""
    return cross_mig(codes, logvars=logvars or [np.full(each.shape, LOGVAR) for each in codes])


def pair_by_the_formula(codes: Sequence[np.ndarray], logvars: Sequence[np.ndarray]) -> float:
    """The definition, latent by latent."""
    means = [each.var(0) / (each.var(0) + np.exp(wide).mean(0)) for each, wide in zip(codes, logvars, strict=True)]
    information = np.array(
        [
            [
                -np.log(1 - spearmanr(a, b).statistic ** 2 * of_a * of_b) / 2
                for b, of_b in zip(codes[1].T, means[1], strict=True)
            ]
            for a, of_a in zip(codes[0].T, means[0], strict=True)
        ]
    )
    sums = []
    for table in (information, information.T):
        gaps = []
        for column in table.T:
            first, second, *_ = [*sorted(column, reverse=True), 0.0]
            gaps.append(first - second)
        sums.append(sum(gaps))
    return min(sums)


def test_it_equals_the_formula_pair_by_pair() -> None:
    base = normal(0)
    models = [base, np.round(turned(base, 30), 1), base[:, :3] + normal(1, 3), normal(2, 1)]  # rounding makes ties
    logvars = [np.log(np.random.default_rng(number).uniform(0.01, 2, each.shape)) for number, each in enumerate(models)]
    result = cross_mig(models, logvars=logvars)
    for i, first in enumerate(models):
        assert np.isnan(result.pairs[i, i])
        for j, second in enumerate(models):
            if i != j:
                expected = pair_by_the_formula((first, second), (logvars[i], logvars[j]))
                assert result.pairs[i, j] == pytest.approx(expected, rel=1e-9)
    expected = [np.median([result.pairs[i, j] for i in range(4) if i != j]) for j in range(4)]
    np.testing.assert_allclose(result.scores, expected, rtol=0, atol=0)


def test_order_sign_and_monotone_functions_of_the_means_change_no_correlation() -> None:
    """Scale is changed of posteriors as a whole, which leaves the share of the means in the variance."""
    models = [normal(0), normal(0) + 0.5 * normal(1)]
    before = compared(*models).pairs
    signs = np.array([1, -1, -1, 1])
    np.testing.assert_allclose(compared(models[0][:, ::-1] * signs + 5, models[1]).pairs, before, rtol=1e-9)
    wide = [np.full((ROWS, LATENTS), LOGVAR + 2 * np.log(7)), np.full((ROWS, LATENTS), LOGVAR)]
    np.testing.assert_allclose(compared(7 * models[0], models[1], logvars=wide).pairs, before, rtol=1e-9)
    cubed = models[0] ** 3 / (models[0] ** 3).std(0) * models[0].std(0)
    np.testing.assert_allclose(compared(cubed, models[1]).pairs, before, rtol=1e-9)


def test_agreement_of_two_gaussian_codes_has_its_closed_form() -> None:
    """Each latent holds log(1 / (1 - s^2)) / 2 nats of its counterpart, s the share of the means in the variance."""
    share = 1 / (1 + np.exp(LOGVAR))
    expected = -LATENTS * np.log(1 - share**2) / 2
    codes = normal(0)
    codes /= codes.std(0)
    assert compared(codes, codes[:, ::-1]).scores.tolist() == pytest.approx([expected] * 2, abs=0.05)


def test_codes_that_agree_as_well_and_hold_more_score_higher() -> None:
    """UDR would call them equal."""
    narrow, wide = (
        compared(normal(0), normal(0), logvars=[np.full((ROWS, LATENTS), width)] * 2).scores for width in (-5.0, -1.0)
    )
    more, fewer = compared(normal(0), normal(0)).scores, compared(normal(0)[:, :2], normal(0)[:, :2]).scores
    assert (narrow > 2 * wide).all()
    assert (more > 1.5 * fewer).all()


@pytest.mark.parametrize("degrees", [20, 45])
def test_a_code_that_is_rotated_against_the_others_scores_lower(degrees: float) -> None:
    base = normal(0)
    scores = compared(base, base[:, ::-1], -base, turned(base, degrees)).scores
    assert scores[3] < 0.85 * scores[:3].min()
    if degrees == 45:  # the two latents say as much of the one as of the other
        assert compared(base, turned(base, degrees)).scores[0] == pytest.approx(scores[0] / 2, rel=0.05)


def test_copies_of_a_latent_gain_nothing() -> None:
    """Fails if a pair's entry is the mean of both sums, of which one counts each copy."""
    base = normal(0)
    copies = np.hstack([base[:, :1] + 0.01 * normal(seed, 1) for seed in range(15)])
    scores = compared(base, base[:, ::-1], -base, copies).scores
    assert scores[3] < 0.1 * scores[:3].min()


def test_latents_that_hold_nothing_add_nothing() -> None:
    """Noise of 0.02 nats, by which UDR falls by half, and latents that are constant."""
    codes, other = normal(0, 3), normal(0, 3)[:, ::-1]
    expected = compared(codes, other).scores
    for empty in (0.2 * normal(3, 5), np.full((ROWS, 5), 2.0)):
        logvar = np.hstack([np.full((ROWS, 3), LOGVAR), np.zeros((ROWS, 5))])
        padded = [np.hstack([codes, empty]), np.hstack([other, 0.2 * normal(4, 5)])]
        np.testing.assert_allclose(compared(*padded, logvars=[logvar, logvar]).scores, expected, rtol=0.01)


def test_unrelated_codes_share_what_chance_shares() -> None:
    """About z / n nats, as the docstring says."""
    for num_latents in (10, 100):
        logvars = [np.full((ROWS, num_latents), -5.0)] * 6
        scores = compared(*(normal(seed, num_latents) for seed in range(6)), logvars=logvars).scores
        assert (scores < 2 * num_latents / ROWS).all()
        assert (scores > 0.3 * num_latents / ROWS).all()


def test_a_dead_model_scores_zero_and_no_number_is_infinite() -> None:
    constant = np.full((ROWS, 2), 3.0)
    result = compared(normal(0), normal(0), constant)
    assert result.scores[2] == 0
    exact = np.full((ROWS, LATENTS), -2_000.0)  # no noise at all
    assert np.isfinite(compared(normal(0), normal(0), logvars=[exact, exact]).scores).all()
    noise = np.full((ROWS, LATENTS), 2_000.0)
    assert compared(normal(0), normal(0), logvars=[noise, noise]).scores.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("models", "logvars", "message"),
    [
        ([normal(0)], [normal(0)], "codes must be those of two models or more, but got 1"),
        ([normal(0), normal(0)[:10]], [normal(0)] * 2, r"codes\[0\] has 1000 rows and codes\[1\] 10"),
        ([normal(0), np.full((ROWS, 2), np.nan)], [normal(0)] * 2, r"codes\[1\]"),
        ([normal(0), normal(0)], [normal(0)], "logvars must have one entry for each of 2 models, but got 1"),
        ([normal(0), normal(0)], [normal(0), normal(0)[:, :2]], r"logvars\[1\] must have the shape"),
        ([normal(0), normal(0)], [normal(0), np.full((ROWS, LATENTS), np.inf)], r"logvars\[1\]"),
    ],
)
def test_bad_input_is_refused_by_name(models: list[np.ndarray], logvars: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_mig(models, logvars=logvars)
