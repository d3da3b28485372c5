import math

import numpy as np
import pytest
import torch

from betavae.data.factors import FactorSpace
from betavae.metrics import direct_quadrature, exact_information, exact_mutual_information, exact_mutual_information_gap
from betavae.metrics.exact_information import MAX_POINTS, POINTS_PER_SIGMA, RATIO, TAIL, _stencil_weights


def space(*sizes):
    names = tuple(f"factor {k}" for k in range(len(sizes)))
    return FactorSpace(names, tuple(tuple(float(value) for value in range(size)) for size in sizes))


def information(mean, sigma, *sizes):
    """One latent's row of the matrix, from plain standard deviations."""
    mean = np.asarray(mean, dtype=np.float64)
    logvar = np.broadcast_to(2 * np.log(sigma), mean.shape)
    return exact_mutual_information(mean[:, None], logvar[:, None].copy(), space(*sizes))[0]


def information_by_integration(mean, sigma, *sizes):
    """Sum every component's density at 3,001 points across every component, and integrate by the trapezoid rule.

    With steps of 0.006 of the component's own sigma the rule's error is below 0.006^2 / 12 = 3e-6 per nat.
    """
    points = np.unique(mean[:, None] + sigma[:, None] * np.linspace(-9, 9, 3001))
    scaled = (points - mean[:, None]) / sigma[:, None]
    densities = (np.exp(-0.5 * scaled**2) / (sigma[:, None] * math.sqrt(2 * math.pi))).reshape(*sizes, points.size)

    def entropy(density):
        return -np.trapezoid(density * np.log(np.maximum(density, 1e-300)), points)

    def of_axis(axis):
        given = np.moveaxis(densities, axis, 0).reshape(sizes[axis], -1, points.size).mean(axis=1)
        return entropy(given.mean(axis=0)) - np.mean([entropy(density) for density in given])

    return np.array([of_axis(axis) for axis in range(len(sizes))])


@pytest.fixture(params=["by transforms", "directly"])
def _either_way(request, monkeypatch):
    """Gaussians are summed in one way, whichever is faster."""
    directly = request.param == "directly"
    monkeypatch.setattr(exact_information, "direct_seconds", lambda *_, **__: 0.0 if directly else math.inf)
    if directly:
        monkeypatch.setattr(exact_information, "LONG_GRID", 0)


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("sizes", [(2,), (3, 2), (2, 3, 4)])
@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_agrees_with_integration(sizes, sigma, spread):
    # Over four decades of sigma, and factors of 100 between the components of one latent. Fails if a moment is not
    # kept in rounding, an octave's grid is off by a cell, or the axes of the factor grid are exchanged. Two images
    # are the hardest: rounding does not average out.
    generator = np.random.default_rng([len(sizes), round(1e4 * sigma), round(10 * spread)])
    mean = generator.normal(size=math.prod(sizes))
    sigmas = sigma * np.exp(spread * generator.uniform(-1.5, 1.5, size=mean.size))
    expected = information_by_integration(mean, sigmas, *sizes)
    np.testing.assert_allclose(information(mean, sigmas, *sizes), expected, rtol=0, atol=3e-5)


@pytest.mark.usefixtures("_either_way")
def test_sigmas_of_four_decades_in_one_latent():
    # The longest grid that is not blurred. Fails if wide components are lost between the octaves.
    generator = np.random.default_rng(0)
    mean, sigma = generator.normal(size=24), 10 ** generator.uniform(-4, 0, size=24)
    np.testing.assert_allclose(
        information(mean, sigma, 2, 3, 4), information_by_integration(mean, sigma, 2, 3, 4), rtol=0, atol=3e-5
    )


@pytest.mark.parametrize("values", [space(3, 4, 5, 20), "rows"])
def test_narrow_posteriors_are_summed_directly(values, monkeypatch):
    # As those of an annealed VAE of 75 nats: transforms took 150 s a latent. Fails if a slice of the images, or a
    # window of the grid, is lost or counted twice.
    generator = np.random.default_rng(1)
    mean = generator.uniform(0, 5, size=(1_200, 1)).cumsum(0) % 7
    logvar = 2 * np.log(2e-5 * np.exp(np.abs(generator.normal(size=mean.shape))))
    factors = space(3, 4, 5, 20).indices_to_factors(np.arange(1_200)) if values == "rows" else values
    with monkeypatch.context() as by_transforms:
        by_transforms.setattr(exact_information, "direct_seconds", lambda *_, **__: math.inf)
        expected = exact_mutual_information(mean, logvar, factors)
    monkeypatch.setattr(exact_information, "_round_components", lambda *_: pytest.fail("transforms are not needed"))
    monkeypatch.setattr(direct_quadrature, "_PAIRS", 5_000)
    monkeypatch.setattr(direct_quadrature, "_CELLS", 2**17)
    np.testing.assert_allclose(exact_mutual_information(mean, logvar, factors), expected, rtol=0, atol=1e-5)


def test_gaussian_closed_form():
    # mu = +-1 for a bit, sigma = 1: I = log 2 - E[log(1 + exp(-2z))], z ~ N(1, 1); the other latent is the prior.
    z = np.linspace(-9, 11, 200_001)
    density = np.exp(-0.5 * (z - 1) ** 2) / math.sqrt(2 * math.pi)
    expected = math.log(2) - np.trapezoid(density * np.log1p(np.exp(-2 * z)), z)
    assert expected == pytest.approx(0.336831, abs=5e-7)
    result = exact_mutual_information_gap(np.array([[-1.0, 0], [1.0, 0]]), np.zeros((2, 2)), space(2))
    assert result.mutual_information[0, 0] == pytest.approx(expected, abs=1e-5)
    assert result.mutual_information[1, 0] == pytest.approx(0, abs=1e-12)
    assert result.score == pytest.approx(expected / math.log(2), abs=2e-5)
    assert result.ceiling is None


@pytest.mark.parametrize("sigma", [1e-2, 1e-6, 1e-30, math.exp(-150)])
def test_perfect_code_reaches_one(sigma):
    # Where the bins' ceiling is 0.83. Fails if a tiny sigma is blurred although nothing lies between the values.
    factors = np.stack(np.unravel_index(np.arange(40 * 32), (40, 32)), axis=1)
    result = exact_mutual_information_gap(
        factors.astype(np.float64), np.full((40 * 32, 2), 2 * math.log(sigma)), space(40, 32)
    )
    np.testing.assert_allclose(result.mutual_information, np.diag(np.log([40, 32])), rtol=0, atol=1e-9)
    assert result.score == pytest.approx(1, abs=1e-9)
    assert result.matched_latents.tolist() == [0, 1]


def test_latents_that_stay_at_the_prior_know_nothing():
    # I <= the variance that the factor explains, of order 1e-6 / images per value; the rest would be a numerical floor.
    generator = np.random.default_rng(0)
    shape = (3 * 40 * 10, 10)
    mean, logvar = 1e-3 * generator.normal(size=shape), 1e-3 * generator.normal(size=shape)
    result = exact_mutual_information_gap(mean, logvar, space(3, 40, 10))
    assert result.mutual_information.min() >= 0
    assert result.mutual_information.max() < 1e-6
    assert result.score < 1e-6


def test_duplicates_leave_no_gap():
    mean = np.stack([np.arange(6.0), -np.arange(6.0), np.zeros(6)], axis=1)
    result = exact_mutual_information_gap(mean, np.full((6, 3), -4.0), space(6))
    assert result.mutual_information[0, 0] > 1.5
    assert result.score == pytest.approx(0, abs=1e-9)


def test_rows_are_in_index_order():
    # The last factor varies fastest. Fails if the grid's axes are taken in another order, or permuted latents mix.
    factors = space(2, 3, 4).indices_to_factors(np.arange(24))
    codes = factors[:, [2, 0, 1]].astype(np.float64)
    matrix = exact_mutual_information(codes, np.full(codes.shape, -12.0), space(2, 3, 4))
    expected = np.zeros((3, 3))
    expected[[0, 1, 2], [2, 0, 1]] = np.log([4, 2, 3])
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("scale", "shift"), [(-1.0, 0.0), (1e-6, 0.0), (1e6, 3e6), (0.37, -12.0)])
def test_affine_maps_change_nothing(scale, shift):
    # Within the rounding of means to grid points, which the map moves.
    generator = np.random.default_rng(2)
    mean, sigma = generator.normal(size=24), 0.1 * np.exp(generator.normal(size=24))
    np.testing.assert_allclose(
        information(scale * mean + shift, abs(scale) * sigma, 2, 3, 4),
        information(mean, sigma, 2, 3, 4),
        rtol=0,
        atol=3e-5,
    )


def test_distant_clusters_are_moved_together():
    # Fails if gaps are not closed: the grid of one cluster's detail, stretched to 1e9, would be blurred by 4e3.
    generator = np.random.default_rng(3)
    mean = generator.normal(size=(2, 12))
    sigma = 0.1 * np.exp(generator.normal(size=(2, 12)))
    near, far = (np.concatenate([mean[0], mean[1] + distance]) for distance in (100, 1e9))
    np.testing.assert_allclose(
        information(far, sigma.ravel(), 2, 3, 4), information(near, sigma.ravel(), 2, 3, 4), rtol=0, atol=3e-5
    )


def test_blurring_only_lowers_the_result():
    # One image as wide as the rest is narrow leaves no gap to close. Fails if the blur touches narrow components only
    # (no channel then), or is larger than the docstring says: then pairs 1e-4 apart would no longer be told apart.
    mean = np.array([0.0, 1e-4, 0.5, 0.5])
    sigma = np.array([1e-9, 5e-5, 1e-9, 1.0])  # the second like the blur, which must widen it too
    got = information(mean, sigma, 2, 2)
    truth = information_by_integration(mean, sigma, 2, 2)
    assert (got <= truth + 1e-5).all()
    blur = POINTS_PER_SIGMA * 2 * TAIL / MAX_POINTS  # for a length of 14
    assert blur == pytest.approx(4e-6 * 2 * TAIL, rel=0.1)
    blurred = information_by_integration(mean, np.hypot(sigma, blur), 2, 2)
    np.testing.assert_allclose(got, blurred, rtol=0, atol=3e-5)


def test_float32_gives_the_float64_result_of_the_same_numbers():
    generator = np.random.default_rng(4)
    mean, logvar = generator.normal(size=(2, 24, 3)).astype(np.float32)
    result = exact_mutual_information(mean, logvar, space(2, 3, 4))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(
        result, exact_mutual_information(mean.astype(np.float64), logvar.astype(np.float64), space(2, 3, 4))
    )


def test_shared_variances_keep_three_moments():
    # Linear weights in log sigma, or two nodes, would keep one moment or none.
    ratio = np.linspace(1, RATIO, 11)
    weights = _stencil_weights(ratio)
    nodes = RATIO ** np.arange(-1, 3)
    for power in range(4):
        np.testing.assert_allclose(nodes**power @ weights, ratio**power, rtol=1e-13)


@pytest.mark.parametrize(
    ("mean", "logvar", "message"),
    [
        (np.zeros((6, 2)), np.zeros((6, 3)), "matrices of one shape"),
        (np.zeros((6, 2)), np.zeros((5, 2)), "matrices of one shape"),
        (np.zeros((6, 0)), np.zeros((6, 0)), "matrices of one shape"),
        (np.zeros((5, 2)), np.zeros((5, 2)), "each of the 6 images, in index order, but got 5 rows"),
        (np.array([[0, np.nan]] * 6), np.zeros((6, 2)), r"mean must be finite, but latents \[1\]"),
        (np.zeros((6, 2)), np.array([[-np.inf, 0]] * 6), r"logvar must be finite, but latents \[0\]"),
        (np.zeros((6, 2)), np.full((6, 2), 301.0), r"logvar must lie in \[-300, 300\]"),
        ([["a", "b"]] * 6, np.zeros((6, 2)), "mean must be real numbers, but one entry is 'a'"),
        (np.zeros((6, 2)), np.zeros((6, 2), complex), "logvar must be real numbers, but one entry is 0j"),
        ([], [], "matrices of one shape"),
    ],
)
def test_refusals(mean, logvar, message):
    with pytest.raises(ValueError, match=message):
        exact_mutual_information(mean, logvar, space(2, 3))


def test_logvars_at_both_limits_in_one_latent():
    # No overflow warning (which is an error here) and no nan. Beside the wide image, the narrow ones are one point, so
    # that I = H(1/4) - H(1/2) / 2 for both factors. What the wide one overlaps is below 1e-4 of its mass.
    logvar = np.array([-300.0, -300.0, 300.0, -300.0])[:, None]
    expected = 1.5 * math.log(2) - 0.75 * math.log(3)
    matrix = exact_mutual_information(np.arange(4.0)[:, None], logvar, space(2, 2))
    np.testing.assert_allclose(matrix, [[expected, expected]], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "form",
    [
        torch.tensor, lambda a: torch.tensor(a, requires_grad=True), lambda a: a.tolist(), np.asfortranarray,
        lambda a: tuple(map(tuple, a)), lambda a: a.astype(">f8"), lambda a: np.repeat(a, 2, 0)[::2],
    ],
)  # fmt: skip
def test_posteriors_may_come_in_any_form(form):
    mean, logvar = np.random.default_rng(0).normal(size=(2, 24, 3))
    np.testing.assert_array_equal(
        exact_mutual_information(form(mean), form(logvar), space(2, 3, 4)),
        exact_mutual_information(mean, logvar, space(2, 3, 4)),
    )


def test_integers_are_posteriors_too():
    # An int8 of -128 has no absolute value in int8.
    mean, logvar = np.arange(6, dtype=np.uint8)[:, None], np.full((6, 1), -128, np.int8)
    np.testing.assert_array_equal(
        exact_mutual_information(mean, logvar, space(2, 3)),
        exact_mutual_information(mean.astype(float), logvar.astype(float), space(2, 3)),
    )


def test_a_factor_space_by_hand_may_be_made_of_lists_and_arrays():
    by_hand = FactorSpace(["a", "b"], [range(2), np.arange(3)])
    assert by_hand == FactorSpace(("a", "b"), ((0, 1), (0, 1, 2)))
    mean = np.arange(6.0)[:, None]
    assert exact_mutual_information(mean, mean * 0 - 9, by_hand).shape == (1, 2)


@pytest.mark.parametrize("exponent", [300, 511, 600, 1022])
def test_means_whose_squares_overflow_are_told_apart(exponent):
    # log 2 and log 3 in closed form: beside means so far apart, every sigma is a point.
    mean = (np.arange(6.0) - 2.5)[:, None] / 3 * 2.0**exponent
    matrix = exact_mutual_information(mean, np.zeros((6, 1)), space(2, 3))
    np.testing.assert_allclose(matrix, [[math.log(2), math.log(3)]], rtol=0, atol=1e-4)
