"""The Cholesky factor of the reference backend, and the guard that keeps its pivots positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from hpo_fast.backends.base import Array
from hpo_fast.errors import NumericalError

EPS = float(np.finfo(np.float64).eps)
LEAST_PIVOT = 1e-10  # what is left of s2 below that is rounding for the most part
SAME_ROW = 1e-16  # squared scaled distance below which two rows are one
LADDER = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)  # jitter, times s2


@dataclass(frozen=True, eq=False)
class Factor:
    """Cholesky factor of K over the rows in the model, and who stands for whom."""

    L: Array  # (r, r)
    rows: npt.NDArray[np.intp]  # (r,) told rows in the model
    group: npt.NDArray[np.intp]  # (n,) the place in `rows` that stands for each told row
    jitter: Array  # (r,) added to v


def factorise(r2: Array, K: Array, v: Array, s2: float) -> Factor:
    """Factorises K + diag(v) row by row under the guard of `base.py`.

    Args:
        r2: (n, n) squared scaled distances.
        K: (n, n) covariance without noise.
        v: (n,) noise variances.
        s2: output variance, the diagonal of K.

    Raises:
        NumericalError: no jitter helps; `row` is the first such row.
    """
    n = len(v)
    broken = ~np.isfinite(np.tril(K)).all(axis=1) | ~np.isfinite(v)  # by its own variance, or with a row before it
    if np.any(broken):
        row = int(np.flatnonzero(broken)[0])
        raise NumericalError(f"the covariance must be finite, but row {row} is not; give smaller parameters", row=row)
    floor = np.maximum(LEAST_PIVOT, 32.0 * EPS * np.arange(1, n + 1))
    everyone = np.arange(n)
    try:
        L = cholesky(K + np.diag(v), lower=True)
        if np.all(np.diag(L) > 0.0) and np.all(np.diag(L) ** 2 >= floor * (s2 + v)):
            return Factor(L, everyone, everyone, np.zeros(n))
    except LinAlgError:
        pass
    # Some row fails the guard: again, row by row.
    L = np.zeros((n, n))
    rows: list[int] = []
    group = np.empty(n, dtype=np.intp)
    jitter: list[float] = []
    for i in range(n):
        r = len(rows)
        c = solve_triangular(L[:r, :r], K[rows, i], lower=True) if r else np.empty(0)
        rest = s2 - c @ c
        extra = 0.0
        if rest + v[i] <= 0.0 or rest + v[i] < floor[i] * (s2 + v[i]):
            twins = np.flatnonzero(r2[rows, i] < SAME_ROW)
            if twins.size:
                group[i] = twins[0]
                continue
            for step in LADDER:
                extra = step * s2
                if 0.0 < rest + v[i] + extra >= floor[i] * (s2 + v[i] + extra):
                    break
            else:
                raise NumericalError(
                    f"the covariance must be positive definite, but row {i} has the variance {rest + v[i]:.3g} "
                    "given the rows before it; raise the noise, or leave that row out",
                    row=i,
                )
        L[r, :r], L[r, r] = c, np.sqrt(rest + v[i] + extra)
        group[i] = r
        rows.append(i)
        jitter.append(extra)
    return Factor(L[: len(rows), : len(rows)], np.array(rows, dtype=np.intp), group, np.array(jitter))
