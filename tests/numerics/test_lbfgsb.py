"""Our lock-step L-BFGS against SciPy's L-BFGS-B: as good a value, in about as many evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import minimize

Evaluate = Callable[..., list[list[float]]]
Array = np.ndarray


def rosenbrock(x: Array) -> tuple[float, Array]:
    a, b, g = x[1:] - x[:-1] ** 2, 1 - x[:-1], np.zeros_like(x)
    g[:-1] = -400 * a * x[:-1] - 2 * b
    g[1:] += 200 * a
    return float(np.sum(100 * a * a + b * b)), g


def quadratic(x: Array) -> tuple[float, Array]:
    i = np.arange(x.size)
    c, r = 10.0 ** (6 * i / max(x.size - 1, 1)), x - (0.3 + 0.05 * i)
    return float(0.5 * np.sum(c * r * r) + 0.5 * x.sum() ** 2), c * r + x.sum()


def corner(x: Array) -> tuple[float, Array]:
    s = np.where(np.arange(x.size) % 2, -1.0, 1.0)
    return float(np.sum(s * x + 0.1 * x * x * np.cos(3 * x))), s + 0.2 * x * np.cos(3 * x) - 0.3 * x * x * np.sin(3 * x)


FUNCTIONS = (rosenbrock, quadratic, corner)  # in the order of the evaluator in tests/cpp/test_lbfgsb.cpp


class Case(NamedTuple):
    group: str
    function: int
    lower: Array
    upper: Array
    start: Array


def cases() -> list[Case]:
    """Starts of Rosenbrock lie at x > 0: from d = 4 on it has a second minimum near x_1 = -1, as right an answer."""
    rng = np.random.default_rng(20)
    found = []
    for d in (2, 3, 5, 8, 12, 20):
        one = np.ones(d)
        for _ in range(3):
            found += [
                Case("free", 0, -np.inf * one, np.inf * one, rng.uniform(0, 2, d)),
                Case("box", 0, -2 * one, 2 * one, rng.uniform(0, 2, d)),
                Case("active bounds", 0, 0 * one, 0.8 * one, rng.uniform(0, 0.8, d)),
                Case("start on bounds", 0, 0 * one, 0.9 * one, rng.choice([0, 0.9], d)),
                Case("ill-conditioned", 1, 0 * one, one, rng.random(d)),
                Case("ill-conditioned, active", 1, 0.4 * one, one, rng.choice([0.4, 1], d)),
                Case("corner", 2, 0 * one, one, rng.random(d)),
            ]
    return found


@pytest.mark.parametrize("first_step", [1.0, np.inf])
def test_as_good_as_scipy(evaluate: Evaluate, first_step: float) -> None:
    everything = cases()
    if first_step > 1.0:  # the whole gradient as a first step can leap into Rosenbrock's second basin
        everything = [c for c in everything if c.group not in ("free", "box")]
    numbers = [x for c in everything for x in (c.function, c.start.size, first_step, *c.lower, *c.upper, *c.start)]
    ratios = []
    for c, (value, evaluations, status, *point) in zip(everything, evaluate("lbfgsb", numbers), strict=True):
        f = FUNCTIONS[c.function]
        peer = minimize(
            f, c.start, jac=True, method="L-BFGS-B", bounds=list(zip(c.lower, c.upper, strict=True)),
            options={"maxiter": 15000, "maxfun": 15000},
        )  # fmt: skip
        # Both stop when a step gains less than 2.2e-9, so either may be ahead by a few such steps: 1e-6.
        assert value <= peer.fun + 1e-6 * max(1.0, abs(peer.fun)), (c, value, peer.fun)
        assert status in (1, 2)
        assert f(np.array(point))[0] == pytest.approx(value, rel=1e-12, abs=1e-15)
        ratios.append(evaluations / peer.nfev)
    assert np.median(ratios) <= 1.5
