"""The reference backend against oracles of its own: mpmath, SciPy's densities, dense algebra, central differences."""

import mpmath
import numpy as np
import pytest
from scipy.stats import lognorm, norm

from hpo_fast.backends.base import UTILITIES, Utility
from hpo_fast.backends.reference import GaussianProcess
from hpo_fast.backends.reference_factor import factorise
from hpo_fast.backends.reference_kernel import Kernel
from hpo_fast.backends.reference_search import every_point, same_points, snap, stretch
from hpo_fast.backends.reference_utility import d_log_h, log_h, utility_value
from hpo_fast.backends.reference_warp import warp
from hpo_fast.errors import NumericalError
from hpo_fast.space import Between, Categorical, Constant, Float, Int, Ordinal, Space

FLOATS = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
MIXED = Space(
    x=Float(0.0, 1.0),
    units=Int(1, 300, log=True),
    step=Float(0.0, 1.0, step=0.15),
    size=Ordinal([16, 64, 256]),
    kind=Categorical(["a", "b", "c"]),
    fixed=Constant(1),
    rate=Float(0.0, 1.0).when(kind=["a", "b"]),
    deep=Int(1, 5).when(rate=Between(0.25, 0.5), kind="a"),
)

# z from -1e8 to 1e8, dense around 0 and around every branch.
Z = np.unique(
    np.concatenate(
        [sign * np.logspace(-8, 8, 65) for sign in (-1.0, 1.0)]
        + [np.linspace(-12.0, 12.0, 97)]
        + [at * (1.0 + np.array([-1e-3, -1e-12, 0.0, 1e-12, 1e-3])) for at in (-1.0, -1e3, -1e6)]
    )
)


def exact_log_h(z):
    z = mpmath.mpf(float(z))
    return mpmath.log(mpmath.npdf(z) + z * mpmath.ncdf(z))


def exact_d_log_h(z):
    z = mpmath.mpf(float(z))
    return mpmath.ncdf(z) / (mpmath.npdf(z) + z * mpmath.ncdf(z))


def mills(x):
    """Phi(-x)/phi(x) for large x by its asymptotic series; mpmath's own tail fails beyond 1e5 or so."""
    return sum((-1) ** k * mpmath.fac2(2 * k - 1) / x ** (2 * k + 1) for k in range(12))


def exact(z):
    """ln h and Phi/h, with digits enough for the cancellation of phi + z Phi."""
    with mpmath.workdps(60):
        if z > -50.0:
            return exact_log_h(z), exact_d_log_h(z)
        x = -mpmath.mpf(float(z))
        rest = 1 - x * mills(x)
        return -x * x / 2 - mpmath.log(2 * mpmath.pi) / 2 + mpmath.log(rest), mills(x) / rest


def test_log_h_and_its_derivative_for_every_z():
    values, slopes = log_h(Z), d_log_h(Z)
    for z, value, slope in zip(Z, values, slopes, strict=True):
        expected, d_expected = exact(z)
        error = abs(mpmath.mpf(float(value)) - expected)
        assert error <= max(mpmath.mpf("1e-14"), abs(expected) * mpmath.mpf("1e-10")), (z, value, expected)
        assert abs(mpmath.mpf(float(slope)) - d_expected) <= abs(d_expected) * mpmath.mpf("1e-8"), (
            z,
            slope,
            d_expected,
        )


@pytest.mark.parametrize("kind", UTILITIES)
def test_utilities_are_their_definitions(kind):
    rng = np.random.default_rng(0)
    mean, var, best = rng.normal(size=40), 10.0 ** rng.uniform(-3, 1, size=40), -0.3
    sd = np.sqrt(var)
    z = (best - mean) / sd
    ei = (best - mean) * norm.cdf(z) + sd * norm.pdf(z)
    definition = {
        "log_ei": lambda: np.array([float(mpmath.log(s) + exact(t)[0]) for s, t in zip(sd, z, strict=True)]),
        "ei": lambda: ei,
        "log_pi": lambda: norm.logcdf(z),
        "pi": lambda: norm.cdf(z),
        "ucb": lambda: -(mean - 2.5 * sd),
    }[kind]()
    value, d_mean, d_var = utility_value(Utility(kind, 2.5), mean, var, best)
    # EI in the tail: the definition itself cancels, to 1e-16 absolute.
    np.testing.assert_allclose(value, definition, rtol=1e-9, atol=1e-15)
    utility = Utility(kind, 2.5)

    def assert_slope(slope, h, up, down):
        numeric = (utility_value(utility, *up, best)[0] - utility_value(utility, *down, best)[0]) / (2 * h)
        # Central differences: truncation 1e-10 of the third derivative in units of sd, rounding eps |value| / h.
        assert np.all(np.abs(slope - numeric) <= 1e-5 * np.abs(slope) + 4e-16 * (1.0 + np.abs(value)) / h)

    h = 1e-5 * sd
    assert_slope(d_mean, h, (mean + h, var), (mean - h, var))
    h = 1e-5 * var
    assert_slope(d_var, h, (mean, var + h), (mean, var - h))


@pytest.mark.parametrize("kind", UTILITIES)
def test_utilities_are_finite_and_never_rise_with_the_mean(kind):
    mean = np.concatenate([-np.logspace(8, -8, 200), np.logspace(-8, 8, 200)])
    value, d_mean, d_var = utility_value(Utility(kind), mean, np.ones(400), 0.0)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(d_mean)) and np.all(np.isfinite(d_var))
    assert np.all(np.diff(value) <= 0.0) and np.all(d_mean <= 0.0)


def test_unknown_utilities_are_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        Utility("thompson")
    for beta in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="beta must be"):
            Utility("ucb", beta)


# -- the model -------------------------------------------------------------------------------------------------------


def exact_covariance(kernel, r2):
    if kernel == "matern52":
        t = mpmath.sqrt(5 * r2)
        return (1 + t + t * t / 3) * mpmath.exp(-t)
    if kernel == "matern32":
        t = mpmath.sqrt(3 * r2)
        return (1 + t) * mpmath.exp(-t)
    return mpmath.exp(-r2 / 2)


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("mean", ["constant", "zero"])
def test_likelihood_and_posterior_to_fifty_digits(kernel, mean):
    rng = np.random.default_rng(1)
    U, y, x = rng.random((7, 2)), rng.normal(size=7), rng.random(2)
    theta = np.array([np.log(0.4), np.log(0.9), np.log(1.3), np.log(0.01)])
    gp = GaussianProcess(FLOATS.layout, kernel=kernel, mean=mean, standardise=False)
    gp.set_theta(theta[None, :])
    gp.append(U, y[:, None])
    with mpmath.workdps(50):
        l1, l2, s2, noise = (mpmath.exp(mpmath.mpf(float(t))) for t in theta)

        def k(a, b):
            a, b = [mpmath.mpf(float(v)) for v in a], [mpmath.mpf(float(v)) for v in b]
            return s2 * exact_covariance(kernel, ((a[0] - b[0]) / l1) ** 2 + ((a[1] - b[1]) / l2) ** 2)

        K = mpmath.matrix(7, 7)
        for i in range(7):
            for j in range(7):
                K[i, j] = k(U[i], U[j]) + (noise if i == j else 0)
        inverse = K**-1
        w, one = mpmath.matrix([mpmath.mpf(float(v)) for v in y]), mpmath.ones(7, 1)
        mu = (one.T * inverse * w)[0] / (one.T * inverse * one)[0] if mean == "constant" else mpmath.mpf(0)
        residual = w - mu * one
        likelihood = (
            -(residual.T * inverse * residual)[0] / 2
            - mpmath.log(mpmath.det(K)) / 2
            - 7 * mpmath.log(2 * mpmath.pi) / 2
        )
        cross = mpmath.matrix([k(x, u) for u in U])
        expected_mean = mu + (cross.T * inverse * residual)[0]
        expected_var = s2 - (cross.T * inverse * cross)[0]
    # Double precision at a condition of 1e3.
    assert gp.log_likelihood(theta[None, :])[0][0] == pytest.approx(float(likelihood), rel=1e-11)
    found_mean, found_var = gp.predict(x[None, :])
    assert found_mean[0, 0] == pytest.approx(float(expected_mean), rel=1e-10)
    assert found_var[0, 0] == pytest.approx(float(expected_var), rel=1e-10)


def test_distance_of_choices_and_of_numbers_that_need_not_exist():
    space = Space(
        kind=Categorical(["a", "b"]), rate=Float(0.0, 1.0).when(kind="a"), flag=Categorical([0, 1]).when(kind="a")
    )
    gp = GaussianProcess(space.layout, kernel="rbf", standardise=False, mean="zero")
    l2 = np.array([0.5, 0.7, 1.1]) ** 2
    gp.set_theta(np.r_[0.5 * np.log(l2), np.log(1.5), np.log(1e-3)][None, :])
    present, elsewhere, absent = (
        space.encode(p)
        for p in ({"kind": "a", "rate": 0.9, "flag": 0}, {"kind": "a", "rate": 0.2, "flag": 1}, {"kind": "b"})
    )
    gp.append(present[None, :], np.array([[1.0]]))
    weight = 1.0 / (1.5 + 1e-3)
    for u, r2 in (
        (present, 0.0),
        (elsewhere, 0.7**2 / l2[1] + 1.0 / l2[2]),
        (absent, 1.0 / l2[0] + (0.4**2 + 0.25) / l2[1] + 1.0 / l2[2]),
    ):
        mean, var = gp.predict(u[None, :])
        k = 1.5 * np.exp(-0.5 * r2)
        assert mean[0, 0] == pytest.approx(k * weight, rel=1e-12)
        assert var[0, 0] == pytest.approx(1.5 - k * k * weight, rel=1e-12)


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
def test_every_covariance_is_positive_definite(kernel):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        U = MIXED.from_uniform(rng.random((30, MIXED.d)))
        theta = np.r_[rng.normal(0.0, 1.0, MIXED.d), 0.0, 0.0]
        K = Kernel(MIXED.layout, kernel).between(theta, U, U)
        assert np.min(np.linalg.eigvalsh(K)) > -1e-13 * 30
        np.testing.assert_array_equal(K, K.T)


def test_prior_is_the_density_of_the_parameters():
    gp = GaussianProcess(MIXED.layout)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(1, MIXED.d + 2))
    value, slope = gp.log_likelihood(theta, gradient=True, prior=True)
    lengths, s2, noise = np.exp(theta[0, :-2]), np.exp(theta[0, -2]), np.exp(theta[0, -1])
    expected = np.sum(lognorm.logpdf(lengths, s=np.sqrt(3.0), scale=np.exp(np.sqrt(2.0) + 0.5 * np.log(MIXED.d))))
    expected += lognorm.logpdf(s2, s=1.0) + lognorm.logpdf(noise, s=1.0, scale=np.exp(-4.0))
    assert value[0] == pytest.approx(expected, rel=1e-12)
    for i in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[0, i] = 1e-5  # a quadratic: central differences are exact but for rounding, 1e-16 x 60 / 1e-5
        numeric = (
            gp.log_likelihood(theta + step, prior=True)[0] - gp.log_likelihood(theta - step, prior=True)[0]
        ) / 2e-5
        assert slope[0, i] == pytest.approx(numeric[0], abs=1e-8)


def test_likelihood_gradient_with_jitter_and_merged_rows():
    rng = np.random.default_rng(3)
    U = rng.random((8, 2))
    gp = GaussianProcess(FLOATS.layout, noise=0.0, standardise=False)
    gp.append(np.concatenate([U, U[:2], U[2:4] + 3e-8]), rng.normal(size=(12, 1))[[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]])
    theta = np.array([[np.log(0.3), np.log(0.4), 0.2, 0.0]])
    _, slope = gp.log_likelihood(theta, gradient=True)
    for i in range(3):
        step = np.zeros_like(theta)
        step[0, i] = 1e-4
        numeric = (gp.log_likelihood(theta + step)[0] - gp.log_likelihood(theta - step)[0]) / 2e-4
        # The condition is 1e8, so a likelihood is good to 1e-7 or so, and a difference quotient to 1e-3 of its size.
        assert slope[0, i] == pytest.approx(numeric[0], rel=1e-2)
    assert slope[0, 3] == 0.0


def test_guard_names_the_row_that_no_jitter_helps():
    K = np.eye(3)
    K[2, 0] = K[0, 2] = 1.5  # no covariance: the third row has the variance 1 - 2.25 given the first
    with pytest.raises(NumericalError, match="row 2") as error:
        factorise(np.ones((3, 3)), K, np.zeros(3), 1.0)
    assert error.value.row == 2


def test_guard_takes_the_least_jitter_that_helps():
    floor = 32.0 * np.finfo(float).eps * 2
    for miss, expected in ((0.5e-8, 1e-8), (0.5e-7, 1e-7), (0.5e-4, 1e-4)):
        K = np.array([[1.0, 1.0], [1.0, 1.0]])
        K[0, 1] = K[1, 0] = np.sqrt(1.0 + miss)
        factor = factorise(np.array([[0.0, 1e-10], [1e-10, 0.0]]), K, np.zeros(2), 1.0)
        assert factor.jitter.tolist() == [0.0, expected]
        assert factor.L[1, 1] ** 2 == pytest.approx(expected - miss, rel=1e-6)
        assert factor.L[1, 1] ** 2 > floor


# -- the warp --------------------------------------------------------------------------------------------------------


def test_warp_by_hand():
    y = np.array([0.0, 1.0, 2.0, 3.0, 100.0])
    fence = 1.5 * (3.0 - 1.0)
    w = np.array([0.0, 1.0, 2.0, 3.0, 2.0 + fence + fence * np.log(1.0 + 95.0 / fence)])
    found, shift, scale = warp(y)
    assert shift == pytest.approx(w.mean(), rel=1e-14) and scale == pytest.approx(w.std(), rel=1e-14)
    np.testing.assert_allclose(found, (w - w.mean()) / w.std(), rtol=1e-13)


def test_warp_keeps_the_order_and_all_but_the_far_tail():
    rng = np.random.default_rng(0)
    y = rng.standard_cauchy(51)
    found, shift, scale = warp(y)
    assert np.all(np.diff(found[np.argsort(y)]) > 0.0)
    near = y <= np.median(y) + 1.5 * (np.sort(y)[38] - np.sort(y)[12])
    assert 40 < np.sum(near) < 51
    np.testing.assert_allclose(shift + scale * found[near], y[near], rtol=1e-12, atol=1e-12 * scale)
    assert np.mean(found) == pytest.approx(0.0, abs=1e-13) and np.std(found) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("huge", [1e30, 1e300, 1.7e308])
def test_one_huge_value_leaves_the_others_their_resolution(huge):
    y = np.append(np.random.default_rng(0).normal(size=50), huge)
    assert np.std(warp(y)[0][:50]) > 0.2


def test_the_bad_stay_apart_when_most_values_crowd_at_the_best():
    y = np.concatenate([0.2 + 1e-3 * np.random.default_rng(0).random(80), [0.3, 0.6, 1.0]])
    found = warp(y)[0]
    assert np.all(np.diff(found[80:]) > 0.1)


def test_warp_gives_ties_one_value_and_failed_rows_the_worst():
    found, _, _ = warp(np.array([0.0, 5.0, 5.0, np.inf, 1.0, 5.0, -1.0, -2.0]))
    assert found[1] == found[2] == found[5] == found[3] == np.max(found)
    np.testing.assert_array_equal(warp(np.full(3, np.inf))[0], np.zeros(3))


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e299])
def test_warp_does_not_know_units(factor):
    y = np.random.default_rng(0).normal(size=20)
    found, shift, scale = warp(factor * y)
    expected, expected_shift, expected_scale = warp(y)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert shift / factor == pytest.approx(expected_shift, rel=1e-9)
    assert scale / factor == pytest.approx(expected_scale, rel=1e-9)


@pytest.mark.parametrize("y", [[3.0], [7.0, 7.0], [1e300, 1e300], [-1.7e308] * 3, [1.0, 1.0 + 2e-16], [0.0, 0.0, 0.0]])
def test_warp_of_values_that_are_all_the_same(y):
    found, shift, scale = warp(np.array(y))
    np.testing.assert_array_equal(found, np.zeros(len(y)))
    assert scale == 1.0 and shift == pytest.approx(y[0])


# -- the search ------------------------------------------------------------------------------------------------------


def test_snap_is_what_the_space_calls_canonical():
    W = np.random.default_rng(0).random((500, MIXED.d))
    # The space takes a continuous code through its value and back: 1e-12 is what it promises.
    np.testing.assert_allclose(snap(MIXED.layout, W), MIXED.canonical(W), rtol=0.0, atol=1e-12)
    np.testing.assert_array_equal(snap(MIXED.layout, snap(MIXED.layout, W)), snap(MIXED.layout, W))


def test_every_point_lists_a_finite_space_once():
    space = Space(
        n=Int(1, 4), kind=Categorical(["a", "b", "c"]), flag=Categorical([False, True]).when(kind="a", n=Between(2, 3))
    )
    found = every_point(space.layout, 100)
    expected = space.from_uniform(np.random.default_rng(0).random((3000, 3)))
    assert {u.tobytes() for u in found} == {u.tobytes() for u in expected} and len(found) == 14
    assert every_point(space.layout, 13) is None
    assert every_point(MIXED.layout, 10**6) is None


def test_stretch_keeps_the_children_as_they_are():
    layout = MIXED.layout
    rate = MIXED.names.index("rate")
    for code in (0.1, 0.25, 0.4, 0.5, 0.9):
        low, high = stretch(layout, rate, code)
        assert low <= code <= high
        W = np.full((50, MIXED.d), 0.1)
        W[:, rate] = np.linspace(low, high, 50)
        missing = np.isnan(snap(layout, W))
        assert np.all(missing == missing[0])
    assert stretch(layout, rate, 0.4) == (0.25, 0.5)
    assert stretch(layout, MIXED.names.index("x"), 0.4) == (0.0, 1.0)


def test_same_points_looks_at_values_and_at_what_exists():
    u = MIXED.encode({"x": 0.5, "units": 7, "step": 0.3, "size": 64, "kind": "a", "fixed": 1, "rate": 0.3, "deep": 2})
    near, other, gone = u.copy(), u.copy(), u.copy()
    near[0] += 5e-10
    near[1] += 1e-4  # the same integer
    other[0] += 1e-6
    gone[-1] = np.nan
    assert same_points(MIXED.layout, np.array([u, near, other, gone]), u[None, :]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert same_points(MIXED.layout, u[None, :], np.empty((0, MIXED.d))).tolist() == [False]


def test_a_larger_search_is_not_worse():
    rng = np.random.default_rng(5)
    gp = GaussianProcess(MIXED.layout)
    U = MIXED.from_uniform(rng.random((30, MIXED.d)))
    gp.append(U, np.sum((np.nan_to_num(U, nan=0.7) - 0.4) ** 2, axis=1)[:, None])
    gp.refit()
    small, large = (
        gp.maximise(Utility(), 1, None, (0, 0), n_candidates=n, n_starts=s) for n, s in ((256, 2), (5120, 40))
    )
    assert large.values[0] >= small.values[0] - 1e-9


def test_the_search_finds_the_minimum_of_a_bowl():
    gp = GaussianProcess(FLOATS.layout, noise=1e-6, standardise=False)
    U = FLOATS.from_uniform(np.random.default_rng(0).random((60, 2)))
    gp.append(U, np.sum((U - [0.31, 0.77]) ** 2, axis=1)[:, None])
    gp.refit()
    found = gp.maximise(Utility("ucb", 0.0), 1, None, (0, 0))
    np.testing.assert_allclose(found.U[0], [0.31, 0.77], atol=0.01)
    assert len(found.optima) <= 10
