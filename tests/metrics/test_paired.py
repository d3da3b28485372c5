"""What all scores with labels have in common: refusals, forms of input, constant factors, splits, permutations."""

import numpy as np
import pytest
import torch
from closed_forms import columns, generator, grid, halves, noisy_codes, sample_of
from sklearn.preprocessing import StandardScaler

from betavae.data import FactorImages, FactorSpace
from betavae.errors import InputError
from betavae.metrics import (
    METRICS,
    beta_vae_score,
    dci,
    explicitness,
    factor_vae_score,
    infomec,
    irs,
    mig_dent,
    modularity,
    sap,
    sap_continuous,
    total_correlation,
)
from betavae.metrics.paired import (
    Standardiser,
    canonical_order,
    checked_codes,
    checked_pair,
    checked_split,
    split_sample,
)


def sampled(score):
    return lambda codes, factors: score(codes, factors, generator=generator(), num_train=200, num_test=100)


PAIRED = {
    "beta_vae_score": sampled(beta_vae_score),
    "factor_vae_score": sampled(factor_vae_score),
    "infomec": lambda codes, factors: infomec(codes, factors, generator=generator()),
    "irs": irs,
    "mig_dent": mig_dent,
    "modularity": modularity,
    "sap_continuous": sap_continuous,
}
SPLIT = {
    "dci": lambda *parts: dci(*parts, generator=generator()),
    "explicitness": explicitness,
    "sap": lambda *parts: sap(*parts, generator=generator()),
}
SPLIT_METRICS = ("dci", "explicitness", "sap")
NEW = (*PAIRED, *SPLIT_METRICS, "total_correlation", "mig_chen")
CODES, FACTORS = noisy_codes(num_rows=60, sizes=(2, 3))
HOLES = np.where(np.arange(4) == 2, np.nan, CODES)
ONE_VALUE = np.stack([FACTORS[:, 0], np.zeros(60, np.int64)], axis=1)


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (HOLES, FACTORS, r"codes must be finite, but latents \[2\] hold NaN \(first in row \d+\)"),
        (CODES * np.inf, FACTORS, r"codes must be finite, but latents \[0, 1, 2, 3\]"),
        (CODES * 1e200, FACTORS, "codes must be at most 1e.70, but one is .*: scale them"),
        (CODES[:1], FACTORS[:1], "codes must have at least two rows, but got one"),
        (CODES[:, 0], FACTORS, r"codes must be a matrix with at least one row and one latent, but got shape \(60,\)"),
        (CODES[:, :0], FACTORS, r"at least one row and one latent, but got shape \(60, 0\)"),
        (CODES[:0], FACTORS[:0], r"at least one row and one latent, but got shape \(0, 4\)"),
        ([["a"], ["b"]], [[0], [1]], "codes must be real numbers, but one entry is 'a'"),
        (CODES, FACTORS[:50], r"factors must be a matrix with a row for each of the 60 rows of codes .*\(50, 2\)"),
        (CODES, FACTORS[:, 0], r"factors must be a matrix with a row for each of the 60 rows .*shape \(60,\)"),
        (CODES, FACTORS[:, :0], r"and at least one column, but got shape \(60, 0\)"),
        (CODES, np.where(FACTORS == 2, np.nan, FACTORS), "factors must not hold NaN, but column 1 does, first in row"),
        (CODES, ONE_VALUE, "at least two values, but column 1 of factors takes one: drop the column"),
        (CODES, [["x", 1]] * 59 + [["y", {}]], "factor must have an order"),
    ],
)
def test_what_is_wrong_with_pairs_is_said(name, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        PAIRED[name](codes, factors)


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        (0, HOLES[::2], r"train_codes must be finite, but latents \[2\]"),
        (2, HOLES[1::2], r"test_codes must be finite, but latents \[2\]"),
        (2, CODES[1::2, :3], "train_codes and test_codes must have the same latents, but got 4 and 3 columns"),
        (3, FACTORS[1::2, :1], "train_factors and test_factors must have the same factors, but got 2 and 1 columns"),
        (1, FACTORS[:20], r"train_factors must be a matrix with a row for each of the 30 rows of train_codes"),
        (3, FACTORS[:20], r"test_factors must be a matrix with a row for each of the 30 rows of test_codes"),
        (1, ONE_VALUE[::2], "at least two values, but column 1 of train_factors takes one"),
        (3, ONE_VALUE[1::2], "at least two values, but column 1 of test_factors takes one"),
        (3, FACTORS[1::2] + np.nan, "test_factors must not hold NaN, but column 0 does, first in row 0"),
    ],
)
def test_what_is_wrong_with_a_part_is_said(name, part, value, message):
    parts = list(halves(CODES, FACTORS))
    parts[part] = value
    with pytest.raises(ValueError, match=message):
        SPLIT[name](*parts)


def test_what_is_wrong_with_codes_without_factors_is_said():
    for codes, message in ((HOLES, r"latents \[2\] hold NaN"), (CODES[:1], "two rows"), (CODES[0], "a matrix")):
        with pytest.raises(ValueError, match=message):
            total_correlation(codes)


FORMS = {
    "tensor": torch.tensor,
    "with gradient": lambda codes: torch.tensor(codes, requires_grad=True),
    "lists": lambda codes: codes.tolist(),
    "by columns": np.asfortranarray,
    "other bytes": lambda codes: codes.astype(">f8"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_form_of_codes_changes_nothing(form):
    """To the last bit: fails if sums over rows depend on the layout in memory."""
    codes = checked_codes("codes", form(CODES))
    assert codes.flags.c_contiguous
    np.testing.assert_array_equal(codes, CODES)
    assert modularity(form(CODES), FACTORS).score == modularity(CODES, FACTORS).score


def test_codes_are_copied():
    codes = checked_codes("codes", CODES)
    codes[:] = 0
    assert CODES.any()


@pytest.mark.parametrize(
    "factors",
    [
        np.array([0.2, 0.7])[FACTORS[:, :1]], np.array(["a", "b"])[FACTORS[:, :1]], FACTORS[:, :1].astype(bool),
        FACTORS[:, :1].astype(np.uint64) + np.uint64(2**63), torch.tensor(FACTORS[:, :1]), FACTORS[:, :1].tolist(),
        FACTORS[:, :1].astype(np.float32), np.array(["a", "b"], dtype=object)[FACTORS[:, :1]],
    ],
)  # fmt: skip
def test_values_that_are_no_whole_numbers_are_ranked_and_never_truncated(factors):
    """Fails where 0.2 and 0.7 both become 0."""
    np.testing.assert_array_equal(checked_pair(CODES, factors)[1], FACTORS[:, :1])


def test_whole_numbers_stay_as_they_are():
    """Their distances count in a correlation."""
    values = np.array([0, 1, 100])[FACTORS[:, 1:]]
    for factors in (values, values.astype(np.float64)):
        np.testing.assert_array_equal(checked_pair(CODES, factors)[1], values)


def test_ranks_mean_the_same_in_both_parts():
    """Fails where each part is ranked alone: 0.5 would be 0 in one, and 1 in the other."""
    split = checked_split(np.eye(2), [[0.1], [0.5]], np.eye(2), [[0.5], [0.9]])
    assert (split.train_factors.ravel().tolist(), split.test_factors.ravel().tolist()) == ([0, 1], [1, 2])


def test_standardised_as_by_scikit_learn():
    np.testing.assert_allclose(Standardiser.of(CODES)(CODES), StandardScaler().fit_transform(CODES), rtol=0, atol=1e-13)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1.0, 1e150])
def test_standardised_latents_of_any_size(unit):
    """Fails where the squares of tiny deviations vanish, or those of large ones overflow."""
    codes = unit * columns([-1, 1, -1, 1], [0, 0, 0, 0], [1, 1, 1, 1])
    expected = columns([-1, 1, -1, 1], [0, 0, 0, 0], [0, 0, 0, 0])
    np.testing.assert_allclose(Standardiser.of(codes)(codes), expected, rtol=0, atol=1e-14)


def test_the_canonical_order_sorts_columns_whatever_their_order():
    codes = columns([1, 2, 0], [0, 5, 5], [1, 1, 9])
    assert canonical_order(codes).tolist() == [1, 2, 0]
    shuffled = [2, 0, 1]
    assert np.array(shuffled)[canonical_order(codes[:, shuffled])].tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", [name for name in NEW if name not in ("total_correlation", "mig_chen")])
def test_a_constant_factor_is_left_out_and_named(name):
    """The score is that of the other factors, which keep their names."""
    codes, factors = noisy_codes(num_rows=90, sizes=(2, 2))
    both = METRICS[name]().score(sample_of(codes, factors, names="ac"))
    wider = np.insert(factors, 1, 0, axis=1)
    score = METRICS[name]().score(sample_of(codes, wider, names="abc"))
    assert "b left out: one value" in score.estimator
    assert "left out" not in both.estimator
    assert (score.value, score.chance, score.by_factor, score.details) == (
        both.value,
        both.chance,
        both.by_factor,
        both.details,
    )
    METRICS[name]().check_details(score)


@pytest.mark.parametrize("name", [name for name in NEW if name not in ("total_correlation", "mig_chen")])
def test_without_a_factor_that_varies_there_is_no_score(name):
    with pytest.raises(InputError, match="A factor must vary .*, but each of a, b takes one value there"):
        METRICS[name]().score(sample_of(CODES, np.zeros((60, 2), np.int64)))


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("num_dead", [1, 4])
def test_constant_latents_are_no_crash(name, num_dead):
    """One of four, and all: no nan, no warning (which is an error here), and values of [0, 1]."""
    codes, factors = np.repeat(grid(2, 3), 12, axis=0), np.repeat(grid(2, 3), 12, axis=0)
    if name == "mig_chen":
        codes, factors = codes[::12], factors[::12]
    codes = np.hstack([codes, generator().normal(size=codes.shape)])
    codes[:, :num_dead] = 0.1  # whose sum is not exact, so that a computed variance is not 0
    score = METRICS[name]().score(sample_of(codes, factors))
    METRICS[name]().check_details(score)
    assert score.value >= 0
    if num_dead == 4 and name not in ("explicitness", "beta_vae_score"):
        assert score.value == 0
    if num_dead == 4 and name == "explicitness":
        assert score.value == 0.5


@pytest.mark.parametrize("name", SPLIT_METRICS)
def test_a_score_says_how_many_rows_it_was_trained_and_tested_on(name):
    codes, factors = noisy_codes(num_rows=91, sizes=(2, 2))
    assert "60 training and 31 test rows" in METRICS[name]().score(sample_of(codes, factors)).estimator


def test_the_split_is_of_two_thirds_of_all_rows_and_pairs_stay_pairs():
    codes = np.arange(90.0)[:, None]
    factors = np.arange(90)[:, None] % 7
    split = split_sample(sample_of(codes, factors), generator=generator())
    rows = split.rows
    assert (len(rows.train_codes), len(rows.test_codes)) == (60, 30)
    everything = np.concatenate([rows.train_codes, rows.test_codes]).ravel()
    np.testing.assert_array_equal(np.sort(everything), codes.ravel())
    assert not np.array_equal(np.sort(rows.train_codes.ravel()), codes[:60].ravel()), "drawn, not the first"
    for part, values in ((rows.train_codes, rows.train_factors), (rows.test_codes, rows.test_factors)):
        np.testing.assert_array_equal(part % 7, values)
    again = split_sample(sample_of(codes, factors), generator=generator())
    np.testing.assert_array_equal(again.rows.train_codes, rows.train_codes)


class Grid(FactorImages):
    """A set of 28,561 images that are never looked at."""

    factors = FactorSpace("abcd", [range(13)] * 4)
    image_shape = (1, 64, 64)

    def images(self, indices, device="cpu"):
        raise NotImplementedError

    def verify(self):
        raise NotImplementedError


@pytest.mark.parametrize("name", [name for name in NEW if name != "mig_chen"])
def test_a_score_that_splits_its_rows_draws_15_000_and_any_other_10_000(name):
    data = Grid()
    rows = METRICS[name]().rows(data, len(data))
    assert len(np.unique(rows.indices)) == (15_000 if name in SPLIT_METRICS else 10_000)
    assert (rows.description, rows.seed) == ("whole set, without replacement", 0)


def test_codes_of_a_shuffled_split_know_nothing():
    codes, factors = np.arange(6000.0)[:, None], np.arange(6000)[:, None] % 2
    rows = split_sample(sample_of(codes, factors), generator=generator(), shuffled=True).rows
    # the share of equal pairs among 4,000 of 6,000: a standard error below 0.5 / sqrt(4000)
    assert (rows.train_codes % 2 == rows.train_factors).mean() == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)


def test_too_few_rows_for_a_split():
    with pytest.raises(InputError, match="at least 4 rows, but got 3"):
        METRICS["sap"]().score(sample_of(CODES[:3], FACTORS[:3]))


ORDER = [2, 0, 3, 1]
BY_LATENT = ("kept_latents", "votes", "predictability", "information", "importance", "disentanglements", "modularities",
             "mutual_information", "robustness", "robustnesses", "largest_deviations")  # fmt: skip


@pytest.mark.parametrize("name", [*PAIRED, *SPLIT])
def test_permuting_latents_permutes_what_is_of_latents_and_nothing_else(name):
    """To the last bit, also where a classifier is fitted."""
    parts = halves(CODES, FACTORS) if name in SPLIT else (CODES, FACTORS)
    permuted = [part[:, ORDER] if part.dtype.kind == "f" else part for part in parts]
    score = SPLIT.get(name) or PAIRED[name]
    result, after = vars(score(*parts)), vars(score(*permuted))
    for key, value in result.items():
        if key == "matched_latents":
            value = [ORDER.index(latent) for latent in value]
        expected = value[ORDER] if key in BY_LATENT else value
        np.testing.assert_allclose(after[key], expected, rtol=1e-12, err_msg=key)  # a mean over latents in other order


@pytest.mark.parametrize("name", ["dci", "explicitness", "modularity", "sap_continuous", "mig_dent"])
def test_scaling_and_shifting_latents_changes_nothing(name):
    """By powers of two and whole numbers, of codes that have few digits: no rounding."""
    codes = np.round(CODES * 2**20) / 2**20
    parts = halves(codes, FACTORS) if name in SPLIT else (codes, FACTORS)
    scale, shift = np.array([0.25, 8, 1, 1024]), np.array([3, 0, -1, 64])
    moved = [part * scale + shift if part.dtype.kind == "f" else part for part in parts]
    score = SPLIT.get(name) or PAIRED[name]
    after = vars(score(*moved))
    for key, value in vars(score(*parts)).items():
        np.testing.assert_allclose(after[key], value, rtol=0, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", ["sap_continuous", "factor_vae_score", "beta_vae_score", "irs"])
def test_the_sign_of_a_latent_changes_nothing(name):
    after = vars(PAIRED[name](CODES * [1, -1, -1, 1], FACTORS))
    for key, value in vars(PAIRED[name](CODES, FACTORS)).items():
        np.testing.assert_allclose(after[key], value, rtol=0, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score, infomec])
def test_all_chance_is_from_the_generator(score):
    np.random.seed(1)
    first = vars(score(CODES, FACTORS, generator=generator(3)))
    np.random.seed(2)
    for key, value in vars(score(CODES, FACTORS, generator=generator(3))).items():
        np.testing.assert_array_equal(value, first[key])
