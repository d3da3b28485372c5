from dataclasses import replace

import numpy as np
import pytest

from betavae.data import DSprites, FactorSpace
from betavae.metrics import Score, Scores
from betavae.records.sweep import read_sweep
from betavae.report.diagnosis import diagnose_factors, diagnose_latents
from betavae.report.findings import CHANCE, describe_importance, describe_training, varied_fields
from betavae.report.headline import headline
from betavae.report.portrait import Portrait, latents_by_kl, mean_by_factors, portray
from betavae.report.settings import settings_of

NAMES = ("shape", "scale", "orientation", "posX", "posY")

TWO_SETTINGS = {
    f"{beta:g}-{seed}": {"migs": [0.1, mig + seed / 100], "beta": beta, "seed": seed}
    for beta, mig in ((8.0, 0.4), (4.0, 0.2))
    for seed in range(6)
}
"""Six seeds of each of two settings, which a test can tell apart."""


def test_one_seed_is_a_rank_and_no_result(make_sweep) -> None:
    trials = read_sweep(make_sweep({"a": {"migs": [0.25], "beta": 8.0}, "b": {"migs": [0.21]}})).trials
    found = headline(trials)
    assert found.claim == "beta = 8 ranks first with a MIG of 0.250; the next has 0.210."
    assert found.certainty.startswith("One seed: a rank, not a result.")
    assert found.certainty.endswith("2 of 2 trials did not run to their end; they are ranked by fewer steps.")


@pytest.mark.parametrize(
    ("other", "claim", "certainty"),
    [
        (
            [0.10, 0.12, 0.08, 0.09, 0.11],
            "beta = 8 wins by 0.200 over 5 seeds",
            "in 100% of the pairs of their runs (p = 0.0079)",
        ),
        (
            [0.29, 0.31, 0.28, 0.27, 0.50],
            "beta = 8 has the highest median MIG over 5 seeds, 0.300 against 0.290",
            "do not separate the two",
        ),
        # all 10 pairs, but 2 of 21 splits are as far apart
        (
            [0.10, 0.12],
            "beta = 8 has the highest median MIG over 5 seeds against 2 seeds, 0.300",
            "(p = 0.095): the luck of the seeds",
        ),
        (
            [0.10],
            "beta = 8 ranks first with a MIG of 0.300; the next has 0.100",
            "5 seeds against one seed: a rank, not a result",
        ),
    ],
)
def test_with_seeds_the_medians_are_compared(make_sweep, other: list[float], claim: str, certainty: str) -> None:
    scores = {8.0: [0.30, 0.31, 0.29, 0.28, 0.32], 4.0: other}
    trials = {
        f"{beta:g}-{seed}": {"migs": [mig, mig], "beta": beta, "seed": seed + int(beta)}
        for beta, migs in scores.items()
        for seed, mig in enumerate(migs)
    }
    found = headline(read_sweep(make_sweep(trials)).trials)
    assert found.claim.startswith(claim)
    assert certainty in found.certainty


@pytest.mark.parametrize(
    ("differences", "claim", "mean", "p"),
    [
        # all of one sign: 2 of 2**6 choices of signs are as far from 0
        ([0.02, 0.01, 0.02, 0.03, 0.02, 0.02], "wins by", "6 of them, by +0.020 on average", "p = 0.031): more than"),
        # 2 of 2**5: the smallest p that there is
        (
            [0.02, 0.01, 0.02, 0.03, 0.02],
            "has the highest median MIG",
            "5 of them, by +0.020 on average",
            "p = 0.062): the luck",
        ),
        # one large loss: a mean of 0
        (
            [-0.25, 0.05, 0.05, 0.05, 0.05, 0.05],
            "has the highest median MIG",
            "5 of them, by +0.000 on average",
            "p = 1): the luck",
        ),
    ],
)
def test_settings_of_the_same_seeds_are_compared_in_pairs(
    make_sweep, differences: list[float], claim: str, mean: str, p: str
) -> None:
    """The seeds differ more than the settings do. Fails if the pairs are lost: as two groups p is above 0.5."""
    trials = {}
    for seed, difference in enumerate(differences):
        base = 0.30 + 0.10 * seed
        trials[f"8-{seed}"] = {"migs": [0.0, base + difference], "beta": 8.0, "seed": seed}
        trials[f"4-{5 - seed}"] = {"migs": [0.0, base], "beta": 4.0, "seed": seed}
    found = headline(read_sweep(make_sweep(trials)).trials)
    assert found.claim.startswith(f"beta = 8 {claim}")
    assert f"Both have the same {len(differences)} seeds, and are compared in pairs" in found.certainty
    assert f"{mean} (paired permutation test, {p}" in found.certainty
    assert ("With 5 pairs p is at least 0.062" in found.certainty) == (len(differences) == 5)


@pytest.mark.parametrize("cut", [{"stopped": True}, {"error": "NonFiniteLossError: the loss"}, {}])
@pytest.mark.parametrize("has_score", [True, False])
def test_no_test_compares_settings_of_which_a_trial_did_not_end(make_sweep, cut: dict, has_score: bool) -> None:
    """Six seeds each would decide, but one more was cut off: the rest may be those that were lucky."""
    trials = TWO_SETTINGS | {"cut": {"migs": [0.1] if has_score else [], "beta": 4.0, "seed": 6, **cut}}
    found = headline(read_sweep(make_sweep(trials)).trials)
    assert found.claim.startswith("beta = 8 has the highest median MIG over 6 seeds")
    assert "Of the 13 trials of these two, 1 did not run to their end, so no test can compare" in found.certainty
    assert ("; with --scheduler none every trial does." in found.certainty) == ("stopped" in cut)
    assert "p = " not in found.certainty


def test_a_trial_of_a_third_setting_may_have_been_stopped(make_sweep) -> None:
    trials = TWO_SETTINGS | {"cut": {"migs": [0.1], "beta": 1.0, "stopped": True}}
    assert headline(read_sweep(make_sweep(trials)).trials).claim.startswith("beta = 8 wins")


def test_a_second_seed_of_the_best_setting_is_no_rival(make_sweep) -> None:
    """Fails if "the next" is taken from the trials: the lead is over the next setting, by medians."""
    trials = {"a": {"migs": [0.5], "beta": 8.0, "seed": 1}, "b": {"migs": [0.4], "beta": 8.0, "seed": 2}}
    found = headline(read_sweep(make_sweep(trials | {"c": {"migs": [0.2], "beta": 4.0}})).trials)
    assert found.claim == "beta = 8 ranks first with a MIG of 0.450; the next has 0.200."


def test_a_lone_trial_is_no_result(make_sweep) -> None:
    assert "no result" in headline(read_sweep(make_sweep({"a": {"migs": [0.2]}})).trials).certainty


def test_settings_are_ranked_by_their_median_and_not_by_a_lucky_seed(make_sweep) -> None:
    trials = {
        "lucky": {"migs": [0.9], "beta": 2.0, "seed": 1},
        "unlucky": {"migs": [0.1], "beta": 2.0, "seed": 2},
        "poor": {"migs": [0.0], "beta": 2.0, "seed": 3},
        "steady": {"migs": [0.3], "beta": 6.0, "seed": 1},
        "steady2": {"migs": [0.2], "beta": 6.0, "seed": 2},
    }
    first, second = settings_of(read_sweep(make_sweep(trials)).trials)
    assert (first.config.value("beta"), first.median) == (6.0, pytest.approx(0.25))
    assert (second.num_seeds, second.median) == (3, 0.1)


def test_a_seed_is_not_what_a_sweep_varies(make_sweep) -> None:
    trials = {"a": {"migs": [0.1], "seed": 1}, "b": {"migs": [0.1], "seed": 2, "lr": 1e-4}}
    assert varied_fields(read_sweep(make_sweep(trials)).trials) == ["lr"]


def built_scores(information: list[list[float]], kl: list[float]) -> Scores:
    """Scores of a code whose matrix, in shares of each factor's entropy, is given: the answers are known."""
    shares, entropies = np.array(information), np.log([3, 6, 40, 32, 32])
    ordered = np.sort(shares, axis=0)
    gaps = ordered[-1] - ordered[-2]
    mig = Score(
        value=float(gaps.mean()),
        by_factor=dict(zip(NAMES, gaps.tolist(), strict=True)),
        details={
            "matched_latents": dict(zip(NAMES, shares.argmax(0).tolist(), strict=True)),
            "entropies_nats": dict(zip(NAMES, entropies.tolist(), strict=True)),
            "mutual_information_nats": (shares * entropies).tolist(),
        },
        estimator="by hand",
        num_rows=1,
        rows="none",
    )
    return Scores({"mig": mig}, tuple(kl), "rendered", "0" * 64)


BUILT = built_scores(
    [
        [0.00, 0.00, 0.01, 0.90, 0.00],  # latent 0: posX
        [0.30, 0.80, 0.01, 0.00, 0.10],  # latent 1: shape and scale
        [0.00, 0.00, 0.01, 0.10, 0.60],  # latent 2: posY
        [0.00, 0.00, 0.01, 0.00, 0.50],  # latent 3: posY too
        [0.00, 0.03, 0.01, 0.00, 0.00],  # latent 4: nothing
    ],
    kl=[2.5, 1.5, 2.0, 1.0, 0.001],
)


def test_latents_are_ordered_by_kl_and_matched_with_their_factors() -> None:
    latents = latents_by_kl(BUILT)
    assert [latent.index for latent in latents] == [0, 2, 1, 3, 4]
    assert [latent.describe() for latent in latents] == [
        "posX (gap 0.80)",
        "posY (gap 0.10)",
        "shape (gap 0.30), scale (gap 0.77)",
        "no factor first; most of posY (50% of its entropy)",
        "collapsed",
    ]


@pytest.fixture(scope="module")
def portrait(small_data: DSprites, tmp_path_factory: pytest.TempPathFactory, write_sweep) -> Portrait:
    sweep = read_sweep(write_sweep(tmp_path_factory.mktemp("portrait") / "study", {"a": {"migs": [0.2]}}))
    (trial,) = sweep.trials
    assert trial.best_checkpoint is not None
    return portray(trial, trial.best_checkpoint, title="best", data=small_data, device="cpu")


def test_the_diagnosis_names_collapsed_latents_and_shared_and_missing_factors(portrait: Portrait) -> None:
    traversal = np.zeros((5, 2, 64, 64, 1), np.uint8)
    traversal[4, 1, 0, 0, 0] = 51  # a fifth of white
    samples = replace(portrait.samples, traversal=traversal)
    built = replace(portrait, scores=BUILT, latents=latents_by_kl(BUILT), samples=samples)
    assert "Moving one changes a pixel by 20% at most." in diagnose_latents(built)
    assert diagnose_latents(built).startswith("Collapsed (KL below 0.01 nats): latent 4 of 5: at beta = ")
    assert "at most 0.05 nats of scale, in latent 4" in diagnose_latents(built)
    missing, shared = diagnose_factors(built)
    assert missing.startswith("No latent knows orientation: the best has 1.0% of its entropy")
    assert shared.startswith("Latents 2 and 3 share posY: they know 60% and 50%")


def test_a_model_that_draws_one_image_is_called_collapsed(portrait: Portrait) -> None:
    scores = built_scores([[0.0] * 5, [0.0] * 5], kl=[0.001, 0.002])
    assert diagnose_latents(replace(portrait, scores=scores, latents=latents_by_kl(scores))).startswith(
        "Posterior coll"
    )


def test_training_on_a_part_is_told(make_sweep, small_data: DSprites) -> None:
    trials = read_sweep(make_sweep({"a": {"migs": [0.1], "images": 100}, "b": {"migs": [0.1], "seed": 1}})).trials
    data = {"dsprites": small_data}
    assert describe_training(trials, data).startswith("Trained on the first 100 of 768 images of dsprites")
    assert describe_training(trials[1:], data) == ""
    assert describe_training(trials, {}) == ""
    assert describe_training([], data) == ""


def test_a_figure_shows_the_highest_kl_and_the_latents_that_know_a_factor_best(portrait: Portrait) -> None:
    built = replace(portrait, scores=BUILT, latents=latents_by_kl(BUILT))
    assert [latent.index for latent in built.shown(1)] == [0, 2, 1]


def test_a_portrait_scores_its_model_again(portrait: Portrait, scores: Scores) -> None:
    """The checkpoint of the fixture holds the model that `scores` are of."""
    assert portrait.rescored == pytest.approx(scores["mig"].value, abs=1e-9)
    assert portrait.mean_codes["posX"].shape == (3, 8, 3)
    assert portrait.position_codes.shape == (8, 8, 3)


def test_mean_by_factors_against_a_loop() -> None:
    generator = np.random.default_rng(0)
    codes = generator.normal(size=(50, 2)).astype(np.float32)
    factors = np.stack([generator.integers(0, 3, 50), np.zeros(50, int), generator.integers(0, 4, 50)], axis=1)
    space = FactorSpace("abc", (range(3), range(2), range(5)))
    means = mean_by_factors(codes, factors, columns=[0, 2], space=space)
    for a in range(3):
        for b in range(4):
            rows = codes[(factors[:, [0, 2]] == [a, b]).all(1)].astype(np.float64)
            np.testing.assert_allclose(means[a, b], rows.mean(0) if len(rows) else [np.nan] * 2, rtol=1e-12)
    assert np.isnan(means[:, 4]).all()


def test_importance_is_told_from_chance() -> None:
    strong, weak = np.array([0.8, 0.7]), np.array([0.1, 0.15])
    one, other = {"beta": strong, "lr": weak, CHANCE: weak}, {"beta": strong, "lr": strong, CHANCE: weak}
    assert "beta stands out" in describe_importance({"x": one, "y": other}, num_trials=30)
    assert "no hyper-parameter stands out" in describe_importance({"x": {"lr": weak, CHANCE: strong}}, num_trials=9)
    assert describe_importance({}, num_trials=3) == ""
