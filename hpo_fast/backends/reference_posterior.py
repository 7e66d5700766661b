"""The posterior of the reference backend: a Gaussian process given values at points, refactorised every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from hpo_fast.backends.base import Array
from hpo_fast.backends.reference_factor import Factor, factorise
from hpo_fast.backends.reference_kernel import Kernel, embedded
from hpo_fast.space.layout import CATEGORICAL

VAR_FLOOR = 1e-12  # times s2


@dataclass(frozen=True, eq=False)
class Posterior:
    """What values at points say about the function elsewhere."""

    kernel: Kernel
    theta: Array
    factor: Factor
    U: Array  # (r, d)
    alpha: Array  # (r,)
    mu: float
    residual: Array  # (r,) w - mu

    def predict(self, U: Array, gradient: bool = False) -> tuple[Array, Array, Array | None, Array | None]:
        """Mean and variance (m,), and with `gradient` their derivatives (m, d)."""
        theta, L = self.theta, self.factor.L
        s2 = np.exp(theta[-2])
        K, h = self.kernel.covariance(theta, self.kernel.distance(theta, U, self.U))
        Vk = solve_triangular(L, K.T, lower=True) if len(L) else np.zeros((0, len(U)))
        mean = self.mu + K @ self.alpha
        var = np.maximum(s2 - np.sum(Vk * Vk, axis=0), VAR_FLOOR * s2)
        if not gradient:
            return mean, var, None, None
        weight = solve_triangular(L, Vk, lower=True, trans="T").T if len(L) else np.zeros((len(U), 0))  # K^-1 k
        d_mean, d_var = np.zeros(U.shape), np.zeros(U.shape)
        for j, c in enumerate(self.kernel.columns):
            if self.kernel.layout.kind[j] == CATEGORICAL:
                continue
            x, _ = embedded(self.U[None, :, c])
            dK = np.where(np.isnan(U[:, c, None]), 0.0, -h * (U[:, c, None] - x)) * np.exp(-2.0 * theta[j])
            d_mean[:, c] = dK @ self.alpha
            d_var[:, c] = -2.0 * np.sum(weight * dK, axis=1)
        return mean, var, d_mean, d_var

    def joint(self, U: Array) -> tuple[Array, Array]:
        """Mean (m,) and covariance (m, m)."""
        K = self.kernel.between(self.theta, self.U, U)
        covariance = self.kernel.between(self.theta, U, U)
        if len(self.factor.L):
            Vk = solve_triangular(self.factor.L, K, lower=True)
            covariance = covariance - Vk.T @ Vk
        return self.mu + K.T @ self.alpha, covariance


def condition(
    kernel: Kernel, theta: Array, U: Array, w: Array, v: Array, mu: float | None = None, dense: Array | None = None
) -> Posterior:
    """Conditions a Gaussian process on values.

    Args:
        kernel: the covariance function.
        theta: (p,) log parameters.
        U: (n, d) points.
        w: (n,) values.
        v: (n,) variances of their noise.
        mu: the mean; None: by generalised least squares.
        dense: (m, m), m <= n, the covariances of the noise of the first rows; the diagonal is that of `v`.

    Raises:
        NumericalError: the guard failed.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the guard's business
        r2 = kernel.distance(theta, U, U)
        K, _ = kernel.covariance(theta, r2)
        s2 = float(np.exp(theta[-2]))
    if dense is not None:
        K[: len(dense), : len(dense)] += dense - np.diag(np.diag(dense))
    factor = factorise(r2, K, v, s2)
    r = len(factor.rows)
    w = np.bincount(factor.group, weights=w, minlength=r) / np.maximum(np.bincount(factor.group, minlength=r), 1)
    if mu is None:
        weight = cho_solve((factor.L, True), np.ones(r)) if r else np.empty(0)
        mu = float(weight @ w / np.sum(weight)) if r else 0.0
    alpha = cho_solve((factor.L, True), w - mu) if r else np.empty(0)
    return Posterior(kernel, theta, factor, U[factor.rows], alpha, mu, w - mu)
