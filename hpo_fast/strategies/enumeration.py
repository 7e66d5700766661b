"""Numbering of the points of a grid over a conditional space, without ever listing them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StrategyError
from hpo_fast.space.layout import CONTINUOUS, Layout
from hpo_fast.strategies.base import FloatArray, IntArray

_CODE_TOLERANCE = 1e-12  # what encode(decode(u)) may move a continuous code: the round trip that spaces promise
_BLOCK = 2**15  # rows looked at together, so that a million need no arrays of their own length
_MOST_STATES = 200_000  # about 60 MB; 1,000 conditions that form a forest need about 5,000


@dataclass(frozen=True, slots=True)
class _Step:
    """What one parameter can do in one state: take one of its values, or not exist.

    Attributes:
        exists: False when a condition has failed.
        width: points behind each value, when all values lead to the same state.
        offsets: first index of each value, when they lead to different states; else empty.
        successors: state of the next parameter, a value each when there are offsets; else a single one.
    """

    exists: bool
    width: int
    offsets: list[int]
    successors: list[int]


class Enumeration:
    """All points of a grid, numbered from 0 in lexicographic order: the first parameter changes slowest.

    Parameters are visited parents first, each with what depends on it right behind it, otherwise as declared. The set
    of parameters already ruled out is the only thing that the rest of a point depends on, so points are counted by
    dynamic programming over these sets: exactly, for conditions on several parents too.

    Args:
        layout: the layout of the space.
        axes: for each block, (L,) the distinct canonical codes that the grid gives it, in order of enumeration.

    Attributes:
        size: number of points, exact, of any magnitude.

    Raises:
        StrategyError: when conditions on several parents make more than 200,000 sets to count over.

    Cost: O(sum of L times the number of sets), independent of the size.
    """

    def __init__(self, layout: Layout, axes: Sequence[FloatArray]) -> None:
        outcomes, rules, children = _rules(layout, axes)
        self._order = _visiting_order(children)
        self._columns = [int(layout.start[j]) for j in self._order]
        self._axes = [axes[j].tolist() for j in self._order]
        self._lookup = [
            _Lookup(axes[j].tolist(), _CODE_TOLERANCE if layout.kind[j] == CONTINUOUS else 0.0) for j in self._order
        ]
        self._d = layout.d

        # Forward: the sets (bit masks) of ruled-out parameters that can stand before each parameter, and what follows.
        masks = [0]
        reached: list[list[tuple[bool, list[int]]]] = []
        n_states = 1
        for j in self._order:
            successors: dict[int, int] = {}
            row = []
            for mask in masks:
                exists = not (mask >> j) & 1
                rest = mask & ~(1 << j)
                ruled_out = rules[j] if exists else [sum(1 << child for child in children[j])]
                row.append((exists, [successors.setdefault(rest | out, len(successors)) for out in ruled_out]))
            n_states += len(successors)
            if n_states > _MOST_STATES:
                raise StrategyError(
                    "GridSearch: the combinations of existing parameters must be few enough to count, but conditions "
                    f"that look at several parents make more than {_MOST_STATES}; let fewer parameters depend on "
                    "several others."
                )
            reached.append(row)
            masks = list(successors)

        # Backward: how many points lie behind each state.
        counts = [1]
        self._steps: list[list[_Step]] = []
        for j, row in zip(reversed(self._order), reversed(reached), strict=True):
            steps, sizes = [], []
            for exists, next_states in row:
                n_values = len(axes[j]) if exists else 1
                if len(next_states) == 1:
                    width = counts[next_states[0]]
                    steps.append(_Step(exists, width, [], next_states))
                    sizes.append(n_values * width)
                else:
                    by_value = [next_states[outcome] for outcome in outcomes[j]]
                    offsets = [0]
                    for state in by_value:
                        offsets.append(offsets[-1] + counts[state])
                    steps.append(_Step(True, 0, offsets[:-1], by_value))
                    sizes.append(offsets[-1])
            self._steps.append(steps)
            counts = sizes
        self._steps.reverse()
        self.size: int = counts[0]

    def point(self, index: int) -> FloatArray:
        """Give the (d,) code of the point numbered `index`, 0 <= index < size. Cost: O(d log L)."""
        u = np.full(self._d, math.nan)
        state = 0
        for column, axis, steps in zip(self._columns, self._axes, self._steps, strict=True):
            step = steps[state]
            if step.offsets:
                value = bisect_right(step.offsets, index) - 1
                index -= step.offsets[value]
                state = step.successors[value]
            else:
                state = step.successors[0]
                if not step.exists:
                    continue
                value, index = divmod(index, step.width)
            u[column] = axis[value]
        return u

    def candidates(self, U: FloatArray) -> IntArray:
        """Find the rows of U (m, d) that may be points of the grid: each code lies on its axis, or is absent.

        Cost: O(m d log L), some nanoseconds for each code, and less where few rows are left after the first columns.
        """
        found = [np.empty(0, dtype=np.int64)]
        for start in range(0, len(U), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(U)))
            for column, lookup in zip(self._columns, self._lookup, strict=True):
                rows = rows[lookup.near(U[rows, column])]
            found.append(rows)
        return np.concatenate(found)

    def index(self, u: FloatArray) -> int | None:
        """Find the number of a (d,) canonical code; None when it is no point of the grid. Cost: O(d log L)."""
        codes = u.tolist()
        index = state = 0
        for column, lookup, steps in zip(self._columns, self._lookup, self._steps, strict=True):
            step, code = steps[state], codes[column]
            if step.exists == math.isnan(code):
                return None
            if not step.exists:
                state = step.successors[0]
                continue
            value = lookup.find(code)
            if value is None:
                return None
            if step.offsets:
                index += step.offsets[value]
                state = step.successors[value]
            else:
                index += value * step.width
                state = step.successors[0]
        return index


class _Lookup:
    """From a code to the position on an axis that holds it, to within a tolerance."""

    def __init__(self, axis: list[float], tolerance: float) -> None:
        self._exact = {code: i for i, code in enumerate(axis)}
        self._sorted = sorted(axis)
        self._array = np.array(self._sorted)
        self._tolerance = tolerance

    def near(self, codes: FloatArray) -> npt.NDArray[np.bool_]:
        """Tell which codes (m,) `find` would find, or are NaN."""
        right = np.searchsorted(self._array, codes)
        last = len(self._array) - 1
        above, below = self._array[np.minimum(right, last)], self._array[np.minimum(np.maximum(right - 1, 0), last)]
        distance = np.minimum(np.abs(above - codes), np.abs(below - codes))
        found: npt.NDArray[np.bool_] = (distance <= self._tolerance) | np.isnan(codes)
        return found

    def find(self, code: float) -> int | None:
        exact = self._exact.get(code)
        if exact is not None or self._tolerance == 0.0:
            return exact
        right = bisect_left(self._sorted, code)
        neighbours = self._sorted[max(right - 1, 0) : right + 1]
        nearest = min(neighbours, key=lambda other: abs(other - code))
        return self._exact[nearest] if abs(nearest - code) <= self._tolerance else None


def _rules(layout: Layout, axes: Sequence[FloatArray]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Work out which children each value of each block rules out.

    Returns:
        outcomes: for each block, for each of its values, a position in `rules` of that block.
        rules: for each block, the distinct bit masks of the children that a value rules out.
        children: for each block, the blocks that have a condition on it.
    """
    b = layout.b
    ruled_out = [[0] * len(axis) for axis in axes]
    children: list[list[int]] = [[] for _ in range(b)]
    for i, (child, parent) in enumerate(zip(layout.cond_child.tolist(), layout.cond_parent.tolist(), strict=True)):
        if child not in children[parent]:
            children[parent].append(child)
        intervals = slice(layout.cond_start[i], layout.cond_start[i + 1])
        lo, hi = layout.cond_lo[intervals], layout.cond_hi[intervals]
        codes = axes[parent][:, None]
        holds = ((lo <= codes) & (codes <= hi)).any(axis=1)
        for value in np.flatnonzero(~holds).tolist():
            ruled_out[parent][value] |= 1 << child
    rules, outcomes = [], []
    for masks in ruled_out:
        position = {mask: k for k, mask in enumerate(dict.fromkeys(masks))}
        rules.append(list(position))
        outcomes.append([position[mask] for mask in masks])
    return outcomes, rules, children


def _visiting_order(children: list[list[int]]) -> list[int]:
    """Order the blocks parents first; connected ones stay together, in order of the first of them."""
    parents: list[list[int]] = [[] for _ in children]
    for parent, kids in enumerate(children):
        for child in kids:
            parents[child].append(parent)
    order: list[int] = []
    seen: set[int] = set()
    for first in range(len(children)):
        if first not in seen:
            component, stack = {first}, [first]
            while stack:
                j = stack.pop()
                linked = {*children[j], *parents[j]} - component
                component |= linked
                stack.extend(linked)
            seen |= component
            order += _order_of_connected(component, children, parents)
    return order


def _order_of_connected(component: set[int], children: list[list[int]], parents: list[list[int]]) -> list[int]:
    """Order connected blocks parents first, so that few at a time wait with only some of their conditions decided.

    The next is always the one after which, once all its dependents that can have followed, the fewest others wait; of
    equals the one with the fewest dependents, then the one that became ready last, then the one declared first. In a
    forest this puts small subtrees before large ones: the number that wait stays below the logarithm of its size, and
    the sets to count over stay few.

    Cost: O(c^2) for c connected blocks.
    """
    undecided = {j: len(parents[j]) for j in component}
    ready = {j: 0 for j in component if not parents[j]}  # since which step
    waiting: set[int] = set()

    def badness(j: int) -> tuple[int, int, int, int]:
        missing: dict[int, int] = {}  # of the blocks below j: parents still to come when all that can have followed
        followers, stack = [j], [j]
        while stack:
            for child in children[stack.pop()]:
                missing[child] = missing.get(child, undecided[child]) - 1
                if not missing[child]:
                    followers.append(child)
                    stack.append(child)
        begun = sum(1 for child, count in missing.items() if count and child not in waiting)
        ended = sum(1 for follower in followers if follower in waiting)
        return begun - ended, len(followers), -ready[j], j

    order: list[int] = []
    while ready:
        j = min(ready, key=badness)
        del ready[j]
        order.append(j)
        waiting.discard(j)
        waiting.update(children[j])
        for child in children[j]:
            undecided[child] -= 1
            if not undecided[child]:
                ready[child] = len(order)
    return order
