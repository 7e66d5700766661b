"""The two Parzen densities in plain NumPy: the executable specification of backends/parzen.py.

Keeps every row and builds both densities anew at each verb.
"""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in parzen.py

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr, ndtri

from hpo_fast.backends import uniforms
from hpo_fast.backends.reference_search import snap, to_code, to_index
from hpo_fast.space.layout import CATEGORICAL, CONTINUOUS, Layout

Array = npt.NDArray[np.float64]

DRAW = 0x7470 << 32
LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)


@dataclass(frozen=True, slots=True)
class _Density:
    """Kernels: centres and bandwidths (count, b), weights (count,)."""

    code: Array
    width: Array
    weight: Array


class Parzen:
    """The specification of the handle. See `hpo_fast.backends.parzen` for every verb and argument."""

    def __init__(
        self,
        layout: Layout,
        *,
        multivariate: bool,
        candidates: int,
        gamma: float,
        most_good: int,
        prior_weight: float,
        window: int,
    ) -> None:
        self._layout, self._multivariate, self._candidates = layout, multivariate, candidates
        self._gamma, self._most_good, self._prior, self._window = gamma, most_good, prior_weight, window
        self._U, self._y = np.empty((0, layout.d)), np.empty(0)

    @property
    def n(self) -> int:
        return len(self._y)

    @property
    def d(self) -> int:
        return self._layout.d

    def append(self, U: Array, y: Array) -> None:
        points, values = self._points("U", U), np.asarray(y, dtype=np.float64)
        if values.shape != (len(points),):
            raise ValueError(f"y must have shape ({len(points)},), but got {values.shape}; one value a row of U")
        if np.any(np.isnan(values) | (values == -np.inf)):
            raise ValueError("y must be finite, or +inf for a failed trial, but got NaN or -inf; mark it as failed")
        self._U, self._y = np.concatenate([self._U, points]), np.concatenate([self._y, values])

    def log_density(self, U: Array, pending: Array | None = None) -> tuple[Array, Array]:
        points = self._points("U", U)
        good, bad = self._split(pending)
        return self._log(good, points), self._log(bad, points)

    def sample(self, m: int, key: tuple[int, int]) -> Array:
        if m < 0:
            raise ValueError(f"m must be >= 0, but got {m!r}; ask for at least none")
        good, _ = self._split(None)
        return snap(self._layout, self._draw(good, m, key))

    def propose(self, pending: Array | None, key: tuple[int, int]) -> tuple[Array, Array]:
        good, bad = self._split(pending)
        drawn = self._draw(good, self._candidates, key)
        if self._multivariate:
            drawn = snap(self._layout, drawn)
            values = self._log(good, drawn) - self._log(bad, drawn)
            order = np.argsort(-values, kind="stable")
            return drawn[order], values[order]
        ratio = np.empty_like(drawn)
        for j in range(self._layout.b):
            values = self._log_marginal(good, j, drawn[:, j]) - self._log_marginal(bad, j, drawn[:, j])
            order = np.argsort(-values, kind="stable")
            drawn[:, j], ratio[:, j] = drawn[order, j], values[order]
        drawn = snap(self._layout, drawn)
        values = np.sum(np.where(np.isnan(drawn), 0.0, ratio), axis=1)
        order = np.argsort(-values, kind="stable")
        return drawn[order], values[order]

    # -- the model ---------------------------------------------------------------------------------------------------

    def _points(self, name: str, value: Array | None) -> Array:
        if value is None:
            return np.empty((0, self.d))
        U = np.asarray(value)
        if U.dtype.kind not in "fiu":
            raise ValueError(f"{name} must hold numbers, but its dtype is {U.dtype}; convert it to float64")
        if U.ndim != 2 or U.shape[1] != self.d:
            raise ValueError(f"{name} must have shape (m, {self.d}), but got {U.shape}; one row a point")
        always = np.setdiff1d(np.arange(self._layout.b), self._layout.cond_child)
        if np.any(np.isnan(U[:, always])) or np.any((U < 0.0) | (U > 1.0)):
            raise ValueError(
                f"{name} must hold codes in [0, 1], NaN only where a block with conditions does not exist; encode the "
                "point again"
            )
        return np.asarray(U, dtype=np.float64)

    def _split(self, pending: Array | None) -> tuple[_Density, _Density]:
        waiting = self._points("pending", pending)
        order = np.argsort(self._y, kind="stable")
        order = order[np.isfinite(self._y[order])]
        good = order[: min(int(np.ceil(self._gamma * self.n)), self._most_good)]
        window = np.arange(max(0, self.n - self._window), self.n)
        bad = np.concatenate([self._U[np.setdiff1d(window, good)], waiting])

        g, e = len(good), np.count_nonzero(self._layout.kind != CATEGORICAL)
        weight = np.log(g + 1.0) - np.log(np.arange(1.0, g + 1.0)) if self._multivariate else np.ones(g)
        weight *= g / np.sum(weight) if g else 1.0
        width = np.stack([_neighbours(x) for x in self._U[good].T], axis=1)
        count = np.exp2(np.floor(4.0 * np.log2(max(len(window), 1))) / 4.0)
        shared = 0.1 * count ** (-1.0 / (e + 4.0)) if self._multivariate else 2.0 / min(100.0, count + 2.0)
        return (
            _Density(self._U[good], width, weight),
            _Density(bad, np.full(bad.shape, shared), np.ones(len(bad))),
        )

    def _log(self, density: _Density, U: Array) -> Array:
        blocks = range(self._layout.b)
        if self._multivariate:
            total = np.sum(density.weight) + self._prior
            terms = np.log(density.weight) + sum(self._factor(density, j, U[:, j]) for j in blocks)
            return np.asarray(self._mixture(terms) - np.log(total))
        return np.asarray(sum(self._log_marginal(density, j, U[:, j]) for j in blocks))

    def _log_marginal(self, density: _Density, j: int, code: Array) -> Array:
        """Of block j alone; 0 where the point lacks it."""
        has = ~np.isnan(density.code[:, j])
        terms = (np.log(density.weight) + self._factor(density, j, code))[:, has]
        value = self._mixture(terms) - np.log(np.sum(density.weight[has]) + self._prior)
        return np.where(np.isnan(code), 0.0, value)

    def _mixture(self, terms: Array) -> Array:
        """ln(prior + sum of e^terms), row by row."""
        terms = np.concatenate([terms, np.full((len(terms), 1), np.log(self._prior))], axis=1)
        return np.asarray(np.logaddexp.reduce(terms, axis=1))

    def _factor(self, density: _Density, j: int, code: Array) -> Array:
        """The log factors (m, count) of block j; 0 where the point or the kernel's own point lacks it."""
        layout, centre, width = self._layout, density.code[:, j], density.width[:, j]
        missing = np.isnan(code)[:, None] | np.isnan(centre)
        x, c = np.where(np.isnan(code), 0.5, code)[:, None], np.where(np.isnan(centre), 0.5, centre)
        if layout.kind[j] == CATEGORICAL:
            size, k = float(layout.size[j]), len(centre) + 1.0
            same = to_index(layout, j, x) == to_index(layout, j, c)
            factor = np.log(np.where(same, size * (k + 1.0), size) / (size + k))
            return np.where(missing, 0.0, factor)
        lo, hi = (x, x) if layout.kind[j] == CONTINUOUS else _cell(layout, j, x)
        length, z = hi - lo, (0.5 * (lo + hi) - c) / width
        h = length / width
        narrow = -0.5 * z * z - LOG_SQRT_2PI - np.log(width) + h * h * (z * z - 1.0) / 24.0
        wide = h > 0.125
        mass = _log_normal_mass((lo - c) / width, np.where(wide, hi - c, lo - c + width) / width)
        factor = np.where(wide, mass - np.log(np.where(wide, length, 1.0)), narrow)
        return np.where(missing, 0.0, factor - np.log(ndtr((1.0 - c) / width) - ndtr(-c / width)))

    # -- the draws ---------------------------------------------------------------------------------------------------

    def _draw(self, good: _Density, m: int, key: tuple[int, int]) -> Array:
        """Draws (m, d) of all blocks, also of those that turn out not to exist."""
        layout, b = self._layout, self._layout.b
        stream = DRAW + 2 * np.arange(m * b, dtype=np.int64)
        choice, value = (
            uniforms(key[0], [key[1]], (stream + which).astype(np.uint64)).reshape(m, b) for which in (0, 1)
        )
        U = np.full((m, layout.d), np.nan)
        for j in range(b):
            if self._multivariate:
                kernel = self._kernel(good.weight, choice[:, 0])
            else:
                kernel = self._kernel(np.where(np.isnan(good.code[:, j]), 0.0, good.weight), choice[:, j])
            U[:, j] = self._value(good, j, kernel, value[:, j])
        return U

    def _kernel(self, weight: Array, r: Array) -> npt.NDArray[np.int64]:
        """The kernel that each r falls to; len(weight) is the prior."""
        ends = np.cumsum(weight)
        return np.searchsorted(ends, r * (np.sum(weight) + self._prior), side="right")

    def _value(self, good: _Density, j: int, k: npt.NDArray[np.int64], r: Array) -> Array:
        layout, size = self._layout, float(self._layout.size[j])
        centre, width = np.append(good.code[:, j], np.nan)[k], np.append(good.width[:, j], 1.0)[k]
        prior = np.isnan(centre)
        c = np.where(prior, 0.5, centre)
        if layout.kind[j] == CATEGORICAL:
            flip = size / (size + len(good.weight) + 1.0)
            code = np.where(r < flip, r / flip, c)
        else:
            lo, hi = ndtr(-c / width), ndtr((1.0 - c) / width)
            code = c + width * ndtri(lo + r * (hi - lo))
        code = np.clip(np.where(prior, r, code), 0.0, 1.0)
        return code if layout.kind[j] == CONTINUOUS else to_code(layout, j, to_index(layout, j, code))


def _neighbours(x: Array) -> Array:
    """Bandwidths of the good centres of one block: the larger distance to the neighbours in order, clipped."""
    width, has = np.ones(len(x)), np.flatnonzero(~np.isnan(x))
    k = len(has)
    order = has[np.argsort(x[has], kind="stable")]
    if k == 1:
        gap = np.maximum(x[order], 1.0 - x[order])
    else:
        between = np.diff(x[order])
        gap = np.maximum(np.append(between, 0.0), np.insert(between, 0, 0.0)) if k else np.empty(0)
    width[order] = np.clip(gap, 1.0 / min(100.0, k + 2.0), 1.0)
    return width


def _cell(layout: Layout, j: int, code: Array) -> tuple[Array, Array]:
    """The ends of the cells of ordered codes."""
    i = to_index(layout, j, code).astype(np.float64)
    if np.isnan(layout.low[j]):
        return i / layout.size[j], (i + 1.0) / layout.size[j]
    span = layout.log_high[j] - layout.log_low[j]
    ends = (np.log(layout.low[j] + i + side) for side in (-0.5, 0.5))
    lo, hi = ((end - layout.log_low[j]) / span for end in ends)
    return lo, hi


def _log_normal_mass(a: Array, b: Array) -> Array:
    """ln(Phi(b) - Phi(a)), a < b, without cancellation in either tail."""
    a, b = np.where(a > 0.0, -b, a), np.where(a > 0.0, -a, b)
    high, low = log_ndtr(b), log_ndtr(a)
    return np.asarray(high + np.log1p(-np.exp(low - high)))
