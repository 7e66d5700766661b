"""How the reference backend compresses and standardises values before the model sees them."""

from __future__ import annotations

import numpy as np

from hpo_fast.backends.base import Array

MOST_LOG = 12.0  # from 160,000 fences on, all values are equally bad


def warp(y: Array) -> tuple[Array, float, float]:
    """Compresses the far bad tail of `y` (n,) and standardises all; +inf marks failed rows.

    Returns:
        the standardised values (n,), shift and scale.
    """
    finite = np.isfinite(y)
    good = y[finite]
    if good.size == 0:
        return np.zeros_like(y), 0.0, 1.0
    unit = 16.0 if np.max(np.abs(good)) > 1e300 else 1.0  # differences of the largest doubles would overflow
    good = good / unit
    ordered = np.sort(good)
    median = np.median(good)
    fence = 1.5 * (ordered[3 * good.size // 4] - ordered[good.size // 4]) or 1.5 * _rms(
        good - median - _mean(good - median)
    )
    w = good.copy()
    with np.errstate(over="ignore"):  # inf is as bad as MOST_LOG
        excess = np.maximum(good - median - fence, 0.0)
        far = excess > 0.0
        w[far] = median + fence + fence * np.minimum(np.log1p(excess[far] / fence), MOST_LOG)
    shift = _mean(w)
    scale = _rms(w - shift)
    out = np.empty_like(y)
    if scale <= 1e-12 * np.max(np.abs(w)) or scale * unit < np.finfo(np.float64).tiny:
        out[finite], scale = 0.0, 1.0 / unit
    else:
        out[finite] = (w - shift) / scale
    out[~finite] = np.max(out[finite])
    return out, shift * unit, scale * unit


def _mean(x: Array) -> float:
    unit = float(np.max(np.abs(x)))
    return unit * float(np.mean(x / unit)) if unit > 0.0 else 0.0


def _rms(x: Array) -> float:
    """Root of the mean square, by the largest entry, so that 1e300 and 1e-300 can be squared."""
    unit = float(np.max(np.abs(x)))
    return unit * float(np.sqrt(np.mean((x / unit) ** 2))) if unit > 0.0 else 0.0


def plain(y: Array) -> Array:
    """Values as they are, failed rows as the worst of them."""
    finite = np.isfinite(y)
    return np.where(finite, y, np.max(y[finite]) if np.any(finite) else 0.0)
