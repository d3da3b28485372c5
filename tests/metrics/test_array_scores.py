"""Scores of plain arrays: what `score` adds to the functions of the metrics."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from betavae import mutual_information_gap, score
from betavae.data import FactorSpace
from betavae.metrics import (
    METRICS,
    Scores,
    exact_mutual_information_gap,
    explicitness,
    irs,
    mig_dent,
    modularity,
    sap_continuous,
    total_correlation,
)

SPACE = FactorSpace(("kind", "size", "turn"), (("a", "b", "c"), range(4), range(25)))
GRID = SPACE.indices_to_factors(np.arange(SPACE.size))
RNG = np.random.default_rng(0)
CODES = GRID[:, [0, 1, 2, 2]] + 0.3 * RNG.normal(size=(len(GRID), 4))
LOGVAR = RNG.uniform(-3, -1, CODES.shape)
QUICK = [name for name, metric in METRICS.items() if metric.is_always_taken and metric.seconds < 1]


def test_a_score_is_that_of_its_function() -> None:
    scores = score(CODES, GRID, [*QUICK, "mig_exact"], logvar=LOGVAR)
    assert list(scores.by_name) == [*QUICK, "mig_exact"]
    assert scores["mig"].value == mutual_information_gap(CODES, GRID).score
    assert scores["mig_quantile"].value == mutual_information_gap(CODES, GRID, binning="mass").score
    assert scores["mig_dent"].value == mig_dent(CODES, GRID).score
    assert scores["modularity"].value == modularity(CODES, GRID).score
    assert scores["irs"].value == irs(CODES, GRID).score
    assert scores["sap_continuous"].value == sap_continuous(CODES, GRID).score
    assert scores["total_correlation"].value == total_correlation(CODES).nats
    assert scores["mig_exact"].value == exact_mutual_information_gap(CODES, LOGVAR, SPACE).score
    assert scores["mig_exact"].by_factor.keys() == {"factor_0", "factor_1", "factor_2"}
    kl = 0.5 * (CODES**2 + np.exp(LOGVAR) - 1 - LOGVAR).mean(axis=0)
    np.testing.assert_allclose(scores.kl_nats_per_latent, kl, rtol=1e-12)


def test_every_score_says_how_it_was_taken() -> None:
    for name, each in score(CODES, GRID, QUICK, seed=3, logvar=LOGVAR).by_name.items():
        assert (each.num_rows, each.rows, each.rows_seed) == (300, "all rows that were given", 3), name
        assert each.estimator
        assert (each.chance is None) == (not METRICS[name].needs_factors)


@pytest.mark.parametrize(
    "convert", [np.ndarray.tolist, torch.tensor, lambda array: torch.tensor(array).requires_grad_()]
)
def test_codes_may_be_lists_and_tensors(convert: Any) -> None:
    expected = score(CODES, GRID, QUICK, logvar=LOGVAR)
    factors = GRID.tolist() if convert is np.ndarray.tolist else torch.tensor(GRID)
    assert score(convert(CODES), factors, QUICK, logvar=convert(LOGVAR)) == expected


def test_float32_codes_are_scored_without_a_warning() -> None:
    codes = CODES.astype(np.float32)
    assert score(codes, GRID, "irs")["irs"].value == irs(codes, GRID).score


def test_fractions_are_ranked_and_never_truncated() -> None:
    fractions = GRID / np.array([2, 4, 40])
    for name in ("mig", "sap_continuous", "irs"):
        assert score(CODES, fractions, name)[name].value == score(CODES, GRID, name)[name].value


def test_the_seed_draws_the_split_and_the_same_seed_draws_it_again() -> None:
    first, again, other = (score(CODES, GRID, "explicitness", seed=seed)["explicitness"] for seed in (1, 1, 2))
    assert first == again
    assert first.value != other.value


def test_test_rows_are_used_instead_of_a_split() -> None:
    train, test = np.arange(300) % 3 > 0, np.arange(300) % 3 == 0
    fractions = GRID / np.array([2, 4, 40])
    result = score(
        CODES[train], fractions[train], "explicitness", test_codes=CODES[test], test_factors=fractions[test]
    )["explicitness"]
    assert result.value == explicitness(CODES[train], GRID[train], CODES[test], GRID[test]).score
    assert "200 training and 100 test rows" in result.estimator
    assert result.num_rows == 200


def test_constant_factors_are_named_and_left_out() -> None:
    factors = np.column_stack([GRID, np.full(len(GRID), 7)])
    names = ["kind", "size", "turn", "colour"]
    for name, each in score(CODES, factors, QUICK, logvar=LOGVAR, names=names).by_name.items():
        if METRICS[name].needs_factors:
            assert "colour left out: one value" in each.estimator
            assert "colour" not in each.by_factor
    assert score(CODES, factors, "mig")["mig"].value == score(CODES, GRID, "mig")["mig"].value
    assert "factor_3 left out" in score(CODES, factors, "mig")["mig"].estimator


def test_constant_latents_are_no_crash() -> None:
    codes = np.column_stack([CODES, np.zeros(len(CODES))])
    logvar = np.column_stack([LOGVAR, np.zeros(len(CODES))])
    assert score(codes, GRID, "mig")["mig"].value == score(CODES, GRID, "mig")["mig"].value
    for scores in (score(codes, GRID, QUICK, logvar=logvar), score(0 * codes, GRID, QUICK, logvar=0 * logvar)):
        assert list(scores.by_name) == QUICK


def test_an_exact_score_of_part_of_a_grid_says_that_it_is_biased() -> None:
    some = np.sort(RNG.permutation(300)[:120])
    for rows, is_biased in ((np.arange(300), False), (RNG.permutation(300), False), (some, True)):
        each = score(CODES[rows], GRID[rows], ["mig_exact"], logvar=LOGVAR[rows])["mig_exact"]
        assert ("biased, since the rows are part of a grid" in each.estimator) == is_biased
        assert (each.chance == 0) == (not is_biased)
        if not is_biased:
            assert each.value == pytest.approx(exact_mutual_information_gap(CODES, LOGVAR, SPACE).score, abs=1e-12)


def test_categorical_factors_are_left_out_of_the_score_of_chen() -> None:
    exact = score(CODES, GRID, ["mig_exact"], logvar=LOGVAR, names=SPACE.names)["mig_exact"]
    chen = score(CODES, GRID, ["mig_chen"], logvar=LOGVAR, names=SPACE.names, categorical=["kind"])["mig_chen"]
    assert chen.value == pytest.approx((exact.by_factor["size"] + exact.by_factor["turn"]) / 2)


def test_all_is_what_the_arrays_allow() -> None:
    small = slice(0, 300, 4)
    with_posterior = score(CODES[small], GRID[small, :2], "all", logvar=LOGVAR[small]).by_name.keys()
    assert with_posterior == {
        name for name, metric in METRICS.items() if metric.is_always_taken and not metric.needs_decoder
    }
    means_alone = score(CODES[small], GRID[small, :2], "all").by_name.keys()
    assert means_alone == {name for name in with_posterior if not METRICS[name].needs_posterior}
    assert score(CODES, None, "all").by_name.keys() == {"total_correlation"}


def test_what_all_cannot_take_of_such_rows_is_left_out_with_a_warning() -> None:
    times = np.arange(40)[:, None]
    with pytest.warns(UserWarning, match="is left out") as warned:
        scores = score(CODES[:40], np.column_stack([times, GRID[:40, 2]]), "all")
    assert [str(each.message).partition(":")[0] for each in warned] == [
        "explicitness is left out",
        "infomec is left out",
    ]
    assert {"mig", "dci", "sap"} <= scores.by_name.keys()
    assert not {"explicitness", "infomec"} & scores.by_name.keys()


def test_test_codes_far_from_the_others_are_no_matter() -> None:
    """Standardised by the training rows, they do not fit in float32, which trees see."""
    scores = score(CODES[:40], GRID[:40, 2:], "dci", test_codes=1e60 * CODES[:40], test_factors=GRID[:40, 2:])
    assert 0 <= scores["dci"].details["informativeness"] <= 1


def test_scores_print_as_a_table_with_chance_levels() -> None:
    scores = score(CODES, GRID, ["mig", "total_correlation"])
    header, mig, total = str(scores).splitlines()
    assert header.split() == ["score", "value", "chance", "ceiling", "estimator"]
    each = scores["mig"]
    assert mig.split()[:4] == ["mig", f"{each.value:.4f}", f"{each.chance:.4f}", f"{each.ceiling:.4f}"]
    assert total.split()[2:4] == ["-", "-"]
    assert {line.find(word) for line, word in ((header, "estimator"), (mig, "20 equal"), (total, "Gaussian"))} == {
        header.find("estimator")
    }


@pytest.mark.parametrize("logvar", [None, LOGVAR])
def test_scores_of_arrays_can_be_kept(logvar: Any) -> None:
    scores = score(CODES, GRID, ["mig", "irs", "modularity"], logvar=logvar)
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores
    assert scores.data_source == "arrays"
    with_test = score(CODES, GRID, "mig", test_codes=CODES, test_factors=GRID)
    others = (scores, score(CODES, GRID[::-1], "mig"), with_test)
    assert len({each.data_fingerprint for each in others}) == 3


FACTORS = ["factor_0", "factor_1", "factor_2"]
NAN, INFINITE = CODES.copy(), CODES.copy()
NAN[7, 2], INFINITE[5, 1] = np.nan, np.inf
PARTLY_NAN = GRID.astype(float)
PARTLY_NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((CODES, GRID, "mog"), {}, "metric must be one of mig, .*, but got 'mog'"),
        ((CODES, GRID, []), {}, "There must be a score to take"),
        ((CODES, GRID, "mig_exact"), {}, "mig_exact needs the log variances of the codes"),
        ((CODES, None, "mig"), {}, "mig needs the factors of the images"),
        ((CODES, GRID, "mig_seed_study"), {}, "mig_seed_study needs a model trained on part of a data set"),
        ((CODES, GRID, "mig"), {"seed": -1}, "seed must be a whole number of at least 0, but got -1"),
        ((NAN, GRID, "mig"), {}, r"codes must be finite, but latents \[2\] hold NaN \(first in row 7\)"),
        ((torch.tensor(INFINITE), GRID, "mig"), {}, r"latents \[1\] hold infinity \(first in row 5\)"),
        ((CODES, PARTLY_NAN, "mig"), {}, "factors must not hold NaN, but column 1 does, first in row 3"),
        ((CODES, GRID, "mig_exact"), {"logvar": NAN}, "logvar must be finite"),
        ((CODES, GRID, "mig_exact"), {"logvar": LOGVAR[:5]}, r"logvar must have the shape of codes, \(300, 4\), but"),
        ((CODES[:, 0], GRID, "mig"), {}, r"codes must be a matrix .* but got shape \(300,\)"),
        ((CODES[:1], GRID[:1], "mig"), {}, "codes must have at least two rows, but got one"),
        ((CODES, GRID[:9], "mig"), {}, r"factors must be a matrix with a row for each of the 300 rows of codes"),
        ((CODES, GRID[:, 0], "mig"), {}, r"factors must be a matrix .* but got shape \(300,\)"),
        ((CODES, 0 * GRID, "mig"), {}, "mig: A factor must vary on the rows of the score, but each of factor_0, "),
        ((CODES, GRID, "mig"), {"names": ["kind"]}, "names must hold a name for each of 3 factors, but got 1"),
        ((CODES, GRID, "mig"), {"names": ["a", "a", "b"]}, "names must be one or more different names"),
        ((CODES, GRID, "mig"), {"categorical": ["kind"]}, r"categorical must be a list of some of factor_0, .*'kind'"),
        ((CODES, GRID, "mig"), {"categorical": "factor_0"}, "categorical must be a list of some of factor_0"),
        ((CODES, GRID, "mig"), {"names": "abc"}, "names must be a list of the factors' names, but got 'abc'"),
        ((CODES, GRID, "mig"), {"seed": True}, "seed must be a whole number of at least 0, but got True"),
        ((CODES, INFINITE[:, :3], "mig"), {}, "factors must not hold infinity, but column 1 does, first in row 5"),
        ((CODES, GRID + 1j, "mig"), {}, "factors must be numbers or strings that have an order, but got complex128"),
        ((CODES, GRID, "mig"), {"logvar": 0 * LOGVAR + 800}, r"logvar must lie in \[-300, 300\], but got 800"),
        ((1e80 * CODES, GRID, "sap"), {}, "codes must be at most 1e[+]70, but one is"),
        (
            (CODES[:6], [[0]] * 5 + [[1]], "sap"),
            {},
            "sap: A factor must vary in both the training and the test rows, but each of factor_0 takes one value",
        ),
        (
            (CODES, np.column_stack([0 * GRID[:, 0], np.arange(300)]), "infomec"),
            {"names": ["colour", "time"]},
            "infomec: A value of each factor must have two rows, but time has a new value in each of 300 rows",
        ),
        (
            (CODES, GRID, "mig_chen"),
            {"logvar": LOGVAR, "categorical": FACTORS},
            "mig_chen: A factor must have values with",
        ),
        ((CODES, GRID, "sap"), {"test_codes": CODES}, "must be given together, but there is no test_factors"),
        (
            (CODES, GRID, "sap"),
            {"test_codes": CODES[:, :3], "test_factors": GRID},
            "codes and test_codes must have the same latents, but got 4 and 3 columns",
        ),
        (
            (CODES, GRID, "sap"),
            {"test_codes": CODES, "test_factors": GRID[:, :2]},
            "factors and test_factors must have the same factors, but got 3 and 2 columns",
        ),
        ((CODES[:3], GRID[[0, 30, 60]], "explicitness"), {}, "explicitness: A score with training and test rows"),
    ],
)
def test_bad_input_is_a_sentence(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(*arguments, **options)
