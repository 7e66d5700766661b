"""The local model of the reference backend: the sums of all rows at inducing rows, and the nearest rows as they are.

The formulas are those of "the local model" in `base.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular

from hpo_fast.backends.base import Array
from hpo_fast.backends.reference_factor import factorise
from hpo_fast.backends.reference_kernel import Kernel, embedded
from hpo_fast.backends.reference_posterior import Posterior, condition
from hpo_fast.backends.reference_utility import LOG_2PI
from hpo_fast.errors import NumericalError
from hpo_fast.space.layout import CATEGORICAL

Rows = npt.NDArray[np.intp]

INDUCING, FEWER, FEWER_FROM = 512, 256, 8192
SUMMED = 65536  # rows of the base that are summed, at most
NEAR_BEST, BEST = 1024, 16  # rows that stand as they are near the best told, and how many those are
MORE_NEAR_BEST, MORE_UNTIL = 2048, 5000  # of at most so many rows before the tail
OWN = 128  # rows more near other points, where those near the best are not COMMON
COMMON, AT_LEAST = 4, 16  # times as frequent as among all rows, and every so manieth
PANEL = 64
REDUNDANT = 1e-6  # of s2: a point with less variance, given the inducing ones before it, is none of them
JITTER = 1e-8  # of s2, on the diagonal of K_mm
RIDGE = 1e-6  # of 1/s2, on that of P
AT_ONCE = 4096  # rows summed in one product


@contextmanager
def _without_row() -> Iterator[None]:
    """What fails in sums over many rows is the fault of no single one."""
    try:
        yield
    except NumericalError as error:
        raise NumericalError(str(error), row=-1) from None


class Local:
    """The model of many rows.

    Args:
        kernel: the covariance function.
        theta: (p,) log parameters.
        U: (n, d) points told.
        w: (n,) their values.
        v: (n,) variances of their noise.
        base: rows that the sums begin with, 1 <= base <= n.
        constant_mean: whether the mean is estimated, or zero.
    """

    @_without_row()
    def __init__(
        self, kernel: Kernel, theta: Array, U: Array, w: Array, v: Array, base: int, constant_mean: bool
    ) -> None:
        self._kernel, self._theta, self._U, self._w, self._v = kernel, theta, U, w, v
        self._s2 = float(np.exp(theta[-2]))
        self._inducing, self._L = self._choose(base)
        tail = base + (len(U) - base) // PANEL * PANEL
        rows = np.arange(len(U))
        self._tail = rows[tail:]
        self._is_inducing = np.isin(rows, self._inducing)
        self._summed = (rows < tail) & ((rows % -(-base // SUMMED) == 0) | self._is_inducing | (rows >= base))
        m = len(self._inducing)
        self._P, self._b, self._ones = np.zeros((m, m)), np.zeros(m), np.zeros(m)
        ww = w1 = oo = log_l = 0.0
        summed = rows[self._summed]
        for first in range(0, len(summed), AT_ONCE):
            part = summed[first : first + AT_ONCE]
            p, lam = self._project(part)
            self._P += (p.T / lam) @ p
            self._b += p.T @ (w[part] / lam)
            self._ones += p.T @ (1.0 / lam)
            ww += float(np.sum(w[part] ** 2 / lam))
            w1 += float(np.sum(w[part] / lam))
            oo += float(np.sum(1.0 / lam))
            log_l += float(np.sum(np.log(lam)))
        # FITC (Snelson and Ghahramani 2005): by Woodbury's identity what the prior takes from x'P y is
        # x'(K_mm + P^-1)^-1 y of the pseudo-observations.
        noise, log_det_P = self._inverse(self._P)
        x, one = noise @ self._b, noise @ self._ones
        prior = condition(kernel, theta, U[self._inducing], x, np.diag(noise), 0.0, noise).factor.L
        X = solve_triangular(prior, np.stack([x, one], axis=1), lower=True)
        gram = np.array([[ww, w1], [w1, oo]]) - np.stack([self._b, self._ones]) @ np.stack([x, one], axis=1) + X.T @ X
        self._mu = float(gram[0, 1] / gram[1, 1]) if constant_mean else 0.0
        quadratic = gram[0, 0] - self._mu * (2.0 * gram[0, 1] - self._mu * gram[1, 1])
        log_det = log_l + 2.0 * float(np.sum(np.log(np.diag(prior)))) + log_det_P
        self.log_likelihood = -0.5 * (quadratic + log_det + len(summed) * LOG_2PI)

    def far(self, pending: Array) -> Posterior:
        """Given the pseudo-observations, the rows near the best told, the tail, and `pending` (r, d)."""
        return self._given(self._as_they_are(self._near_best), pending)

    def near(self, points: Array, pending: Array) -> Posterior:
        """The same, and the rows nearest to `points` (a, d)."""
        return self._given(self._as_they_are(self._near_best + self._own(points)), pending)

    def has(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether the far posterior knows the observations of these rows, and not their share of the sums alone."""
        return self._is_inducing[rows] | np.isin(rows, self._as_they_are(self._near_best))

    @cached_property
    def _near_best(self) -> list[int]:
        """Those nearest to the rows of the smallest values, of equal ones the first."""
        before = self._w[: len(self._U) - len(self._tail)]
        most = NEAR_BEST if len(before) > MORE_UNTIL else MORE_NEAR_BEST
        return in_turn(self._nearest(self._U[np.argsort(before, kind="stable")[:BEST]], most), most, [])

    def _own(self, points: Array) -> list[int]:
        """The neighbours of `points` that are not near the best; none of those near which these are common."""
        best, tail = self._near_best, len(self._U) - len(self._tail)
        least = min(2 * COMMON * len(best), tail + len(best))  # twice the least share, in rows before the tail
        nearest = []
        for rows in self._nearest(points, OWN):
            common = len(set(rows) & set(best))
            if AT_LEAST * common < len(rows) or 2 * common * tail < least * len(rows):
                nearest.append(rows)
        return in_turn(nearest, OWN, best)

    def _as_they_are(self, rows: list[int]) -> Rows:
        return np.concatenate([np.array(sorted(rows), dtype=np.intp), self._tail])

    def _choose(self, base: int) -> tuple[Rows, Array]:
        """The inducing rows, evenly spread over the base, without redundant ones, and the factor of K_mm."""
        count = min(base, INDUCING if base < FEWER_FROM else FEWER)
        rows = np.arange(count) * base // count
        while True:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the guard's business
                r2 = self._kernel.distance(self._theta, self._U[rows], self._U[rows])
                K, _ = self._kernel.covariance(self._theta, r2)
            factor = factorise(r2, K, np.full(len(rows), JITTER * self._s2), self._s2)
            kept = factor.rows[np.diag(factor.L) ** 2 > REDUNDANT * self._s2]
            if len(kept) == len(rows):
                return rows, factor.L
            rows = rows[kept]

    def _project(self, rows: Rows) -> tuple[Array, Array]:
        """p (r, m) and lam (r,) of some rows."""
        K = self._kernel.between(self._theta, self._U[self._inducing], self._U[rows])
        A = solve_triangular(self._L, K, lower=True)
        p = solve_triangular(self._L, A, lower=True, trans="T").T
        return p, np.maximum(self._s2 - np.sum(A * A, axis=0), 0.0) + self._v[rows]

    def _inverse(self, P: Array) -> tuple[Array, float]:
        """The noise covariance P^-1 of the pseudo-observations, and ln |P|."""
        P = P + np.diag(np.full(len(P), RIDGE / self._s2))
        root = np.sqrt(np.diag(P))  # in units of the diagonal the guard, and what it adds, are as for K
        factor = factorise(np.full(P.shape, np.inf), P / root / root[:, None], np.zeros(len(P)), 1.0)
        L = root[:, None] * factor.L
        return cho_solve((L, True), np.eye(len(P))), 2.0 * float(np.sum(np.log(np.diag(L))))

    @_without_row()
    def _given(self, rows: Rows, pending: Array) -> Posterior:
        """Given `rows` as they are, the pseudo-observations without what these brought to the sums, and `pending`."""
        P, b = self._P, self._b - self._mu * self._ones
        out = rows[self._summed[rows]]
        if len(out):
            p, lam = self._project(out)
            P = P - (p.T / lam) @ p
            b = b - p.T @ ((self._w[out] - self._mu) / lam)
        noise, _ = self._inverse(P)
        r = len(pending)
        return condition(
            self._kernel,
            self._theta,
            np.concatenate([self._U[self._inducing], self._U[rows], pending]),
            np.concatenate([self._mu + noise @ b, self._w[rows], np.zeros(r)]),
            np.concatenate([np.diag(noise), self._v[rows], np.full(r, 1e-6 * self._s2)]),
            self._mu,
            noise,
        )

    def _nearest(self, points: Array, count: int) -> list[list[int]]:
        """Of each point the `count` nearest of the rows before the tail."""
        tail = len(self._U) - len(self._tail)
        found = (by_distance(self._kernel, self._theta, self._U[:tail], point[None, :]) for point in points)
        return [rows[~self._is_inducing[rows]][:count].tolist() for rows in found]


def in_turn(nearest: list[list[int]], count: int, without: list[int]) -> list[int]:
    """The nearest row of each point, then the second nearest, up to `count` that are not in `without`."""
    taken = set(without)
    found = dict.fromkeys(row for rank in zip_longest(*nearest) for row in rank)
    return [row for row in found if row is not None and row not in taken][:count]


def by_distance(kernel: Kernel, theta: Array, U: Array, point: Array) -> Rows:
    """The rows of U (n, d), the nearest to `point` (1, d) first, in single precision."""
    single = np.float32
    r2 = np.zeros(len(U), dtype=single)
    numbers = [j for j in range(kernel.layout.b) if kernel.layout.kind[j] != CATEGORICAL]
    with np.errstate(over="ignore", invalid="ignore"):  # what is so far away is no neighbour
        for j in numbers:
            inverse, c = np.exp(-theta[j]), kernel.columns[j]
            step = (embedded(U[:, c])[0] * inverse).astype(single)
            step -= (embedded(point[:, c])[0] * inverse).astype(single)
            r2 += step * step
        for j in range(kernel.layout.b):  # what differs or does not
            inverse, c = np.exp(-theta[j]), kernel.columns[j]
            if j in numbers:
                part, differs = 0.25, np.isnan(U[:, c]) != np.isnan(point[:, c])
            else:
                part, differs = 1.0, kernel.block_distance(j, U, point)[:, 0] > 0.0
            r2 += np.where(differs, single(part * inverse * inverse), single(0.0))
    order = np.argsort(r2, kind="stable")
    return order[np.isfinite(r2[order])]
