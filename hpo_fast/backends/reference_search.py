"""The search of the reference backend: many candidates, a climb from the best ones, discrete blocks by trial.

It is the oracle of quality for the compiled search, so it may be generous and slow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from hpo_fast.backends.base import Array
from hpo_fast.space.layout import CATEGORICAL, CONTINUOUS, ORDERED, Layout

Evaluate = Callable[[Array, bool], tuple[Array, Array | None]]
SAME_CODE = 1e-9  # continuous codes that differ by less are one point
SAME_OPTIMUM = 1e-4  # and those of two climbs that ended in one optimum
ALL_POINTS = 4096  # a discrete space of at most that many points is scored whole
ALL_VALUES = 64  # a block of at most that many values is tried whole
ROUNDS = 20  # of one climb, each an ascent and a sweep over the discrete blocks
EDGE = 4.0 * float(np.finfo(np.float64).eps)  # another logarithm routine may give a code one rounding away


class Search:
    """Finds the best representable point of a utility; one object serves the q searches of one `maximise`.

    Args:
        layout: the columns of a point.
        rng: source of the candidates.
        n_candidates: points scored before the climb.
        n_starts: points climbed from.
    """

    def __init__(self, layout: Layout, rng: np.random.Generator, n_candidates: int, n_starts: int) -> None:
        self._layout, self._rng = layout, rng
        self._n_candidates, self._n_starts = n_candidates, n_starts
        self._columns = layout.start[:-1]
        self._discrete = layout.kind != CONTINUOUS
        self.chosen: Array = np.empty(layout.d)

    def run(self, evaluate: Evaluate, told: Array, starts: Array, pending: Array, avoid: Array) -> Array:
        """Searches once; `chosen` (d,) is then the best point that is neither in `pending` nor in `avoid`.

        Args:
            evaluate: (U, gradient) -> value (m,), and d_value (m, d) or None.
            told: (n, d) points told, the best first: the candidates are drawn around them.
            starts: (s, d) more points to climb from.
            pending: (r, d) points not to choose.
            avoid: (a, d) more of them.

        Returns:
            the distinct local optima (s, d), best first.
        """
        pool = every_point(self._layout, ALL_POINTS)
        if pool is not None:
            values = evaluate(pool, False)[0]
            optima = order = pool[np.argsort(-values, kind="stable")]
        else:
            W = self._candidates(told, starts)
            U = snap(self._layout, W)
            values = evaluate(U, False)[0]
            climbed = [self._climb(evaluate, W[i], values[i]) for i in self._pick(values, len(starts), bool(len(told)))]
            climbed.sort(key=lambda found: -found[1])
            optima = np.array([u for u, _ in climbed])
            order = np.concatenate([optima, U[np.argsort(-values, kind="stable")]])
        self.chosen = self._first_free(evaluate, order, np.concatenate([pending, avoid]))
        return self._distinct(optima, self._n_starts)

    def refine(self, evaluate: Evaluate, starts: Array, others: Array, pending: Array, avoid: Array) -> Array:
        """Climbs from `starts` (s, d) alone, with discrete blocks held; otherwise as `run`, `others` last."""
        values = evaluate(starts, False)[0]
        ends = []
        for u, value in zip(starts, values, strict=True):
            w, better = self._ascend(evaluate, np.where(np.isnan(u), 0.5, u), float(value))
            ends.append((snap(self._layout, w[None, :])[0], better))
        ends.sort(key=lambda end: -end[1])
        optima = np.array([u for u, _ in ends])
        self.chosen = self._first_free(evaluate, optima, np.concatenate([pending, avoid]))
        return self._distinct(np.concatenate([optima, others]), self._n_starts)

    def free(self, U: Array, pending: Array, avoid: Array) -> Array:
        """The points of U (m, d) that may be chosen; where there are none, the first."""
        kept = U[~same_points(self._layout, U, np.concatenate([pending, avoid]))]
        return kept if len(kept) else U[:1]

    def _candidates(self, told: Array, starts: Array) -> Array:
        """(m, d) codes, none missing: starts, the best point told, a scrambled sequence, and steps from the best."""
        from scipy.stats import qmc  # half a second to import, and nothing else of the package needs it

        rng, layout, d = self._rng, self._layout, self._layout.d
        half = max(1, self._n_candidates // 2)
        with_gaps = np.concatenate([starts, told[:1]])
        first = np.where(np.isnan(with_gaps), 0.5, with_gaps)
        power = int(np.ceil(np.log2(half)))
        spread = qmc.Sobol(d, scramble=True, seed=rng).random_base2(power)[:half]
        if not len(told):
            return np.concatenate([first, spread])
        # Steps from the best 5 % in some coordinates only, of a length drawn per step: Regis & Shoemaker 2013, DYCORS.
        centres = told[rng.integers(max(1, len(told) // 20), size=half)]
        length = 10.0 ** rng.uniform(-3.0, -0.5, size=(half, 1))
        size = np.ones(d)
        size[self._columns] = np.maximum(layout.size, 1)
        step = np.maximum(length, np.where(size > 1, 1.0 / size, 0.0)) * rng.standard_normal((half, d))
        moved = centres + np.where(rng.random((half, d)) < min(1.0, 20.0 / d), step, 0.0)
        anew = np.isnan(moved)
        for j, c in enumerate(self._columns):
            if layout.kind[j] == CATEGORICAL:
                moved[:, c] = centres[:, c]  # codes of choices have no neighbours: kept, or drawn anew
                anew[:, c] |= rng.random(half) < 0.2
        moved = np.where(anew, rng.random((half, d)), moved)
        return np.concatenate([first, spread, np.clip(moved, 0.0, 1.0)])

    def _pick(self, values: Array, n_given: int, incumbent: bool) -> list[int]:
        """Where to climb from: what was given, the incumbent, the best candidate, and others by chance."""
        given = list(range(n_given + incumbent))
        z = (values - np.mean(values)) / max(float(np.std(values)), 1e-300)
        keys = z + self._rng.gumbel(size=len(values))  # drawing without replacement, weights e^z
        others = [int(np.argmax(values)), *np.argsort(-keys, kind="stable").tolist()]
        picked = dict.fromkeys([*given, *others])
        return list(picked)[: len(given) + self._n_starts]

    def _climb(self, evaluate: Evaluate, w: Array, value: float) -> tuple[Array, float]:
        """Ascends from `w` (d,), which has a code for every column; returns a representable point and its value."""
        for _ in range(ROUNDS):
            w, value = self._ascend(evaluate, w, value)
            w, better = self._sweep(evaluate, w, value)
            if better <= value:
                break
            value = better
        return snap(self._layout, w[None, :])[0], value

    def _ascend(self, evaluate: Evaluate, w: Array, value: float) -> tuple[Array, float]:
        """L-BFGS-B over the continuous columns that exist."""
        u = snap(self._layout, w[None, :])[0]
        blocks = [j for j in np.flatnonzero(~self._discrete).tolist() if not np.isnan(u[self._columns[j]])]
        if not blocks:
            return w, value
        columns = self._columns[blocks]

        def loss(x: Array) -> tuple[float, Array]:
            point = u.copy()
            point[columns] = x
            f, slope = evaluate(point[None, :], True)
            assert slope is not None
            return -float(f[0]), -slope[0, columns]

        box = [stretch(self._layout, j, u[self._columns[j]]) for j in blocks]
        result = minimize(loss, u[columns], jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": 200})
        if not -result.fun > value:
            return w, value
        w = w.copy()
        w[columns] = result.x
        return w, -float(result.fun)

    def _sweep(self, evaluate: Evaluate, w: Array, value: float) -> tuple[Array, float]:
        """Tries other values of each discrete block in turn, and keeps the best."""
        for j in np.flatnonzero(self._discrete).tolist():
            c, size = self._columns[j], int(self._layout.size[j])
            if size == 1 or np.isnan(snap(self._layout, w[None, :])[0, c]):
                continue
            index = int(to_index(self._layout, j, w[c : c + 1])[0])
            if size <= ALL_VALUES:
                tried = np.arange(size)
            elif self._layout.kind[j] == ORDERED:
                steps = 2 ** np.arange(int(np.log2(size)) + 1)
                tried = np.unique(np.clip(np.concatenate([index - steps, index + steps]), 0, size - 1))
            else:
                tried = self._rng.integers(size, size=ALL_VALUES)
            W = np.tile(w, (len(tried), 1))
            W[:, c] = to_code(self._layout, j, tried)
            values = evaluate(snap(self._layout, W), False)[0]
            best = int(np.argmax(values))
            if values[best] > value:
                w, value = W[best], float(values[best])
        return w, value

    def _first_free(self, evaluate: Evaluate, order: Array, taken: Array) -> Array:
        free = ~same_points(self._layout, order, taken)
        if np.any(free):
            return np.asarray(order[int(np.argmax(free))])
        # Every candidate is taken: a large discrete space, nearly used up around the optimum. Look farther.
        U = snap(self._layout, self._rng.random((16 * self._n_candidates, self._layout.d)))
        U = U[~same_points(self._layout, U, taken)]
        if len(U) == 0:
            return np.asarray(order[0])
        return np.asarray(U[int(np.argmax(evaluate(U, False)[0]))])

    def _distinct(self, U: Array, limit: int) -> Array:
        kept = U[:1]
        for i in range(1, len(U)):
            if len(kept) < limit and not same_points(self._layout, U[i : i + 1], kept, SAME_OPTIMUM)[0]:
                kept = np.concatenate([kept, U[i : i + 1]])
        return kept


def to_index(layout: Layout, j: int, code: Array) -> npt.NDArray[np.int64]:
    """The point of discrete block j whose bin holds each code."""
    if np.isnan(layout.low[j]):
        i = np.floor(code * layout.size[j])
    else:  # evenly spaced in ln(value)
        i = np.floor(np.exp(layout.log_low[j] + code * (layout.log_high[j] - layout.log_low[j])) + 0.5) - layout.low[j]
    return np.asarray(np.clip(i, 0, layout.size[j] - 1), dtype=np.int64)


def to_code(layout: Layout, j: int, index: npt.NDArray[np.int64]) -> Array:
    """The canonical code of each point of discrete block j."""
    if np.isnan(layout.low[j]):
        return np.asarray((index + 0.5) / layout.size[j])
    return np.asarray((np.log(layout.low[j] + index) - layout.log_low[j]) / (layout.log_high[j] - layout.log_low[j]))


def _exists(layout: Layout, j: int, U: Array) -> npt.NDArray[np.bool_]:
    """Whether block j exists in each point; its parents' columns are canonical."""
    exists = np.ones(len(U), dtype=bool)
    for i in np.flatnonzero(layout.cond_child == j):
        parent = layout.cond_parent[i]
        code = U[:, layout.start[parent]]
        slack = 0.0 if layout.kind[parent] == CONTINUOUS else EDGE
        held = np.zeros(len(U), dtype=bool)
        for t in range(layout.cond_start[i], layout.cond_start[i + 1]):
            held |= (code >= layout.cond_lo[t] - slack) & (code <= layout.cond_hi[t] + slack)  # False where NaN
        exists &= held
    return exists


def snap(layout: Layout, W: Array) -> Array:
    """The nearest representable points of W (m, d): canonical codes, NaN where a block does not exist."""
    U = W.copy()
    for j in layout.order:
        c = layout.start[j]
        code = np.clip(np.where(np.isnan(U[:, c]), 0.5, U[:, c]), 0.0, 1.0)
        if layout.kind[j] != CONTINUOUS:
            code = to_code(layout, j, to_index(layout, j, code))
        U[:, c] = np.where(_exists(layout, j, U), code, np.nan)
    return U


def stretch(layout: Layout, j: int, code: float) -> tuple[float, float]:
    """The codes around `code` in which continuous block j can move without any child coming or going."""
    low, high = 0.0, 1.0
    for i in np.flatnonzero(layout.cond_parent == j):
        for t in range(layout.cond_start[i], layout.cond_start[i + 1]):
            lo, hi = layout.cond_lo[t], layout.cond_hi[t]
            if lo <= code <= hi:
                low, high = max(low, lo), min(high, hi)
            elif code < lo:
                high = min(high, float(np.nextafter(lo, 0.0)))
            else:
                low = max(low, float(np.nextafter(hi, 1.0)))
    return low, high


def every_point(layout: Layout, limit: int) -> Array | None:
    """All points of a discrete space, or None where there are more than `limit`, or a continuous block can exist."""
    points = np.full((1, layout.d), np.nan)
    for j in layout.order:
        c = layout.start[j]
        exists = _exists(layout, j, points)
        if layout.kind[j] == CONTINUOUS and np.any(exists):
            return None
        size = np.where(exists, layout.size[j], 1)
        if np.sum(size) > limit:
            return None
        points = np.repeat(points, size, axis=0)
        index = np.concatenate([np.arange(s) for s in size])
        if layout.kind[j] != CONTINUOUS:
            points[:, c] = np.where(np.repeat(exists, size), to_code(layout, j, index), np.nan)
    return points


def same_points(layout: Layout, U: Array, taken: Array, tolerance: float = SAME_CODE) -> npt.NDArray[np.bool_]:
    """Whether each point of U is one of `taken`: the same blocks, the same discrete values, codes within tolerance."""
    if not len(taken):
        return np.zeros(len(U), dtype=bool)
    same = np.ones((len(U), len(taken)), dtype=bool)
    for j, c in enumerate(layout.start[:-1]):
        a, b = U[:, c, None], taken[None, :, c]
        close = np.abs(a - b) <= tolerance
        if layout.kind[j] != CONTINUOUS:
            with np.errstate(invalid="ignore"):
                close = to_index(layout, j, np.nan_to_num(a)) == to_index(layout, j, np.nan_to_num(b))
            close &= ~(np.isnan(a) | np.isnan(b))
        same &= close | (np.isnan(a) & np.isnan(b))
    return np.asarray(np.any(same, axis=1))
