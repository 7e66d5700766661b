"""The acquisition formulas of csrc/device/scalar.hpp against mpmath."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest

Evaluate = Callable[..., list[list[float]]]
DIGITS = 50

MAGNITUDES = np.logspace(-8, 8, 97)
BORDERS = [x for b in (-50.0, -1.0, 0.0) for x in (np.nextafter(b, -np.inf), b, np.nextafter(b, np.inf))]
Z = np.concatenate([MAGNITUDES, -MAGNITUDES, BORDERS, np.linspace(-60.0, 40.0, 203), [-1e3, -1e6, -1e6 - 1e-3]])


def ratio(z: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """r = Phi/phi and 1 + z r; beyond -1e3 by the asymptotic series, whose 16th term is below 1e-75 there."""
    if z < -1000:
        w = 1 / z**2
        r = -mp.fsum((-1) ** k * mp.fac2(2 * k - 1) * w**k for k in range(16)) / z
        return r, w * mp.fsum((-1) ** k * mp.fac2(2 * k + 1) * w**k for k in range(16))
    with mp.workdps(DIGITS + 20):  # 1 + z r cancels about 6 digits at -1e3
        r = mp.erfc(-z / mp.sqrt(2)) / 2 / mp.npdf(z)
        return r, 1 + z * r


def log_pdf(z: mp.mpf) -> mp.mpf:
    return -z * z / 2 - mp.log(2 * mp.pi) / 2


def close(value: float, exact: mp.mpf, relative: float, absolute: float = 0.0) -> bool:
    return abs(mp.mpf(value) - exact) <= max(relative * abs(exact), mp.mpf(absolute))


@pytest.fixture(autouse=True)
def fifty_digits() -> object:
    with mp.workdps(DIGITS):
        yield


def test_log_ei_and_its_gradient(evaluate: Evaluate) -> None:
    """ln h to 1e-10 relative or 1e-14 absolute, h'/h and h''/h to 1e-8 relative, for z from -1e8 to 1e8."""
    for z, (value, slope, curve) in zip(Z, evaluate("log_ei", Z), strict=True):
        x = mp.mpf(float(z))
        if z > 30:  # phi is below 1e-195: h = z, h' = 1 to every digit
            exact, exact_slope, exact_curve = mp.log(x), 1 / x, mp.npdf(x) / x
        else:
            r, s = ratio(x)
            exact, exact_slope, exact_curve = log_pdf(x) + mp.log(s), r / s, 1 / s
        assert close(value, exact, 1e-10, 1e-14), z
        assert close(slope, exact_slope, 1e-8), z
        assert close(curve, exact_curve, 1e-8, 1e-300), z  # the density underflows beyond z = 38


def test_log_pi_and_its_gradient(evaluate: Evaluate) -> None:
    for z, (value, slope) in zip(Z, evaluate("log_cdf", Z), strict=True):
        x = mp.mpf(float(z))
        if z > 0:
            tail = mp.erfc(x / mp.sqrt(2)) / 2
            exact, exact_slope = mp.log1p(-tail), mp.npdf(x) / (1 - tail)
        else:
            r, _ = ratio(x)
            exact, exact_slope = log_pdf(x) + mp.log(r), 1 / r
        # exp(-z^2/2) has the relative error eps z^2/2, 2e-13 at z = 38, where it underflows.
        assert close(value, exact, 1e-12, 1e-300), z
        assert close(slope, exact_slope, 1e-12, 1e-300), z


def test_normal_functions(evaluate: Evaluate) -> None:
    for z, (h, cdf, pdf) in zip(Z, evaluate("normal", Z), strict=True):
        x = mp.mpf(float(z))
        _, s = ratio(min(x, mp.mpf(30)))
        exact_h = x if z > 30 else mp.exp(log_pdf(x) + mp.log(s))
        assert close(h, exact_h, 1e-12, 1e-300), z
        assert close(cdf, mp.ncdf(x) if z > -1000 else mp.mpf(0), 1e-12, 1e-300), z
        assert close(pdf, mp.npdf(x), 1e-12, 1e-300), z


def test_erfcx(evaluate: Evaluate) -> None:
    """Relative error below 1e-15, about four roundings, for every x >= 0."""
    points = np.concatenate([[0.0], np.linspace(0.0, 20.0, 301), np.logspace(-9, 2, 89)])
    for x, (value,) in zip(points, evaluate("erfcx", points), strict=True):
        exact = mp.exp(mp.mpf(float(x)) ** 2) * mp.erfc(mp.mpf(float(x)))
        assert close(value, exact, 1e-15), x
    for x, (value,) in zip([1e8, 1e300], evaluate("erfcx", [1e8, 1e300]), strict=True):
        assert close(value, 1 / (mp.mpf(x) * mp.sqrt(mp.pi)), 1e-15)


def test_normal_quantile(evaluate: Evaluate) -> None:
    """Relative error below 2e-15 from 1e-300 to 1 - 1e-16, next to 1/2 and on the borders of the three pieces."""
    near_half = 0.5 + np.logspace(-15, -1, 29)
    borders = [x for b in (0.075, 0.925, float(np.exp(-25.0))) for x in (np.nextafter(b, 0.0), b, np.nextafter(b, 1.0))]
    points = np.concatenate(
        [np.logspace(-300, -0.31, 120), 1 - np.logspace(-16, -1, 31), near_half, 1 - near_half, borders]
    )
    for p, (z,) in zip(points, evaluate("quantile", points), strict=True):
        x, target = mp.mpf(z), mp.mpf(float(p))
        for _ in range(3):  # Newton from our own value, with 50 digits
            cdf = mp.erfc(-x / mp.sqrt(2)) / 2 if x < 0 else 1 - mp.erfc(x / mp.sqrt(2)) / 2
            x -= (cdf - target) / mp.npdf(x)
        assert close(z, x, 2e-15), p


def test_covariances(evaluate: Evaluate) -> None:
    """g and h = -2 dg/d(r2), differentiated by mpmath; rounding the exponential's argument costs up to eps r2."""
    kernels = (
        lambda r2: (1 + mp.sqrt(5 * r2) + 5 * r2 / 3) * mp.exp(-mp.sqrt(5 * r2)),
        lambda r2: (1 + mp.sqrt(3 * r2)) * mp.exp(-mp.sqrt(3 * r2)),
        lambda r2: mp.exp(-r2 / 2),
    )
    points = np.logspace(-10, 2.5, 60)
    for r2, row in zip(points, evaluate("covariance", points), strict=True):
        x = mp.mpf(float(r2))
        tolerance = 1e-15 * (2 + r2)
        for i, kernel in enumerate(kernels):
            assert close(row[2 * i], kernel(x), tolerance), (i, r2)
            assert close(row[2 * i + 1], -2 * mp.diff(kernel, x, h=x * mp.mpf(10) ** -15), tolerance), (i, r2)


KINDS = ("log_ei", "ei", "log_pi", "pi", "ucb")
BETA, BEST = 1.8, 0.3


def utility(kind: str, mean: mp.mpf, var: mp.mpf) -> mp.mpf:
    sd = mp.sqrt(var)
    z = (mp.mpf(BEST) - mean) / sd
    if kind == "ucb":
        return -(mean - mp.mpf(BETA) * sd)
    cdf = mp.erfc(-z / mp.sqrt(2)) / 2
    if kind in ("pi", "log_pi"):
        return mp.log(cdf) if kind == "log_pi" else cdf
    h = mp.npdf(z) + z * cdf
    return mp.log(sd * h) if kind == "log_ei" else sd * h


@pytest.mark.parametrize("kind", KINDS)
def test_utilities_and_gradients(evaluate: Evaluate, kind: str) -> None:
    """Value and derivatives to mean and variance, differentiated by mpmath, from z = -36 to z = 9e4."""
    cases = [(mean, var) for mean in (-90.0, -3.0, 0.25, 0.4, 2.0, 12.0) for var in (1e-6, 0.1, 1.0, 40.0)]
    cases = [(mean, var) for mean, var in cases if (BEST - mean) / var**0.5 > -37]  # h and Phi are normal numbers
    numbers = [x for mean, var in cases for x in (KINDS.index(kind), BETA, BEST, mean, var)]
    for (mean, var), (value, d_mean, d_var) in zip(cases, evaluate("utility", numbers), strict=True):
        with mp.workdps(DIGITS + 30):
            m, v = mp.mpf(mean), mp.mpf(var)
            exact = utility(kind, m, v)
            slope_mean = mp.diff(lambda x, v=v: utility(kind, x, v), m, h=mp.mpf(10) ** -30)
            slope_var = mp.diff(lambda x, m=m: utility(kind, m, x), v, h=v * mp.mpf(10) ** -30)
        # z is rounded, and exp(-z^2/2) amplifies that by z^2: 2e-13 relative at z = 37.
        assert close(value, exact, 1e-12, 1e-14), (mean, var)
        assert close(d_mean, slope_mean, 1e-11, 1e-13), (mean, var)
        assert close(d_var, slope_var, 1e-11, 1e-13), (mean, var)
