"""The utilities of the reference backend and their derivatives, written for accuracy over the whole range of z."""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from hpo_fast.backends.base import Array, Utility

LOG_2PI = float(np.log(2.0 * np.pi))
FAR = -1e6  # below, 1/z^2 is less than the rounding of 1 - e^w; Ament et al. 2023, arXiv 2310.20708, equation 9
SERIES = -1e3  # below, 1 + z r cancels to fewer than ten digits, while three terms of its series give eleven


def density(z: Array) -> Array:
    """The standard normal density phi(z)."""
    return np.asarray(np.exp(-0.5 * z * z - 0.5 * LOG_2PI))


def mills(z: Array) -> Array:
    """Phi(z)/phi(z) for z <= 0, without underflow."""
    return np.asarray(np.sqrt(0.5 * np.pi) * erfcx(-z / np.sqrt(2.0)))


def log_h(z: Array) -> Array:
    """ln(phi(z) + z Phi(z)) for every z.

    Reference: Ament et al. 2023, arXiv 2310.20708, equation 9 (with z = (best - mean)/sd).
    """
    near, far = z > -1.0, z <= FAR
    middle = ~near & ~far
    out = np.empty_like(z)
    out[near] = np.log(density(z[near]) + z[near] * ndtr(z[near]))
    x = z[middle]
    w = np.log(-x * mills(x))
    # ln(1 - e^w), by the form that does not cancel on either side of w = -ln 2.
    rest = np.where(w > -np.log(2.0), np.log(-np.expm1(w)), np.log1p(-np.exp(w)))
    out[middle] = -0.5 * x * x - 0.5 * LOG_2PI + rest
    x = z[far]
    out[far] = -0.5 * x * x - 0.5 * LOG_2PI - 2.0 * np.log(-x)
    return out


def d_log_h(z: Array) -> Array:
    """The derivative Phi(z)/h(z) of `log_h`: r/(1 + z r) in the tail, r the Mills ratio."""
    near, far = z > -1.0, z <= SERIES
    middle = ~near & ~far
    out = np.empty_like(z)
    x = z[near]
    out[near] = ndtr(x) / (density(x) + x * ndtr(x))
    r = mills(z[middle])
    out[middle] = r / (1.0 + z[middle] * r)
    # The quotient of the asymptotic series of r and of 1 + z r.
    x = -z[far]
    out[far] = x * (1.0 + 2.0 / x**2 - 6.0 / x**4)
    return out


def utility_value(utility: Utility, mean: Array, var: Array, best: float) -> tuple[Array, Array, Array]:
    """The utility and its derivatives with respect to mean and variance.

    Args:
        utility: which one.
        mean: (m,) posterior means.
        var: (m,) posterior variances, > 0.
        best: the value to improve on.

    Returns:
        value, d_mean, d_var, each (m,).
    """
    sd = np.sqrt(var)
    z = (best - mean) / sd
    if utility.kind == "log_ei":
        slope = d_log_h(z)
        value = np.log(sd) + log_h(z)
        d_mean = -slope / sd
        # 1 - z Phi/h is phi/h; where z > -1 the left side would cancel.
        d_sd = np.where(z > -1.0, np.exp(-0.5 * z * z - 0.5 * LOG_2PI - log_h(z)), 1.0 - z * slope) / sd
    elif utility.kind == "ei":
        value = sd * np.exp(log_h(z))
        d_mean, d_sd = -ndtr(z), density(z)
    elif utility.kind == "log_pi":
        value = log_ndtr(z)
        low, high = np.minimum(z, 0.0), np.maximum(z, 0.0)
        slope = np.where(z < 0.0, 1.0 / mills(low), density(high) / ndtr(high))
        d_mean, d_sd = -slope / sd, -slope * z / sd
    elif utility.kind == "pi":
        value = ndtr(z)
        d_mean, d_sd = -density(z) / sd, -density(z) * z / sd
    else:  # "ucb"
        value = utility.beta * sd - mean
        d_mean, d_sd = -np.ones_like(sd), np.full_like(sd, utility.beta)
    return value, d_mean, 0.5 * d_sd / sd
