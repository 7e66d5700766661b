"""How one parameter's values become codes in [0, 1] and back: one class for each kind of scale.

Continuous scales are here, scales of single points in points.py. Two promises bind both. The codes that a scale gives
are fixed points, bit for bit: `code(value(c)) == c`. The arrays (`snaps`, `codes`) hold the same bits as the scalars
(`snap`, `code`): logarithms and exponentials of arrays therefore come from `math`, one element at a time (about 60 ns
each), because the vector versions of NumPy differ from the C library in the last bit, and differ again from one
instruction set to the next.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_fast.errors import SpaceError
from hpo_fast.space.layout import CONTINUOUS
from hpo_fast.space.priors import NormalCut
from hpo_fast.space.values import outside, real

Floats = NDArray[np.float64]

# Rounding reaches its fixed point after one or two rounds; the limit only makes the end provable.
SETTLE_ROUNDS = 64


def each(function: Callable[[float], float], x: Floats) -> Floats:
    """Map a scalar function over an array: the same bits as the scalar path."""
    return np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


class Scale(ABC):
    """What the space needs to know of one parameter: its codes, its values, and its row of the Layout."""

    kind = CONTINUOUS
    size = 0
    low_float = math.nan
    log_low = math.nan
    log_high = math.nan
    cut: NormalCut | None = None

    @abstractmethod
    def value(self, u: float) -> Any:
        """Give the value whose code is nearest to u in [0, 1]."""

    @abstractmethod
    def code(self, value: Any, label: str) -> float:
        """Give the code of a value; a SpaceError says what is wrong with one that this scale does not have."""

    @abstractmethod
    def snap(self, u: float) -> float:
        """Give the code of the value nearest to u: code(value(u))."""

    @abstractmethod
    def snaps(self, u: Floats) -> Floats:
        """Do snap for a column (m,)."""

    def codes(self, values: NDArray[Any] | Sequence[Any], label: str) -> Floats:
        """Do code for a column; NaN marks a value that this scale does not have."""
        return codes_one_by_one(self, values, label)

    def cell(self, value: Any, label: str) -> tuple[float, float]:
        """Give the closed interval of codes that stand for one value."""
        code = self.code(value, label)
        return code, code

    def between(self, low: Any, high: Any, label: str) -> tuple[float, float]:
        """Give the closed interval of codes of the values in [low, high]; a SpaceError when there are none."""
        raise SpaceError(f"{label}: Between needs a parent with an order, but this one has none; list the values.")


def codes_one_by_one(scale: Scale, values: Iterable[Any], label: str) -> Floats:
    """Give the codes of a column, NaN for a value that the scale does not have, by way of the scalar code."""
    codes = []
    for value in values.tolist() if isinstance(values, np.ndarray) else values:
        try:
            codes.append(scale.code(value, label))
        except SpaceError:
            codes.append(math.nan)
    return np.array(codes, dtype=np.float64)


class Line(Scale):
    """A continuous range, code (v - low) / (high - low)."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.span = high - low

    def raw(self, value: float) -> float:
        """Give the code of a value inside the range before rounding has settled."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        return (value - self.low) / self.span

    def raws(self, values: Floats) -> Floats:
        """Do raw for an array."""
        u = (values - self.low) / self.span
        return self._ends(u, values <= self.low, values >= self.high, 0.0, 1.0)

    def value(self, u: float) -> float:  # noqa: D102
        if u <= 0.0:
            return self.low
        if u >= 1.0:
            return self.high
        value = self.low + u * self.span
        return value if value < self.high else self.high

    def values(self, u: Floats) -> Floats:
        """Do value for an array."""
        return self._ends(np.minimum(self.low + u * self.span, self.high), u <= 0.0, u >= 1.0, self.low, self.high)

    @staticmethod
    def _ends(x: Floats, at_low: NDArray[np.bool_], at_high: NDArray[np.bool_], low: float, high: float) -> Floats:
        x[at_high] = high
        x[at_low] = low
        return x

    def settle(self, u: float) -> float:
        """Follow u -> raw(value(u)) until rounding changes nothing any more; of a two-cycle, the smaller."""
        before = -1.0
        for _ in range(SETTLE_ROUNDS):
            after = self.raw(self.value(u))
            if after == u:
                return u
            if after == before:
                return min(u, after)
            before, u = u, after
        return u

    def settles(self, u: Floats) -> Floats:
        """Do settle for an array, with the same bits."""
        u = u.copy()
        live = np.arange(u.size)
        before = np.full(u.size, -1.0)
        for _ in range(SETTLE_ROUNDS):
            now = u[live]
            after = self.raws(self.values(now))
            moved = after != now
            turned = moved & (after == before)
            u[live[turned]] = np.minimum(now, after)[turned]
            going = moved & ~turned
            if not going.any():
                break
            live, before = live[going], now[going]
            u[live] = after[going]
        return u

    def snap(self, u: float) -> float:  # noqa: D102
        return self.settle(self.raw(self.value(u)))

    def snaps(self, u: Floats) -> Floats:  # noqa: D102
        return self.settles(self.raws(self.values(u)))

    def code(self, value: Any, label: str) -> float:  # noqa: D102
        if value.__class__ is not float:
            value = real(value, label)
        if not self.low <= value <= self.high:  # NaN comes here as well
            raise outside(value, self.low, self.high, label)
        return self.settle(self.raw(float(value)))

    def codes(self, values: NDArray[Any] | Sequence[Any], label: str) -> Floats:  # noqa: D102
        if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiu"):
            return codes_one_by_one(self, values, label)
        x = values.astype(np.float64)
        good = (x >= self.low) & (x <= self.high)
        codes = np.full(x.shape, math.nan)
        codes[good] = self.settles(self.raws(x[good]))
        return codes

    def between(self, low: Any, high: Any, label: str) -> tuple[float, float]:  # noqa: D102
        low, high = max(real(low, label), self.low), min(real(high, label), self.high)
        if low > high:
            raise nothing_between(self.low, self.high, label)
        return self.code(low, label), self.code(high, label)


def nothing_between(low: Any, high: Any, label: str) -> SpaceError:
    """Make the error for a condition that no value from low to high can meet."""
    return SpaceError(
        f"{label}: Between must hold a value that the parent can have, but none of those from {low!r} to {high!r} "
        f"lies in it; move its ends."
    )


class LogLine(Line):
    """A continuous range, code (ln v - ln low) / (ln high - ln low); any two positive doubles may be its ends."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        self.log_origin = math.log(low)
        # Two ways of writing one formula. Near ends: log1p and expm1 of the distance, because the difference of two
        # logarithms would lose up to 1e-16 |ln low| / (ln high - ln low). Far ends: (high - low) / low may overflow.
        self.near = high <= 1024.0 * low
        self.log_span = math.log1p((high - low) / low) if self.near else math.log(high) - self.log_origin
        self.log_top = math.log(high)
        while not self.near and _overflows(self.log_top):
            self.log_top = math.nextafter(self.log_top, 0.0)

    def raw(self, value: float) -> float:
        """Give the code of a value inside the range before rounding has settled."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        if self.near:
            return math.log1p((value - self.low) / self.low) / self.log_span
        return (math.log(value) - self.log_origin) / self.log_span

    def raws(self, values: Floats) -> Floats:
        """Do raw for an array."""
        if self.near:
            u = each(math.log1p, (values - self.low) / self.low) / self.log_span
        else:
            u = (each(math.log, values) - self.log_origin) / self.log_span
        return self._ends(u, values <= self.low, values >= self.high, 0.0, 1.0)

    def value(self, u: float) -> float:  # noqa: D102
        if u <= 0.0:
            return self.low
        if u >= 1.0:
            return self.high
        if self.near:
            value = self.low + self.low * math.expm1(u * self.log_span)
        else:
            value = math.exp(min(self.log_origin + u * self.log_span, self.log_top))
        return min(max(value, self.low), self.high)

    def values(self, u: Floats) -> Floats:
        """Do value for an array."""
        if self.near:
            x = self.low + self.low * each(math.expm1, u * self.log_span)
        else:
            x = each(math.exp, np.minimum(self.log_origin + u * self.log_span, self.log_top))
        return self._ends(np.clip(x, self.low, self.high), u <= 0.0, u >= 1.0, self.low, self.high)


def _overflows(exponent: float) -> bool:
    try:
        math.exp(exponent)
    except OverflowError:
        return True
    return False
