"""The two Parzen densities: against mpmath from the formulas of backends/parzen.py, their integrals, their draws."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from hpo_fast.backends.parzen import parzen
from hpo_fast.space import Categorical, Float, Int, Space

BACKENDS = ("cpu", "reference")
MIXED = Space(x=Float(0.0, 1.0), n=Int(1, 6), units=Int(1, 40, log=True), kind=Categorical(["a", "b", "c"]))
CONDITIONAL = Space(
    kind=Categorical(["a", "b", "c"]), x=Float(0.0, 1.0).when(kind="a"), n=Int(1, 4).when(kind=["a", "b"])
)


def told(space, n, backend, seed=0, **options):
    rng = np.random.default_rng(seed)
    handle = parzen(space.layout, backend=backend, **options)
    U, y = space.from_uniform(rng.random((n, space.d))), rng.normal(size=n)
    handle.append(U, y)
    return handle, U, y


def cell(space, j, code):
    """The ends of the stretch of codes that stand for the value of `code`, from the space itself."""
    name = space.names[j]
    i = space.decode(np.where(np.arange(space.d) == j, code, 0.5))[name]
    p = space[name]
    if p.log:
        span = mp.log(mp.mpf(2 * p.high + 1) / (2 * p.low - 1))
        return [mp.log(mp.mpf(2 * i + side) / (2 * p.low - 1)) / span for side in (-1, 1)]
    size = p.high - p.low + 1
    return [mp.mpf(i - p.low + side) / size for side in (0, 1)]


def dense(space, u, centres, widths, weights, prior):
    """The density of a mixture, each cell by its exact mass."""
    total, k = prior + mp.fsum(weights), len(centres) + 1
    value = mp.mpf(prior)
    for centre, width, weight in zip(centres, widths, weights, strict=True):
        term = mp.mpf(weight)
        for j in range(space.d):
            c, s, x = mp.mpf(float(centre[j])), mp.mpf(float(width[j])), mp.mpf(float(u[j]))
            if isinstance(space[space.names[j]], Categorical):
                size = len(space[space.names[j]].choices)
                term *= mp.mpf(size * (k + 1 if u[j] == centre[j] else 1)) / (size + k)
                continue
            inside = mp.ncdf((1 - c) / s) - mp.ncdf(-c / s)
            if isinstance(space[space.names[j]], Float):
                term *= mp.npdf((x - c) / s) / s / inside
            else:
                lo, hi = cell(space, j, u[j])
                term *= (mp.ncdf((hi - c) / s) - mp.ncdf((lo - c) / s)) / (hi - lo) / inside
        value += term
    return mp.log(value / total)


@pytest.mark.parametrize("backend", BACKENDS)
def test_densities_against_mpmath(backend):
    n, g = 40, 4
    handle, U, y = told(MIXED, n, backend, prior_weight=0.7, gamma=0.1)
    order = np.argsort(y)
    good, bad = U[order[:g]], U[np.sort(order[g:])]
    widths = np.ones((g, MIXED.d))
    for j in range(3):
        ranked = np.argsort(good[:, j], kind="stable")
        x = good[ranked, j]
        for i in range(g):
            gaps = [x[i] - x[i - 1]] if i else []
            gaps += [x[i + 1] - x[i]] if i + 1 < g else []
            widths[ranked[i], j] = min(max(*gaps, 1.0 / (g + 2)), 1.0)
    weights = [math.log((g + 1) / (r + 1)) for r in range(g)]
    weights = [w * g / sum(weights) for w in weights]
    shared = 0.1 * (2.0 ** (math.floor(4 * math.log2(n)) / 4)) ** (-1 / 7)
    for u in MIXED.from_uniform(np.random.default_rng(9).random((12, MIXED.d))):
        log_good, log_bad = handle.log_density(u[None])
        assert log_good[0] == pytest.approx(float(dense(MIXED, u, good, widths, weights, 0.7)), abs=1e-4)
        exact = dense(MIXED, u, bad, np.full(bad.shape, shared), np.ones(n - g), 0.7)
        # Cells up to an eighth of a bandwidth go by their middle and the second order: h^4 z^4/2880, 1e-4 at z = 6.
        assert log_bad[0] == pytest.approx(float(exact), abs=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("multivariate", [True, False])
def test_they_integrate_to_one(backend, multivariate):
    space = Space(x=Float(0.0, 1.0), n=Int(1, 9), kind=Categorical(["a", "b"]))
    handle, _, _ = told(space, 60, backend, multivariate=multivariate)
    nodes, node_weights = np.polynomial.legendre.leggauss(200)
    codes = [(nodes + 1.0) / 2.0, (np.arange(9) + 0.5) / 9.0, np.array([0.25, 0.75])]
    sizes = [node_weights / 2.0, np.full(9, 1.0 / 9.0), np.full(2, 0.5)]
    grid = np.stack(np.meshgrid(*codes, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = np.einsum("i,j,k->ijk", *sizes).ravel()
    for log_density in handle.log_density(grid):
        assert np.sum(volume * np.exp(log_density)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_density_over_a_conditional_space_integrates_to_one(backend):
    handle, _, _ = told(CONDITIONAL, 50, backend)
    nodes, node_weights = np.polynomial.legendre.leggauss(200)
    x, cells = (nodes + 1.0) / 2.0, (np.arange(4) + 0.5) / 4.0
    X, C = (a.ravel() for a in np.meshgrid(x, cells, indexing="ij"))
    nan = np.full(4, np.nan)
    points = np.concatenate(
        [
            np.stack([np.full(len(X), 1 / 6), X, C], axis=1),
            np.stack([np.full(4, 0.5), nan, cells], axis=1),
            np.array([[5 / 6, np.nan, np.nan]]),
        ]
    )
    volume = np.concatenate([np.repeat(node_weights / 2.0, 4) / 12.0, np.full(4, 1 / 12.0), [1 / 3.0]])
    for log_density in handle.log_density(CONDITIONAL.canonical(points)):
        assert np.sum(volume * np.exp(log_density)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("multivariate", [True, False])
def test_draws_follow_the_density(multivariate):
    """One continuous block: Kolmogorov and Smirnov. Others: chi square over the values. Fixed seeds, level 1e-3."""
    m = 20_000
    for space in (
        Space(x=Float(0.0, 1.0)),
        Space(n=Int(1, 12)),
        Space(n=Int(1, 12, log=True)),
        Space(c=Categorical(list("abcde"))),
    ):
        handle, _, _ = told(space, 60, "cpu", multivariate=multivariate)
        drawn = handle.sample(m, (9, 9))[:, 0]
        edges = np.linspace(0.0, 1.0, 4001)
        if space.layout.size[0] == 0:
            middles = (edges[1:] + edges[:-1]) / 2.0
            cumulative = np.cumsum(np.exp(handle.log_density(middles[:, None])[0])) / 4000.0
            uniform = np.interp(drawn, edges[1:], cumulative)
            assert stats.kstest(uniform, "uniform").pvalue > 1e-3
            continue
        codes, counts = np.unique(drawn, return_counts=True)
        fine = space.canonical(((np.arange(120_000) + 0.5) / 120_000)[:, None])[:, 0]  # how long each cell is
        share = np.array([np.mean(fine == code) for code in codes])
        expected = share * np.exp(handle.log_density(codes[:, None])[0])
        assert np.sum(expected) == pytest.approx(1.0, abs=1e-3)
        assert stats.chisquare(counts, expected / np.sum(expected) * m).pvalue > 1e-3


def test_children_are_drawn_where_they_exist():
    handle, _, _ = told(CONDITIONAL, 50, "cpu")
    drawn = handle.sample(4000, (3, 4))
    kinds, lacks = drawn[:, 0], np.isnan(drawn)
    assert np.array_equal(lacks[:, 1], kinds > 1 / 3) and np.array_equal(lacks[:, 2], kinds > 2 / 3)
    for kind in (1 / 6, 0.5, 5 / 6):  # the share of each choice is its marginal, children integrated out
        x = np.linspace(0.0, 1.0, 401)[:-1] + 1 / 800
        n = (np.arange(4) + 0.5) / 4
        X, C = (a.ravel() for a in np.meshgrid(x if kind < 1 / 3 else [np.nan], n if kind < 2 / 3 else [np.nan]))
        points = np.stack([np.full(len(X), kind), X, C], axis=1)
        density = np.exp(handle.log_density(CONDITIONAL.canonical(points))[0]).mean() / 3.0
        share = np.mean(np.abs(kinds - kind) < 1e-9)
        assert abs(share - density) < 4.0 * math.sqrt(density * (1.0 - density) / 4000)
