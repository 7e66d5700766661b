"""How the reference backend compresses and standardises values before the model sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo_fast.backends.base import Array

MOST_LOG = 12.0  # from 160,000 fences on, all values are equally bad
FOREIGN = 10.0  # standard deviations below the best: such a value starts the warp anew
SAME = 1e-9  # relative: so far from a constant a value is another one


@dataclass(frozen=True)
class Warp:
    """What some values make of these and of all others."""

    unit: float  # 16 where differences of the largest doubles would overflow; the following are in units of it
    median: float
    fence: float  # inf: nothing is compressed
    mean: float
    deviation: float
    constant: bool
    worst: float  # warped value of a failed row
    empty: bool  # none of the values was finite

    @property
    def shift(self) -> float:
        """What a standardised value of 0 stands for."""
        return self.mean * self.unit

    @property
    def scale(self) -> float:
        """What a standardised value of 1 stands for, beside the shift."""
        return 1.0 if self.constant else self.deviation * self.unit

    def __call__(self, y: Array) -> Array:
        """The standardised values of `y` (m,); +inf marks failed rows."""
        finite = np.isfinite(y)
        out = np.full(len(y), self.worst)
        with np.errstate(over="ignore"):
            out[finite] = 0.0 if self.constant else (self.compressed(y[finite]) - self.mean) / self.deviation
        return out

    def compressed(self, y: Array) -> Array:
        """Values in units of `unit`, with their far bad tail compressed."""
        w = y / self.unit
        with np.errstate(over="ignore"):  # inf is as bad as MOST_LOG
            excess = np.maximum(w - self.median - self.fence, 0.0)
            far = excess > 0.0
            w[far] = self.median + self.fence + self.fence * np.minimum(np.log1p(excess[far] / self.fence), MOST_LOG)
        return np.asarray(w)


def fit_warp(y: Array, standardise: bool) -> Warp:
    """The warp of `y` (n,), or, without `standardise`, that which leaves values as they are."""
    good = y[np.isfinite(y)]
    if good.size == 0:
        return Warp(1.0, 0.0, np.inf, 0.0, 1.0, False, 0.0, True)
    if not standardise:
        return Warp(1.0, 0.0, np.inf, 0.0, 1.0, False, float(np.max(good)), False)
    unit = 16.0 if np.max(np.abs(good)) > 1e300 else 1.0
    ordered = np.sort(good) / unit
    median = float(np.median(ordered))
    fence = 1.5 * (ordered[3 * good.size // 4] - ordered[good.size // 4]) or 1.5 * _rms(
        ordered - median - _mean(ordered - median)
    )
    w = Warp(unit, median, float(fence), 0.0, 1.0, False, 0.0, False).compressed(good)
    mean = _mean(w)
    deviation = _rms(w - mean)
    constant = bool(deviation <= 1e-12 * np.max(np.abs(w)) or deviation * unit < np.finfo(np.float64).tiny)
    worst = 0.0 if constant else (float(np.max(w)) - mean) / deviation
    return Warp(unit, median, float(fence), mean, deviation, constant, worst, False)


def warp(y: Array) -> tuple[Array, float, float]:
    """Compresses the far bad tail of `y` (n,) and standardises all; +inf marks failed rows.

    Returns:
        the standardised values (n,), shift and scale.
    """
    made = fit_warp(y, True)
    return made(y), made.shift, made.scale


def frozen(y: Array, base: int, standardise: bool) -> tuple[Array, Warp, int]:
    """Warps `y` (n,) as its first `base` values say, or, where later ones are foreign to these, as those and they say.

    Returns:
        the standardised values (n,), the warp, and with how many values it was made.
    """
    while True:
        made = fit_warp(y[:base], standardise)
        w = made(y)
        foreign = np.zeros(len(y), dtype=bool)
        if made.empty:
            foreign[:] = True
        elif made.constant:
            foreign[:] = np.abs(y / made.unit - made.mean) > SAME * abs(made.mean)
        elif standardise:
            best = np.minimum.accumulate(np.where(np.isfinite(y), w, np.inf))
            foreign[1:] = w[1:] < best[:-1] - FOREIGN
        foreign &= np.isfinite(y) & (np.arange(len(y)) >= base)
        if not np.any(foreign):
            return w, made, base
        base = int(np.argmax(foreign)) + 1


def _mean(x: Array) -> float:
    unit = float(np.max(np.abs(x)))
    return unit * float(np.mean(x / unit)) if unit > 0.0 else 0.0


def _rms(x: Array) -> float:
    """Root of the mean square, by the largest entry, so that 1e300 and 1e-300 can be squared."""
    unit = float(np.max(np.abs(x)))
    return unit * float(np.sqrt(np.mean((x / unit) ** 2))) if unit > 0.0 else 0.0
