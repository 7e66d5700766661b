"""The covariance function of the reference backend."""

from __future__ import annotations

import numpy as np

from hpo_fast.backends.base import Array
from hpo_fast.space.layout import CATEGORICAL, Layout


class Kernel:
    """k(u, u') of `base.py` over the blocks of one layout.

    Args:
        layout: the columns of a point.
        kind: "matern52", "matern32" or "rbf".
    """

    def __init__(self, layout: Layout, kind: str) -> None:
        self.layout, self._kind = layout, kind
        self.columns = layout.start[:-1]
        self.conditional = np.isin(np.arange(layout.b), layout.cond_child)

    def block_distance(self, j: int, A: Array, B: Array) -> Array:
        """Squared distance of block j between A (m, d) and B (r, d), before the division by l^2."""
        a, b = A[:, self.columns[j], None], B[None, :, self.columns[j]]
        if self.layout.kind[j] == CATEGORICAL:
            return np.asarray(np.where(np.isnan(a), -1.0, a) != np.where(np.isnan(b), -1.0, b), dtype=np.float64)
        if not self.conditional[j]:
            return np.asarray((a - b) ** 2)
        (a, height_a), (b, height_b) = embedded(a), embedded(b)
        return np.asarray((a - b) ** 2 + (height_a - height_b) ** 2)

    def distance(self, theta: Array, A: Array, B: Array) -> Array:
        """Squared distance (m, r) in units of the length scales."""
        r2 = np.zeros((len(A), len(B)))
        for j in range(self.layout.b):
            r2 += self.block_distance(j, A, B) * np.exp(-2.0 * theta[j])
        return r2

    def covariance(self, theta: Array, r2: Array) -> tuple[Array, Array]:
        """K, and h = -2 dk/d(r2)."""
        s2 = np.exp(theta[-2])
        if self._kind == "matern52":
            t = np.sqrt(5.0 * r2)
            e = s2 * np.exp(-t)
            return (1.0 + t + t * t / 3.0) * e, 5.0 / 3.0 * (1.0 + t) * e
        if self._kind == "matern32":
            t = np.sqrt(3.0 * r2)
            e = s2 * np.exp(-t)
            return (1.0 + t) * e, 3.0 * e
        e = s2 * np.exp(-0.5 * r2)
        return e, e

    def between(self, theta: Array, A: Array, B: Array) -> Array:
        """K between A (m, d) and B (r, d)."""
        return self.covariance(theta, self.distance(theta, A, B))[0]


def embedded(code: Array) -> tuple[Array, Array]:
    """Where a number stands: itself and the height 1/2, or 1/2 and the height 0 where it does not exist."""
    missing = np.isnan(code)
    return np.where(missing, 0.5, code), np.where(missing, 0.0, 0.5)
