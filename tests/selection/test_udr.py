from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso

from betavae.selection import udr

BOTH = ["spearman", "lasso"]
ROWS, LATENTS = 1_000, 6


def normal(seed: int, num_latents: int = LATENTS) -> Float[np.ndarray, "rows latents"]:
    return np.random.default_rng(seed).normal(size=(ROWS, num_latents))


def rotated(codes: Float[np.ndarray, "rows latents"], seed: int) -> Float[np.ndarray, "rows latents"]:
    square = np.random.default_rng(seed).normal(size=(codes.shape[1],) * 2)
    turned: np.ndarray = codes @ np.linalg.qr(square)[0]
    return turned


def pair_by_the_formula(similarity: Float[np.ndarray, "a b"]) -> float:
    """The definition, latent by latent."""
    halves = []
    for matrix in (similarity, similarity.T):
        strengths = []
        for latent in range(matrix.shape[1]):
            column = matrix[:, latent]
            strengths.append(max(column) ** 2 / sum(column) if sum(column) else 0.0)
        halves.append(sum(strengths) / len(strengths))
    return sum(halves) / 2


def spearman_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([[abs(spearmanr(x, y).statistic) for y in b.T] for x in a.T])


def lasso_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = ((each - each.mean(0)) / each.std(0) for each in (a, b))
    return np.array([np.abs(Lasso(alpha=0.1, tol=1e-8).fit(a, y).coef_) for y in b.T]).T


@pytest.mark.parametrize(("similarity", "matrix"), [("spearman", spearman_matrix), ("lasso", lasso_matrix)])
def test_it_equals_the_formula_pair_by_pair(
    similarity: str, matrix: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    base = normal(0)
    models = [base, np.round(rotated(base, 1), 1), base[:, :4] + normal(2, 4), normal(3, 2)]  # rounding makes ties
    result = udr(models, similarity=similarity)
    for i, first in enumerate(models):
        for j, second in enumerate(models):
            if i != j:
                assert result.pairs[i, j] == pytest.approx(pair_by_the_formula(matrix(first, second)), abs=1e-9)
    expected = [np.median([result.pairs[i, j] for i in range(4) if i != j]) for j in range(4)]
    np.testing.assert_allclose(result.scores, expected, rtol=0, atol=0)


@pytest.mark.parametrize("similarity", BOTH)
def test_order_sign_scale_and_shift_of_latents_change_nothing(similarity: str) -> None:
    models = [normal(0), rotated(normal(0), 1), normal(0) + 0.5 * normal(1)]
    signs = np.array([1, -1, 1, -1, -1, 1])
    changed = [models[0][:, ::-1] * signs * 7 + 100, models[1] * 1e-3, models[2][:, [3, 0, 5, 1, 2, 4]]]
    np.testing.assert_allclose(
        udr(changed, similarity=similarity).pairs, udr(models, similarity=similarity).pairs, rtol=1e-9
    )


def test_monotone_functions_of_latents_change_nothing_for_spearman() -> None:
    models = [normal(0), normal(0) + 0.5 * normal(1)]
    changed = [np.exp(models[0]), models[1] ** 3]
    np.testing.assert_allclose(udr(changed).pairs, udr(models).pairs, rtol=1e-12)


@pytest.mark.parametrize("similarity", BOTH)
def test_perfect_agreement_is_near_one_and_none_is_near_zero(similarity: str) -> None:
    perfect = normal(0)
    agreeing = udr([perfect, -perfect[:, ::-1], perfect], similarity=similarity).scores
    # with Lasso the coefficient of a standardised latent on itself is 1 - alpha, and those of the others are 0
    expected = {"spearman": 1 / (1 + 0.8 * (LATENTS - 1) / np.sqrt(ROWS)), "lasso": 0.9}[similarity]
    np.testing.assert_allclose(agreeing, expected, atol=0.01)
    unrelated = udr([normal(seed) for seed in range(3)], similarity=similarity).scores
    assert (unrelated < 0.05).all()
    turned = udr([rotated(perfect, seed) for seed in range(3)], similarity=similarity).scores
    assert ((unrelated < turned) & (turned < 0.5 * expected)).all()


@pytest.mark.parametrize(("num_rows", "num_latents"), [(1_000, 10), (250, 4)])
def test_equal_perfect_codes_score_what_the_docstring_says(num_rows: int, num_latents: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(30, num_rows, num_latents))
    scores = np.array([udr([codes, codes]).scores[0] for codes in drawn])
    expected = 1 / (1 + 0.8 * (num_latents - 1) / np.sqrt(num_rows))
    error = scores.std() / np.sqrt(len(scores))
    assert scores.mean() == pytest.approx(expected, abs=4 * error + 0.005)  # the mean of a ratio is no ratio of means


@pytest.mark.parametrize("similarity", BOTH)
def test_uninformative_latents_do_not_count(similarity: str) -> None:
    """Fails if they do: noise that agrees with nothing would lower the score by half."""
    codes, other = normal(0, 3), normal(0, 3)[:, ::-1]
    dead = [np.hstack([each, 0.01 * normal(seed, 3)]) for seed, each in ((1, codes), (2, other))]
    logvar = np.hstack([np.full((ROWS, 3), -4.0), np.zeros((ROWS, 3))])
    result = udr(dead, logvars=[logvar, logvar], similarity=similarity)
    assert result.num_informative.tolist() == [3, 3]
    np.testing.assert_allclose(result.scores, udr([codes, other], similarity=similarity).scores, rtol=1e-12)
    assert (udr(dead, similarity=similarity).scores < 0.75 * result.scores).all()


@pytest.mark.parametrize("similarity", BOTH)
def test_latents_that_hold_nothing_may_have_a_kl_above_the_usual_limit(similarity: str) -> None:
    """Noise of 0.02 nats counts by the usual limit, and not above it; a limit above all latents leaves none."""
    codes, other = normal(0, 3), normal(0, 3)[:, ::-1]
    weak = [np.hstack([each, 0.2 * normal(seed, 3)]) for seed, each in ((1, codes), (2, other))]
    logvar = np.hstack([np.full((ROWS, 3), -4.0), np.zeros((ROWS, 3))])
    usual, raised, none = (
        udr(weak, logvars=[logvar, logvar], similarity=similarity, min_kl=limit) for limit in (0.01, 0.05, 50.0)
    )
    assert [each.num_informative.tolist() for each in (usual, raised, none)] == [[6, 6], [3, 3], [0, 0]]
    np.testing.assert_allclose(raised.scores, udr([codes, other], similarity=similarity).scores, rtol=1e-12)
    assert (usual.scores < 0.75 * raised.scores).all()
    assert none.scores.tolist() == [0, 0]


@pytest.mark.parametrize("similarity", BOTH)
def test_a_model_without_informative_latents_scores_zero_and_constant_latents_are_none(similarity: str) -> None:
    constant = np.full((ROWS, 2), 3.0)
    result = udr([normal(0), normal(0), constant], similarity=similarity)
    assert result.num_informative.tolist() == [LATENTS, LATENTS, 0]
    assert result.scores[2] == 0
    assert result.pairs[0, 2] == result.pairs[2, 0] == 0
    assert udr([constant, constant], similarity=similarity).scores.tolist() == [0, 0]


@pytest.mark.parametrize("similarity", BOTH)
def test_outliers_among_agreeing_models_come_last(similarity: str) -> None:
    base = normal(0)
    agreeing = [base[:, np.random.default_rng(seed).permutation(LATENTS)] + 0.2 * normal(seed) for seed in range(1, 7)]
    outliers = [rotated(base, 1), normal(9), rotated(base, 2)]
    scores = udr([*agreeing, *outliers], similarity=similarity).scores
    assert scores[:6].min() > 2 * scores[6:].max()


def test_groups_are_compared_within_themselves() -> None:
    models = [normal(0), normal(0), rotated(normal(0), 1), normal(4)]
    result = udr(models, groups=["a", "a", "b", "c"])
    alone = udr(models[:2]).scores
    np.testing.assert_allclose(result.scores[:2], alone)
    assert np.isnan(result.scores[2:]).all()
    assert np.isfinite(result.pairs).sum() == 2


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([normal(0)], {}, "codes must be those of two models or more, but got 1"),
        ([normal(0), normal(0)[:10]], {}, r"codes\[0\] has 1000 rows and codes\[1\] 10"),
        ([normal(0), np.full((ROWS, 2), np.nan)], {}, r"codes\[1\]"),
        ([normal(0), normal(0)], {"groups": [1]}, "groups must have one entry for each of 2 models, but got 1"),
        ([normal(0), normal(0)], {"logvars": [normal(0)]}, "logvars must have one entry for each of 2 models"),
        ([normal(0), normal(0)], {"logvars": [normal(0), normal(0)[:, :2]]}, r"logvars\[1\] must have the shape"),
        ([normal(0), normal(0)], {"logvars": [normal(0), np.full((ROWS, LATENTS), np.inf)]}, r"logvars\[1\]"),
        ([normal(0), normal(0)], {"min_kl": -0.01}, "min_kl must be at least 0 nats, but got -0.01"),
        ([normal(0), normal(0)], {"min_kl": float("nan")}, "min_kl must be at least 0 nats, but got nan"),
        ([normal(0), normal(0)], {"min_kl": 5.0}, "min_kl needs logvars, without which no KL is known"),
        ([normal(0), normal(0)], {"similarity": "pearson"}, "similarity must be one of spearman, lasso, but got"),
    ],
)
def test_bad_input_is_refused_by_name(models: list[np.ndarray], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        udr(models, **options)  # type: ignore[arg-type]
