"""Scales of single points: whole numbers, grids of decimals, lists of choices."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_fast.errors import SpaceError
from hpo_fast.space.codes import Floats, Scale, codes_one_by_one, each, nothing_between
from hpo_fast.space.layout import CATEGORICAL, ORDERED
from hpo_fast.space.values import json_copy, json_key, outside, real, whole

# (i + 1/2) / size and its way back lose at most 3 roundings, 3 * 2**-53 * 2**50 < 1/2 of a point.
MOST_POINTS = 2**50
# exp(log_low + u * range) loses about 1.3e-14 relative at ln(2**44) = 30.5, times 2**44: less than 1/4 of a point.
MOST_LOG_INT = 2**44
# A stepped value this close to a grid point, in steps, is that point: 0.1 + 0.2 is the 0.3 of a grid of tenths.
OFF_GRID = 1e-8


class Points(Scale):
    """`size` values in a row, code (i + 1/2) / size; a subclass says which value stands at index i."""

    kind = ORDERED

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def at(self, i: int) -> Any:
        """Give the value at index i."""

    @abstractmethod
    def index(self, value: Any, label: str) -> int:
        """Give the index of a value; a SpaceError says what is wrong with one that is none of the points."""

    def value(self, u: float) -> Any:  # noqa: D102
        i = int(u * self.size)
        return self.at(i if i < self.size else self.size - 1)

    def code(self, value: Any, label: str) -> float:  # noqa: D102
        return (self.index(value, label) + 0.5) / self.size

    def snap(self, u: float) -> float:  # noqa: D102
        i = int(u * self.size)
        return ((i if i < self.size else self.size - 1) + 0.5) / self.size

    def snaps(self, u: Floats) -> Floats:  # noqa: D102
        snapped: Floats = (np.minimum(np.floor(u * self.size), self.size - 1) + 0.5) / self.size
        return snapped

    def edge(self, i: int) -> float:
        """Give the code where the cell of index i begins and that of i - 1 ends; i in 0..size."""
        return i / self.size

    def cell(self, value: Any, label: str) -> tuple[float, float]:  # noqa: D102
        i = self.index(value, label)
        return self.edge(i), self.edge(i + 1)


class IntPoints(Points):
    """low, low + step, ... in Python integers, so that no value is too large."""

    def __init__(self, low: int, step: int, size: int) -> None:
        super().__init__(size)
        self.low, self.step = low, step
        self.last = low + (size - 1) * step
        self.fits = max(abs(low), abs(self.last)) < 2**62  # then value - low cannot overflow an int64

    def at(self, i: int) -> int:  # noqa: D102
        return self.low + i * self.step

    def index(self, value: Any, label: str) -> int:  # noqa: D102
        if value.__class__ is not int:
            value = whole(value, label)
        if not self.low <= value <= self.last:
            raise outside(value, self.low, self.last, label)
        i, rest = divmod(value - self.low, self.step)
        if rest:
            raise _off_grid(value, self.at(i), self.at(i + 1), self.low, self.step, label)
        return int(i)

    def indices(self, values: NDArray[Any] | Sequence[Any]) -> NDArray[np.int64] | None:
        """Do index for a numeric column, -1 for a value that is no point; None when it must go one by one."""
        if not (self.fits and isinstance(values, np.ndarray) and values.dtype.kind in "fiu"):
            return None
        good = (values >= self.low) & (values <= self.last)
        if values.dtype.kind == "f":
            good &= values == np.floor(values)
        steps = np.where(good, values, 0).astype(np.int64) - self.low
        return np.where(good & (steps % self.step == 0), steps // self.step, -1)

    def codes(self, values: NDArray[Any] | Sequence[Any], label: str) -> Floats:  # noqa: D102
        i = self.indices(values)
        if i is None:
            return codes_one_by_one(self, values, label)
        return np.where(i >= 0, (i + 0.5) / self.size, math.nan)

    def between(self, low: Any, high: Any, label: str) -> tuple[float, float]:  # noqa: D102
        first = -((self.low - math.ceil(real(low, label))) // self.step)
        last = (math.floor(real(high, label)) - self.low) // self.step
        first, last = max(first, 0), min(last, self.size - 1)
        if first > last:
            raise nothing_between(self.low, self.last, label)
        return self.edge(first), self.edge(last + 1)


def _off_grid(value: Any, below: Any, above: Any, low: Any, step: Any, label: str) -> SpaceError:
    return SpaceError(
        f"{label}: the value must be {low!r} plus a multiple of step={step!r}, but got {value!r}; "
        f"the nearest are {below!r} and {above!r}."
    )


class LogIntPoints(IntPoints):
    """low..high on a logarithmic scale; a cell reaches from ln(v - 1/2) to ln(v + 1/2), so that rounding is fair."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, 1, high - low + 1)
        self.low_float = float(low)
        self.log_low, self.log_high = math.log(low - 0.5), math.log(high + 0.5)
        self.log_span = self.log_high - self.log_low

    def _index(self, u: float) -> int:
        value = int(math.exp(self.log_low + u * self.log_span) + 0.5)
        return min(max(value - self.low, 0), self.size - 1)

    def _code(self, i: int) -> float:
        return (math.log(self.low + i) - self.log_low) / self.log_span

    def value(self, u: float) -> int:  # noqa: D102
        return self.low + self._index(u)

    def code(self, value: Any, label: str) -> float:  # noqa: D102
        return self._code(self.index(value, label))

    def snap(self, u: float) -> float:  # noqa: D102
        return self._code(self._index(u))

    def snaps(self, u: Floats) -> Floats:  # noqa: D102
        values = np.floor(each(math.exp, self.log_low + u * self.log_span) + 0.5)
        return (each(math.log, np.clip(values, self.low, self.last)) - self.log_low) / self.log_span

    def codes(self, values: NDArray[Any] | Sequence[Any], label: str) -> Floats:  # noqa: D102
        i = self.indices(values)
        if i is None:
            return codes_one_by_one(self, values, label)
        v = (np.maximum(i, 0) + self.low).astype(np.float64)
        return np.where(i >= 0, (each(math.log, v) - self.log_low) / self.log_span, math.nan)

    def edge(self, i: int) -> float:  # noqa: D102
        return (math.log(self.low + i - 0.5) - self.log_low) / self.log_span


class StepPoints(Points):
    """low, low + step, ... as the decimals that the user wrote: the third tenth is 0.3, not 0.30000000000000004.

    Point i is the double nearest to (first + i * step) / denominator, three exact integers.
    """

    def __init__(self, low: float, high: float, step: float, label: str) -> None:
        from fractions import Fraction  # here, because few spaces need it

        first, last, width = Fraction(repr(low)), Fraction(repr(high)), Fraction(repr(step))
        size = (last - first) // width + 1
        super().__init__(size)
        check_size(size, label)
        self.low, self.step = low, step
        self.denominator = math.lcm(first.denominator, width.denominator)
        self.first = int(first * self.denominator)
        self.each_step = int(width * self.denominator)
        self.last = self.at(size - 1)
        self.near = OFF_GRID * step if size > 1 else 0.0
        if size > 1 and step < 2.0 * max(math.ulp(low), math.ulp(self.last)):
            raise SpaceError(
                f"{label}: step must be at least twice the spacing of floating-point numbers at the bounds, "
                f"but got step={step!r} at {max(abs(low), abs(self.last))!r}; take a larger step or shift the range."
            )
        # Integers below 2**53 are exact doubles, and the quotient of two exact doubles is rounded correctly: Python's
        # division of integers and NumPy's of doubles then give the same bits.
        largest = max(abs(self.first), abs(self.first + (size - 1) * self.each_step), size * self.each_step)
        self.exact = max(largest, self.denominator) < 2**53

    def at(self, i: int) -> float:  # noqa: D102
        return (self.first + i * self.each_step) / self.denominator

    def ats(self, i: Floats) -> Floats:
        """Do at for an array of whole numbers."""
        if self.exact:
            points: Floats = (self.first + i * self.each_step) / self.denominator
            return points
        return np.array([self.at(int(j)) for j in i.tolist()], dtype=np.float64)

    def index(self, value: Any, label: str) -> int:  # noqa: D102
        if value.__class__ is not float:
            value = real(value, label)
        last = self.size - 1
        if not self.low - self.near <= value <= self.last + self.near:
            raise outside(value, self.low, self.last, label)
        i: int = min(max(round((value - self.low) / self.step), 0), last)
        if value != self.at(i):
            # The quotient may be some points off when there are 2**50 of them; the difference of neighbours is not.
            i = min(max(i + round((value - self.at(i)) / self.step), 0), last)
            if abs(value - self.at(i)) > self.near:
                below = i - 1 if value < self.at(i) else i
                raise _off_grid(value, self.at(below), self.at(below + 1), self.low, self.step, label)
        return i

    def codes(self, values: NDArray[Any] | Sequence[Any], label: str) -> Floats:  # noqa: D102
        if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiu"):
            return codes_one_by_one(self, values, label)
        x = values.astype(np.float64)
        good = (x >= self.low - self.near) & (x <= self.last + self.near)
        x = np.where(good, x, self.low)
        i = np.clip(np.rint((x - self.low) / self.step), 0, self.size - 1)
        i = np.clip(i + np.rint((x - self.ats(i)) / self.step), 0, self.size - 1)
        good &= np.abs(x - self.ats(i)) <= self.near
        return np.where(good, (i + 0.5) / self.size, math.nan)

    def between(self, low: Any, high: Any, label: str) -> tuple[float, float]:  # noqa: D102
        low, high = real(low, label), real(high, label)
        if low > self.last or high < self.low:
            raise nothing_between(self.low, self.last, label)
        first, last = self._near(low), self._near(high)
        first += self.at(first) < low
        last -= self.at(last) > high
        if first > last:
            raise nothing_between(self.low, self.last, label)
        return self.edge(first), self.edge(last + 1)

    def _near(self, value: float) -> int:
        value = min(max(value, self.low), self.last)
        i = round((value - self.low) / self.step)
        return min(max(i + round((value - self.at(i)) / self.step), 0), self.size - 1)


class Choices(Points):
    """A list of JSON values, looked up by value and type."""

    def __init__(self, choices: tuple[Any, ...], kind: int, label: str) -> None:
        super().__init__(len(choices))
        self.choices, self.kind = choices, kind
        self.mutable = any(choice.__class__ in (list, dict) for choice in choices)
        self.table: dict[Any, int] = {}
        for i, choice in enumerate(choices):
            if self.table.setdefault(json_key(choice), i) != i:
                raise SpaceError(f"{label}: choices must differ, but got {choice!r} twice; remove one.")
        # A number that lost its type on the way (pandas makes 64.0 of 64) is found when just one choice equals it.
        self.numbers = {choice: i for i, choice in enumerate(choices) if choice.__class__ in (int, float)}

    def at(self, i: int) -> Any:  # noqa: D102
        choice = self.choices[i]
        return json_copy(choice, "") if self.mutable else choice

    def index(self, value: Any, label: str) -> int:  # noqa: D102
        try:
            return self.table[value.__class__, value]
        except (KeyError, TypeError):  # TypeError: a list or a dict has no hash
            pass
        try:
            value = json_copy(value, label)
            key = json_key(value)
        except SpaceError:
            key = None
        i = self.table.get(key)
        if i is None and value.__class__ in (int, float):
            i = self.numbers.get(value)
        if i is None:
            few = ", ".join(map(repr, self.choices[:10])) + (", ..." if self.size > 10 else "")
            raise SpaceError(f"{label}: the value must be one of [{few}], but got {value!r}; mind its type as well.")
        return i

    def between(self, low: Any, high: Any, label: str) -> tuple[float, float]:  # noqa: D102
        if self.kind == CATEGORICAL:
            return super().between(low, high, label)
        first, last = self.index(low, label), self.index(high, label)
        if first > last:
            raise SpaceError(
                f"{label}: the first end of Between must come before the second, but got {low!r}, {high!r}; swap them."
            )
        return self.edge(first), self.edge(last + 1)


def check_size(size: int, label: str) -> None:
    """Refuse more points than a code in [0, 1] can tell apart.

    Raises:
        SpaceError: size is above 2**50.
    """
    if size > MOST_POINTS:
        raise SpaceError(
            f"{label}: a range may have at most 2**50 points, but got {size}; take a larger step or a continuous Float."
        )
